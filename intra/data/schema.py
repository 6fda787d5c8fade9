"""The objects every other module speaks of: utterances, conversations, stickers and the data set."""

from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

SPLITS = ("train", "valid", "test")
USAGES = ("reply", "supplement")
"""`reply`: the sticker answers alone; `supplement`: it follows the sender's own words (paper, Fig. 1)."""
ATTRIBUTES = {"gesture": "手势", "posture": "姿势", "facial_expression": "表情", "verbal": "文字"}
"""The four attributes of a sticker (Eq. 7), with the Chinese name that opens each description."""
LABEL_POLICIES = ("majority", "last", "all")
"""Which of its conversations' intentions a sticker has: the commonest, that of the last, or every one."""


@dataclass(frozen=True)
class Utterance:
    """One message of a conversation."""

    user: str
    text: str
    english: str = ""
    """A rendering for readers of the book; no model reads it."""


@dataclass(frozen=True)
class Conversation:
    """The utterances up to a sticker, and the sticker that was sent."""

    id: str
    split: str
    utterances: tuple[Utterance, ...]
    """Oldest first, at least one."""
    sender: str
    """The user who sends the sticker."""
    usage: str
    sticker: str
    """Id of the sticker that was sent."""
    intention: str
    second_reading: str = ""
    """The intention that a second reader chose from the utterances alone; empty where nobody did."""
    neighbour: str = ""
    """A second intention that the writer meant to be nearly as sensible; empty if none."""
    topic: str = ""
    thread: str = ""
    """Topic of an unrelated conversation that runs through this one; empty if none."""
    cue: int | None = None
    """Number (from 1) of the utterance that gives the reason for the intention, where known."""
    candidates: tuple[str, ...] = ()
    """Ids of the stickers that are ranked for this conversation; empty: all of its split."""
    knowledge: str = ""
    """Commonsense text that came with the data; empty: a knowledge source is asked."""

    @property
    def users(self) -> set[str]:
        """Everybody who takes part, the sender of the sticker included."""
        return {utterance.user for utterance in self.utterances} | {self.sender}


@dataclass(frozen=True)
class Sticker:
    """One picture, and what its drawing specification says of it where that is known."""

    id: str
    splits: tuple[str, ...]
    """The splits whose gallery holds it."""
    image: Path
    attributes: dict[str, list[str]] = field(default_factory=dict)
    """Keywords by attribute that came with the data; empty: an attribute source is asked."""
    specification: dict = field(default_factory=dict)
    """Fields of `StickerSpecification`: the truth taggers are scored against, read by no model."""
    regions: dict = field(default_factory=dict)
    """Name of a part (face, hand, caption, ...) to its box (x0, y0, x1, y1) in pixels."""


@dataclass(frozen=True)
class Dataset:
    """Conversations, stickers and the intentions they are labelled with."""

    name: str
    version: str
    conversations: tuple[Conversation, ...]
    stickers: tuple[Sticker, ...]
    intentions: tuple[str, ...]
    label_policy: str = "majority"
    """One of `LABEL_POLICIES`."""
    label_texts: dict[str, str] = field(default_factory=dict)
    """Intention to the text that stands for it in an encoder; an intention without one stands for itself."""
    gallery: str = "split"
    """Gallery of validation and test conversations: the stickers of their `split`, or `all`."""
    labels: dict[str, tuple[str, ...]] | None = None
    """Intentions of each sticker where more conversations than these decide them; None: these do."""

    def split(self, name: str) -> "Dataset":
        """The same data set, cut to one split; its stickers are the gallery of that split.

        Where that is all stickers, they have the intentions that all conversations give them.

        Raises:
            ValueError: If `name` is no split.
        """
        if name not in SPLITS:
            raise ValueError(f"split {name!r} is not one of {', '.join(SPLITS)}")
        conversations = tuple(c for c in self.conversations if c.split == name)
        if self.gallery == "all" and name != "train":
            return replace(self, conversations=conversations, labels=self.sticker_intentions())
        return replace(self, conversations=conversations, stickers=tuple(s for s in self.stickers if name in s.splits))

    def sticker_intentions(self) -> dict[str, tuple[str, ...]]:
        """The intentions of each sticker by the label policy, in the order of `intentions`.

        A sticker that no conversation uses has none and is missing from the answer. On a tie, `majority` takes
        the intention that comes first in `intentions`.
        """
        if self.labels is not None:
            return self.labels
        sent: dict[str, list[str]] = {}
        for conversation in self.conversations:
            sent.setdefault(conversation.sticker, []).append(conversation.intention)
        return {sticker: self._label(intentions) for sticker, intentions in sent.items()}

    def _label(self, sent: list[str]) -> tuple[str, ...]:
        """One sticker's intentions, from those of its conversations."""
        if self.label_policy == "last":
            return (sent[-1],)
        counts = Counter(sent)
        ordered = sorted(counts, key=self.intentions.index)
        return tuple(ordered) if self.label_policy == "all" else (max(ordered, key=counts.__getitem__),)
