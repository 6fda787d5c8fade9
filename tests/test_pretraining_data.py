"""Drawings and emoji art as arrays."""

import numpy as np
from pretraining_toys import CAPTIONS, LetterEncoder

from intra.pretraining import drawings
from intra.pretraining.art import SEEN, read_art
from intra.pretraining.data import UNKNOWN, joined, prepare_art
from intra.pretraining.texts import text_vectors
from intra.replystickers import vocabulary

pytest_plugins = ["pretraining_helpers"]


def test_prepared_arrays_fit_the_specifications(drawn_data):
    examples = drawings.draw_examples(16, 3, CAPTIONS)
    assert drawn_data.pixels.shape == (16, 32, 32, 3)
    assert drawn_data.pixels.dtype == np.uint8
    assert drawn_data.pixels.std(axis=(1, 2, 3)).min() > 10  # none is blank
    for row, example in enumerate(examples):
        assert (
            list(vocabulary.EXPRESSIONS)[drawn_data.labels["facial_expression"][row]]
            == example.specification.expression
        )
    np.testing.assert_allclose(np.linalg.norm(drawn_data.texts, axis=1), 1, atol=1e-5)


def test_text_vectors_do_not_tell_the_language(tmp_path):
    examples = drawings.draw_examples(40, 7, CAPTIONS)
    encoder = LetterEncoder()
    text_vectors(examples, encoder, tmp_path)
    raw = encoder.encode([example.description for example in examples])
    vectors = text_vectors(examples, encoder, tmp_path)
    chinese = np.array([example.chinese for example in examples])
    expected = raw[3] - raw[chinese == chinese[3]].mean(axis=0)
    np.testing.assert_allclose(vectors[3], expected / np.linalg.norm(expected), atol=1e-5)


def test_emoji_art_joins_without_labels_and_with_groups_of_its_own(art_folder, drawn_data, tmp_path):
    art = prepare_art(read_art(art_folder, SEEN), 32, LetterEncoder(), tmp_path, seed=0)
    both = joined(drawn_data, art)
    assert (len(art.pixels), len(both.pixels)) == (6, 22)
    assert {tuple(labels[16:]) for labels in both.labels.values()} == {(UNKNOWN,) * 6}
    assert not set(both.groups[:16]) & set(both.groups[16:])
    names = [(one == other).all() for one, other in zip(art.texts[:3], art.texts[3:], strict=True)]
    assert (art.groups[:3] == art.groups[3:]).tolist() == names  # one name in one language is one group
