"""Emoji art is read from installed packages, and looks as it is drawn."""

import numpy as np
import pytest
from pretraining_toys import EMOJI

from intra.errors import IntraError
from intra.pretraining.art import SEEN, name_of, read_art, rendered

pytest_plugins = ["pretraining_helpers"]


def test_pictures_with_a_name_in_both_languages_are_read(art_folder):
    art = read_art(art_folder, SEEN)
    names = {(chinese, english) for _, chinese, english in EMOJI.values()}
    assert {
        (emoji.chinese, emoji.english) for emoji in art
    } == names  # no flag, nothing nameless, nothing without a picture
    assert [emoji.collection for emoji in art] == ["noto"] * 3 + ["fluent-emoji-flat"] * 3


def test_a_name_is_a_description_in_its_language(art_folder):
    (thumb,) = [emoji for emoji in read_art(art_folder, ["noto"]) if emoji.name == "thumbs-up"]
    assert (name_of(thumb, chinese=True), name_of(thumb, chinese=False)) == (
        "表情符号：拇指向上",
        "an emoji: thumbs up",
    )


def test_art_is_rendered_on_white(art_folder):
    art = read_art(art_folder, ["twemoji"])
    colours = {english: colour for colour, _, english in EMOJI.values()}
    for emoji, pixels in zip(art, rendered(art, 32), strict=True):
        expected = {"red": (255, 0, 0), "green": (0, 128, 0), "blue": (0, 0, 255)}[colours[emoji.english]]
        np.testing.assert_allclose(pixels[4, 4], expected, atol=2)  # the upper left quarter is filled
        assert (pixels[20:, 20:] == 255).all()


def test_a_missing_package_is_told_with_the_command_that_installs_it(tmp_path):
    with pytest.raises(
        IntraError, match=r"data\.json is missing; install it with: npm install --prefix .* emojibase-data"
    ):
        read_art(tmp_path, SEEN)
