"""Tests of the sticker drawings: everything in the vocabularies draws, differs and stays on the canvas."""

import itertools
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from intra.replystickers import vocabulary
from intra.replystickers.drawing import bodies, captions
from intra.replystickers.drawing.characters import CHARACTERS, held_out_characters, silhouette
from intra.replystickers.drawing.sticker import draw, rasterise, save_webp
from intra.replystickers.specification import StickerSpecification

PLAIN = StickerSpecification("bear", "outline", "calm", "arms_down", "standing", variation=1)
KINDS = {
    "style": vocabulary.STYLES,
    "expression": vocabulary.EXPRESSIONS,
    "gesture": vocabulary.GESTURES,
    "posture": vocabulary.POSTURES,
    "prop": vocabulary.PROPS,
    "character": CHARACTERS,
}


def pixels(specification, size=96):
    """The sticker on white, as an array of integers."""
    image = rasterise(draw(specification), size)
    canvas = Image.new("RGBA", image.size, "white")
    canvas.alpha_composite(image)
    return np.asarray(canvas.convert("RGB")).astype(int)


def changed(first, second):
    """Share of pixels that differ clearly."""
    return (np.abs(first - second).max(axis=-1) > 40).mean()


@pytest.mark.parametrize("kind", KINDS)
def test_keys_of_a_vocabulary_give_different_pictures(kind):
    drawn = {key: pixels(replace(PLAIN, **{kind: key})) for key in KINDS[kind]}
    for (first, a), (second, b) in itertools.combinations(drawn.items(), 2):
        assert changed(a, b) > 0.004, f"{kind}: {first} and {second} look alike"


@pytest.mark.parametrize("posture", vocabulary.POSTURES)
def test_gestures_differ_in_every_posture(posture):
    base = replace(PLAIN, posture=posture)
    rest = pixels(base, 64)
    for gesture in vocabulary.GESTURES:
        if gesture != "arms_down":
            assert changed(rest, pixels(replace(base, gesture=gesture), 64)) > 0.01, gesture


@pytest.mark.parametrize("style", vocabulary.STYLES)
@pytest.mark.parametrize("prop", ["flames", "candle", "confetti", "blanket", "trash_bin"])
def test_regions_lie_on_the_canvas(style, prop):
    for index, posture in enumerate(vocabulary.POSTURES):
        gesture = list(vocabulary.GESTURES)[index]
        caption = "好的！" if index % 2 else ""
        specification = StickerSpecification("rabbit", style, "grin", gesture, posture, prop, caption)
        drawing = draw(replace(specification, variation=index))
        names = {"face", "body", "hand", "prop"} | ({"caption"} if caption else set())
        assert set(drawing.regions) == names
        for left, top, right, bottom in drawing.regions.values():
            assert 0 <= left < right <= 240 and 0 <= top < bottom <= 240
        ElementTree.fromstring(drawing.svg)


@pytest.mark.parametrize("key", CHARACTERS)
def test_nothing_is_cut_off_at_the_edge(key):
    for posture in ("jumping", "lying"):
        base = replace(PLAIN, character=key, style=CHARACTERS[key].default_style, posture=posture)
        alpha = np.asarray(rasterise(draw(replace(base, gesture="fists_up")), 96))[..., 3]
        border = np.concatenate([alpha[0], alpha[-1], alpha[:, 0], alpha[:, -1]])
        assert border.max() == 0


def test_the_same_specification_gives_the_same_bytes():
    wobbly = replace(PLAIN, style="sketch", caption="收到", variation=7)
    assert draw(wobbly) == draw(wobbly)
    assert rasterise(draw(wobbly)).tobytes() == rasterise(draw(wobbly)).tobytes()


def test_variation_changes_the_picture():
    pictures = {draw(replace(PLAIN, variation=variation)).svg for variation in range(10)}
    assert len(pictures) == 10


@pytest.mark.parametrize("text", ["好", "收到！", "OK 666", "真的？", "今天要加油鸭！", "打工人，打工魂～…"])
def test_a_caption_fills_its_box_and_leaves_the_face_free(text):
    for variation in range(6):
        drawing = draw(replace(PLAIN, caption=text, variation=variation))
        left, top, right, bottom = (round(value) for value in drawing.regions["caption"])
        face = drawing.regions["face"]
        assert bottom <= face[1] or top >= face[3]
        alpha = np.asarray(rasterise(drawing))[..., 3]
        ys, xs = np.nonzero(alpha[top:bottom, left:right])
        assert np.ptp(ys) > 0.7 * (bottom - top) - 8 and np.ptp(xs) > 0.8 * (right - left) - 8
        without = np.asarray(rasterise(draw(replace(PLAIN, variation=variation))))
        captioned = np.asarray(rasterise(drawing))
        differs = (without != captioned).any(axis=-1)
        assert differs[top:bottom, left:right].mean() > 0.2


def test_a_caption_is_never_mirrored():
    drawn = [draw(replace(PLAIN, caption="上", variation=variation)) for variation in range(12)]
    figures = [drawing.svg.partition("</defs>")[2].startswith('<g transform="matrix(-') for drawing in drawn]
    assert any(figures) and not all(figures)
    assert not any("matrix(-" in drawing.svg.rpartition("<g fill=")[2] for drawing in drawn)


def test_long_captions_break_into_balanced_lines():
    assert captions.break_lines("六个字不断行") == ["六个字不断行"]
    assert captions.break_lines("好的，我马上就来") == ["好的，", "我马上就来"]
    assert "".join(captions.break_lines("一二三四五六七八九十")) == "一二三四五六七八九十"
    assert max(map(len, captions.break_lines("一二三四五六七八九十"))) == 5


def test_a_missing_glyph_is_named():
    with pytest.raises(ValueError, match=r"no glyph for '🦖' \(U\+1F996\)"):
        draw(replace(PLAIN, caption="好🦖"))


def test_an_unknown_character_names_the_known_ones():
    with pytest.raises(ValueError, match="'unicorn' is not one of orange_cat, "):
        draw(replace(PLAIN, character="unicorn"))


def test_the_cast_uses_every_style_and_only_known_parts():
    assert len(CHARACTERS) == 36
    styles = [character.default_style for character in CHARACTERS.values()]
    assert all(styles.count(style) >= 5 for style in vocabulary.STYLES)
    for character in CHARACTERS.values():
        parts = character.parts
        assert parts.head in bodies.HEADS and parts.ears in bodies.EARS and parts.muzzle in bodies.MUZZLES
        assert parts.marking in bodies.MARKINGS and parts.accessory in bodies.ACCESSORIES
        assert parts.tail in bodies.TAILS and parts.torso in bodies.TORSOS
    looks = [(character.parts, character.palette) for character in CHARACTERS.values()]
    assert len(set(looks)) == 36


def test_held_out_characters_share_no_silhouette_with_the_cast():
    others = held_out_characters(seed=3, n=300)
    known = {silhouette(character.parts) for character in CHARACTERS.values()}
    assert not known & {silhouette(character.parts) for character in others}
    assert not set(CHARACTERS) & {character.key for character in others}
    assert len({character.parts for character in others}) == 300
    assert others[:20] == held_out_characters(seed=3, n=20)
    assert others[:20] != held_out_characters(seed=4, n=20)


def test_every_part_of_held_out_characters_draws():
    for other in held_out_characters(seed=0, n=60):
        drawing = draw(replace(PLAIN, character=other.key, style=other.default_style), other)
        ElementTree.fromstring(drawing.svg)
    assert np.asarray(rasterise(drawing, 64))[..., 3].mean() > 30


def test_the_background_fills_the_canvas():
    image = rasterise(draw(replace(PLAIN, background="#ffeecc")), 64)
    assert image.getpixel((0, 0)) == (255, 238, 204, 255)
    assert rasterise(draw(PLAIN), 64).getpixel((0, 0))[3] == 0


@pytest.mark.parametrize("style", vocabulary.STYLES)
def test_files_are_small_and_keep_transparency(style, tmp_path):
    busy = replace(PLAIN, style=style, prop="confetti", caption="今天也要加油鸭！", gesture="fists_up")
    image = rasterise(draw(busy))
    save_webp(image, tmp_path / "a.webp")
    save_webp(image, tmp_path / "b.webp")
    assert (tmp_path / "a.webp").read_bytes() == (tmp_path / "b.webp").read_bytes()
    assert (tmp_path / "a.webp").stat().st_size < 14_000
    with Image.open(tmp_path / "a.webp") as read:
        assert np.array_equal(np.asarray(read)[..., 3], np.asarray(image)[..., 3])
