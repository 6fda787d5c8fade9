"""MOD into the native layout: dialogues with memes, retrieval samples with candidates, and every fault told."""

import json

import numpy as np
import pytest
from test_import_stickerint import left_in, load_import, picture, refuse, remarks

from intra.cli import main
from intra.data import Conversation, Utterance
from intra.data.importers import import_dataset
from intra.data.importers.native import ImportOptions
from intra.errors import IntraError
from intra.evaluation import make_qrels, make_run, match_metrics

# --- small source folders, written by the specification --------------------------------------------------------

EMOTIONS = {"happy": 0, "laugh": 1, "sad": 5, "angry": 2}
EXAMPLE = {
    "dialogue 7": [
        {"speaker_id": "[speaker1]", "txt": "今天冒雨上班！"},
        {"speaker_id": "[speaker2]", "txt": "哈哈我今天休息", "img_id": "107", "emotion_id": 1},
        {"speaker_id": "[speaker1]", "txt": "", "img_id": "030", "emotion_id": 5},
    ]
}
UTTERANCES = (Utterance("speaker1", "今天冒雨上班！"), Utterance("speaker2", "哈哈我今天休息"))
FIRST = Conversation("c_train-dialogue-7-3", "train", UTTERANCES, "speaker1", "reply", "030", "sad")
MEMES = ("107", "030", "001", "002")
FILE = "c_train.json: dialogue 7"
FEW = "fewer than two turns with text before the meme"
NOISE = (f"{FILE}, turn 2: {FEW}",)
"""What the example itself gives."""


def turn(speaker, text=None, meme=None, emotion=None):
    values = {"txt": text, "img_id": meme, "emotion_id": emotion}
    return {"speaker_id": f"[speaker{speaker}]"} | {name: v for name, v in values.items() if v is not None}


TALK = [turn(1, "早"), turn(2, "早啊")]


def write_source(folder, *, memes=MEMES, emotions=EMOTIONS, files=None, **dialogues):
    """Write tables, pictures in a folder below, and files by the name of their stem."""
    (folder / "meme_set").mkdir(parents=True)
    for number, meme in enumerate(memes):
        (folder / "meme_set" / f"{meme}.png").write_bytes(picture(number))
    table = {f"{meme}.png": meme for meme in memes}
    for name, content in {"emotion_dict": emotions, "img2id": table, **dialogues, **(files or {})}.items():
        text = content if isinstance(content, str) else json.dumps(content)
        (folder / f"{name}.json").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


@pytest.fixture
def do_import(tmp_path, out):
    """Import dialogues of c_train.json, or any files by their stem."""

    def run(dialogues=None, *, options=None, **source):
        if dialogues is not None:
            source["c_train"] = dialogues
        import_dataset("mod", write_source(tmp_path / "source", **source), out, ImportOptions(**(options or {})))
        return load_import(out), remarks(out, *NOISE)

    return run


def test_the_example_of_the_specification_gives_exactly_its_conversation(tmp_path, out):
    import_dataset("mod", write_source(tmp_path / "source", c_train=EXAMPLE), out, ImportOptions())
    dataset = load_import(out)
    assert dataset.conversations == (FIRST,)
    assert dataset.conversations[0].users == {"speaker1", "speaker2"}
    assert (dataset.name, dataset.intentions) == ("MOD", ("happy", "laugh", "angry", "sad"))
    (sticker,) = dataset.stickers
    assert (sticker.id, sticker.splits, sticker.image.read_bytes()) == ("030", ("train",), picture(1))
    assert left_in(out / "images") == ["030.png"]
    assert remarks(out) == [f"skipped {NOISE[0]}"]


def test_words_sent_with_a_meme_are_the_senders_last_or_dropped(tmp_path):
    dialogue = {"d": [*TALK, turn(1, "我到了", "107", 1)]}
    folder = write_source(tmp_path / "source", c_train=dialogue)
    talk = (Utterance("speaker1", "早"), Utterance("speaker2", "早啊"))
    expected = {
        "keep": ((*talk, Utterance("speaker1", "我到了")), "supplement", []),
        "drop": (talk, "reply", ["skipped c_train.json: d, turn 3: txt: words sent with the meme: 我到了"]),
    }
    for option, (utterances, usage, said) in expected.items():
        import_dataset("mod", folder, tmp_path / option, ImportOptions(own_words=option))
        (conversation,) = load_import(tmp_path / option).conversations
        assert (conversation.utterances, conversation.usage, conversation.sender) == (utterances, usage, "speaker1")
        assert remarks(tmp_path / option) == said


@pytest.mark.parametrize(
    "text", [{}, {"txt": ""}, {"txt": None}, {"txt": " "}], ids=["missing", "empty", "null", "blank"]
)
def test_a_meme_without_words_is_a_reply(do_import, text):
    meme = {"speaker_id": "[speaker2]", "img_id": "107", "emotion_id": 1}
    dataset, remarks = do_import({"d": [*TALK, meme | text]})
    (conversation,) = dataset.conversations
    assert (conversation.usage, len(conversation.utterances), conversation.sender) == ("reply", 2, "speaker2")
    assert remarks == []


def test_turns_with_a_meme_only_are_no_utterances_of_the_context(do_import):
    dialogue = [turn(1, "早"), turn(2, None, "107", 1), turn(1, "", "001", 0), turn(2, "早"), turn(1, None, "030", 5)]
    dataset, remarks = do_import({"d": dialogue})
    (conversation,) = dataset.conversations
    assert conversation.utterances == (Utterance("speaker1", "早"), Utterance("speaker2", "早"))
    assert remarks == [f"skipped c_train.json: d, turn {number}: {FEW}" for number in (2, 3)]


def test_the_files_of_each_language_give_its_conversations(do_import, tmp_path):
    english = {"dialogue 7": [turn(1, "Rain again!"), turn(2, "Day off"), turn(1, None, "030", 5)]}
    dataset, remarks = do_import(EXAMPLE, e_train=english, options={"language": "english"})
    assert [c.utterances[0].text for c in dataset.conversations] == ["Rain again!"]
    assert (dataset.conversations[0].id, remarks) == ("e_train-dialogue-7-3", [])
    import_dataset("mod", tmp_path / "source", tmp_path / "chinese", ImportOptions())
    assert load_import(tmp_path / "chinese").conversations == (FIRST,)


def test_dialogue_names_repeated_between_files_are_no_repetition(do_import):
    stems = ("c_train", "c_val", "c_test_easy", "c_test_hard")
    dataset, remarks = do_import(files=dict.fromkeys(stems, EXAMPLE))
    # the files come in the order of their names
    assert [(c.id, c.split) for c in dataset.conversations] == [
        ("c_test_easy-dialogue-7-3", "test"),
        ("c_test_hard-dialogue-7-3", "test"),
        ("c_train-dialogue-7-3", "train"),
        ("c_val-dialogue-7-3", "valid"),
    ]
    assert dataset.stickers[0].splits == ("train", "valid", "test")
    assert "noted stickers.jsonl: sticker in several splits: 030: test, train, valid" in remarks
    assert not any("repeated" in remark for remark in remarks)


def test_an_image_id_is_the_same_however_it_is_written(do_import):
    dataset, remarks = do_import({"d": [*TALK, turn(1, "", 30, 5), turn(2, "", "30", 5), turn(1, "", " 030", 5)]})
    assert [c.sticker for c in dataset.conversations] == ["030"] * 3
    assert remarks == []


# --- faults of dialogues ---------------------------------------------------------------------------------------

NO_TURNS = "refused c_train.json: d: is no list of turns with a speaker"
HERE = "c_train.json: d, turn 3"
FAULTS = {
    "no list": ({"d": 3}, [NO_TURNS]),
    "null": ({"d": None}, [NO_TURNS]),
    "a turn that is text": ({"d": ["早"]}, [NO_TURNS]),
    "no speaker": ({"d": [{"txt": "早"}]}, [NO_TURNS]),
    "a text that is none": ({"d": [*TALK, turn(1, 3, "107", 1)]}, [NO_TURNS]),
    "no turn": ({"d": []}, []),
    "no meme": ({"d": TALK}, []),
    "an empty image id": ({"d": [*TALK, turn(1, "哈", "", 1)]}, []),
    "no emotion": (
        {"d": [*TALK, turn(1, "哈", "107")]},
        [f"skipped {HERE}: emotion_id: meme without an emotion"],
    ),
    "an empty emotion": (
        {"d": [*TALK, turn(1, "哈", "107", "")]},
        [f"skipped {HERE}: emotion_id: meme without an emotion"],
    ),
    "an unknown emotion": (
        {"d": [*TALK, turn(1, "哈", "107", 3)]},
        [f"refused {HERE}: emotion_id: unknown label: 3"],
    ),
    "an emotion by its name": (
        {"d": [*TALK, turn(1, "哈", "107", "sad")]},
        [f"refused {HERE}: emotion_id: unknown label: 'sad'"],
    ),
    "a list of emotions": (
        {"d": [*TALK, turn(1, "哈", "107", [1])]},
        [f"refused {HERE}: emotion_id: unknown label: [1]"],
    ),
    "one turn before": (
        {"d": [turn(1, "早"), turn(2, "哈", "107", 1)]},
        [f"skipped c_train.json: d, turn 2: {FEW}"],
    ),
    "a meme that opens": (
        {"d": [turn(2, "哈", "107", 1)]},
        [f"skipped c_train.json: d, turn 1: {FEW}"],
    ),
    "a meme without a picture": (
        {"d": [*TALK, turn(1, "哈", "999", 1)]},
        [f"refused {HERE}: picture is missing: 999", f"refused {HERE}: sticker without a picture: 999"],
    ),
    "a list of image ids": (
        {"d": [*TALK, turn(1, "哈", ["107", "030"], 1)]},
        [f"refused {HERE}: id is empty or holds white space: 'c_train-d-3', \"['107', '030']\""],
    ),
    "no sender": (
        {"d": [*TALK, {"speaker_id": "[]", "img_id": "107", "emotion_id": 1}]},
        [f"refused {HERE}: no sender"],
    ),
    "half a character in the name": (
        {"d\ud83d": [*TALK, turn(1, "哈", "107", 1)]},
        ["refused c_train.json: d\\ud83d, turn 3: id is empty or holds white space: 'c_train-d\\ud83d-3', '107'"],
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_dialogue_is_left_out_with_its_place_and_reason(do_import, fault):
    dialogues, expected = FAULTS[fault]
    dataset, remarks = do_import(EXAMPLE | dialogues)
    assert dataset.conversations == (FIRST,)
    assert remarks == expected


def test_half_a_surrogate_pair_in_a_text_is_replaced(do_import):
    dataset, remarks = do_import({"d": [turn(1, "早\ud83d"), turn(2, "早"), turn(1, None, "030", 5)]})
    assert dataset.conversations[0].utterances[0].text == "早?"
    assert remarks == [f"repaired {HERE}: half a surrogate pair replaced: 早?"]


def test_dialogues_whose_names_differ_in_white_space_only_are_told_apart_or_reported(do_import):
    talk = [*TALK, turn(1, None, "030", 5)]
    dataset, remarks = do_import({"dialogue 7": talk, "dialogue-7": talk})
    assert [c.id for c in dataset.conversations] == ["c_train-dialogue-7-3"]
    assert remarks == ["refused c_train.json: dialogue-7, turn 3: repeated id: c_train-dialogue-7-3"]


# --- tables and files ------------------------------------------------------------------------------------------

BROKEN_FILES = {
    "emotions that are no JSON": ({"emotions": "{"}, "emotion_dict.json: cannot be read: "),
    "emotions in a list": ({"emotions": ["sad"]}, "emotion_dict.json: holds a list, expected a dict"),
    "emotions without numbers": ({"emotions": {"sad": "five"}}, "emotion_dict.json: expected names, each with a "),
    "an emotion with a list": ({"emotions": {"sad": [5]}}, "emotion_dict.json: expected names, each with a "),
    "a number used twice": ({"emotions": {"sad": 5, "laugh": 5}}, "emotion_dict.json: expected names, each with a "),
    "an emotion without a name": ({"emotions": {"": 5}}, "emotion_dict.json: expected names, each with a "),
    "half a character": ({"emotions": {"\ud83d": 5}}, "emotion_dict.json: expected names, each with a "),
    "no emotion": ({"emotions": {}}, "nothing could be imported; "),
    "image ids in a list": ({"files": {"img2id": []}}, "img2id.json: holds a list, expected a dict"),
    "no image": ({"files": {"img2id": {}}}, "nothing could be imported; "),
    "dialogues that are no JSON": ({"files": {"c_val": "{'a'}"}}, "c_val.json: cannot be read: "),
    "dialogues too deep": ({"files": {"c_val": "[" * 100_000}}, "c_val.json: cannot be read: "),
    "dialogues in a list": ({"files": {"c_val": []}}, "c_val.json: holds a list, expected a dict"),
    "samples in an object": ({"files": {"c_val_task2": {}}}, "c_val_task2.json: holds a dict, expected a list"),
}


@pytest.mark.parametrize("fault", BROKEN_FILES)
def test_a_broken_file_is_told_in_one_line(tmp_path, out, fault):
    source, expected = BROKEN_FILES[fault]
    assert expected in refuse("mod", write_source(tmp_path / "source", c_train=EXAMPLE, **source), out)


@pytest.mark.parametrize("name", ["emotion_dict", "img2id", "c_train"])
def test_a_missing_file_is_told_in_one_line(tmp_path, out, name):
    folder = write_source(tmp_path / "source", c_train=EXAMPLE)
    (folder / f"{name}.json").unlink()
    assert f"{name}.json" in refuse("mod", folder, out)


def test_an_import_without_the_wanted_language_is_told_in_one_line(tmp_path, out):
    folder = write_source(tmp_path / "source", c_train=EXAMPLE)
    assert "holds no e_train.json" in refuse("mod", folder, out, language="english")


def test_broken_pictures_are_reported(tmp_path, out):
    folder = write_source(tmp_path / "source", c_train=EXAMPLE | {"d": [*TALK, turn(1, "哈", "107", 1)]})
    (folder / "meme_set" / "107.png").write_bytes(picture()[:-90])
    import_dataset("mod", folder, out, ImportOptions())
    assert load_import(out).conversations == (FIRST,)
    assert remarks(out, *NOISE)[0].startswith(f"refused {HERE}: picture cannot be read: 107: ")


def test_tables_that_name_pictures_like_paths_never_lead_out_of_the_folder(tmp_path, out):
    folder = write_source(tmp_path / "source", c_train={"d": [*TALK, turn(1, "哈", "../../x", 1)]})
    (folder / "img2id.json").write_text('{"107.png": "../../x", "../secret.png": "030"}', encoding="utf-8")
    (tmp_path / "secret.png").write_bytes(picture())
    before = left_in(tmp_path)
    import_dataset("mod", folder, out, ImportOptions())
    (sticker,) = load_import(out).stickers
    assert (sticker.id, sticker.image.resolve().parent) == ("../../x", (out / "images").resolve())
    assert left_in(tmp_path) == sorted([*before, "out"])


# --- retrieval samples with their own candidates ---------------------------------------------------------------

TRAIN = {
    "d": [
        *TALK,
        turn(1, None, "107", 1),
        turn(2, None, "030", 5),
        turn(1, None, "001", 0),
        turn(2, None, "002", 1),
        turn(1, None, "107", 1),
        turn(2, None, "107", 5),
    ]
}
"""107 is sent twice to laugh, once sadly."""
SAMPLE = {
    "history": [turn(1, "今天冒雨上班", "030", 5), turn(2, "哈哈我今天休息", "107"), turn(1, "明天什么班？")],
    "candidate": {"speaker_id": "[speaker1]", "set": ["107", "030", "001"]},
    "answer": {"speaker_id": "[speaker1]", "img_id": "107"},
}
TASK = "c_test_easy_task2"


@pytest.fixture
def import_task(do_import):
    """Import retrieval samples beside dialogues that tell the emotions; give those of the test split."""

    def run(*samples, **options):
        dataset, remarks = do_import(TRAIN, files={TASK: list(samples)}, options=options)
        return dataset, [remark for remark in remarks if TASK in remark]

    return run


def test_a_retrieval_sample_keeps_its_candidates(import_task):
    dataset, remarks = import_task(SAMPLE)
    utterances = (
        Utterance("speaker1", "今天冒雨上班"),
        Utterance("speaker2", "哈哈我今天休息"),
        Utterance("speaker1", "明天什么班？"),
    )
    candidates = ("107", "030", "001")
    expected = Conversation(
        f"{TASK}-1", "test", utterances, "speaker1", "supplement", "107", "laugh", candidates=candidates
    )
    assert dataset.split("test").conversations == (expected,)
    assert {s.id for s in dataset.split("test").stickers} == set(candidates)
    assert remarks == [f"noted {TASK}.json: sample 1: emotion taken from the meme's other uses: laugh"]


def test_the_senders_last_words_are_dropped_from_a_retrieval_sample_on_request(import_task):
    dataset, remarks = import_task(SAMPLE, own_words="drop")
    (conversation,) = dataset.split("test").conversations
    assert ([u.text for u in conversation.utterances], conversation.usage) == (
        ["今天冒雨上班", "哈哈我今天休息"],
        "reply",
    )
    assert remarks[1] == f"skipped {TASK}.json: sample 1: txt: words sent with the meme: 明天什么班？"


def test_a_retrieval_sample_after_the_words_of_another_is_a_reply(import_task):
    dataset, _ = import_task(SAMPLE | {"answer": {"speaker_id": "[speaker2]", "img_id": "107", "txt": ""}})
    (conversation,) = dataset.split("test").conversations
    assert (len(conversation.utterances), conversation.sender, conversation.usage) == (3, "speaker2", "reply")


LACKS = "refused {}: lacks history, candidate.set or answer.img_id"
FAULTY_SAMPLES = {
    "a list": ([], LACKS),
    "text": ("?", LACKS),
    "no history": ({"candidate": SAMPLE["candidate"], "answer": SAMPLE["answer"]}, LACKS),
    "a history of texts": (SAMPLE | {"history": ["早"]}, LACKS),
    "no history at all": (SAMPLE | {"history": None}, LACKS),
    "no candidates": (SAMPLE | {"candidate": {}}, LACKS),
    "an empty set of candidates": (SAMPLE | {"candidate": {"set": []}}, LACKS),
    "a number of candidates": (SAMPLE | {"candidate": {"set": 11}}, LACKS),
    "an unknown answer": (SAMPLE | {"answer": {"speaker_id": "[speaker1]", "img_id": ""}}, LACKS),
    "no answer": (SAMPLE | {"answer": {"speaker_id": "[speaker1]"}}, LACKS),
    "an answer without a speaker": (SAMPLE | {"answer": {"img_id": "107"}}, LACKS),
    "an answer that is text": (SAMPLE | {"answer": "107"}, LACKS),
    "words that are none": (SAMPLE | {"answer": {"speaker_id": "1", "img_id": "107", "txt": 3}}, LACKS),
    "an answer of no known emotion": (
        SAMPLE | {"answer": {"speaker_id": "[speaker1]", "img_id": "999"}},
        "refused {}: no dialogue tells the emotion of the meme: 999",
    ),
    "an answer that is no candidate": (
        SAMPLE | {"candidate": {"set": ["030", "001"]}},
        "refused {}: the sticker is not among its candidates: 107",
    ),
    "an empty history": (SAMPLE | {"history": []}, f"skipped {{}}: {FEW}"),
    "one turn": (SAMPLE | {"history": [turn(2, "早"), turn(1, "早")]}, f"skipped {{}}: {FEW}"),
}


@pytest.mark.parametrize("fault", FAULTY_SAMPLES)
def test_a_faulty_retrieval_sample_is_left_out_with_its_place_and_reason(import_task, fault):
    faulty, expected = FAULTY_SAMPLES[fault]
    dataset, remarks = import_task(SAMPLE, faulty)
    assert [c.id for c in dataset.split("test").conversations] == [f"{TASK}-1"]
    assert remarks[-1] == expected.format(f"{TASK}.json: sample 2")


def test_an_unknown_answer_is_no_meme_number_zero(do_import):
    train = {"d": [*TALK, turn(1, None, "000", 1)]}
    unknown = SAMPLE | {"answer": {"speaker_id": "[speaker1]", "img_id": ""}, "candidate": {"set": ["000", "030"]}}
    dataset, remarks = do_import(train, memes=("000", "030"), files={TASK: [unknown]})
    assert [c.split for c in dataset.conversations] == ["train"]
    assert remarks == [LACKS.format(f"{TASK}.json: sample 1")]


def test_candidates_that_cannot_be_ranked_are_left_out(import_task):
    dataset, remarks = import_task(SAMPLE | {"candidate": {"set": ["999", "107", 1, "107", "a b", "\ud83d", "030"]}})
    assert dataset.split("test").conversations[0].candidates == ("107", "001", "030")
    place = f"{TASK}.json: sample 1"
    assert remarks[1:] == [
        f"refused {place}: picture is missing: 999",
        f"repaired {place}: candidate without a picture left out: 999",
        f"repaired {place}: repeated candidate left out: 107",
        f"repaired {place}: candidate without a picture left out: a b",
        f"repaired {place}: candidate without a picture left out: 00\\ud83d",
    ]


def test_files_of_the_other_tasks_are_left_alone(do_import):
    answer = {"speaker_id": "[speaker1]", "txt": ""}
    other = [{"history": SAMPLE["history"], "answer": answer}]
    dataset, remarks = do_import(EXAMPLE, files={"c_test_easy_task1": other, "c_test_easy_task3": other})
    assert dataset.conversations == (FIRST,)
    assert remarks == []


def test_a_query_with_candidates_is_ranked_and_judged_among_them_only(import_task):
    other = SAMPLE | {"candidate": {"set": ["030", "002"]}, "answer": {"speaker_id": "[speaker2]", "img_id": "030"}}
    whole = import_task(SAMPLE, other)[0]
    dataset = whole.split("test")
    ids, stickers = [c.id for c in dataset.conversations], [s.id for s in dataset.stickers]
    assert sorted(stickers) == ["001", "002", "030", "107"]
    scores = np.array([[stickers.index(name) for name in stickers]] * 2, float)
    run = make_run(scores, ids, stickers, dataset)
    assert [set(run[query]) for query in ids] == [{"107", "030", "001"}, {"030", "002"}]
    assert all(list(ranking.values()) == sorted(ranking.values(), reverse=True) for ranking in run.values())
    assert make_qrels(whole, "test", "intention") == {ids[0]: {"107"}, ids[1]: {"030"}}

    metrics = match_metrics(run, whole, "test")
    places = [list(run[query]).index(c.sticker) + 1 for query, c in zip(ids, dataset.conversations, strict=True)]
    assert metrics["exact"]["MRR"] == pytest.approx(np.mean([1 / place for place in places]), abs=1e-6)

    everything = make_run(scores, ids, stickers)
    with pytest.raises(IntraError, match=rf"query {ids[0]}: the run ranks 002, which is not one of its candidates"):
        match_metrics(everything, whole, "test")
    del run[ids[1]]["002"]
    with pytest.raises(IntraError, match=rf"query {ids[1]}: the run leaves out 002, which is one of its candidates"):
        match_metrics(run, whole, "test")


def test_a_sticker_with_several_emotions_has_those_of_the_policy(tmp_path):
    folder = write_source(tmp_path / "source", c_train=TRAIN)
    expected = {"majority": ("laugh",), "last": ("sad",), "all": ("laugh", "sad")}
    for policy, labels in expected.items():
        import_dataset("mod", folder, tmp_path / policy, ImportOptions(labels=policy))
        assert load_import(tmp_path / policy).sticker_intentions()["107"] == labels


def test_the_command_imports_the_language_that_is_asked_for(tmp_path, out, capsys):
    folder = write_source(tmp_path / "source", e_val=EXAMPLE)
    arguments = ["data", "import", "mod", str(folder), "--out", str(out)]
    assert main(arguments) == 1
    assert capsys.readouterr().err.startswith(f"intra: {folder}: holds no c_train.json")
    assert main([*arguments, "--language", "english"]) == 0
    assert f"skipped        1  {FEW}" in capsys.readouterr().out
    assert [c.split for c in load_import(out).conversations] == ["valid"]
    assert main(["data", "validate", str(out)]) == 0
    assert main(["data", "stats", str(out)]) == 0
    assert "sad" in capsys.readouterr().out
