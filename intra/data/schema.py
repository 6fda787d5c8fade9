"""The objects every other module speaks of: utterances, conversations, stickers and the data set."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

SPLITS = ("train", "valid", "test")
USAGES = ("reply", "supplement")
"""`reply`: the sticker answers alone; `supplement`: it follows the sender's own words (paper, Fig. 1)."""


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
    neighbour: str = ""
    """A second intention that the writer meant to be nearly as sensible; empty if none."""
    topic: str = ""
    thread: str = ""
    """Topic of an unrelated conversation that runs through this one; empty if none."""
    cue: int | None = None
    """Number (from 1) of the utterance that gives the reason for the intention, where known."""

    @property
    def users(self) -> set[str]:
        """Everybody who takes part, the sender of the sticker included."""
        return {utterance.user for utterance in self.utterances} | {self.sender}


@dataclass(frozen=True)
class Sticker:
    """One picture, and what its drawing specification says of it where that is known."""

    id: str
    split: str
    image: Path
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

    def split(self, name: str) -> "Dataset":
        """The same data set, cut to one split; its stickers are the gallery of that split.

        Raises:
            ValueError: If `name` is no split.
        """
        if name not in SPLITS:
            raise ValueError(f"split {name!r} is not one of {', '.join(SPLITS)}")
        return Dataset(
            self.name,
            self.version,
            tuple(c for c in self.conversations if c.split == name),
            tuple(s for s in self.stickers if s.split == name),
            self.intentions,
        )

    def sticker_intentions(self) -> dict[str, str]:
        """Each sticker's intention: the one most of its conversations have, earlier in `intentions` on a tie.

        A sticker that no conversation uses has none and is missing from the answer.
        """
        counts: dict[str, Counter] = {}
        for conversation in self.conversations:
            counts.setdefault(conversation.sticker, Counter())[conversation.intention] += 1
        order = {intention: place for place, intention in enumerate(self.intentions)}
        return {
            sticker: min(count, key=lambda intention: (-count[intention], order[intention]))
            for sticker, count in counts.items()
        }
