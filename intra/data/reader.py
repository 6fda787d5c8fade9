"""Read and check a data set in the native layout.

manifest.json         name, version, licence, intentions, sha256 of every other file
conversations.jsonl   one conversation a line
stickers.jsonl        one sticker a line
images/               the pictures that `stickers.jsonl` names
"""

import functools
import hashlib
import json
import os
import reprlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from intra.config import PROFILES, RunConfig, unknown
from intra.data.intentions import INTENTIONS
from intra.data.schema import (
    ATTRIBUTES,
    LABEL_POLICIES,
    SPLITS,
    USAGES,
    Conversation,
    Dataset,
    Sticker,
    Utterance,
)
from intra.errors import IntraError
from intra.files import sha256
from intra.paths import REPLYSTICKERS

MANIFEST, CONVERSATIONS, STICKERS = "manifest.json", "conversations.jsonl", "stickers.jsonl"
PACKAGED = {"replystickers": REPLYSTICKERS}


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a data set, printed as `file:line: field: message`."""

    file: str
    line: int
    """0 where the whole file is meant."""
    field: str
    message: str

    def __str__(self):
        """The form that editors can jump to."""
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {self.field}: {self.message}"


@dataclass(frozen=True)
class _Field:
    """What a field of a JSON record must be."""

    type: type
    required: bool = True
    one_of: tuple[str, ...] | None = None
    empty_allowed: bool = False


_NAME = _Field(str)
_NOTE = _Field(str, required=False, empty_allowed=True)
_MANIFEST = {
    "name": _NAME,
    "version": _NAME,
    "licence": _NAME,
    "description": _NOTE,
    "intentions": _Field(list, required=False),
    "label_policy": _Field(str, required=False, one_of=LABEL_POLICIES),
    "label_texts": _Field(dict, required=False, empty_allowed=True),
    "files": _Field(dict),
}
_UTTERANCE = {"user": _NAME, "text": _NAME, "english": _NOTE}
_STICKER = {
    "id": _NAME,
    "splits": _Field(list),
    "image": _NAME,
    "attributes": _Field(dict, required=False, empty_allowed=True),
    "specification": _Field(dict, required=False, empty_allowed=True),
    "regions": _Field(dict, required=False, empty_allowed=True),
}


def _conversation_fields(intentions: tuple[str, ...]) -> dict[str, _Field]:
    return {
        "id": _NAME,
        "split": _Field(str, one_of=SPLITS),
        "utterances": _Field(list),
        "sender": _NAME,
        "usage": _Field(str, one_of=USAGES),
        "sticker": _NAME,
        "intention": _Field(str, one_of=intentions),
        "second_reading": _Field(str, required=False, one_of=("", *intentions), empty_allowed=True),
        "neighbour": _Field(str, required=False, one_of=("", *intentions), empty_allowed=True),
        "topic": _NOTE,
        "thread": _NOTE,
        "cue": _Field(int, required=False),
        "candidates": _Field(list, required=False),
        "knowledge": _NOTE,
    }


def _shape_problems(record: object, fields: dict[str, _Field]) -> Iterator[tuple[str, str]]:
    """Yield (field, message) for each field that is missing, unknown, of another type or not allowed."""
    if not isinstance(record, dict):
        yield "line", f"is a JSON {type(record).__name__}, not an object"
        return
    for name in sorted(record.keys() - fields.keys()):
        yield ascii(name)[1:-1], f"unknown field; known are {', '.join(fields)}"
    for name, rule in fields.items():
        if name not in record:
            if rule.required:
                yield name, "is missing"
            continue
        value = record[name]
        if not isinstance(value, rule.type) or isinstance(value, bool):
            yield name, f"is {type(value).__name__} {reprlib.repr(value)}, expected {rule.type.__name__}"
        elif not rule.empty_allowed and rule.type in (str, list, dict) and not value:
            yield name, "is empty"
        elif rule.type is str and value and not value.strip():
            yield name, "holds only white space"
        elif rule.type is str and any("\ud800" <= c <= "\udfff" for c in value):
            yield name, "holds half a surrogate pair, which is no character"
        elif rule.one_of is not None and value not in rule.one_of:
            yield name, f"{reprlib.repr(value)} is not one of {', '.join(filter(None, rule.one_of))}"


class _Reader:
    """One pass over a data set's folder that keeps every problem it meets."""

    def __init__(self, directory: Path):
        self.directory = directory
        self.problems: list[Problem] = []
        self.refused: set[str] = set()
        """Ids of lines that are not well-formed, so that what refers to them is not reported too."""

    def report(self, file: str, line: int, field: str, message: str) -> None:
        self.problems.append(Problem(file, line, field, message))

    def text(self, file: str) -> str | None:
        """Text of a file, or None with a problem."""
        try:
            return (self.directory / file).read_text(encoding="utf-8")
        except FileNotFoundError:
            self.report(file, 0, "file", "is missing")
        except UnicodeDecodeError as error:
            self.report(file, 0, "file", f"is not UTF-8 at byte {error.start}")
        except OSError as error:
            self.report(file, 0, "file", f"cannot be read: {error.strerror}")
        return None

    def record(self, file: str, line: int, text: str, fields: dict[str, _Field]) -> dict | None:
        """A JSON object with the given fields, or None with problems."""
        try:
            record = json.loads(text)
        except json.JSONDecodeError as error:
            self.report(file, line or error.lineno, "line", f"is no valid JSON: {error.msg} (column {error.colno})")
            return None
        except (ValueError, RecursionError) as error:
            self.report(file, line, "line", f"is no valid JSON: {error}")
            return None
        found = list(_shape_problems(record, fields))
        for field, message in found:
            self.report(file, line, field, message)
        if not found:
            return record
        if isinstance(record, dict) and isinstance(record.get("id"), str):
            self.refused.add(record["id"])
        return None

    def manifest(self) -> dict | None:
        text = self.text(MANIFEST)
        manifest = None if text is None else self.record(MANIFEST, 0, text, _MANIFEST)
        if manifest is None:
            return None
        names = manifest.get("intentions", [])
        if not all(isinstance(name, str) and name.strip() for name in names) or len(set(names)) < len(names):
            self.report(MANIFEST, 0, "intentions", "are not names that differ")
            return None
        if not all(isinstance(text, str) and text.strip() for text in manifest.get("label_texts", {}).values()):
            self.report(MANIFEST, 0, "label_texts", "holds something else than texts")
            return None
        return manifest

    def lines(self, file: str, fields: dict[str, _Field]) -> Iterator[tuple[int, dict]]:
        """Yield (line number, record) for the well-formed lines of a JSON Lines file, ids unique."""
        seen: dict[str, int] = {}
        text = self.text(file)
        # not splitlines(), which also cuts at marks that JSON text may hold (U+2028, U+0085)
        for number, line in enumerate((text or "").removesuffix("\n").split("\n"), 1):
            if not line.strip():
                if text and text.strip():
                    self.report(file, number, "line", "is blank")
                continue
            record = self.record(file, number, line, fields)
            if record is None:
                continue
            if record["id"].split() != [record["id"]]:
                self.report(file, number, "id", f"{record['id']!r} holds white space, as no name in a run file can")
                self.refused.add(record["id"])
                continue
            if record["id"] in seen:
                self.report(file, number, "id", f"{record['id']!r} stands already in line {seen[record['id']]}")
                continue
            seen[record["id"]] = number
            yield number, record
        if text is not None and not text.strip():
            self.report(file, 0, "file", "is empty")

    def stickers(self) -> dict[str, Sticker]:
        stickers = {}
        for number, record in self.lines(STICKERS, _STICKER):
            image, splits = self.directory / record["image"], record["splits"]
            if not image.is_file():
                self.report(STICKERS, number, "image", f"{record['image']} does not exist")
            for field, message in _sticker_problems(record):
                self.report(STICKERS, number, field, message)
                self.refused.add(record["id"])
            if record["id"] not in self.refused:
                stickers[record["id"]] = Sticker(**record | {"image": image, "splits": tuple(splits)})
        return stickers

    def conversations(self, stickers: dict[str, Sticker], intentions: tuple[str, ...]) -> list[Conversation]:
        file = CONVERSATIONS
        conversations = []
        for number, record in self.lines(file, _conversation_fields(intentions)):
            before = len(self.problems)
            utterances = tuple(self.utterances(file, number, record["utterances"]))
            candidates = tuple(record.get("candidates", ()))
            self.sticker_of(number, "sticker", record["sticker"], record["split"], stickers)
            for candidate in candidates:
                self.sticker_of(number, "candidates", candidate, record["split"], stickers)
            if candidates and (record["sticker"] not in candidates or len(set(map(str, candidates))) < len(candidates)):
                self.report(file, number, "candidates", "repeat, or leave out the sticker that was sent")
            if not 1 <= record.get("cue", 1) <= len(record["utterances"]):
                self.report(file, number, "cue", f"{record['cue']} is not between 1 and {len(record['utterances'])}")
            if len(self.problems) == before:
                conversations.append(Conversation(**record | {"utterances": utterances, "candidates": candidates}))
        return conversations

    def sticker_of(self, number: int, field: str, name: object, split: str, stickers: dict[str, Sticker]) -> None:
        """Report a sticker that a conversation names and its split does not hold."""
        sticker = stickers.get(name) if isinstance(name, str) else None
        if sticker is None:
            if stickers and str(name) not in self.refused:
                self.report(CONVERSATIONS, number, field, f"{reprlib.repr(name)} is not in {STICKERS}")
        elif split not in sticker.splits:
            message = f"{sticker.id!r} belongs to {', '.join(sticker.splits)}, not to {split}"
            self.report(CONVERSATIONS, number, field, message)

    def utterances(self, file: str, number: int, records: list) -> Iterator[Utterance]:
        for place, record in enumerate(records, 1):
            found = list(_shape_problems(record, _UTTERANCE))
            for field, message in found:
                name = f"utterances[{place}]"
                self.report(file, number, name if field == "line" else f"{name}.{field}", message)
            if not found:
                yield Utterance(**record)

    def checksums(self, files: dict[str, str], pictures: set[Path]) -> None:
        """Compare every file with the manifest, and pictures with what a picture is."""
        for file, expected in files.items():
            path = self.directory / file
            if not path.is_file():
                self.report(MANIFEST, 0, "files", f"{file} does not exist")
            elif sha256(path) != expected:
                self.report(file, 0, "sha256", f"differs from {MANIFEST}: the file was changed")
        pictures = {path for path in pictures.union((self.directory / "images").rglob("*")) if path.is_file()}
        tables = [self.directory / CONVERSATIONS, self.directory / STICKERS]
        for path in [path for path in tables if path.is_file()] + sorted(pictures):
            name = os.path.relpath(path, self.directory).replace(os.sep, "/")
            if name not in files:
                self.report(MANIFEST, 0, "files", f"{name} is not listed")
            if path in pictures and not _is_picture(path):
                self.report(name, 0, "image", "is no readable picture")

    def dataset(self, with_checksums: bool = False) -> Dataset | None:
        """The data set, as far as it is sound; None without a usable manifest."""
        manifest = self.manifest()
        if manifest is None:
            return None
        intentions = tuple(manifest.get("intentions") or INTENTIONS)
        stickers = self.stickers()
        conversations = self.conversations(stickers, intentions)
        if with_checksums:
            self.checksums(manifest["files"], {sticker.image for sticker in stickers.values()})
        return Dataset(
            manifest["name"],
            manifest["version"],
            tuple(conversations),
            tuple(stickers.values()),
            intentions,
            manifest.get("label_policy", "majority"),
            manifest.get("label_texts", {}),
        )


def _sticker_problems(record: dict) -> Iterator[tuple[str, str]]:
    """Yield (field, message) for what is wrong inside a sticker's lists."""
    splits, attributes = record["splits"], record.get("attributes", {})
    if any(split not in SPLITS for split in splits) or len(set(splits)) < len(splits):
        yield "splits", f"{reprlib.repr(splits)} are not different names of {', '.join(SPLITS)}"
    for name, words in attributes.items():
        if name not in ATTRIBUTES:
            yield f"attributes.{ascii(name)[1:-1]}", f"unknown attribute; known are {', '.join(ATTRIBUTES)}"
        elif not isinstance(words, list) or not all(isinstance(word, str) and word.strip() for word in words):
            yield f"attributes.{name}", f"is {reprlib.repr(words)}, expected a list of words"


def _is_picture(path: Path) -> bool:
    try:
        with Image.open(path) as image:
            image.load()  # verify() lets a picture pass that was cut off
    except Exception:  # Pillow leaks the errors of its decoders
        return False
    return True


def resolve(dataset: str | Path) -> Path:
    """Folder of a data set, given the name of a packaged one or a path.

    Raises:
        IntraError: If it is neither.
    """
    directory = PACKAGED.get(str(dataset), Path(dataset))
    if not directory.is_dir():
        raise IntraError(f"{dataset}: no such data set; name a folder or one of {', '.join(PACKAGED)}")
    return directory


def validate(dataset: str | Path) -> list[Problem]:
    """Everything wrong with a data set, found in one pass; empty when it is sound."""
    reader = _Reader(resolve(dataset))
    reader.dataset(with_checksums=True)
    return reader.problems


def load_dataset(dataset: str | Path = "replystickers") -> Dataset:
    """Read a data set.

    Args:
        dataset: `replystickers`, or the folder of a data set in the native layout.

    Returns:
        The data set, every line of it checked; pictures are opened only when they are needed.

    Raises:
        IntraError: At the first problem, naming file, line and field, and the number of others.
    """
    reader = _Reader(resolve(dataset))
    loaded = reader.dataset()
    if reader.problems:
        others = len(reader.problems) - 1
        more = f" (and {others} more: intra data validate {dataset})" if others else ""
        raise IntraError(f"{reader.directory}/{reader.problems[0]}{more}")
    return loaded


def dataset_digest(dataset: str | Path) -> str:
    """First 12 digits of the SHA-256 of a data set's text files; the manifest names the pictures' own."""
    directory = resolve(dataset)
    files = ("manifest.json", "conversations.jsonl", "stickers.jsonl")
    return hashlib.sha256("".join(sha256(directory / file) for file in files).encode()).hexdigest()[:12]


def profile_dataset(dataset: str, profile: str) -> Dataset:
    """The data set, cut to the conversations that the profile keeps (and their stickers)."""
    if profile not in PROFILES:
        raise IntraError(unknown("profile", profile, PROFILES))
    loaded, limit = load_dataset(dataset), PROFILES[profile].conversations_per_split
    if limit is None:
        return loaded
    kept = tuple(c for split in SPLITS for c in loaded.split(split).conversations[:limit])
    used = {sticker for c in kept for sticker in (c.sticker, *c.candidates)}
    stickers = tuple(s for s in loaded.stickers if s.id in used)
    return replace(loaded, conversations=kept, stickers=stickers)


def config_dataset(config: RunConfig) -> Dataset:
    """The data set of a run, as its profile keeps it, with the label policy and the gallery of the run.

    All training conversations are there, also where only a share of them is learned from. A process reads it once.
    """
    dataset = _profile_dataset(config.dataset, config.profile)
    policy = dataset.label_policy if config.label_policy == "dataset" else config.label_policy
    return replace(dataset, label_policy=policy, gallery=config.gallery)


_profile_dataset = functools.lru_cache(maxsize=2)(profile_dataset)
