"""Retrieval by text: the packaged conversations, a tiny text encoder, language models on loopback."""

import json
from dataclasses import replace

import numpy as np
import pytest
from answer_server import answering
from tiny_chat import tiny_chat

from intra.components import Components
from intra.config import RunConfig
from intra.data.context import context_text
from intra.data.intentions import INTENTIONS
from intra.data.reader import config_dataset
from intra.data.schema import SPLITS
from intra.errors import IntraError
from intra.evaluation import evaluate, make_qrels, make_run
from intra.features import Gallery, Partition, Queries
from intra.generation.answers import PARSE_STATES, question
from intra.generation.attributes import StickerAttributes
from intra.generation.knowledge import KNOWLEDGE_BASE
from intra.generation.language_models import LANGUAGE_MODELS
from intra.models.text_retrieval import TextRetrieval, cosine

CONFIG = RunConfig(system="text_retrieval", profile="smoke", query_text="answer", language_model="tiny")
LABELS = list(INTENTIONS.values())
KNOWN = sorted(set(KNOWLEDGE_BASE.read_text(encoding="utf-8")) & set(map(chr, range(0x4E00, 0xA000))))
"""Characters that the tiny encoder tells apart."""


def name_of(number):
    """Two characters for a sticker."""
    return KNOWN[number % len(KNOWN)] + KNOWN[number // len(KNOWN)]


def partition(split, profile="smoke") -> Partition:
    """The conversations of a split as they are, each sticker told apart by what is said of it."""
    part = config_dataset(CONFIG.with_changes(profile=profile)).split(split)
    ids = [sticker.id for sticker in part.stickers]
    told = [
        StickerAttributes((f"比{name}", "点头"), (), (f"{name}笑",) * (number % 2), (f"{name}！",))
        for number, name in enumerate(map(name_of, range(len(ids))))
    ]
    labels = part.sticker_intentions()
    intentions = np.array([[name in labels.get(own, ()) for name in part.intentions] for own in ids])
    nothing = np.zeros((len(ids), 1, 1), np.float32)
    return Partition(
        Queries(
            tuple(c.id for c in part.conversations),
            None,
            np.array([part.intentions.index(c.intention) for c in part.conversations]),
            np.array([ids.index(c.sticker) for c in part.conversations]),
            conversations=part.conversations,
        ),
        Gallery(
            tuple(ids),
            nothing,
            nothing,
            nothing[:, 0] > 0,
            intentions,
            nothing[:, 0],
            nothing[:, 0],
            attributes=tuple(told),
        ),
        np.zeros((len(part.conversations), len(ids)), bool),
    )


@pytest.fixture(scope="module")
def parts():
    return {split: partition(split) for split in SPLITS}


@pytest.fixture(autouse=True)
def settings(monkeypatch, tmp_path):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    for variable in ("INTRA_ENDPOINT", "INTRA_ENDPOINT_MODEL", "INTRA_ENDPOINT_KEY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("INTRA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(LANGUAGE_MODELS, "tiny", "somebody/tiny")


@pytest.fixture
def served(monkeypatch):
    """Start a server of the model `tiny` that answers with what a function makes of a request."""
    servers = []

    def start(reply):
        servers.append(answering(reply))
        monkeypatch.setenv("INTRA_ENDPOINT", servers[-1].__enter__())
        monkeypatch.setenv("INTRA_ENDPOINT_MODEL", "tiny")

    yield start
    for server in servers:
        server.__exit__(None, None, None)


def fitted(parts, **changes) -> TextRetrieval:
    system = TextRetrieval(CONFIG.with_changes(**changes), None)
    assert system.fit(parts["train"], parts["valid"]) is None
    return system


def hits(scores, part: Partition, split="test") -> float:
    """Exact hit@1."""
    dataset = config_dataset(CONFIG)
    run = make_run(scores, part.queries.ids, part.gallery.ids, dataset)
    return evaluate(run, make_qrels(dataset, split, "exact"))["hit@1"].mean()


def description(number, intention=""):
    """The text of a sticker of `partition`, written out."""
    name = name_of(number)
    face = f"表情：{name}笑；" if number % 2 else ""
    return f"{intention and f'意图：{intention}；'}手势：比{name}，点头；{face}文字：{name}！"


@pytest.mark.parametrize("gallery_text", ["attributes", "attributes+intention"])
@pytest.mark.parametrize("query_text", ["context", "last utterance", "attributes"])
def test_scores_are_cosines_of_the_texts_one_by_one(parts, query_text, gallery_text):
    part = parts["test"]
    scores = fitted(parts, query_text=query_text, gallery_text=gallery_text).score(part.queries, part.gallery)
    assert scores.dtype == np.float32 and scores.shape == (len(part.queries.ids), len(part.gallery.ids))
    encode = Components("smoke").text.encode
    own = [[label for label, has in zip(LABELS, row, strict=True) if has] for row in part.gallery.intentions]
    shown = ["，".join(names) if gallery_text == "attributes+intention" else "" for names in own]
    assert max(map(len, own)) == 1
    for q, g in [(0, 0), (1, 3), (5, 2), (len(scores) - 1, -1)]:
        conversation, column = part.queries.conversations[q], part.queries.stickers[q]
        said = {
            "context": context_text(conversation, 6),
            "last utterance": conversation.utterances[-1].text,
            "attributes": description(column, shown[column]),
        }[query_text]
        kind = "passage" if query_text == "attributes" else "query"
        number = range(len(part.gallery.ids))[g]
        (asked,), (told,) = encode([said], kind), encode([description(number, shown[number])], "passage")
        assert scores[q, g] == pytest.approx(asked @ told, abs=1e-5)


def test_the_text_of_the_sent_sticker_finds_it(parts):
    part = parts["test"]
    assert hits(fitted(parts, query_text="attributes").score(part.queries, part.gallery), part) == 1


@pytest.mark.parametrize("gallery_text", ["attributes", "attributes+intention"])
def test_a_model_that_describes_the_sent_sticker_finds_it(parts, served, gallery_text):
    part, gold = parts["test"], {}
    for conversation, column in zip(part.queries.conversations, part.queries.stickers, strict=True):
        told = part.gallery.attributes[column]
        gold[question(conversation, 6)["content"]] = {
            "intention": INTENTIONS[conversation.intention],
            "gesture": "，".join(told.gesture),
            "posture": "无",
            "facial_expression": "".join(told.facial_expression) or "无",
            "verbal": "".join(told.verbal),
            "description": "另说",
        }
    served(lambda body: f"好的\n{json.dumps(gold[body['messages'][-1]['content']], ensure_ascii=False)}")
    system = fitted(parts, gallery_text=gallery_text)
    assert hits(system.score(part.queries, part.gallery), part) == 1
    details = system.details(part.queries, part.gallery)
    assert (details["answered_intentions"] == part.queries.intentions).all()
    assert (details["parse_states"] == PARSE_STATES.index("block")).all()


def test_scores_follow_the_stickers_whatever_their_order(parts):
    part, system = parts["test"], fitted(parts, query_text="context", gallery_text="attributes+intention")
    order = np.random.default_rng(0).permutation(len(part.gallery.ids))
    shuffled = replace(
        part.gallery,
        ids=tuple(part.gallery.ids[column] for column in order),
        attributes=tuple(part.gallery.attributes[column] for column in order),
        intentions=part.gallery.intentions[order],
    )
    scores = system.score(part.queries, part.gallery)
    np.testing.assert_allclose(system.score(part.queries, shuffled), scores[:, order], atol=1e-6)


def test_the_length_of_vectors_does_not_matter():
    rng = np.random.default_rng(0)
    queries, stickers = rng.normal(size=(4, 8)), rng.normal(size=(5, 8))
    np.testing.assert_allclose(cosine(3 * queries, 3 * stickers), cosine(queries, stickers), rtol=1e-6)
    expected = queries[1] @ stickers[2] / np.sqrt((queries[1] ** 2).sum() * (stickers[2] ** 2).sum())
    assert cosine(queries, stickers)[1, 2] == pytest.approx(expected)


def test_a_sticker_of_which_nothing_is_told_scores_nothing(parts):
    part = parts["test"]
    told = (StickerAttributes(), *part.gallery.attributes[1:])
    scores = fitted(parts, query_text="context").score(part.queries, replace(part.gallery, attributes=told))
    assert (scores[:, 0] == 0).all() and (scores[:, 1:] != 0).all()


def test_a_second_scoring_asks_nothing(parts, served):
    asked = []
    served(lambda body: asked.append(body) or "一只猫")
    part = parts["test"]
    scores = fitted(parts).score(part.queries, part.gallery)
    assert len(asked) == len(part.queries.ids)
    again = fitted(parts)
    np.testing.assert_array_equal(again.score(part.queries, part.gallery), scores)
    again.details(part.queries, part.gallery)
    fitted(parts, gallery_text="attributes+intention").score(part.queries, part.gallery)
    assert len(asked) == len(part.queries.ids)
    fitted(parts, seed=1).score(part.queries, part.gallery)  # other shots
    assert len(asked) == 2 * len(part.queries.ids)


def test_an_answer_that_says_nothing_gives_way_to_the_last_utterance(parts, served):
    part = parts["test"]
    silent = question(part.queries.conversations[1], 6)["content"]
    empty = json.dumps({"intention": "感激", "gesture": "无", "description": ""})
    served(lambda body: "" if body["messages"][-1]["content"] == silent else empty)
    system = fitted(parts)
    newest = [conversation.utterances[-1].text for conversation in part.queries.conversations]
    assert system.query_texts(part.queries, part.gallery) == newest
    details = system.details(part.queries, part.gallery)
    assert details["answered_intentions"][:3].tolist() == [LABELS.index("感激"), -2, LABELS.index("感激")]
    assert [PARSE_STATES[state] for state in details["parse_states"][:3]] == ["object", "empty", "object"]


@pytest.fixture(scope="module")
def whole():
    return {split: partition(split, "mini") for split in SPLITS}


def test_no_prompt_gives_anything_away(whole):
    system = fitted(whole, profile="mini")
    known = {question(c, 6)["content"] for c in whole["train"].queries.conversations}
    stickers = {own for part in whole.values() for own in part.gallery.ids}
    for split in ("valid", "test"):
        queries = whole[split].queries
        for conversation, prompt in zip(queries.conversations, system.prompts(queries), strict=True):
            roles = [message["role"] for message in prompt]
            assert roles == ["system", *["user", "assistant"] * 4, "user"]
            assert {message["content"] for message in prompt[1:-1:2]} <= known
            assert prompt[-1] == question(conversation, 6)
            text = json.dumps(prompt, ensure_ascii=False)
            assert conversation.id not in text and conversation.sticker not in text
    head = json.dumps(system.prompts(whole["test"].queries)[0][:-1], ensure_ascii=False)
    assert not any(own in head for own in stickers)
    for split in ("valid", "test"):
        assert not any(context_text(c, 6) in head for c in whole[split].queries.conversations)


def test_shots_are_training_conversations_with_their_stickers(whole):
    train, system = whole["train"].queries, fitted(whole, profile="mini")
    (prompt,) = {json.dumps(own[:-1], ensure_ascii=False) for own in system.prompts(whole["test"].queries)}
    row_of = {question(c, 6)["content"]: row for row, c in enumerate(train.conversations)}
    messages = json.loads(prompt)[1:]
    rows = [row_of[message["content"]] for message in messages[::2]]
    for row, message in zip(rows, messages[1::2], strict=True):
        said, number = json.loads(message["content"]), train.stickers[row]
        assert said["intention"] == LABELS[train.intentions[row]]
        assert (said["gesture"], said["verbal"]) == (f"比{name_of(number)}，点头", f"{name_of(number)}！")
    counts = np.bincount(train.intentions)
    assert sorted(counts[train.intentions[rows]]) == sorted(counts)[-4:]
    assert len({train.intentions[row] for row in rows}) == 4


def test_only_the_leaking_gallery_tells_intentions(parts):
    gallery = parts["test"].gallery
    plain = fitted(parts, query_text="context").texts(gallery)
    assert not any(label in text for label in [*LABELS, "意图"] for text in plain)
    leaking = fitted(parts, query_text="context", gallery_text="attributes+intention").texts(gallery)
    assert all(text.endswith(own) for text, own in zip(leaking, plain, strict=True))
    used = gallery.intentions.any(axis=1)
    assert [text.startswith("意图：") for text in leaking] == used.tolist() and used.any()


def test_a_model_that_runs_here_ranks_too(parts, tmp_path, monkeypatch):
    monkeypatch.setattr("intra.generation.language_models.ANSWER_TOKENS", 8)
    monkeypatch.setitem(LANGUAGE_MODELS, "tiny", str(tiny_chat(tmp_path / "tiny")))
    part = parts["test"]
    few = replace(
        part.queries,
        ids=part.queries.ids[:3],
        conversations=part.queries.conversations[:3],
        stickers=part.queries.stickers[:3],
    )
    system = fitted(parts)
    scores = system.score(few, part.gallery)
    assert scores.shape == (3, len(part.gallery.ids)) and np.isfinite(scores).all()
    assert len(system.store.read_text(encoding="utf-8").splitlines()) == 3


@pytest.mark.parametrize(("name", "hint"), [("", ""), ("LLava", r" \(did you mean 'LLaVA'\?\)")])
def test_an_unknown_language_model_is_told_at_once(name, hint):
    with pytest.raises(IntraError, match=rf"^unknown language model '{name}'{hint}; known are"):
        TextRetrieval(CONFIG.with_changes(language_model=name), None)
