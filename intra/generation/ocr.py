"""The words drawn on a sticker, read by optical character recognition (A_V of Eq. 7)."""

import re
from functools import cached_property
from importlib import metadata
from pathlib import Path

import numpy as np
from PIL import Image

from intra.data.pictures import bounded, on_white, open_picture
from intra.errors import IntraError

DETECTION_SIDE = 320
"""Shortest side that text is looked for in. The engine's own 736 reads round cartoon faces as letters."""
SURE, VERY_SURE = 0.7, 0.9
"""Least score of a line with Chinese, and of a lone character or a line without: eyes are read as `0.0`."""
HIGHEST = 1 / 3
"""Greatest height of a line, as a share of the picture: a whole figure can be read as one character."""
_CJK = re.compile("[\u3400-\u9fff]")


class CaptionReader:
    """PP-OCR through `rapidocr`, with the models inside its package; nothing is downloaded."""

    def __init__(self):
        """Look the package up; the models are loaded when the first picture is read.

        Raises:
            IntraError: If a package is missing.
        """
        try:
            version = metadata.version("rapidocr")
            metadata.version("onnxruntime")
        except metadata.PackageNotFoundError as error:
            raise IntraError(f"reading captions needs the package {error.name}: pip install {error.name}") from None
        self.name = f"rapidocr-{version}/{DETECTION_SIDE}"

    def read(self, picture: Path | Image.Image) -> str:
        """Read the caption of a picture, its lines joined; empty if there is none.

        Args:
            picture: A file, or an image of any mode, whose transparency is seen as white.

        Raises:
            IntraError: If the file is missing or no picture.
        """
        image = bounded(on_white(picture) if isinstance(picture, Image.Image) else open_picture(picture))
        result = self._engine(np.ascontiguousarray(np.asarray(image)[:, :, ::-1]))
        if result.txts is None:
            return ""
        heights = np.linalg.norm(result.boxes[:, 3] - result.boxes[:, 0], axis=1) / image.height
        found = zip(result.txts, result.scores, heights, strict=True)
        return join_lines([line.strip() for line, score, height in found if _is_text(line.strip(), score, height)])

    @cached_property
    def _engine(self):
        try:
            from rapidocr import RapidOCR
        except ImportError as error:
            raise IntraError(f"rapidocr cannot be loaded: {error}") from None
        return RapidOCR(
            params={
                "Global.log_level": "critical",
                # captions stand upright, and the classifier of upside-down lines costs time
                "Global.use_cls": False,
                "Det.limit_side_len": DETECTION_SIDE,
                "Det.limit_type": "min",
                "EngineConfig.onnxruntime.intra_op_num_threads": 1,
                "EngineConfig.onnxruntime.inter_op_num_threads": 1,
            }
        )


def join_lines(lines: list[str]) -> str:
    """Join the lines of a caption: Chinese without a gap, Latin words with a space."""
    text = ""
    for line in lines:
        gap = text[-1:].isascii() and line[:1].isascii() and text
        text += f" {line}" if gap else line
    return text


def _is_text(line: str, score: float, height: float) -> bool:
    chinese = bool(_CJK.search(line))
    least = SURE if chinese and len(line) > 1 else VERY_SURE
    return score >= least and height <= HIGHEST and (chinese or len(line) > 1)
