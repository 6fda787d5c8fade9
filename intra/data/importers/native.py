"""Writing the native layout one conversation at a time, so that memory does not grow with the text."""

import io
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from PIL import Image, UnidentifiedImageError
from tqdm import tqdm

from intra.config import unknown
from intra.data.importers.report import Report
from intra.data.reader import CONVERSATIONS, MANIFEST, STICKERS
from intra.data.schema import LABEL_POLICIES, SPLITS
from intra.errors import IntraError
from intra.files import sha256, written_whole

GALLERIES = ("split", "all")
OWN_WORDS = ("keep", "drop")
LANGUAGES = ("chinese", "english")
_HALF_PAIR = re.compile(r"[\ud800-\udfff]")
"""Half a surrogate pair, which JSON can hold and no file can."""
_SUFFIXES = {"JPEG": ".jpg", "PNG": ".png", "GIF": ".gif", "WEBP": ".webp", "BMP": ".bmp", "TIFF": ".tif"}


@dataclass(frozen=True)
class ImportOptions:
    """What to do where a format leaves a choice."""

    labels: str = "majority"
    """Which intention a sticker has whose conversations differ (`schema.LABEL_POLICIES`)."""
    gallery: str = "split"
    """`split`: a split's gallery holds the stickers that it uses; `all`: every sticker of the data set."""
    own_words: str = "keep"
    """What the sender writes with the sticker: `keep` it as last utterance (usage `supplement`), or `drop` it."""
    language: str = "chinese"
    """Which version of a data set that has two."""

    def __post_init__(self):
        """Refuse values that are not known.

        Raises:
            IntraError: Naming the option.
        """
        choices = {"labels": LABEL_POLICIES, "gallery": GALLERIES, "own_words": OWN_WORDS, "language": LANGUAGES}
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise IntraError(unknown(name.replace("_", " "), getattr(self, name), known))


@dataclass
class Sample:
    """A conversation as a format gives it, not yet checked."""

    place: str
    """Where it stands, `file:line`, for the report."""
    id: str
    split: str
    utterances: list[tuple[str, str]]
    """(user, text), oldest first."""
    sender: str
    sticker: str
    intention: str
    usage: str = ""
    """Empty: `supplement` where the sender also wrote last, else `reply`."""
    knowledge: str = ""
    candidates: list[str] = field(default_factory=list)
    attributes: dict[str, list[str]] = field(default_factory=dict)
    """Of the sticker."""


class Source(Protocol):
    """A data set in another format."""

    name: str
    intentions: dict[str, str] | None
    """The labels and the texts that stand for them; None: whatever the conversations have."""

    def samples(self) -> Iterator[Sample]:
        """Every sample, in the order of the files, with remarks in the report for what is not one."""

    def picture(self, sticker: str) -> bytes:
        """An image file.

        Raises:
            KeyError: If there is none.
            ValueError: If what there is cannot be decoded, saying why.
        """


class _Writer:
    """Checks samples, writes them, and remembers of each sticker what its line needs."""

    def __init__(self, folder: Path, source: Source, options: ImportOptions, report: Report):
        self.folder, self.source, self.options, self.report = folder, source, options, report
        self.conversations: set[str] = set()
        self.images: dict[str, str | None] = {}
        """Sticker to its image file; None where it has none."""
        self.splits: dict[str, set[str]] = {}
        self.attributes: dict[str, dict[str, list[str]]] = {}
        self.intentions: dict[str, set[str]] = {}
        (folder / "images").mkdir()

    def write(self) -> None:
        """Everything, in one pass over the samples."""
        with (self.folder / CONVERSATIONS).open("w", encoding="utf-8") as file:
            for sample in tqdm(self.source.samples(), desc=self.source.name, unit=" samples"):
                if self.accept(sample):
                    file.write(json.dumps(self.conversation(sample), ensure_ascii=False) + "\n")
        if not self.conversations:
            raise IntraError(f"{self.source.name}: nothing could be imported; {self.report.summary()}")
        self.note_stickers()
        with (self.folder / STICKERS).open("w", encoding="utf-8") as file:
            for sticker in self.splits:
                file.write(json.dumps(self.sticker(sticker), ensure_ascii=False) + "\n")
        self.seal()

    def accept(self, sample: Sample) -> bool:
        """Whether a sample can be a conversation; if not, the report says why."""
        self.clean(sample)
        if fault := self.fault(sample):
            self.report.add("refused", sample.place, *fault)
            return False
        sample.candidates = list(self.candidates(sample))
        return True

    def clean(self, sample: Sample) -> None:
        """Make every text of a sample valid, leave empty utterances out, and tell the usage where it is not told."""
        place = sample.place
        utterances = [
            (self.cleaned(user, place) or "User", self.cleaned(text, place)) for user, text in sample.utterances
        ]
        sample.utterances = [(user, text) for user, text in utterances if text]
        for _ in range(len(utterances) - len(sample.utterances)):
            self.report.add("skipped", place, "empty utterance")
        sample.sender, sample.knowledge = self.cleaned(sample.sender, place), self.cleaned(sample.knowledge, place)
        sample.attributes = {
            name: [self.cleaned(word, place) for word in words] for name, words in sample.attributes.items()
        }
        wrote_last = bool(sample.utterances) and sample.utterances[-1][0] == sample.sender
        sample.usage = sample.usage or ("supplement" if wrote_last else "reply")

    def cleaned(self, text: str, place: str) -> str:
        """A text as a file can hold it, without white space around it."""
        clean = _HALF_PAIR.sub("?", text).strip()
        if clean != text.strip():
            self.report.add("repaired", place, "half a surrogate pair replaced", clean)
        return clean

    def candidates(self, sample: Sample) -> Iterator[str]:
        """The candidates of a sample that can be ranked, each once."""
        for sticker, times in Counter(sample.candidates).items():
            if times > 1:
                self.report.add("repaired", sample.place, "repeated candidate left out", sticker)
            if _is_id(sticker) and self.image(sticker, sample.place):
                yield sticker
            else:
                self.report.add("repaired", sample.place, "candidate without a picture left out", sticker)

    def fault(self, sample: Sample) -> tuple[str, str] | None:
        """The first thing wrong with a sample: what, and in detail."""
        known = self.source.intentions
        if sample.id in self.conversations:
            return "repeated id", sample.id
        if not _is_id(sample.id) or not _is_id(sample.sticker):
            return "id is empty or holds white space", f"{sample.id!r}, {sample.sticker!r}"
        if not sample.utterances:
            return "no utterance before the sticker", ""
        if not sample.sender:
            return "no sender", ""
        if not _is_label(sample.intention, known):
            return "unknown label", repr(sample.intention)
        if self.image(sample.sticker, sample.place) is None:
            return "sticker without a picture", sample.sticker
        if sample.candidates and sample.sticker not in sample.candidates:
            return "the sticker is not among its candidates", sample.sticker
        return None

    def image(self, sticker: str, place: str) -> str | None:
        """Name of a sticker's image file, written when the sticker is first met."""
        if sticker not in self.images:
            self.images[sticker] = self.written_image(sticker, place)
        return self.images[sticker]

    def written_image(self, sticker: str, place: str) -> str | None:
        try:
            data = self.source.picture(sticker)
            with Image.open(io.BytesIO(data)) as image:
                suffix = _SUFFIXES.get(image.format, "")
                image.load()
        except KeyError:
            self.report.add("refused", place, "picture is missing", sticker)
            return None
        except UnidentifiedImageError:
            self.report.add("refused", place, "picture cannot be read", f"{sticker}: no image file")
            return None
        except Exception as error:  # Pillow leaks the errors of its decoders
            self.report.add("refused", place, "picture cannot be read", f"{sticker}: {error}")
            return None
        if not suffix:
            self.report.add("refused", place, "picture of a format that is not supported", f"{sticker}: {image.format}")
            return None
        # ids come from the data and must not lead out of the folder; the number keeps such names apart
        name = sticker if re.fullmatch(r"[\w+-][\w.+-]{0,59}", sticker) else f"~{len(self.images)}"
        (self.folder / "images" / f"{name}{suffix}").write_bytes(data)
        return f"images/{name}{suffix}"

    def conversation(self, sample: Sample) -> dict:
        """The line of a sample, and what it says of its stickers."""
        self.conversations.add(sample.id)
        for sticker in [sample.sticker, *sample.candidates]:
            self.splits.setdefault(sticker, set()).add(sample.split)
        self.intentions.setdefault(sample.sticker, set()).add(sample.intention)
        if sample.attributes and self.attributes.setdefault(sample.sticker, sample.attributes) != sample.attributes:
            self.report.add("noted", sample.place, "other attributes than before; the first count", sample.sticker)
        record = {
            "id": sample.id,
            "split": sample.split,
            "intention": sample.intention,
            "usage": sample.usage,
            "sender": sample.sender,
            "sticker": sample.sticker,
            "utterances": [{"user": user, "text": text} for user, text in sample.utterances],
        }
        optional = {"knowledge": sample.knowledge, "candidates": sample.candidates}
        return record | {name: value for name, value in optional.items() if value}

    def note_stickers(self) -> None:
        """Remark on stickers with several intentions or in several splits."""
        for sticker, splits in self.splits.items():
            if len(intentions := self.intentions.get(sticker, set())) > 1:
                detail = f"{sticker}: {', '.join(sorted(intentions))}"
                self.report.add("noted", STICKERS, "sticker with several intentions; see --labels", detail)
            if len(splits) > 1:
                detail = f"{sticker}: {', '.join(sorted(splits))}"
                self.report.add("noted", STICKERS, "sticker in several splits", detail)

    def sticker(self, sticker: str) -> dict:
        """The line of a sticker."""
        own = SPLITS if self.options.gallery == "all" else self.splits[sticker]
        record = {
            "id": sticker,
            "splits": [split for split in SPLITS if split in own],
            "image": self.images[sticker],
        }
        attributes = self.attributes.get(sticker)
        return record | ({"attributes": attributes} if attributes else {})

    def seal(self) -> None:
        """Write the manifest; pictures that no conversation took in the end are removed."""
        kept = {self.images[sticker] for sticker in self.splits}
        for path in (self.folder / "images").iterdir():
            if f"images/{path.name}" not in kept:
                path.unlink()
        files = [self.folder / CONVERSATIONS, self.folder / STICKERS, *sorted((self.folder / "images").iterdir())]
        labels = self.source.intentions or {name: "" for name in sorted(set().union(*self.intentions.values()))}
        manifest = {
            "name": self.source.name,
            "version": "imported",
            "licence": "as its source",
            "intentions": list(labels),
            "label_policy": self.options.labels,
            "label_texts": {name: text for name, text in labels.items() if text},
            "files": {path.relative_to(self.folder).as_posix(): sha256(path) for path in files},
        }
        text = json.dumps(manifest, ensure_ascii=False, indent=1)
        (self.folder / MANIFEST).write_text(text + "\n", encoding="utf-8")


def _is_id(text: str) -> bool:
    """Whether a run file and a JSON file can hold a text as an id."""
    return text.split() == [text] and not _HALF_PAIR.search(text)


def _is_label(text: str, known: dict[str, str] | None) -> bool:
    """Whether a text is one of the known labels, or any label where none are known."""
    return bool(text.strip()) and not _HALF_PAIR.search(text) and (known is None or text in known)


def import_source(open_source: Callable[[Report], Source], out: Path, options: ImportOptions) -> Report:
    """Write a source in the native layout (see `import_dataset`)."""
    if out.exists():
        raise IntraError(f"{out}: exists already; name a folder that does not")
    with written_whole(out) as folder:
        report = Report(folder)
        try:
            _Writer(folder, open_source(report), options, report).write()
        finally:
            report.close()
    return report
