"""StickerInt, in the layout that the released loaders of Int-RA expect.

intent_label.txt                              id, name, Chinese text, tab-separated
{train,valid,test}_contexts_total_key.jsonl   one conversation a line, with one or more image ids
{train,valid,test}_imgs.tsv                   image id, base64
<group>_response.json                         messages of a group, if there: compared with the labels above

LMDB folders `<split>/pairs` and `imgs` may stand instead of the second and the third.
"""

import ast
import base64
import binascii
import io
import json
import pickle
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from intra.data.importers.native import ImportOptions, Sample
from intra.data.importers.report import Report
from intra.data.schema import ATTRIBUTES, SPLITS
from intra.errors import IntraError
from intra.paper import table_one

LABELS, CONTEXTS, PICTURES = "intent_label.txt", "{}_contexts_total_key.jsonl", "{}_imgs.tsv"
PAIR = "image_id textid text style form coarse_intent fined_intent intent_zh keyword speaker comet".split()
"""Fields of the tuple that LMDB `pairs` hold."""
STYLE_COPY = re.compile(r"\+(real|people|animal|cartoon)\.jpg$")
"""Ids of pictures redrawn in another style, which are no stickers of the data set."""


class StickerInt:
    """See `native.Source`."""

    name = "StickerInt"

    def __init__(self, folder: Path, options: ImportOptions, report: Report):
        """Find the files.

        Raises:
            IntraError: If the labels, all conversations or all pictures are missing, or `lmdb` is needed and is not
                there.
        """
        self.folder, self.options, self.report = folder, options, report
        self.intentions = self._labels(folder / LABELS)
        self.contexts = {s: p for s in SPLITS if (p := folder / CONTEXTS.format(s)).is_file()}
        self.pairs = [] if self.contexts else [p for p in _databases(folder, "pairs") if p.parent.name in SPLITS]
        if not self.contexts and not self.pairs:
            raise IntraError(f"{folder}: holds neither {CONTEXTS.format('train')} nor LMDB folders <split>/pairs")
        self.offsets = self._picture_offsets()
        self.databases = _databases(folder, "imgs")
        for path in self.databases:
            with _reading(path):
                pass  # a fault is told before the work starts
        if not self.offsets and not self.databases:
            raise IntraError(f"{folder}: holds neither {PICTURES.format('train')} nor an LMDB folder imgs")

    def samples(self) -> Iterator[Sample]:
        """See `native.Source.samples`; sizes that differ from Table I are noted."""
        labels: dict[str, str] = {}
        for split in SPLITS:
            stickers, size = set(), {"conversations": 0, "utterances": 0}
            for place, record in self._records(split):
                for number in range(len(record["image_ids"])):
                    if sample := self._sample(place, split, record, number):
                        size["conversations"] += 1
                        size["utterances"] += sum(bool(words.strip()) for _, words in sample.utterances)
                        stickers.add(sample.sticker)
                        labels[sample.sticker] = sample.intention
                        yield sample
            self._compare_size(split, size | {"stickers": len(stickers)})
        self._compare_responses(labels)

    def picture(self, sticker: str) -> bytes:
        """See `native.Source.picture`."""
        if sticker in self.offsets:
            path, offset = self.offsets[sticker]
            with path.open("rb") as file:
                file.seek(offset)
                return _decoded(file.readline().rstrip(b"\r\n"))
        for database in self.databases:
            with _reading(database) as transaction:
                if (value := transaction.get(sticker.encode())) is not None:
                    return _decoded(bytes(value))
        raise KeyError(sticker)

    def _labels(self, path: Path) -> dict[str, str]:
        """Label names to their Chinese texts, by rising id."""
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise IntraError(f"{path}: cannot be read: {error}; it names the labels") from None
        rows: dict[int, tuple[str, str]] = {}
        for number, line in enumerate(lines, 1):
            columns = [column.strip() for column in line.split("\t")]
            if not line.strip():
                continue
            if len(columns) != 3 or not re.fullmatch(r"\d{1,4}", columns[0]) or not columns[1]:
                raise IntraError(f"{path}:{number}: is {line!r}, expected id, name and text separated by tabs")
            if int(columns[0]) in rows or columns[1].lower() in {name for name, _ in rows.values()}:
                raise IntraError(f"{path}:{number}: {line!r} repeats an id or a name")
            rows[int(columns[0])] = columns[1].lower(), columns[2]
        if sorted(rows) != list(range(len(rows))):
            self.report.add("noted", LABELS, "ids do not run from 0 without a gap", f"{sorted(rows)}")
        return {name: text for _, (name, text) in sorted(rows.items())}

    def _picture_offsets(self) -> dict[str, tuple[Path, int]]:
        """Image id to the file and the byte where its base64 text starts; the pictures stay on disk."""
        offsets: dict[str, tuple[Path, int]] = {}
        for path in (self.folder / PICTURES.format(split) for split in SPLITS):
            if not path.is_file():
                continue
            with path.open("rb") as file:
                start = 0
                for number, line in enumerate(file, 1):
                    place, here = f"{path.name}:{number}", (path, start + line.find(b"\t") + 1)
                    if identifier := self._image_id(place, line):
                        first = offsets.setdefault(identifier, here)
                        if first is not here and first[0] == path:  # files of other splits repeat what they share
                            self.report.add("noted", place, "repeated; the first counts", identifier)
                    start += len(line)
        return offsets

    def _image_id(self, place: str, line: bytes) -> str:
        """Image id of a row; empty, with a remark unless the row is blank, if there is none to take in."""
        name, tab, _ = line.partition(b"\t")
        identifier = name.decode("utf-8-sig", "replace").strip()
        if STYLE_COPY.search(identifier):
            self.report.add("skipped", place, "copy in another style", identifier)
        elif tab and identifier:
            return identifier
        elif line.strip():
            self.report.add("refused", place, "line is no image id, tab and base64 text")
        return ""

    def _records(self, split: str) -> Iterator[tuple[str, dict]]:
        """Yield (place, record with `image_ids`) of one split."""
        if split in self.contexts:
            yield from self._lines(self.contexts[split])
        elif not any(path.parent.name == split for path in self.pairs):
            self.report.add("noted", split, "there is no such split")
        for path in self.pairs:
            if path.parent.name == split:
                yield from self._tuples(path)

    def _lines(self, path: Path) -> Iterator[tuple[str, dict]]:
        required = set(PAIR) - {"image_id"} | {"image_ids"}
        with path.open("rb") as file:
            for number, raw in enumerate(file, 1):
                place = f"{path.name}:{number}"
                if not raw.strip():
                    continue
                try:
                    record = self._parsed(place, raw.decode("utf-8-sig"))
                except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError) as error:
                    self.report.add("refused", place, "line is neither JSON nor a Python literal", str(error))
                    continue
                missing = sorted(required - record.keys()) if isinstance(record, dict) else ["an object"]
                if missing:
                    self.report.add("refused", place, "line lacks a field", ", ".join(missing))
                elif not isinstance(record["image_ids"], list) or not record["image_ids"]:
                    self.report.add("refused", f"{place}: image_ids", "is empty, or no list of ids")
                else:
                    yield place, record

    def _parsed(self, place: str, text: str) -> object:
        try:
            return json.loads(text)
        except json.JSONDecodeError:
            record = ast.literal_eval(text.strip())
            self.report.add("repaired", place, "Python literal read instead of JSON")
            return record

    def _tuples(self, path: Path) -> Iterator[tuple[str, dict]]:
        with _reading(path) as transaction:
            try:
                count = int(bytes(transaction.get(b"num_samples") or b""))
            except ValueError:
                raise IntraError(f"{path}: num_samples is missing or no number") from None
            for number in range(count):
                place = f"{path.relative_to(self.folder).as_posix()}:{number}"
                value = transaction.get(str(number).encode())
                if value is None:
                    self.report.add("refused", place, "key is missing")
                    continue
                try:
                    values = _Unpickler(io.BytesIO(bytes(value))).load()
                except Exception as error:  # broken pickles raise nearly anything
                    self.report.add("refused", place, "pickle is refused or broken", str(error))
                    continue
                if not isinstance(values, tuple | list) or len(values) != len(PAIR):
                    self.report.add("refused", place, f"is no tuple of {len(PAIR)} values")
                    continue
                record = dict(zip(PAIR, values, strict=True))
                yield place, record | {"image_ids": [record["image_id"]]}

    def _sample(self, place: str, split: str, record: dict, number: int) -> Sample | None:
        wrong = [f for f in ("text", "fined_intent", "speaker", "keyword", "comet") if not isinstance(record[f], str)]
        if wrong:
            self.report.add("refused", f"{place}: {wrong[0]}", "is no text", type(record[wrong[0]]).__name__)
            return None
        identifier, sticker = _identifier(record["textid"]), _identifier(record["image_ids"][number])
        if not identifier or not sticker:
            self.report.add("refused", f"{place}: {'image_ids' if identifier else 'textid'}", "is no id")
            return None
        if STYLE_COPY.search(sticker):
            self.report.add("skipped", place, "copy in another style", sticker)
            return None
        sender = record["speaker"].strip()
        return Sample(
            place=place,
            id=f"{split}-{identifier}-{sticker}",
            split=split,
            utterances=self._utterances(place, record["text"], sender),
            sender=sender,
            sticker=sticker,
            intention=record["fined_intent"].strip().lower(),
            knowledge=record["comet"].strip(),
            attributes=self._attributes(f"{place}: keyword", record["keyword"]),
        )

    def _utterances(self, place: str, text: str, sender: str) -> list[tuple[str, str]]:
        """Turns `User<TAB>utterance`; what follows the last separator is the sender's own, if anything."""
        *turns, own = text.split("[SEP]")
        utterances: list[tuple[str, str]] = []
        for turn in turns:
            user, tab, words = turn.partition("\t")
            if not tab:
                user, words = utterances[-1][0] if utterances else "User", turn
                self.report.add("repaired", f"{place}: text", "turn without a user given to the one before", turn)
            utterances.append((user.strip(), words))
        if own.strip():
            user, tab, words = own.partition("\t")
            if self.options.own_words == "drop":
                self.report.add("skipped", f"{place}: text", "what follows the last [SEP]", own)
            else:
                utterances.append((user.strip(), words) if tab else (sender, own))
        return utterances

    def _attributes(self, place: str, keyword: str) -> dict[str, list[str]]:
        """Gesture, posture, face and verbal, in this order; a caption may hold commas itself."""
        values = [value.strip() for value in keyword.split(",")]
        if len(values) < len(ATTRIBUTES):
            values = [value.strip() for value in re.split("[,，]", keyword)]
            if len(values) < len(ATTRIBUTES):
                self.report.add("refused", place, "fewer than four keywords; the sticker is kept", keyword)
                return {}
            self.report.add("repaired", place, "full-width comma read as a separator", keyword)
        if len(values) > len(ATTRIBUTES):
            self.report.add("repaired", place, "more than four keywords; the surplus is verbal", keyword)
            values = [*values[:3], "，".join(values[3:])]
        return {name: [value] for name, value in zip(ATTRIBUTES, values, strict=True) if value}

    def _compare_size(self, split: str, size: dict[str, int]) -> None:
        printed = table_one()[split]
        for quantity, number in size.items():
            if number != printed[quantity]:
                detail = f"{number} {quantity}, printed {printed[quantity]:.0f}"
                self.report.add("noted", split, "other size than Table I", detail)

    def _compare_responses(self, labels: dict[str, str]) -> None:
        """Note the stickers to which a group's messages give another label than the conversations."""
        for path in sorted(self.folder.glob("*_response.json")):
            group = path.name.removesuffix("_response.json")
            try:
                messages = json.loads(path.read_text(encoding="utf-8-sig"))
            except (OSError, ValueError, RecursionError) as error:
                self.report.add("refused", path.name, "is no valid JSON", str(error))
                continue
            if not isinstance(messages, list):
                self.report.add("refused", path.name, "is no array of messages")
                continue
            for number, message in enumerate(messages, 1):
                if not isinstance(message, dict) or "split" in message or message.get("msgtype") != "sticker":
                    continue
                stem = PurePosixPath(str(message.get("type_info")).replace("\\", "/")).stem
                sticker, label = f"{group}_{stem.rpartition('_')[2]}", str(message.get("fined_intent")).strip().lower()
                if labels.get(sticker, label) != label:
                    place, detail = f"{path.name}: message {number}", f"{sticker}: {label}, there {labels[sticker]}"
                    self.report.add("noted", place, "another label than in the conversations", detail)


class _Unpickler(pickle.Unpickler):
    """Reads tuples, texts and numbers; refuses every class and function, so that nothing is executed."""

    def find_class(self, module: str, name: str):
        raise pickle.UnpicklingError(f"{module}.{name} is not allowed")

    def persistent_load(self, identifier):
        raise pickle.UnpicklingError("persistent ids are not allowed")


def _databases(folder: Path, name: str) -> list[Path]:
    """The LMDB folders of one name, which may also be that of a folder with pictures."""
    return [path for path in sorted(folder.rglob(name)) if (path / "data.mdb").is_file()]


@contextmanager
def _reading(path: Path):
    """Give a transaction on an LMDB folder.

    Raises:
        IntraError: If the folder or the package `lmdb` cannot be used.
    """
    try:
        import lmdb
    except ImportError:
        raise IntraError(f"{path}: reading LMDB needs the package lmdb: pip install lmdb") from None
    try:
        with (
            lmdb.open(str(path), readonly=True, lock=False, readahead=False) as database,
            database.begin() as transaction,
        ):
            yield transaction
    except lmdb.Error as error:
        raise IntraError(f"{path}: is no sound LMDB folder: {error}") from None


def _identifier(value: object) -> str:
    """An id as text; empty for what is none."""
    sound = isinstance(value, str) or (type(value) is int and abs(value) < 10**18)
    return str(value).strip() if sound else ""


def _decoded(text: bytes) -> bytes:
    """Bytes of base64 text in either alphabet.

    Raises:
        ValueError: If it is none.
    """
    text = text.strip().replace(b"-", b"+").replace(b"_", b"/")
    try:
        return base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
    except binascii.Error as error:
        raise ValueError(f"no base64 text: {error}") from None
