"""MOD, the data of DSTC10 Track 1: dialogues in which some turns come with an internet meme.

c_train.json, c_val.json, ...   dialogue name -> turns (e_*.json: the English version)
c_*task2*.json                  retrieval samples with their own candidates (the other tasks rank no memes)
img2id.json, emotion_dict.json  picture file -> id, emotion -> number; the pictures lie in any folder below
"""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from intra.data.importers.native import ImportOptions, Sample
from intra.data.importers.report import Report
from intra.errors import IntraError

FEWEST_TURNS = 2
"""Turns with text before a meme, for it to be a sample."""
_SPLITS = {"train": "train", "val": "valid", "test": "test"}


class Mod:
    """See `native.Source`."""

    name = "MOD"

    def __init__(self, folder: Path, options: ImportOptions, report: Report):
        """Find the files.

        Raises:
            IntraError: If the two tables or all dialogues are missing or no valid JSON.
        """
        self.options, self.report = options, report
        self.emotions = _emotions(folder / "emotion_dict.json")
        self.intentions = {self.emotions[number]: "" for number in sorted(self.emotions)}
        files = {path.name: path for path in sorted(folder.rglob("*")) if path.is_file()}
        table = _content(folder / "img2id.json", dict)
        self.pictures = {_key(number): files[name] for name, number in table.items() if name in files}
        prefix = {"chinese": "c", "english": "e"}[options.language]
        paths = sorted(path for path in folder.rglob(f"{prefix}_*.json") if _split(path))
        self.tasks = [path for path in paths if "task2" in path.stem]
        self.dialogues = [path for path in paths if "task" not in path.stem]
        if not self.dialogues and not self.tasks:
            raise IntraError(f"{folder}: holds no {prefix}_train.json, {prefix}_val.json or {prefix}_*task2*.json")

    def samples(self) -> Iterator[Sample]:
        """See `native.Source.samples`."""
        emotions: dict[str, Counter] = {}
        for path in self.dialogues:
            for name, turns in _content(path, dict).items():
                for sample in self._dialogue(path, name, turns):
                    emotions.setdefault(sample.sticker, Counter())[sample.intention] += 1
                    yield sample
        usual = {sticker: counts.most_common(1)[0][0] for sticker, counts in emotions.items()}
        for path in self.tasks:
            yield from self._task(path, usual)

    def picture(self, sticker: str) -> bytes:
        """See `native.Source.picture`."""
        return self.pictures[sticker].read_bytes()

    def _dialogue(self, path: Path, name: str, turns: object) -> Iterator[Sample]:
        """Every turn of a dialogue with a meme and an emotion."""
        place = f"{path.name}: {name}"
        if not _are_turns(turns):
            self.report.add("refused", place, "is no list of turns with a speaker")
            return
        for number, turn in enumerate(turns):
            if not _key(turn.get("img_id")):
                continue
            here, emotion = f"{place}, turn {number + 1}", turn.get("emotion_id")
            if emotion in (None, ""):
                self.report.add("skipped", f"{here}: emotion_id", "meme without an emotion")
            elif not isinstance(emotion, int) or emotion not in self.emotions:
                self.report.add("refused", f"{here}: emotion_id", "unknown label", repr(emotion))
            else:
                identifier = f"{path.stem}-{'-'.join(name.split())}-{number + 1}"
                sample = self._sample(here, identifier, path, turns[:number], turn, self.emotions[emotion])
                if sample:
                    yield sample

    def _task(self, path: Path, usual: dict[str, str]) -> Iterator[Sample]:
        """Retrieval samples; their emotion is not told, so the one most given to the meme elsewhere stands for it."""
        for number, record in enumerate(_content(path, list), 1):
            place = f"{path.name}: sample {number}"
            try:
                history, answer = record["history"], record["answer"]
                candidates, sticker = [_key(c) for c in record["candidate"]["set"]], _key(answer["img_id"])
                sound = candidates and sticker and _are_turns(history) and _are_turns([answer])
            except (KeyError, TypeError):
                sound = False
            if not sound:
                self.report.add("refused", place, "lacks history, candidate.set or answer.img_id")
            elif sticker not in usual:
                self.report.add("refused", place, "no dialogue tells the emotion of the meme", sticker)
            else:
                self.report.add("noted", place, "emotion taken from the meme's other uses", usual[sticker])
                if history and history[-1]["speaker_id"] == answer["speaker_id"] and not answer.get("txt"):
                    # the words sent with the meme
                    history, answer = history[:-1], answer | {"txt": history[-1].get("txt")}
                sample = self._sample(place, f"{path.stem}-{number}", path, history, answer, usual[sticker])
                if sample:
                    sample.candidates = candidates
                    yield sample

    def _sample(self, place: str, identifier: str, path: Path, before: list, turn: dict, intention: str):
        """The sample of one meme, or None with a remark."""
        sender = str(turn["speaker_id"]).strip("[]")
        context = [(str(t["speaker_id"]).strip("[]"), t.get("txt") or "") for t in before]
        context = [(user, text) for user, text in context if text.strip()]
        own = (turn.get("txt") or "").strip()
        if len(context) < FEWEST_TURNS:
            self.report.add("skipped", place, "fewer than two turns with text before the meme")
            return None
        if own and self.options.own_words == "keep":
            context.append((sender, own))
        elif own:
            self.report.add("skipped", f"{place}: txt", "words sent with the meme", own)
        return Sample(
            place=place,
            id=identifier,
            split=_split(path),
            utterances=context,
            sender=sender,
            usage="supplement" if own and self.options.own_words == "keep" else "reply",
            sticker=_key(turn["img_id"]),
            intention=intention,
        )


def _are_turns(turns: object) -> bool:
    """Whether something is a list of turns with a speaker and, if any, text."""
    return isinstance(turns, list) and all(
        isinstance(turn, dict) and "speaker_id" in turn and isinstance(turn.get("txt") or "", str) for turn in turns
    )


def _split(path: Path) -> str:
    """The split that a file's name tells; empty if none."""
    return next((split for word, split in _SPLITS.items() if word in path.stem.lower()), "")


def _key(number: object) -> str:
    """An image id as three digits, however it is written; empty if there is none."""
    return "" if number in (None, "") else str(number).strip().zfill(3)


def _emotions(path: Path) -> dict[int, str]:
    """Number to name.

    Raises:
        IntraError: If the table is no JSON object, or does not give each name a number of its own.
    """
    table = _content(path, dict)
    numbers = {number for number in table.values() if isinstance(number, int)}
    if len(numbers) < len(table) or not all(name.strip() and name.isprintable() for name in table):
        raise IntraError(f"{path}: expected names, each with a number of its own")
    return {number: name for name, number in table.items()}


def _content(path: Path, kind: type):
    """What a JSON file holds.

    Raises:
        IntraError: If it cannot be read, or holds something else than `kind`.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise IntraError(f"{path}: cannot be read: {error}") from None
    if not isinstance(content, kind):
        raise IntraError(f"{path}: holds a {type(content).__name__}, expected a {kind.__name__}")
    return content
