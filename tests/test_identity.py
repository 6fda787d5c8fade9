"""Cards of the systems against the records they are read off."""

from pathlib import Path

import pytest

from intra.config import RunConfig
from intra.errors import IntraError
from intra.identity import CARDS, GROUPS, card, identity_cards, in_groups
from intra.models import SYSTEMS
from intra.paper import systems
from intra.records import Record
from intra.study import study_configs

COMPONENTS = {
    "text": "some-text-trunk@12ab/mean-256",
    "vision": "some-vision-trunk@34cd",
    "knowledge": "retrieved@56ef/some-text-trunk@12ab",
    "attributes": "tagger@78ab(some-vision-trunk@34cd)",
}


def record(seed=0, epochs=0, best=0, seconds=(0.0, 0.0), parameters=None, **settings):
    content = {
        "config": RunConfig(seed=seed, **settings).as_dict(),
        "inputs": {"components": COMPONENTS},
        "selection": {"epoch": best, "value": 0.1} if epochs else None,
        "history": [{"epoch": n + 1} for n in range(epochs)],
        "seconds": dict(zip(("fit", "score"), seconds, strict=True)),
    }
    return Record(Path("nowhere"), content if parameters is None else content | {"parameters": parameters})


def test_a_card_of_a_trained_system_has_medians_over_its_seeds():
    runs = [(10, 4, (1.0, 0.1)), (20, 14, (3.0, 0.3)), (17, 11, (2.0, 0.2))]
    records = [
        record(seed, epochs, best, seconds, 123456, system="int_ra", batch_size=32, learning_rate=3e-4)
        for seed, (epochs, best, seconds) in enumerate(runs)
    ]
    row = identity_cards({"Int-RA": records}).loc["Int-RA"]
    assert row["trunks"] == "some-text-trunk, some-vision-trunk"
    assert row["generated text"] == "retrieved, tagger"
    assert row["trained parameters"] == "123,456"
    assert row["epochs"] == "17, best 11"
    assert (row["learning rate"], row["batch"]) == ("0.0003", "32")
    assert (row["seconds to fit"], row["seconds to rank"]) == ("2.0", "0.20")
    assert (row["labels in training"], row["told at test"]) == ("sticker, intention", "none")


def test_trunks_that_learn_have_a_rate_of_their_own():
    row = identity_cards({"CLIP fine-tuned": [record(epochs=3, best=1, tuned_layers=2)]}).loc["CLIP fine-tuned"]
    assert row["learning rate"] == "0.001, trunks 5e-05"


def test_what_learns_nothing_has_no_settings():
    row = identity_cards({"Oracle intention": [record(system="oracle")]}).loc["Oracle intention"]
    assert row[["trunks", "generated text", "epochs", "learning rate", "batch"]].tolist() == ["none"] * 5
    assert row["trained parameters"] == "0"
    assert row["told at test"] == "true intention, also the query's"


def test_a_system_that_learns_from_intentions_too_differs_in_that_alone():
    for name in ("SRS", "MOD", "LGUR", "IRRA", "PCME", "CLIP adapters", "CLIP fine-tuned"):
        published, other = (card(label, RunConfig()) for label in (name, f"{name} + intention"))
        assert (published.labels, other.labels) == ("sticker", "sticker, intention")
        assert (published.reads, published.told, published.score) == (other.reads, other.told, other.score)


def test_only_controls_are_told_something_of_test_stickers():
    assert {label for label, own in CARDS.items() if own.told != "none"} == {
        "Majority intention",
        "Intention prior",
        "e5 cosine, context, intentions told",
        "Intention classifier, intentions told",
        "Blind reader",
        "Oracle attributes",
        "Oracle intention",
    }
    assert all(own.group == "controls" for own in CARDS.values() if own.told != "none")


def test_every_trained_system_of_the_paper_has_a_card():
    printed = systems()
    published = printed.index[printed["group"].isin(["Sticker retrieval methods", "Text-to-image retrieval"])]
    assert {label.split()[0] for label, own in CARDS.items() if own.group == "retrieval systems"} == set(published)


def test_every_row_of_the_page_has_a_card_that_names_its_score_function():
    for name in ("main", "language_models"):
        for label, (config, *_) in study_configs(name, seeds=[0]).items():
            own = card(label, config)
            assert own.score == getattr(SYSTEMS[config.system], "score_function", own.score), label


def test_a_language_model_is_told_the_intention_only_through_the_text_of_stickers():
    settings = {"query_text": "answer", "language_model": "some-model"}
    blind = card("any label", RunConfig(**settings))
    told = card("any label", RunConfig(gallery_text="attributes+intention", **settings))
    assert (blind.group, blind.labels, blind.source) == ("language models", "sticker, intention", "some-model")
    assert (blind.told, told.told) == ("none", "true intention")


def test_labels_stand_in_groups_in_the_order_of_the_study():
    labels = ["Int-RA+", "SRS", "Random", "LGUR + intention", "Int-RA", "BM25"]
    found = in_groups({label: [record()] for label in labels})
    assert list(found) == list(GROUPS)
    assert list(found.values()) == [["Random", "BM25"], ["SRS", "LGUR + intention"], [], ["Int-RA+", "Int-RA"]]
    frame = identity_cards({label: [record()] for label in labels})
    assert list(frame.index) == ["Random", "BM25", "SRS", "LGUR + intention", "Int-RA+", "Int-RA"]


def test_a_system_without_a_card_is_refused():
    with pytest.raises(IntraError, match=r"^unknown system 'SSR' \(did you mean 'SRS'\?\)"):
        card("SSR + intention", RunConfig())
