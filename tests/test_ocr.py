import sys
from importlib import metadata

import pytest
from PIL import Image, ImageDraw, ImageFont
from pylopdf_fonts_zh_cn import __file__ as font_package

from intra.errors import IntraError
from intra.generation.ocr import CaptionReader, join_lines


@pytest.fixture(scope="module")
def reader():
    return CaptionReader()


def lettered(text: str, size=(240, 240), mode="RGB", background="white") -> Image.Image:
    from pathlib import Path

    image = Image.new(mode, size, background)
    font = ImageFont.truetype(str(Path(font_package).parent / "NotoSansSC-Regular.otf"), 36)
    ImageDraw.Draw(image).text((size[0] / 2, size[1] - 30), text, fill="black", font=font, anchor="mm")
    return image


def test_reads_a_caption_from_a_file_and_from_a_picture(reader, tmp_path):
    picture = lettered("加班好累啊")
    picture.save(tmp_path / "sticker.png")
    assert reader.read(tmp_path / "sticker.png") == "加班好累啊"
    assert reader.read(picture) == "加班好累啊"


def test_transparency_is_white(reader):
    assert reader.read(lettered("谢谢老板", mode="RGBA", background=(0, 0, 0, 0))) == "谢谢老板"


def test_a_blank_picture_has_no_caption(reader):
    assert reader.read(Image.new("RGB", (240, 240), "white")) == ""
    assert reader.read(Image.new("RGB", (1, 1), "white")) == ""


def test_a_lone_letter_and_a_face_are_no_caption(reader):
    face = lettered("")
    ImageDraw.Draw(face).ellipse((60, 60, 180, 180), outline="black", width=6)
    assert reader.read(face) == ""
    assert reader.read(lettered("O")) == ""


def test_a_strip_is_read_without_being_blown_up(reader, monkeypatch):
    seen = []
    monkeypatch.setitem(
        vars(reader), "_engine", lambda pixels: seen.append(pixels.shape) or type("R", (), {"txts": None})
    )
    assert reader.read(Image.new("RGB", (4000, 20), "white")) == ""
    assert reader.read(Image.new("RGB", (3, 900), "white")) == ""
    assert seen == [(160, 640, 3), (640, 160, 3)]


def test_lines_are_joined_by_script():
    assert join_lines([]) == ""
    assert join_lines(["车到山前", "必有路"]) == "车到山前必有路"
    assert join_lines(["good", "night"]) == "good night"
    assert join_lines(["OK", "收到"]) == "OK收到"


def test_the_name_tells_the_version(reader):
    assert reader.name == f"rapidocr-{metadata.version('rapidocr')}/320"


def test_a_missing_package_is_told_in_one_line(monkeypatch):
    def version(name):
        if name == "onnxruntime":
            raise metadata.PackageNotFoundError(name)
        return "1"

    monkeypatch.setattr(metadata, "version", version)
    with pytest.raises(IntraError, match="onnxruntime"):
        CaptionReader()


def test_a_package_that_cannot_be_imported_is_told_in_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "rapidocr", None)
    with pytest.raises(IntraError, match="rapidocr cannot be loaded"):
        CaptionReader().read(Image.new("RGB", (20, 20)))
