"""Read and check a data set in the native layout.

manifest.json         name, version, licence, intentions, sha256 of every other file
conversations.jsonl   one conversation a line
stickers.jsonl        one sticker a line
images/               the pictures that `stickers.jsonl` names
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from intra.data.intentions import INTENTIONS
from intra.data.schema import SPLITS, USAGES, Conversation, Dataset, Sticker, Utterance
from intra.errors import IntraError
from intra.paths import REPLYSTICKERS

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
    "files": _Field(dict),
}
_UTTERANCE = {"user": _NAME, "text": _NAME, "english": _NOTE}
_STICKER = {
    "id": _NAME,
    "split": _Field(str, one_of=SPLITS),
    "image": _NAME,
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
        "neighbour": _Field(str, required=False, one_of=("", *intentions), empty_allowed=True),
        "topic": _NOTE,
        "thread": _NOTE,
        "cue": _Field(int, required=False),
    }


def _shape_problems(record: object, fields: dict[str, _Field]) -> Iterator[tuple[str, str]]:
    """Yield (field, message) for each field that is missing, unknown, of another type or not allowed."""
    if not isinstance(record, dict):
        yield "line", f"is a JSON {type(record).__name__}, not an object"
        return
    for name in record.keys() - fields.keys():
        yield name, f"unknown field; known are {', '.join(fields)}"
    for name, rule in fields.items():
        if name not in record:
            if rule.required:
                yield name, "is missing"
            continue
        value = record[name]
        if not isinstance(value, rule.type) or isinstance(value, bool):
            yield name, f"is {type(value).__name__} {value!r}, expected {rule.type.__name__}"
        elif not rule.empty_allowed and rule.type in (str, list, dict) and not value:
            yield name, "is empty"
        elif rule.type is str and value and not value.strip():
            yield name, "holds only white space"
        elif rule.one_of is not None and value not in rule.one_of:
            yield name, f"{value!r} is not one of {', '.join(filter(None, rule.one_of))}"


class _Reader:
    """One pass over a data set's folder that keeps every problem it meets."""

    def __init__(self, directory: Path):
        self.directory = directory
        self.problems: list[Problem] = []

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

    def json(self, file: str, line: int, text: str) -> object | None:
        """Parsed JSON, or None with a problem."""
        try:
            return json.loads(text)
        except json.JSONDecodeError as error:
            self.report(file, line or error.lineno, "line", f"is no valid JSON: {error.msg} (column {error.colno})")
            return None

    def manifest(self) -> dict | None:
        text = self.text("manifest.json")
        record = None if text is None else self.json("manifest.json", 0, text)
        if record is None:
            return None
        found = list(_shape_problems(record, _MANIFEST))
        for field, message in found:
            self.report("manifest.json", 0, field, message)
        return None if found else record

    def lines(self, file: str, fields: dict[str, _Field]) -> Iterator[tuple[int, dict]]:
        """Yield (line number, record) for the well-formed lines of a JSON Lines file, ids unique."""
        seen: dict[str, int] = {}
        text = self.text(file)
        for number, line in enumerate((text or "").splitlines(), 1):
            if not line.strip():
                self.report(file, number, "line", "is blank")
                continue
            record = self.json(file, number, line)
            if record is None:
                continue
            found = list(_shape_problems(record, fields))
            for field, message in found:
                self.report(file, number, field, message)
            if found:
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
        for number, record in self.lines("stickers.jsonl", _STICKER):
            image = self.directory / record["image"]
            if not image.is_file():
                self.report("stickers.jsonl", number, "image", f"{record['image']} does not exist")
            stickers[record["id"]] = Sticker(**record | {"image": image})
        return stickers

    def conversations(self, stickers: dict[str, Sticker], intentions: tuple[str, ...]) -> list[Conversation]:
        file = "conversations.jsonl"
        conversations = []
        for number, record in self.lines(file, _conversation_fields(intentions)):
            before = len(self.problems)
            utterances = tuple(self.utterances(file, number, record["utterances"]))
            sticker = stickers.get(record["sticker"])
            if sticker is None:
                self.report(file, number, "sticker", f"{record['sticker']!r} is not in stickers.jsonl")
            elif sticker.split != record["split"]:
                self.report(
                    file,
                    number,
                    "sticker",
                    f"{sticker.id!r} belongs to {sticker.split}, not to {record['split']}",
                )
            if not 1 <= record.get("cue", 1) <= len(record["utterances"]):
                self.report(file, number, "cue", f"{record['cue']} is not between 1 and {len(record['utterances'])}")
            if len(self.problems) == before:
                conversations.append(Conversation(**record | {"utterances": utterances}))
        return conversations

    def utterances(self, file: str, number: int, records: list) -> Iterator[Utterance]:
        for place, record in enumerate(records, 1):
            found = list(_shape_problems(record, _UTTERANCE))
            for field, message in found:
                self.report(file, number, f"utterances[{place}].{field}", message)
            if not found:
                yield Utterance(**record)

    def checksums(self, files: dict[str, str]) -> None:
        """Compare every file with the manifest, and pictures with what a picture is."""
        for file, expected in files.items():
            path = self.directory / file
            if not path.is_file():
                self.report("manifest.json", 0, "files", f"{file} does not exist")
            elif sha256(path) != expected:
                self.report(file, 0, "sha256", "differs from manifest.json: the file was changed")
        for path in sorted((self.directory / "images").glob("*")):
            name = f"images/{path.name}"
            if name not in files:
                self.report("manifest.json", 0, "files", f"{name} is not listed")
            try:
                with Image.open(path) as image:
                    image.verify()
            except Exception:
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
            self.checksums(manifest["files"])
        return Dataset(
            manifest["name"], manifest["version"], tuple(conversations), tuple(stickers.values()), intentions
        )


def sha256(path: Path) -> str:
    """Hexadecimal digest of a file's content."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


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
        raise IntraError(f"{reader.directory / str(reader.problems[0])}{more}")
    return loaded
