"""COMET is asked the right English questions, answers as the checkpoint does, and repeats nothing after a kill."""

import shutil
from types import SimpleNamespace

import pytest

from intra.data import Conversation, Utterance
from intra.errors import IntraError
from intra.generation.comet import CometKnowledge, clean_inferences
from intra.generation.knowledge import Knowledge, know
from intra.generation.seq2seq import Seq2Seq
from intra.generation.store import GenerationStore
from intra.generation.translation import MarianTranslator

pytest_plugins = ["tiny_seq2seq"]

RELATIONS = ["xIntent", "xNeed", "xWant", "xEffect", "xReact"]
EVENTS = ["PersonX loses the campus card", "hi", "I want hotpot tonight and the boss wants it now", "so tired", "no"]
OLD_SETTINGS = {"min_length": 12, "num_beams": 2, "no_repeat_ngram_size": 2, "max_length": 9, "length_penalty": 9.0}


class Dictionary:
    """A translator that counts what it is asked."""

    name = "dictionary@1"

    def __init__(self, **words):
        self.words, self.asked = words, []

    def translate(self, texts):
        self.asked += texts
        return [self.words[text] for text in texts]


@pytest.fixture
def asked(monkeypatch):
    """Queries of every pass that ended, in the order of the passes."""
    passes, generate = [], Seq2Seq._generate

    def recorded(self, texts):
        outputs = generate(self, texts)
        passes.append(texts)
        return outputs

    monkeypatch.setattr(Seq2Seq, "_generate", recorded)
    return passes


def direct(tokenizer, model, query):
    """Five outputs of the model for one query alone."""
    tokens = model.generate(
        **tokenizer(query, return_tensors="pt"),
        num_beams=5,
        num_return_sequences=5,
        max_new_tokens=24,
        early_stopping=True,
        do_sample=False,
        forced_eos_token_id=2,
    )
    return tokenizer.batch_decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)


def test_every_event_gets_the_checkpoints_answers_for_the_five_relations(comet_folder):
    from transformers import BartForConditionalGeneration, BartTokenizer

    source = CometKnowledge(comet_folder, batch_size=3)  # so that passes cut through conversations
    found = list(source.infer([["ignored", event] for event in EVENTS]))
    assert [(k.event, k.score, list(k.inferences)) for k in found] == [(event, 1.0, RELATIONS) for event in EVENTS]
    parts = BartTokenizer.from_pretrained(comet_folder), BartForConditionalGeneration.from_pretrained(comet_folder)
    for knowledge in found:
        for relation in RELATIONS:
            said = direct(*parts, f"{knowledge.event} {relation} [GEN]")
            assert knowledge.inferences[relation] == clean_inferences(said)
    assert len({str(k.inferences) for k in found}) == len(EVENTS)


def test_settings_that_lie_in_a_checkpoint_decide_nothing(comet_folder, tmp_path):
    """Such as those that transformers promotes from old configurations: a least length would forbid one word."""
    from tiny_seq2seq import tiny_comet
    from transformers import BartForConditionalGeneration

    old = tiny_comet(tmp_path / "old", config_changes=OLD_SETTINGS)
    loaded = BartForConditionalGeneration.from_pretrained(old).generation_config
    assert {key: getattr(loaded, key) for key in OLD_SETTINGS} == OLD_SETTINGS  # they would have counted
    groups = [[event] for event in EVENTS]
    assert list(CometKnowledge(old).infer(groups)) == list(CometKnowledge(comet_folder).infer(groups))


def test_passes_hold_queries_of_like_length(comet_folder, asked):
    list(CometKnowledge(comet_folder, batch_size=5).infer([[event] for event in EVENTS]))
    lengths = [len(query) for texts in asked for query in texts]
    assert [len(texts) for texts in asked] == [5] * 5 and lengths == sorted(lengths)
    assert {q for texts in asked for q in texts} == {f"{e} {r} [GEN]" for e in EVENTS for r in RELATIONS}


@pytest.mark.parametrize("prompt", ["{head} {relation}", "{relation}: {head}"])
def test_the_prompt_is_a_setting(comet_folder, asked, prompt):
    list(CometKnowledge(comet_folder, prompt=prompt).infer([["a {card} [GEN]"]]))
    assert set(asked[0]) == {prompt.replace("{head}", "a {card} [GEN]").replace("{relation}", r) for r in RELATIONS}


@pytest.mark.parametrize(("count", "event"), [(1, "three"), (2, "two three"), (3, "one two three")])
def test_the_event_is_the_last_utterances(comet_folder, count, event):
    source = CometKnowledge(comet_folder, event_utterances=count)
    assert [k.event for k in source.infer([["one", " two\n", "three"], ["three"]])] == [event, "three"]


@pytest.mark.parametrize("bad", [{"event_utterances": 0}, {"event_utterances": 4}, {"keep": 0}, {"batch_size": 0}])
def test_numbers_out_of_range_are_refused(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        CometKnowledge("folder", **bad)


@pytest.mark.parametrize("unit", ["happy birthday ", "nobody", "🙂", "é "])
def test_a_long_event_loses_its_start_and_the_query_keeps_its_end(comet_folder, asked, unit):
    source, long = CometKnowledge(comet_folder), (unit * 200).strip()
    (found,) = source.infer([[long]])
    assert long.endswith(found.event) and 0 < len(found.event) < len(long)
    tokenizer = source._model.tokenizer
    for query in asked[0]:
        assert query.removeprefix(found.event + " ").split() in [[r, "[GEN]"] for r in RELATIONS]
        assert len(tokenizer(query).input_ids) <= 48
    # nothing is dropped that had room: with one unit more, the longest query would be full, or not fit
    more = max(len(tokenizer(f"{unit}{found.event} {r} [GEN]").input_ids) for r in RELATIONS)
    assert more >= 48
    assert " " not in unit or found.event.split()[0] in unit.split()  # words stay whole


def test_an_event_is_cut_from_the_first_token_that_has_no_room(comet_folder):
    source = CometKnowledge(comet_folder)
    for count in range(1, 60):
        event = " ".join("z" * count)
        full = max(len(source._model.tokenizer(f"{event} {relation} [GEN]").input_ids) for relation in RELATIONS)
        assert (source._shortened(event) == event) == (full <= 48), count


@pytest.mark.parametrize(
    ("said", "clean"),
    [
        ([" to sleep", "to sleep.", "To Sleep", " none", "to eat . "], ["to sleep", "to eat"]),
        (["none", "None.", " NONE"], []),
        (["", " . ", "..."], []),
        (["nonetheless", "none of them"], ["nonetheless", "none of them"]),
        (["U.S. army.", "a  b\nc"], ["U.S. army", "a b c"]),
        (["PersonX's", "personx's"], ["PersonX's"]),
    ],
)
def test_inferences_are_cleaned(said, clean):
    assert clean_inferences(said) == clean


def test_the_first_so_many_inferences_are_kept(comet_folder, monkeypatch):
    said = ["none", "to sleep.", "to sleep", "to eat", "to go"]
    monkeypatch.setattr(Seq2Seq, "_generate", lambda self, texts: [said] * len(texts))
    (found,) = CometKnowledge(comet_folder, keep=2).infer([["hi"]])
    assert found.inferences == {relation: ["to sleep", "to eat"] for relation in RELATIONS}


# Chinese


@pytest.mark.parametrize("text", ["校园卡丢了", "my 卡"])
def test_chinese_without_a_translator_is_refused_before_anything_is_asked(comet_folder, asked, text):
    with pytest.raises(IntraError) as error:
        next(CometKnowledge(comet_folder, batch_size=1).infer([["hi"], ["hi", text]]))
    assert str(error.value) == f"COMET reads English, not {text!r}: give CometKnowledge a translator"
    assert asked == []
    assert [k.event for k in CometKnowledge(comet_folder).infer([[text, "hi, 。"]])] == ["hi, 。"]  # not looked at


def test_chinese_is_translated_by_the_utterance_and_the_english_is_kept(comet_folder, asked):
    translator = Dictionary(我的卡丢了="I lost my card", 哈哈="haha")
    source = CometKnowledge(comet_folder, translator, event_utterances=2)
    found = list(source.infer([["不读", "我的卡丢了", "oh no"], ["哈哈", "我的卡丢了"], ["haha", "I lost my card"]]))
    assert [k.event for k in found] == ["I lost my card oh no", "haha I lost my card", "haha I lost my card"]
    assert sorted(translator.asked) == ["哈哈", "我的卡丢了"]  # each once, and no English
    assert found[1].inferences == found[2].inferences
    assert len(asked[0]) == 2 * 5  # what two conversations say alike is asked once


def test_where_there_is_no_english_event_the_source_is_silent(comet_folder):
    translator = Dictionary(龘="龘", 嗯="")
    found = list(CometKnowledge(comet_folder, translator).infer([["龘"], ["hi"], ["嗯"], [" \n"], []]))
    assert [k.event for k in found] == ["", "hi", "", "", ""]
    assert [k for k in found if not k.event] == [Knowledge()] * 4


def test_real_checkpoints_together(comet_folder, marian_folder):
    translator = MarianTranslator(marian_folder)
    (found,) = CometKnowledge(comet_folder, translator).infer([["今天晚上一起吃火锅吗"]])
    english = translator.translate(["今天晚上一起吃火锅吗"])[0]
    assert found.event and english.endswith(found.event)
    assert next(CometKnowledge(comet_folder).infer([[found.event]])) == found


# The store


def chat(number, *texts):
    return Conversation(f"c{number}", "train", tuple(Utterance("a", text) for text in texts), "a", "r", "s", "joy")


CHATS = [chat(number, "hello", event) for number, event in enumerate([*EVENTS[1:], "why"])]


@pytest.fixture(scope="module")
def whole(comet_folder, tmp_path_factory):
    """The file of a run that nothing stopped."""
    path = tmp_path_factory.mktemp("store") / "whole.jsonl"
    know(CHATS, CometKnowledge(comet_folder, batch_size=2), GenerationStore(path))
    return path


@pytest.mark.parametrize("passes", [0, 4, 5, 12])
def test_a_killed_run_goes_on_and_the_file_is_the_same(comet_folder, whole, tmp_path, monkeypatch, asked, passes):
    """Two conversations are asked about together, in five passes of two queries."""
    generate = Seq2Seq._generate

    def dying(self, texts):
        if len(asked) == passes:
            raise KeyboardInterrupt
        return generate(self, texts)

    with monkeypatch.context() as patch:
        patch.setattr(Seq2Seq, "_generate", dying)
        with pytest.raises(KeyboardInterrupt):
            know(CHATS, CometKnowledge(comet_folder, batch_size=2), GenerationStore(tmp_path / "k.jsonl"))
    kept = [entry["result"]["event"] for entry in GenerationStore(tmp_path / "k.jsonl").entries()]
    assert kept == [c.utterances[-1].text for c in CHATS[: passes // 5 * 2]]
    before = [query for texts in asked for query in texts]
    asked.clear()
    found = know(CHATS, CometKnowledge(comet_folder, batch_size=2), GenerationStore(tmp_path / "k.jsonl"))
    after = [query for texts in asked for query in texts]
    assert (tmp_path / "k.jsonl").read_bytes() == whole.read_bytes()
    assert [k.event for k in found] == [c.utterances[-1].text for c in CHATS]
    # only the passes about the two conversations in progress are repeated: none, if it was killed between
    assert len(set(before) & set(after)) == passes % 5 * 2 and not {q.split(" x")[0] for q in after} & set(kept)


def test_the_name_changes_with_all_that_decides(comet_folder, marian_folder, tmp_path, monkeypatch):
    from tiny_seq2seq import tiny_comet

    other = tiny_comet(tmp_path / comet_folder.name, seed=1)
    words = shutil.copytree(comet_folder, tmp_path / "words" / comet_folder.name)
    (words / "tokenizer.json").write_bytes((words / "tokenizer.json").read_bytes() + b" ")
    marian = MarianTranslator(marian_folder)
    sources = [
        CometKnowledge(comet_folder),
        CometKnowledge(other),
        CometKnowledge(words),
        CometKnowledge(comet_folder, prompt="{head} {relation}"),
        CometKnowledge(comet_folder, event_utterances=2),
        CometKnowledge(comet_folder, keep=3),
        CometKnowledge(comet_folder, Dictionary()),
        CometKnowledge(comet_folder, marian),
    ]
    names = [source.name for source in sources]
    monkeypatch.setattr("intra.generation.comet.DECODING", {"num_beams": 1, "num_return_sequences": 1})
    names.append(CometKnowledge(comet_folder).name)
    half = CometKnowledge(comet_folder)
    half._model._accelerator = SimpleNamespace(mixed_precision="bf16")
    names.append(half.name)
    assert len(set(names)) == len(names)
    assert names[0].startswith("comet-bart-ai2@") and marian.name in names[7]
    # neither the place of the folder nor the size of a pass decides anything
    copy = shutil.copytree(comet_folder, tmp_path / "copy" / comet_folder.name)
    monkeypatch.undo()
    assert CometKnowledge(copy, batch_size=1).name == names[0]


def test_precision_is_that_of_accelerate(comet_folder, monkeypatch):
    import torch

    source = CometKnowledge(comet_folder)
    (full,) = source.infer([["hi"]])
    seen = []
    source._model._accelerator = SimpleNamespace(
        device=torch.device("cpu"), autocast=lambda: seen.append(1) or torch.autocast("cpu", torch.bfloat16)
    )
    (half,) = source.infer([["hi"]])
    assert seen == [1] and half.inferences.keys() == full.inferences.keys()


# Where checkpoints come from


def test_the_registry_finds_both_checkpoints_in_the_folder_of_models(models):
    from intra.components import KNOWLEDGE_SOURCES

    source = KNOWLEDGE_SOURCES["comet"](None)
    (found,) = source.infer([["你在哪里"]])
    assert found.event and source.name.count("@") == 2
    assert "comet-bart-ai2@" in source.name and "/last=1,keep=5/opus-mt-zh-en@" in source.name


@pytest.mark.parametrize("missing", ["mismayil/comet-bart-ai2", "Helsinki-NLP/opus-mt-zh-en"])
def test_a_missing_checkpoint_is_one_line_that_says_what_to_download(models, tmp_path, missing):
    from intra.components import KNOWLEDGE_SOURCES

    shutil.rmtree(models / missing)
    with pytest.raises(IntraError) as error:
        know(CHATS, KNOWLEDGE_SOURCES["comet"](None), GenerationStore(tmp_path / "k.jsonl"))
    assert str(error.value).startswith(f"the checkpoint {missing} is neither in the folder $INTRA_MODELS nor in")
    assert f"download it with `hf download {missing}`" in str(error.value) and "\n" not in str(error.value)
    assert not (tmp_path / "k.jsonl").exists()


def test_a_checkpoint_from_the_hubs_cache_carries_its_commit(comet_folder, tmp_path, monkeypatch):
    commit = "0123456789abcdef0123456789abcdef01234567"
    cache = tmp_path / "models--mismayil--comet-bart-ai2"
    shutil.copytree(comet_folder, cache / "snapshots" / commit)
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("transformers.utils.hub.constants.HF_HUB_CACHE", str(tmp_path))
    source = CometKnowledge("mismayil/comet-bart-ai2")
    assert source.name.startswith("mismayil/comet-bart-ai2@01234567/num_beams=5,")
    assert list(source.infer([["hi"]])) == list(CometKnowledge(comet_folder).infer([["hi"]]))


@pytest.mark.parametrize("file", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_damaged_folder_is_one_line(comet_folder, tmp_path, file):
    folder = shutil.copytree(comet_folder, tmp_path / "broken")
    (folder / file).write_bytes(b"{")
    with pytest.raises(IntraError) as error:
        list(CometKnowledge(folder).infer([["hi"]]))
    assert str(error.value).startswith(f"{folder}: is no whole checkpoint, download it again: ")
    assert "\n" not in str(error.value)
