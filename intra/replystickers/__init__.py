"""How the packaged data set ReplyStickers is planned, drawn and sealed."""
