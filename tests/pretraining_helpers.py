"""Fixtures of the pretraining tests: a few drawings, and a folder of toy emoji art."""

import json

import pytest
from pretraining_toys import CAPTIONS, EMOJI, LetterEncoder

from intra.pretraining.art import SEEN, UNSEEN
from intra.pretraining.data import prepare
from intra.pretraining.drawings import draw_examples


@pytest.fixture(scope="session")
def drawn_data(tmp_path_factory):
    """Sixteen drawings of 32 pixels as data; their boxes and labels are those of `draw_examples(16, 3, CAPTIONS)`."""
    examples = draw_examples(16, 3, CAPTIONS)
    return prepare(examples, 32, LetterEncoder(), tmp_path_factory.mktemp("drawings"), processes=1)


@pytest.fixture
def art_folder(tmp_path):
    """Four sets of three emoji each, as npm would install them, with one flag and one picture without a name."""
    modules = tmp_path / "art" / "node_modules"
    for language, place in {"zh": 1, "en": 2}.items():
        entries = [{"hexcode": code.upper(), "label": e[place], "group": 0} for code, e in EMOJI.items()]
        entries += [{"hexcode": "1F1E8", "label": "flag", "group": 9}, {"hexcode": "1F1E9", "label": "letter"}]
        write(modules / "emojibase-data" / language / "data.json", entries)
    for collection in SEEN | UNSEEN:
        icons = {
            e[2].replace(" ", "-"): {"body": f'<rect width="8" height="8" fill="{e[0]}"/>'} for e in EMOJI.values()
        }
        codes = {code.replace("-fe0f", ""): e[2].replace(" ", "-") for code, e in EMOJI.items()}
        extra = {"flag": {"body": "<g/>"}, "nameless": {"body": "<g/>"}}
        folder = modules / "@iconify-json" / collection
        write(folder / "icons.json", {"icons": icons | extra, "width": 16, "height": 16})
        write(folder / "chars.json", codes | {"1f1e8": "flag", "1f1e9": "flag", "1f47e": "nameless", "1f47f": "gone"})
    return tmp_path / "art"


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
