"""Tiny BART and Marian checkpoints with random weights: the architectures of COMET and of its translator."""

import io
import json
import shutil

import pytest

ENGLISH = """PersonX loses the campus card. PersonX goes to the exam and wants to sleep. PersonX is happy about hotpot.
to eat a meal, to find it, to take the bus home; gets tired, feels sad, none of them knows what happens tonight!
I lost my card today. Let us have hotpot together? The boss wants it now, so nobody sleeps. Happy birthday to you.
""".splitlines()
CHINESE = """今天晚上一起吃火锅吗 校园卡丢了怎么办 老板让我现在就去上班 生日快乐呀 哈哈哈太好笑了 考试终于过了
我好困想睡觉 你在哪里 等我一下马上到 这也太贵了吧 明天放假 没有人知道发生了什么 猫又跑出去了""".split()
RELATIONS = ["xIntent", "xNeed", "xWant", "xEffect", "xReact"]


def tiny_comet(path, seed=0, config_changes=None):
    """Save a BART of width 16 with COMET's relation tokens; `config_changes` go into its config.json as they are."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import BartConfig, BartForConditionalGeneration, BartTokenizer

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer, bpe.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet, special = pre_tokenizers.ByteLevel.alphabet(), ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    settings = {"special_tokens": special, "initial_alphabet": alphabet, "show_progress": False}
    bpe.train_from_iterator(ENGLISH, trainers.BpeTrainer(vocab_size=400, **settings))
    model = json.loads(bpe.to_str())["model"]
    tokenizer = BartTokenizer(vocab=model["vocab"], merges=[tuple(pair) for pair in model["merges"]])
    tokenizer.add_tokens([*RELATIONS, "oReact"])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = BartConfig(
            vocab_size=len(tokenizer),
            d_model=16,
            encoder_layers=1,
            decoder_layers=1,
            encoder_attention_heads=2,
            decoder_attention_heads=2,
            encoder_ffn_dim=32,
            decoder_ffn_dim=32,
            max_position_embeddings=64,
            init_std=0.7,  # so that inputs matter and outputs differ
        )
        BartForConditionalGeneration(config).save_pretrained(path)
    tokenizer.save_pretrained(path)
    if config_changes:
        # as checkpoints of older versions have it: settings of the decoding lie in the model's configuration
        (path / "generation_config.json").unlink()
        written = json.loads((path / "config.json").read_text()) | config_changes
        (path / "config.json").write_text(json.dumps(written))
    return path


def tiny_marian(path, seed=0):
    """Save a Marian of width 16 with one sentencepiece model for each language."""
    import sentencepiece
    import torch
    from transformers import MarianConfig, MarianMTModel, MarianTokenizer

    path.mkdir(parents=True)
    vocabulary = {"</s>": 0, "<unk>": 1}
    for name, sentences, size in (("source", CHINESE, 90), ("target", ENGLISH, 70)):
        written = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(sentences),
            model_writer=written,
            vocab_size=size,
            hard_vocab_limit=False,
            character_coverage=1.0,
            minloglevel=2,
        )
        (path / f"{name}.spm").write_bytes(written.getvalue())
        pieces = sentencepiece.SentencePieceProcessor(model_proto=written.getvalue())
        for number in range(3, pieces.get_piece_size()):
            vocabulary.setdefault(pieces.id_to_piece(number), len(vocabulary))
    vocabulary["<pad>"] = pad = len(vocabulary)
    (path / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    files = {"source_spm": "source.spm", "target_spm": "target.spm", "vocab": "vocab.json"}
    tokenizer = MarianTokenizer(**{key: str(path / file) for key, file in files.items()})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = MarianConfig(
            vocab_size=len(vocabulary),
            d_model=16,
            encoder_layers=1,
            decoder_layers=1,
            encoder_attention_heads=2,
            decoder_attention_heads=2,
            encoder_ffn_dim=32,
            decoder_ffn_dim=32,
            max_position_embeddings=128,
            pad_token_id=pad,
            decoder_start_token_id=pad,
            eos_token_id=0,
            forced_eos_token_id=0,
            init_std=0.7,
        )
        model = MarianMTModel(config)
    # the pieces of both languages share one vocabulary: without this a random model would write Chinese
    forbidden = [number for piece, number in vocabulary.items() if not piece.strip("▁").isascii()]
    model.generation_config.bad_words_ids = [[number] for number in (pad, *forbidden)]
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


@pytest.fixture(scope="session")
def comet_folder(tmp_path_factory):
    return tiny_comet(tmp_path_factory.mktemp("models") / "mismayil" / "comet-bart-ai2")


@pytest.fixture(scope="session")
def marian_folder(tmp_path_factory):
    return tiny_marian(tmp_path_factory.mktemp("models") / "Helsinki-NLP" / "opus-mt-zh-en")


@pytest.fixture
def models(tmp_path, monkeypatch, comet_folder, marian_folder):
    """A folder of checkpoints that the environment names."""
    for folder in (comet_folder, marian_folder):
        shutil.copytree(folder, tmp_path / "models" / folder.parent.name / folder.name)
    monkeypatch.setenv("INTRA_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"
