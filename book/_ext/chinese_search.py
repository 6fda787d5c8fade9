"""Search that finds Chinese words on English pages.

Chinese has no spaces, so the English index of Sphinx keeps each run of characters up to the next punctuation
as one word, and its search page matches parts of words from three letters on: two-character words, most of
Chinese, are never found. Here runs are cut into characters and overlapping pairs, in the index and in the
query alike; a query matches where all its pairs occur. No dictionary is needed.
"""

import re

from sphinx.search.en import SearchEnglish

HAN = "\u3400-\u9fff"
PARTS = re.compile(rf"[{HAN}]+|[^\W{HAN}]+")

SPLIT_QUERY = r"""
var splitQuery = (query) => query
  .split(/[^\p{Letter}\p{Number}_\p{Emoji_Presentation}]+/gu)
  .flatMap((word) => word.match(/[HAN]+|[^HAN]+/gu) || [])
  .flatMap((part) => !/[HAN]/u.test(part) || part.length === 1 ? [part]
    : Array.from({length: part.length - 1}, (_, i) => part.slice(i, i + 2)));
""".replace("HAN", r"\u3400-\u9fff")


class SearchEnglishAndChinese(SearchEnglish):
    """The English search language with Chinese cut into characters and pairs."""

    js_splitter_code = SPLIT_QUERY

    def split(self, text):
        """Return the words of an English or Chinese text, for the index."""
        words = []
        for part in PARTS.findall(text):
            words.append(part) if not re.match(f"[{HAN}]", part) else words.extend(pieces(part))
        return words


def pieces(run):
    """Return the characters and the overlapping pairs of a run of Chinese characters."""
    return [*run, *(run[i : i + 2] for i in range(len(run) - 1))]


def setup(app):
    """Register with Sphinx in the place of its English search."""
    app.add_search_language(SearchEnglishAndChinese)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
