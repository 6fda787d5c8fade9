"""Three ways to H^T: frozen, with tuned layers, joined from utterances."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from intra import features
from intra.components import Components
from intra.config import RunConfig
from intra.data.context import utterance_texts
from intra.data.schema import SPLITS, Conversation, Utterance
from intra.encoders.text import TransformerTextEncoder
from intra.errors import IntraError
from intra.features import Standardiser, build_features
from intra.generation.knowledge import know
from intra.generation.store import GenerationStore
from intra.models.context import FrozenContext, JoinedContext, TunedContext, context_model
from intra.models.int_ra import IntRASystem

pytest_plugins = ["helpers"]
SMOKE = RunConfig(profile="smoke", epochs=2)
JOINED, TUNED = {"context_encoding": "utterances"}, {"tuned_layers": 1, "encoder_learning_rate": 1e-3}
FIRSTS = ["甲", "一二三四五六七八九十" * 3, "乙丙", "", "一二", "丁" * 9, "三四五"]
SECONDS = ["", "甲乙", "一" * 9, "丙", "", "二三", "丁"]


# Tiny checkpoints of the real architectures


def checkpoint(kind, folder):
    """A randomly initialised encoder of three layers with the tokenizer of its kind."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import (
        BertConfig,
        BertModel,
        DistilBertConfig,
        DistilBertModel,
        PreTrainedTokenizerFast,
        XLMRobertaConfig,
        XLMRobertaModel,
    )

    begin, pad, end, unknown = (
        ("[CLS]", "[PAD]", "[SEP]", "[UNK]") if kind != "xlm-r" else ("<s>", "<pad>", "</s>", "?")
    )
    pieces = [begin, pad, end, unknown, *"一二三四五六七八九十甲乙丙丁"]
    numbers = {piece: number for number, piece in enumerate(pieces)}
    words = Tokenizer(models.WordLevel(numbers, unk_token=unknown))
    words.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    pair = f"{begin} $A {end} $B:1 {end}:1" if kind != "xlm-r" else f"{begin} $A {end} {end} $B {end}"
    words.post_processor = processors.TemplateProcessing(
        single=f"{begin} $A {end}", pair=pair, special_tokens=[(token, numbers[token]) for token in (begin, end)]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words,
        unk_token=unknown,
        pad_token=pad,
        cls_token=begin,
        sep_token=end,
        model_max_length=60,
        model_input_names=["input_ids", "attention_mask"] + ["token_type_ids"] * (kind == "bert"),
    )
    sizes = {"vocab_size": len(pieces), "pad_token_id": 1, "max_position_embeddings": 64}
    shape = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 48}
    torch.manual_seed(0)
    model = {
        "bert": lambda: BertModel(BertConfig(**sizes, **shape, initializer_range=0.2)),
        "xlm-r": lambda: XLMRobertaModel(XLMRobertaConfig(**sizes, **shape, initializer_range=0.2)),
        "distilbert": lambda: DistilBertModel(DistilBertConfig(**sizes, dim=32, n_layers=3, n_heads=2, hidden_dim=48)),
    }[kind]()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    folder = tmp_path_factory.mktemp("encoders")
    return {kind: checkpoint(kind, folder / kind) for kind in ("bert", "xlm-r", "distilbert")}


@pytest.fixture
def encoder(checkpoints, request):
    kind, pooling = request.param
    return TransformerTextEncoder(checkpoints[kind], pooling=pooling, max_tokens=40, batch_size=3)


every_encoder = pytest.mark.parametrize(
    "encoder", [("bert", "mean"), ("bert", "cls"), ("xlm-r", "mean"), ("xlm-r", "cls")], indirect=True
)


# Tuned layers


@every_encoder
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_untouched_layers_give_the_frozen_features(encoder, layers):
    frozen = encoder.encode_pairs(FIRSTS, SECONDS)
    scale = Standardiser(frozen)
    context = TunedContext(encoder.last_layers(layers), scale).eval()
    with torch.no_grad():
        made = context(torch.from_numpy(encoder.pair_states(FIRSTS, SECONDS, layers))).numpy()
    assert made == pytest.approx(scale(frozen), abs=1e-5)


@pytest.mark.parametrize("encoder", [("bert", "mean"), ("xlm-r", "mean")], indirect=True)
def test_below_all_layers_are_the_embeddings(encoder):
    """With every layer tuned, what stays frozen and is cached is what the embedding table puts out."""
    (states,) = encoder.pair_states(["一二"], [""], 3)
    tokens = encoder._tokenizer("一二", return_tensors="pt")
    with torch.no_grad():
        embedded = encoder._model.embeddings(input_ids=tokens["input_ids"])[0].numpy()
    assert states == pytest.approx(embedded, abs=1e-6)


@pytest.mark.parametrize("encoder", [("bert", "mean")], indirect=True)
def test_states_end_in_zeros_behind_the_last_token(encoder):
    states = encoder.pair_states(FIRSTS, SECONDS, 1, np.float16)
    lengths = [2 + len(a) + (len(b) + 1 if b else 0) for a, b in zip(FIRSTS, SECONDS, strict=True)]
    assert states.dtype == np.float16
    assert states.shape == (len(FIRSTS), max(lengths), 32)
    assert states.any(axis=2).tolist() == [[n < length for n in range(max(lengths))] for length in lengths]


@every_encoder
def test_gradients_reach_the_copied_layers_and_nothing_else(encoder):
    context = TunedContext(encoder.last_layers(2), Standardiser(encoder.encode_pairs(FIRSTS, SECONDS)))
    own = {name: tensor.clone() for name, tensor in encoder._model.state_dict().items()}
    layers = [encoder._model.encoder.layer[n].state_dict() for n in (1, 2)]
    wanted = {f"layers.layers.{n}.{name}" for n, layer in enumerate(layers) for name in layer}
    assert {name for name, _ in context.named_parameters()} == wanted
    optimiser = torch.optim.SGD(context.parameters(), lr=0.1)
    context(torch.from_numpy(encoder.pair_states(FIRSTS, SECONDS, 2))).square()[:, 0].sum().backward()
    # a key's bias moves all attention logits of a query alike, so that its gradient is zero
    assert all(p.grad.any() for name, p in context.named_parameters() if "key.bias" not in name)
    optimiser.step()
    assert all(torch.equal(own[name], tensor) for name, tensor in encoder._model.state_dict().items())
    assert all(parameter.grad is None for parameter in encoder._model.parameters())


@pytest.mark.parametrize(
    ("encoder", "layers", "told"),
    [
        (("bert", "mean"), 4, r"tuned_layers is 4, but .*bert has 3 layers"),
        (("distilbert", "mean"), 1, r"distilbert is a DistilBertModel, expected an encoder like BERT or XLM-R"),
    ],
    indirect=["encoder"],
)
def test_layers_that_are_not_there_are_one_line(encoder, layers, told):
    for ask in (encoder.last_layers, lambda count: encoder.pair_states(["一"], [""], count)):
        with pytest.raises(IntraError, match=told) as caught:
            ask(layers)
        assert "\n" not in str(caught.value)


# Joined utterances


def said(*lines, sender):
    return Conversation("c", "train", tuple(Utterance(*line) for line in lines), sender, "reply", "s", "joy")


def test_a_line_does_not_depend_on_the_window():
    chat = said(("甲", "一"), ("乙", "二"), ("丙", "三"), ("甲", "四"), ("丁", "五"), sender="丁")
    lines = utterance_texts(chat)
    # backwards: 丁 is the sender, 甲 the first other, then 丙, then 乙
    assert lines == ["A：一", "C：二", "B：三", "A：四", "我：五"]
    for start in range(1, 5):
        assert utterance_texts(replace(chat, utterances=chat.utterances[start:])) == lines[start:]


def test_joining_by_hand():
    """Knowledge is missing: each head weighs the two utterances, at places 1 and 2, in its own way."""
    torch.manual_seed(0)
    context = JoinedContext(8, 4, 2).eval()
    torch.nn.init.normal_(context.place)
    torch.nn.init.normal_(context.weight.weight)
    utterances = torch.randn(2, 8)
    with torch.no_grad():
        made = context(torch.cat([torch.zeros(1, 8), utterances, torch.zeros(1, 8)])[None])[0]
    expected = []
    for head in (0, 1):
        weights = [
            math.exp((context.weight.weight[head] @ u + context.place[t, head]).item())
            for t, u in enumerate(utterances, 1)
        ]
        for dimension in range(4 * head, 4 * head + 4):
            inner = [(context.value.weight[dimension] @ u + context.value.bias[dimension]).item() for u in utterances]
            values = [x * (1 + math.erf(x / math.sqrt(2))) / 2 for x in inner]
            expected.append(sum(w * v for w, v in zip(weights, values, strict=True)) / sum(weights))
    assert made.tolist() == pytest.approx(expected, abs=1e-5)


def test_nothing_at_all_is_zeros():
    assert not JoinedContext(8, 4, 2).eval()(torch.zeros(2, 5, 8)).any()


def test_a_query_does_not_depend_on_its_batch():
    torch.manual_seed(0)
    context = JoinedContext(8, 5, 2).eval()
    segments = torch.randn(3, 6, 8)
    segments[0, 2:], segments[1, 0] = 0, 0
    with torch.inference_mode():
        together = context(segments)
        alone = torch.cat([context(segments[0:1, :2]), context(segments[1:2]), context(segments[2:3])])
    assert together.numpy() == pytest.approx(alone.numpy(), abs=1e-5)


def test_joining_learns_which_utterance_counts(toy_features, toy_config):
    """The newest utterance tells the intention, older ones tell others: their plain mean is not enough."""
    toy, rng = toy_features(queries=64, noise=0.2), np.random.default_rng(0)

    def muddled(partition):
        told = partition.queries.text_features
        parts = np.stack([0 * told, told, *(told[rng.permutation(len(told))] for _ in range(2))], axis=1)
        mean = parts[:, 1:].mean(axis=1)
        return replace(partition, queries=replace(partition.queries, parts=parts, text_features=mean))

    train, valid = muddled(toy.train), muddled(toy.valid)
    toy_config = toy_config.with_changes(epochs=20, patience=20)
    joined = toy_config.with_changes(**JOINED, encoder_learning_rate=1e-2, window=3)
    assert IntRASystem(joined, toy).fit(train, valid).validation > 0.95
    assert IntRASystem(toy_config, toy).fit(train, valid).validation < 0.8


def test_a_width_that_the_heads_do_not_divide_is_one_line():
    with pytest.raises(IntraError, match="heads is 4, but text vectors of width 30 are no multiple"):
        JoinedContext(30, 6, 4)


# In features and in Int-RA


@pytest.fixture
def store(tmp_path):
    return tmp_path / "generated"


@pytest.mark.usefixtures("cache")
def test_the_config_names_the_context_model(store):
    kinds = {FrozenContext: {}, JoinedContext: JOINED, TunedContext: TUNED}
    for kind, changes in kinds.items():
        config = SMOKE.with_changes(**changes)
        made = build_features(config, store)
        assert type(context_model(config, made)) is kind
        assert all((getattr(made, split).queries.parts is None) == (kind is FrozenContext) for split in SPLITS)


@pytest.mark.usefixtures("cache")
def test_tuned_layers_of_utterances_are_refused(store):
    with pytest.raises(IntraError, match="tuned_layers is 1, expected 0 with context_encoding 'utterances'"):
        build_features(SMOKE.with_changes(**JOINED, **TUNED), store)


@pytest.mark.usefixtures("cache")
def test_the_parts_of_utterances(store):
    """Each text encoded alone: knowledge, then the window from its newest utterance, then zeros."""
    made = build_features(SMOKE.with_changes(**JOINED, window=3), store)
    dataset, parts = features.profile_dataset("replystickers", "smoke"), Components("smoke")
    raw = {}
    for split in SPLITS:
        conversations = dataset.split(split).conversations
        known = know(conversations, parts.knowledge, GenerationStore(store / "knowledge.jsonl"))
        raw[split] = np.zeros((len(conversations), 4, 32))
        for row, (conversation, knowledge) in enumerate(zip(conversations, known, strict=True)):
            texts = [knowledge.text, *reversed(utterance_texts(conversation)[-3:])]
            for place, text in enumerate(texts):
                raw[split][row, place] = parts.text.encode([text])[0] if text else 0
    there = raw["train"].any(axis=2)
    mean, deviation = raw["train"][there].mean(axis=0), raw["train"][there].std(axis=0)
    for split in SPLITS:
        expected = np.where(raw[split].any(axis=2, keepdims=True), (raw[split] - mean) / deviation, 0)
        found = getattr(made, split).queries.parts
        assert found.dtype == np.float32
        assert found == pytest.approx(expected, abs=1e-3)


@pytest.mark.usefixtures("cache")
def test_another_window_encodes_no_utterance_again(store, monkeypatch):
    for window in (1, 6):  # the contexts as sequences, which do depend on the window
        build_features(SMOKE.with_changes(window=window), store)
    build_features(SMOKE.with_changes(**JOINED), store)
    monkeypatch.setattr(TransformerTextEncoder, "_load", lambda *arguments: pytest.fail("a model is loaded"))
    narrow = build_features(SMOKE.with_changes(**JOINED, window=1), store)
    assert narrow.train.queries.parts.shape[1] == 2


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize("layers", [1, 2])
def test_cached_states_give_the_frozen_features(layers, store, monkeypatch):
    for dtype, tolerance in ((np.float16, 0.1), (np.float32, 1e-4)):
        monkeypatch.setattr(features, "STATE_TYPE", dtype)
        config = SMOKE.with_changes(tuned_layers=layers)
        made = build_features(config, store)
        assert made.valid.queries.parts.dtype == dtype
        text_features = IntRASystem(config, made)
        text_features.model.eval()
        with torch.no_grad():
            found = text_features.text_features(made.valid.queries).numpy()
        assert found == pytest.approx(made.valid.queries.text_features, abs=tolerance)


@pytest.fixture
def systems(cache, store):
    """A function that trains Int-RA on smoke features."""

    def train(**changes):
        config = SMOKE.with_changes(**changes)
        made = build_features(config, store)
        system = IntRASystem(config, made)
        before = {name: tensor.clone() for name, tensor in system.model.state_dict().items()}
        system.fit(made.train, made.valid)
        after = system.model.state_dict()
        moved = {name for name in before if not torch.equal(before[name], after[name])}
        return system, made, moved

    return train


@pytest.mark.parametrize("changes", [JOINED, TUNED], ids=["joined", "tuned"])
def test_context_models_have_a_learning_rate_of_their_own(changes, systems):
    system, _, both = systems(**changes)
    context = {f"context.{name}" for name, _ in system.model.context.named_parameters()}
    others = {name for name, _ in system.model.named_parameters()} - context
    assert both == context | others
    assert systems(**changes | {"encoder_learning_rate": 0.0})[2] == others
    assert systems(**changes, learning_rate=0.0)[2] == context


@pytest.mark.parametrize("changes", [JOINED, TUNED], ids=["joined", "tuned"])
def test_saved_weights_rank_the_same(changes, systems, tmp_path):
    system, made, _ = systems(**changes)
    system.save(tmp_path / "weights.safetensors")
    other = IntRASystem(SMOKE.with_changes(**changes, seed=5), made)
    queries, gallery = made.valid.queries, made.valid.gallery
    expected = system.score(queries, gallery)
    assert not np.array_equal(other.score(queries, gallery), expected)
    other.load(tmp_path / "weights.safetensors")
    assert np.array_equal(other.score(queries, gallery), expected)
    details = other.details(queries, gallery)["intention_probabilities"]
    assert np.array_equal(details, system.details(queries, gallery)["intention_probabilities"])


@pytest.mark.parametrize("changes", [JOINED, TUNED], ids=["joined", "tuned"])
def test_dropout_follows_the_seed(changes, systems):
    states = []
    for number in range(2):
        torch.manual_seed(number)
        before = torch.get_rng_state()
        states.append(systems(**changes)[0].model.state_dict())
        assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_the_other_weights_start_the_same(toy, toy_config):
    frozen = IntRASystem(toy_config, toy).model.state_dict()
    joined = IntRASystem(toy_config.with_changes(**JOINED), toy).model.state_dict()
    assert all(torch.equal(frozen[name], joined[name]) for name in frozen)
