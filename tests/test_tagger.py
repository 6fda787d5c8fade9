import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from intra.data.schema import Sticker
from intra.encoders.vision import STICKER_VIT, STICKER_VIT_WEIGHTS, TINY_VIT, OpenClipVisionEncoder
from intra.errors import IntraError
from intra.generation.attributes import StickerAttributes
from intra.generation.tagger import (
    TAGGER_WEIGHTS,
    VOCABULARIES,
    StickerTagger,
    TaggedAttributes,
    keywords,
    load_tagger,
)
from intra.pretraining.drawings import read_captions
from intra.pretraining.training import save_weights
from intra.replystickers import vocabulary
from intra.replystickers.drawing.characters import held_out_characters
from intra.replystickers.drawing.sticker import draw, rasterise
from intra.replystickers.specification import StickerSpecification

EXPRESSIONS = list(vocabulary.EXPRESSIONS)
GESTURES = list(vocabulary.GESTURES)
POSTURES = list(vocabulary.POSTURES)


def drawn(directory: Path, count: int, seed: int) -> list[Sticker]:
    """Stickers of characters that neither the benchmark nor the training has, every third with a caption."""
    captions = read_captions()
    stickers = []
    for number, character in enumerate(held_out_characters(seed, count)):
        specification = StickerSpecification(
            character=character.key,
            style=list(vocabulary.STYLES)[number % 5],
            expression=EXPRESSIONS[number * 7 % 20],
            gesture=GESTURES[number * 5 % 18],
            posture=POSTURES[number * 3 % 11],
            caption=captions[number] if number % 3 == 0 else "",
            variation=number,
        )
        path = directory / f"{number}.png"
        rasterise(draw(specification, character)).save(path)
        stickers.append(Sticker(str(number), ("test",), path, specification=dataclasses.asdict(specification)))
    return stickers


def test_the_tagger_is_its_equation():
    torch.manual_seed(1)
    tagger = StickerTagger(8)
    regions = torch.randn(3, 5, 8)
    logits = tagger(regions)
    assert list(logits) == list(VOCABULARIES)
    for place, name in enumerate(VOCABULARIES):
        query = tagger.queries[place].tolist()
        weights, biases = tagger.heads[name].weight.tolist(), tagger.heads[name].bias.tolist()
        assert logits[name].shape == (3, len(VOCABULARIES[name]))
        for n, tokens in enumerate(regions.tolist()):
            scores = [math.exp(sum(q * x for q, x in zip(query, token, strict=True)) / 8**0.5) for token in tokens]
            pooled = [sum(s / sum(scores) * t[d] for s, t in zip(scores, tokens, strict=True)) for d in range(8)]
            for key, (row, bias) in enumerate(zip(weights, biases, strict=True)):
                expected = bias + sum(w * x for w, x in zip(row, pooled, strict=True))
                assert logits[name][n, key].item() == pytest.approx(expected, abs=1e-5)


def test_every_parameter_gets_a_gradient():
    tagger = StickerTagger(8)
    sum(scores.square().sum() for scores in tagger(torch.randn(4, 6, 8)).values()).backward()
    for name, parameter in tagger.named_parameters():
        assert parameter.grad.abs().sum() > 0, name


def test_a_second_keyword_needs_half_the_probability_of_the_first():
    probabilities = np.zeros(len(POSTURES), np.float32)
    probabilities[[2, 5]] = 0.6, 0.29
    assert keywords("posture", probabilities) == ("躺平",)
    probabilities[5] = 0.31
    assert keywords("posture", probabilities) == ("躺平", "跪着")


class Parrot:
    """A reader that answers with the name of the file."""

    name = "parrot-1"

    def read(self, picture):
        return "" if picture.stem == "0" else picture.stem


def test_describing_with_random_parts(tmp_path):
    stickers = drawn(tmp_path, 3, seed=71)
    source = TaggedAttributes(OpenClipVisionEncoder(TINY_VIT), reader=Parrot())
    described = list(source.describe(stickers))
    assert described == list(TaggedAttributes(OpenClipVisionEncoder(TINY_VIT), reader=Parrot()).describe(stickers))
    assert all(isinstance(attributes, StickerAttributes) for attributes in described)
    assert [attributes.verbal for attributes in described] == [(), ("1",), ("2",)]
    for attributes in described:
        for name, known in VOCABULARIES.items():
            words = getattr(attributes, name)
            assert 1 <= len(words) <= 2
            assert set(words) <= {chinese for chinese, _ in known.values()}


def test_the_name_tells_all_that_decides_an_answer(tmp_path):
    vision = OpenClipVisionEncoder(TINY_VIT)
    torch.manual_seed(2)
    save_weights(StickerTagger(32), tmp_path / "a.safetensors")
    save_weights(StickerTagger(32), tmp_path / "b.safetensors")
    sources = [
        TaggedAttributes(vision),
        TaggedAttributes(vision, tmp_path / "a.safetensors"),
        TaggedAttributes(vision, tmp_path / "b.safetensors"),
        TaggedAttributes(vision, tmp_path / "a.safetensors", Parrot()),
        TaggedAttributes(OpenClipVisionEncoder(STICKER_VIT), tmp_path / "a.safetensors", Parrot()),
    ]
    assert len({source.name for source in sources}) == len(sources)
    assert "parrot-1" in sources[3].name
    assert vision.name in sources[3].name
    again = TaggedAttributes(vision, tmp_path / "a.safetensors", Parrot())
    assert again.name == sources[3].name


def test_wrong_weights_are_told_in_one_line(tmp_path):
    vision = OpenClipVisionEncoder(TINY_VIT)
    with pytest.raises(IntraError, match="missing"):
        TaggedAttributes(vision, tmp_path / "none.safetensors")
    save_weights(StickerTagger(16), tmp_path / "narrow.safetensors")
    with pytest.raises(IntraError, match=r"narrow\.safetensors: does not fit") as caught:
        load_tagger(tmp_path / "narrow.safetensors", 32)
    assert "\n" not in str(caught.value)


def test_the_packaged_tagger_sees_attributes_of_new_characters(tmp_path):
    stickers = drawn(tmp_path, 40, seed=72)
    source = TaggedAttributes(OpenClipVisionEncoder(STICKER_VIT, STICKER_VIT_WEIGHTS), TAGGER_WEIGHTS)
    described = list(source.describe(stickers))
    fields = {"gesture": "gesture", "posture": "posture", "facial_expression": "expression"}
    for name, field in fields.items():
        right = sum(
            getattr(attributes, name)[0] == VOCABULARIES[name][sticker.specification[field]][0]
            for attributes, sticker in zip(described, stickers, strict=True)
        )
        # chance is 2 to 4 of 40
        assert right >= 16, (name, right)
