r"""What a vision-language model is asked about a sticker (Fig. 4), and how its answers become keywords.

    A_a = keywords(MLLM(v, L_G, A_G, ..., L_a)),   a in {G, P, F, V}

The four questions are turns of one conversation: the picture stands in the first, and the model sees its own
earlier answers. The paper prints the question; how answers were read it does not say, so that is decided here.
"""

import hashlib
import re
import unicodedata
from collections.abc import Callable, Sequence

from intra.data.schema import ATTRIBUTES

QUESTION = "This is a sticker used in conversation, please provide several keywords to describe the {}."
"""The paper's wording (Section IV-B)."""
ASKED = {name: name.replace("_", " ") for name in ATTRIBUTES}
"""Attribute to what stands for it in the question, in the order of asking."""
ANSWER_TOKENS = 48
"""Most tokens of an answer: several keywords, not an essay."""
SEVERAL = 6
"""Most keywords that are kept of an answer."""
WIDEST = 40
"""Most columns of a keyword, where a Chinese character takes two: what is longer is running text."""
PARSE_STATES = ("keywords", "nothing", "sentence", "unreadable")
"""What an answer was: keywords; the statement that there is nothing; running text; no words at all."""
FAILURES = ("sentence", "unreadable")
"""The states of answers that were not what was asked for."""
PARSER_VERSION = 1
"""Raise it when `parse` reads an answer differently: it is part of `PROMPT_VERSION`, and so of store keys."""
_QUESTIONS = hashlib.sha256("\n".join(QUESTION.format(asked) for asked in ASKED.values()).encode()).hexdigest()
PROMPT_VERSION = f"fig4-{_QUESTIONS[:4]}-parser-{PARSER_VERSION}"

Conversation = list[dict]
"""Messages of one conversation, {role, content: [parts]}, as chat templates and OpenAI-compatible servers read them."""

_REASONING = re.compile(r"^.*</think>|<think>.*", re.DOTALL)
_MARKUP = re.compile(r"^\s*```\w*\s*$|[*`#]+|<\|\w*\|>", re.MULTILINE)
_NUMBER = re.compile(r"(?:^|\s)\d{1,2}[.)、．](?!\d)\s*", re.MULTILINE)
_BULLET = re.compile(r"^\s*[-+•·–]\s*", re.MULTILINE)
_TOPIC = r"key\s?(?:words?|phrases?)|gestures?|postures?|poses?|expressions?|verbal|text|caption"
_TOPIC_ZH = "关键词|手势|姿势|姿态|表情|文字"
_HEAD = re.compile(rf"^[^:：\n]*(?:\b(?:{_TOPIC})\b|{_TOPIC_ZH})[^:：\n]*[:：]|^[^\n]*[:：]\s*$", re.MULTILINE | re.I)
_SEPARATOR = re.compile(r"[,，、;；/|\n。]|\.\s")
_EDGES = " \t.\"'“”‘’「」『』[]{}"
_THING = rf"(?:{_TOPIC}|words?|speech|dialogue|hands?|face|information|content)"
_NOTHING = re.compile(
    r"none|nothing|n/?a|not (?:applicable|visible|present|available)|"
    r"(?:(?:there (?:is|are)|(?:the|this) (?:sticker|image|picture) (?:has|contains|shows)) )?"
    rf"no(?: [\w-]+){{0,2}}? {_THING}\b.*|"
    rf"(?:the|this) (?:sticker|image|picture) does(?: not|n't) \w+(?: [\w-]+){{0,2}}? {_THING}\b.*|"
    r"无|暂无|没有|(?:.{0,6}中)?(?:没有|无)(?:任何|明显的?|可见的?|特定的?|具体的?)?"
    r"(?:关键词|手势|姿势|姿态|文字|文本|字|台词|对话|内容|信息)(?:内容|信息)?",  # but 无表情 is an expression
    re.I,
)
_SENTENCE = re.compile(
    r"(?:in )?(?:the|this (?:sticker|image|picture|character|person)|it (?=shows|depicts|appears|seems|looks))\b.*"
    r"\b(?:is|are|has|have|shows?|depicts?|features?|appears?|seems?|looks?|conveys?|says?|reads?|does|can(?:not)?)"
    r"\b.*|(?:(?:i'm |i am )?(?:sorry|unable)|as an? (?:ai|language))\b.+|i (?:can(?:no|')t|see)\b.+|"
    r"(?:这|该|此)(?:个|张|幅|款)?(?:表情|贴纸|图|角色|人物).*|图(?:中|片|像)(?:的|是|里|显示|展示).*|"
    r"(?:抱歉|对不起).*(?:无法|不能).*",
    re.I | re.DOTALL,
)


def interview(pictures: Sequence[dict], reply: Callable[[list[Conversation]], Sequence[str]]) -> list[dict[str, str]]:
    """Lead the conversation of Fig. 4 about several pictures side by side.

    Args:
        pictures: One part of a message for each picture, in the form that `reply` understands.
        reply: The model: its next answer in each of the conversations.

    Returns:
        For each picture, attribute to raw answer.
    """
    conversations: list[Conversation] = [[] for _ in pictures]
    answers: list[dict[str, str]] = [{} for _ in pictures]
    for attribute, asked in ASKED.items():
        question = {"type": "text", "text": QUESTION.format(asked)}
        for conversation, picture in zip(conversations, pictures, strict=True):
            conversation.append({"role": "user", "content": [question] if conversation else [picture, question]})
        for conversation, said, text in zip(conversations, answers, reply(conversations), strict=True):
            conversation.append({"role": "assistant", "content": [{"type": "text", "text": text}]})
            said[attribute] = text
    return answers


def parse(answer: str) -> tuple[tuple[str, ...], str]:
    """Read the keywords out of an answer.

    Reasoning, markup, control tokens that a server lets through, list marks and heads (`Keywords:`) are dropped, then
    the rest is cut at commas, stops and line ends. A caption that denies itself ("没有") cannot be told from an answer
    that there is nothing.

    Returns:
        Keywords, at most `SEVERAL` and none twice, and the answer's state, one of `PARSE_STATES`. Every state but
        `keywords` comes without keywords.
    """
    text = _BULLET.sub("", _NUMBER.sub("\n", _MARKUP.sub("", _REASONING.sub("", answer))))
    text = _HEAD.sub("", text).strip()
    whole = " ".join(text.split()).strip(_EDGES + "。")
    if _NOTHING.fullmatch(whole):
        return (), "nothing"
    if _SENTENCE.fullmatch(whole):
        return (), "sentence"
    pieces = [re.sub(r"^(?:and|or|以及|和) ", "", piece.strip(_EDGES)) for piece in _SEPARATOR.split(text)]
    pieces = [piece for piece in pieces if _is_readable(piece)]
    words: dict[str, str] = {}
    for piece in pieces:
        if not _NOTHING.fullmatch(piece):
            words.setdefault(piece.casefold(), piece)
    keywords = [word for word in words.values() if _columns(word) <= WIDEST]
    if keywords:
        return tuple(keywords[:SEVERAL]), "keywords"
    return (), "sentence" if words else "nothing" if pieces else "unreadable"


def _is_readable(piece: str) -> bool:
    return any(character.isalnum() for character in piece) and "\ufffd" not in piece


def _columns(piece: str) -> int:
    """Width in a terminal, where Chinese characters take two columns."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in piece)
