"""The Marian translator says what the checkpoint says to each text alone, and its name tells all that decides it."""

import shutil

import pytest

from intra.errors import IntraError
from intra.generation.translation import MarianTranslator, has_cjk

pytest_plugins = ["tiny_seq2seq"]

TEXTS = ["今天晚上一起吃火锅吗", "哈", "老板让我现在就去上班 考试终于过了", "你在哪里", "哈哈哈太好笑了"]


@pytest.mark.parametrize("text", ["早", "ok 早", "ひ", "カ", "한", "\u3400", "\U00020000", "豈"])
def test_cjk_is_found(text):
    assert has_cjk(text)


@pytest.mark.parametrize("text", ["", "hello", "hello，ok。", "！？～", "🙂", "é", "“no”", "привет"])
def test_other_text_is_not_cjk(text):
    assert not has_cjk(text)


def test_texts_are_translated_as_each_would_be_alone(marian_folder):
    """The truth are the classes of `transformers` themselves, one text at a time."""
    from transformers import MarianMTModel, MarianTokenizer

    said = MarianTranslator(marian_folder, batch_size=2).translate(TEXTS)
    tokenizer, model = MarianTokenizer.from_pretrained(marian_folder), MarianMTModel.from_pretrained(marian_folder)
    settings = {"num_beams": 4, "max_new_tokens": 128, "early_stopping": True, "renormalize_logits": True}
    for text, translation in zip(TEXTS, said, strict=True):
        tokens = model.generate(**tokenizer(text, return_tensors="pt"), do_sample=False, **settings)
        assert translation == " ".join(tokenizer.decode(tokens[0], skip_special_tokens=True).split())
    assert len(set(said)) > 1 and all(said) and not any(has_cjk(text) for text in said)


def test_nothing_to_translate(marian_folder):
    assert MarianTranslator(marian_folder).translate([]) == []


def test_of_a_text_that_is_too_long_the_end_is_read(marian_folder):
    translator = MarianTranslator(marian_folder)
    long = "考试终于过了" * 60
    assert translator.translate(["等我一下马上到" + long]) == translator.translate(["你在哪里" + long])
    assert translator.translate([long + "等我一下马上到"]) != translator.translate([long + "你在哪里"])


@pytest.mark.parametrize("file", ["source.spm", "target.spm", "vocab.json", "model.safetensors", "config.json"])
def test_the_name_changes_with_every_file_that_decides(marian_folder, tmp_path, file):
    folder = shutil.copytree(marian_folder, tmp_path / marian_folder.name)
    before = MarianTranslator(folder).name
    assert before == MarianTranslator(marian_folder).name
    (folder / file).write_bytes((folder / file).read_bytes() + b" ")
    assert MarianTranslator(folder).name != before
    assert before.startswith("opus-mt-zh-en@") and "num_beams=4," in before and before.endswith("precision=no")


def test_a_folder_without_its_tokenizer_is_one_line(marian_folder, tmp_path):
    folder = shutil.copytree(marian_folder, tmp_path / "broken")
    (folder / "source.spm").unlink()
    with pytest.raises(IntraError) as error:
        MarianTranslator(folder).translate(["早"])
    assert str(error.value).startswith(f"{folder}: is no whole checkpoint, download it again: ")
    assert "\n" not in str(error.value)
