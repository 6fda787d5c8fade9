"""StickerChat, the data of SRS: chats of a messenger, and the packs of their stickers.

release_{train,val,test}.json                one conversation a line
npy_stickers/<pack>/<sticker>.npy            pictures as arrays (or npy_stickers/<sticker>.npy)
"""

import io
import json
import random
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from intra.data.importers.native import ImportOptions, Sample
from intra.data.importers.report import Report
from intra.errors import IntraError

FILES = {"train": "release_train.json", "valid": "release_val.json", "test": "release_test.json"}
STICKERS = "npy_stickers"
OTHERS = 9
"""The protocol ranks the sticker that was sent among so many others of its pack (R10@k)."""
_CHINESE = r"[\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff]"
_BESIDE_CHINESE = re.compile(rf"(?<={_CHINESE})\s+|\s+(?={_CHINESE})")
"""White space that the release put between words; beside Chinese words and marks it is no part of the text."""


class StickerChat:
    """See `native.Source`. The emoji that a pack's author gave a sticker stands for its intention."""

    name = "StickerChat"
    intentions = None

    def __init__(self, folder: Path, options: ImportOptions, report: Report):
        """Find the files.

        Raises:
            IntraError: If all conversations or the stickers are missing.
        """
        self.report = report
        self.paths = {split: folder / name for split, name in FILES.items() if (folder / name).is_file()}
        if not self.paths:
            raise IntraError(f"{folder}: holds none of {', '.join(FILES.values())}")
        if not (folder / STICKERS).is_dir():
            raise IntraError(f"{folder}: holds no folder {STICKERS}")
        arrays = {(path.parent.name, path.stem): path for path in sorted((folder / STICKERS).glob("*/*.npy"))}
        if flat := {path.stem: path for path in (folder / STICKERS).glob("*.npy")}:  # the text tells their packs
            arrays |= {(pack, own): flat[own] for pack, own in sorted(set(self._sent())) if own in flat}
        self.arrays = {f"{pack}_{own}": path for (pack, own), path in arrays.items()}
        """Sticker to its file."""
        self.packs: dict[str, list[str]] = {}
        """Pack to its stickers."""
        for pack, own in arrays:
            self.packs.setdefault(pack, []).append(f"{pack}_{own}")

    def samples(self) -> Iterator[Sample]:
        """See `native.Source.samples`."""
        for split, path in self.paths.items():
            with path.open("rb") as file:
                for number, raw in enumerate(file, 1):
                    if raw.strip() and (sample := self._sample(f"{path.name}:{number}", f"{split}-{number}", raw)):
                        sample.split = split
                        yield sample

    def picture(self, sticker: str) -> bytes:
        """See `native.Source.picture`."""
        file = io.BytesIO()
        pixels = _pixels(np.load(self.arrays[sticker], allow_pickle=False))
        Image.fromarray(pixels).save(file, "PNG", compress_level=1)
        return file.getvalue()

    def _sample(self, place: str, identifier: str, raw: bytes) -> Sample | None:
        record = self._record(place, raw)
        if record is None:
            return None
        current = record["current"]
        pack, sender = str(current["sticker_set_id"]), str(current["from_id"])
        sticker = f"{pack}_{current['sticker_id']}"
        utterances = [(str(turn["from_id"]), _BESIDE_CHINESE.sub("", turn["text"])) for turn in record["context"]]
        return Sample(
            place=place,
            id=identifier,
            split="",
            utterances=utterances,
            sender=sender,
            sticker=sticker,
            intention=current["sticker_alt"].strip(),
            candidates=self._candidates(place, identifier, pack, sticker),
        )

    def _record(self, place: str, raw: bytes) -> dict | None:
        """One line, its fields checked; None with a remark."""
        try:
            record = json.loads(raw.decode("utf-8-sig"))
            turns, current = record["context"], record["current"]
            texts = [turn["text"] for turn in turns] + [current["sticker_alt"]]
            _ = [turn["from_id"] for turn in turns], [current[f] for f in ("from_id", "sticker_set_id", "sticker_id")]
        except (ValueError, RecursionError) as error:
            self.report.add("refused", place, "line is no valid JSON", str(error))
        except (KeyError, TypeError) as error:
            self.report.add("refused", place, "line lacks a field", str(error))
        else:
            if all(isinstance(text, str) for text in texts):
                return record
            self.report.add("refused", place, "text or sticker_alt is no text")
        return None

    def _candidates(self, place: str, identifier: str, pack: str, sticker: str) -> list[str]:
        """The sticker and nine others of its pack, drawn by the conversation's id."""
        others = [other for other in self.packs.get(pack, ()) if other != sticker]
        if len(others) < OTHERS:
            self.report.add("noted", place, "pack with fewer than ten stickers", f"{pack}: {len(others) + 1}")
        drawn = random.Random(identifier).sample(others, min(OTHERS, len(others)))
        return sorted([sticker, *drawn])

    def _sent(self) -> Iterator[tuple[str, str]]:
        """Pack and sticker of every line that tells them; what is wrong with the others is reported later."""
        for path in self.paths.values():
            with path.open("rb") as file:
                for raw in file:
                    try:
                        current = json.loads(raw)["current"]
                        yield str(current["sticker_set_id"]), str(current["sticker_id"])
                    except (ValueError, KeyError, TypeError, RecursionError):
                        continue


def _pixels(array: np.ndarray) -> np.ndarray:
    """A picture as uint8, shape (H, W, 3 or 4); floats may run over 0 to 1, -1 to 1 or 0 to 255.

    Raises:
        ValueError: If the array is no picture.
    """
    if array.ndim != 3 or array.shape[2] not in (3, 4) or not array.size:
        raise ValueError(f"array of shape {array.shape} is no picture")
    if array.dtype == np.uint8:
        return array
    values = array.astype(np.float32)
    low, high = float(values.min()), float(values.max())
    if not (0 <= low <= high <= 255 or -1 <= low <= high <= 1):  # nor if either is no number
        raise ValueError(f"values from {low:g} to {high:g} are no colours")
    if low < 0:
        values = (values + 1) / 2
    if high <= 1:
        values = values * 255
    return values.round().clip(0, 255).astype(np.uint8)
