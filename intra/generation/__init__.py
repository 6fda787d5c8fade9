"""Text written about the data: commonsense knowledge and sticker attributes, each behind one protocol."""
