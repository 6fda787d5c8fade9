"""Runs, qrels, their files, and the intervals of what is computed from them."""

import gzip
import itertools
import math
from dataclasses import replace

import numpy as np
import pytest

from intra.data import Conversation, Dataset, Sticker, Utterance, load_dataset
from intra.errors import IntraError
from intra.evaluation import (
    bootstrap_interval,
    evaluate,
    make_qrels,
    make_run,
    match_metrics,
    read_qrels,
    read_run,
    write_qrels,
    write_run,
)


def random_run(seed, queries=5, gallery=9):
    """A run with ties and with scores that six digits do not tell apart."""
    rng = np.random.default_rng(seed)
    scores = np.round(rng.normal(size=(queries, gallery)), 1) + 1e-9 * rng.normal(size=(queries, gallery))
    return make_run(scores, [f"c{n}" for n in range(queries)], [f"s{n:02d}" for n in rng.permutation(gallery)])


def order(run):
    return {query: list(ranking) for query, ranking in run.items()}


def test_a_run_worked_by_hand():
    run = make_run(np.array([[0.1, 0.7, 0.1], [3, 2, 1]]), ["c1", "c2"], ["s3", "s2", "s1"])
    assert order(run) == {"c1": ["s2", "s1", "s3"], "c2": ["s3", "s2", "s1"]}
    assert run["c1"] == {"s2": 0.7, "s1": 0.1, "s3": 0.1}


# --- qrels ----------------------------------------------------------------------------------------------------


def chat(identifier, sticker, intention, split="test"):
    return Conversation(identifier, split, (Utterance("a", "b"),), "a", "reply", sticker, intention)


SMALL = Dataset(
    "small",
    "1",
    (
        chat("c1", "s1", "joy"),
        chat("c2", "s1", "joy"),
        chat("c3", "s1", "fear"),
        chat("c4", "s2", "fear"),
        chat("c5", "s4", "fear", "train"),
    ),
    (*(Sticker(f"s{n}", ("test",), None) for n in (1, 2, 3)), Sticker("s4", ("train",), None)),
    ("joy", "fear"),
)


def test_qrels_worked_by_hand():
    # s1 is a joy sticker (two of three), s2 a fear sticker, s3 is never sent and has no intention; c3 was
    # answered with s1, which therefore is right for it although it is a joy sticker
    assert make_qrels(SMALL, "test", "intention") == {"c1": {"s1"}, "c2": {"s1"}, "c3": {"s1", "s2"}, "c4": {"s2"}}
    assert make_qrels(SMALL, "test", "exact") == {"c1": {"s1"}, "c2": {"s1"}, "c3": {"s1"}, "c4": {"s2"}}
    assert make_qrels(SMALL, "train", "intention") == {"c5": {"s4"}}
    with pytest.raises(ValueError, match="match 'label' is not one of intention, exact"):
        make_qrels(SMALL, "test", "label")


@pytest.mark.parametrize(
    ("policy", "right"),
    [
        ("last", {"c1": {"s1"}, "c2": {"s1"}, "c3": {"s1", "s2"}, "c4": {"s1", "s2"}}),  # s1 was last sent for fear
        ("all", {"c1": {"s1"}, "c2": {"s1"}, "c3": {"s1", "s2"}, "c4": {"s1", "s2"}}),
    ],
)
def test_qrels_follow_the_label_policy(policy, right):
    assert make_qrels(replace(SMALL, label_policy=policy), "test", "intention") == right


def test_labels_are_those_of_the_splits_own_conversations():
    # s1 is in both galleries, and was sent for fear alone in train
    shared = replace(
        SMALL,
        conversations=(*SMALL.conversations, chat("c6", "s1", "fear", "train"), chat("c7", "s4", "joy", "train")),
        stickers=(Sticker("s1", ("train", "test"), None), *SMALL.stickers[1:]),
        label_policy="all",
    )
    assert make_qrels(shared, "train", "intention") == {"c5": {"s1", "s4"}, "c6": {"s1", "s4"}, "c7": {"s4"}}
    assert make_qrels(shared, "test", "intention")["c1"] == {"s1"}


def test_a_gallery_of_all_stickers_is_ranked_and_judged_by_all_conversations():
    # s4, of the training split, is a fear sticker; s1 was sent for joy twice in test and for fear three times in all
    wide = replace(SMALL, conversations=(*SMALL.conversations, chat("c6", "s1", "fear", "valid")), gallery="all")
    wide = replace(wide, conversations=(*wide.conversations, chat("c7", "s1", "fear", "valid")))
    expected = {"c1": {"s1"}, "c2": {"s1"}, "c3": {"s1", "s2", "s4"}, "c4": {"s1", "s2", "s4"}}
    assert make_qrels(wide, "test", "intention") == expected
    assert make_qrels(wide, "test", "exact") == {"c1": {"s1"}, "c2": {"s1"}, "c3": {"s1"}, "c4": {"s2"}}
    queries = ["c1", "c2", "c3", "c4"]
    # s4 first, then s2, s1, s3: relevant at rank 3 for c1 and c2, at 1, 2 and 3 for the others
    run = make_run(np.array([[2.0, 3, 1, 4]] * 4), queries, ["s1", "s2", "s3", "s4"], wide)
    found = match_metrics(run, wide, "test")["intention"]
    assert (found["hit@1"], found["mAP"]) == pytest.approx((0.5, (1 / 3 + 1 / 3 + 1 + 1) / 4), abs=1e-6)
    with pytest.raises(IntraError, match="the run leaves out s4, which is one of its candidates"):
        match_metrics(make_run(np.zeros((4, 3)), queries, ["s1", "s2", "s3"], wide), wide, "test")


WITH_CANDIDATES = replace(
    SMALL,
    conversations=(
        replace(SMALL.conversations[0], candidates=("s3", "s1")),
        SMALL.conversations[1],
        replace(SMALL.conversations[2], candidates=("s1", "s3")),
        replace(SMALL.conversations[3], candidates=("s2",)),
    ),
)
"""`SMALL` without its training conversation; c1 and c3 rank two stickers of the three, c4 ranks one."""


def test_only_candidates_are_ranked_and_right():
    # c3 means fear: s2 is a fear sticker, but no candidate of c3
    assert make_qrels(WITH_CANDIDATES, "test", "intention") == {
        "c1": {"s1"},
        "c2": {"s1"},
        "c3": {"s1"},
        "c4": {"s2"},
    }
    scores = np.array([[1.0, 3.0, 2.0]] * 4)
    run = make_run(scores, ["c1", "c2", "c3", "c4"], ["s1", "s2", "s3"], WITH_CANDIDATES)
    assert order(run) == {"c1": ["s3", "s1"], "c2": ["s2", "s3", "s1"], "c3": ["s3", "s1"], "c4": ["s2"]}
    assert run["c1"] == {"s3": 2, "s1": 1}
    assert make_run(scores, ["c1", "c2", "c3", "c4"], ["s1", "s2", "s3"], SMALL) == make_run(
        scores, ["c1", "c2", "c3", "c4"], ["s1", "s2", "s3"]
    )


def test_qrels_of_replystickers_agree_with_loops():
    dataset = load_dataset()
    for split in ("valid", "test"):
        here = [c for c in dataset.conversations if c.split == split]
        qrels = make_qrels(dataset, split, "intention")
        assert list(qrels) == [c.id for c in here]
        label = {}
        for sticker in {c.sticker for c in here}:
            sent_for = [c.intention for c in here if c.sticker == sticker]
            label[sticker] = max(
                dataset.intentions, key=lambda name: (sent_for.count(name), -dataset.intentions.index(name))
            )
        for conversation in here:
            right = {sticker for sticker, own in label.items() if own == conversation.intention}
            assert qrels[conversation.id] == right | {conversation.sticker}
        assert make_qrels(dataset, split, "exact") == {c.id: {c.sticker} for c in here}


# --- files ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.run", "a.run.gz"])
def test_a_run_survives_its_file_and_gives_the_same_bytes_again(tmp_path, name):
    for seed in range(5):
        run = random_run(seed)
        write_run(tmp_path / name, run, "tag")
        read = read_run(tmp_path / name)
        assert order(read) == order(run)
        for query, sticker in itertools.product(run, run["c0"]):
            assert read[query][sticker] == pytest.approx(run[query][sticker], rel=1e-5)
        (tmp_path / "again").mkdir(exist_ok=True)
        write_run(tmp_path / "again" / name, read, "tag")
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / name).read_bytes()


def test_a_run_file_has_six_columns_and_no_time(tmp_path):
    run = make_run(np.array([[0.125, 2]]), ["c1"], ["s1", "s2"])
    write_run(tmp_path / "a.run", run, "int_ra")
    assert (tmp_path / "a.run").read_text() == "c1 Q0 s2 1 2 int_ra\nc1 Q0 s1 2 0.125 int_ra\n"
    write_run(tmp_path / "a.run.gz", run, "int_ra")
    packed = (tmp_path / "a.run.gz").read_bytes()
    assert gzip.decompress(packed).decode() == (tmp_path / "a.run").read_text()
    assert packed[4:8] == bytes(4)  # the place of the time in a gzip header


def test_the_rank_column_decides(tmp_path):
    # s1 and s2 tie in print and are ranked against their ids; s3 has a score that contradicts its rank
    (tmp_path / "a.run").write_text("c1 Q0 s1 2 0.5 x\nc1 Q0 s3 3 9 x\nc1 Q0 s2 1 0.5 x\n")
    assert order(read_run(tmp_path / "a.run")) == {"c1": ["s2", "s1", "s3"]}


def test_ranks_are_numbers_not_text(tmp_path):
    lines = [f"c1 Q0 s{rank} {rank} {-rank} x\n" for rank in (10, 9, 2, 1, 100)]
    (tmp_path / "a.run").write_text("".join(lines))
    assert order(read_run(tmp_path / "a.run")) == {"c1": ["s1", "s2", "s9", "s10", "s100"]}


GOOD = "c1 Q0 s1 1 0.5 x\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (GOOD + "c1 Q0 s2 2 0.4\n", ":2: has 5 columns, expected 6"),
        (GOOD + "\n", ":2: has 0 columns, expected 6"),
        (GOOD + "c1 Q0 s 2 2 0.4 x\n", ":2: has 7 columns, expected 6"),
        (GOOD + "c1 Q0 s2 two 0.4 x\n", ":2: rank or score is no finite number: two 0.4"),
        (GOOD + "c1 Q0 s2 2 high x\n", ":2: rank or score is no finite number: 2 high"),
        (GOOD + "c1 Q0 s2 2 nan x\n", ":2: rank or score is no finite number: 2 nan"),
        (GOOD + "c1 Q0 s2 1 0.4 x\n", ":2: query c1 has rank 1 twice"),
        (GOOD + "c2 Q0 s1 1 0.4 x\nc1 Q0 s1 2 0.4 x\n", ":3: query c1 ranks sticker s1 twice"),
        ("", ": holds no ranking"),
    ],
)
def test_a_broken_run_file_is_told_with_its_line(tmp_path, text, told):
    for name in ("a.run", "a.run.gz"):
        path = tmp_path / name
        path.write_bytes(gzip.compress(text.encode()) if name.endswith("gz") else text.encode())
        with pytest.raises(IntraError) as error:
            read_run(path)
        assert str(error.value) == f"{path}{told}"


def test_files_that_cannot_be_read_are_told_in_one_line(tmp_path):
    whole = gzip.compress("".join(f"c1 Q0 s{n} {n} {-n} x\n" for n in range(1, 300)).encode())
    broken = {
        "missing.run": None,
        "cut.run.gz": whole[: len(whole) // 2],
        "plain.run.gz": GOOD.encode(),
        "changed.run.gz": whole[:40] + b"\xff" * 20 + whole[60:],
        "latin.run": "c1 Q0 s1 1 0.5 Großes\n".encode("latin-1"),
    }
    for name, data in broken.items():
        if data is not None:
            (tmp_path / name).write_bytes(data)
        with pytest.raises(IntraError) as error:
            read_run(tmp_path / name)
        assert str(error.value).startswith(f"{tmp_path / name}: cannot be read: "), name
        assert "\n" not in str(error.value)


def test_qrels_survive_their_file_and_give_the_same_bytes_again(tmp_path):
    qrels = {"c2": {"s3", "s1", "s2"}, "c1": {"s9"}}
    write_qrels(tmp_path / "a.qrels", qrels)
    assert (tmp_path / "a.qrels").read_text() == "c2 0 s1 1\nc2 0 s2 1\nc2 0 s3 1\nc1 0 s9 1\n"
    assert read_qrels(tmp_path / "a.qrels") == qrels
    write_qrels(tmp_path / "b.qrels", read_qrels(tmp_path / "a.qrels"))
    assert (tmp_path / "b.qrels").read_bytes() == (tmp_path / "a.qrels").read_bytes()


def test_a_relevance_of_zero_is_not_relevant(tmp_path):
    (tmp_path / "a.qrels").write_text("c1 0 s1 0\nc1 0 s2 2\nc2 0 s1 -1\n")
    assert read_qrels(tmp_path / "a.qrels") == {"c1": {"s2"}, "c2": set()}


@pytest.mark.parametrize(
    ("line", "told"),
    [("c1 0 s1", ":2: has 3 columns, expected 4"), ("c1 0 s1 yes", ":2: relevance is no whole number: yes")],
)
def test_broken_qrels_are_told_with_their_line(tmp_path, line, told):
    (tmp_path / "a.qrels").write_text(f"c1 0 s2 1\n{line}\n")
    with pytest.raises(IntraError) as error:
        read_qrels(tmp_path / "a.qrels")
    assert str(error.value) == f"{tmp_path}/a.qrels{told}"


# --- metrics of a run -----------------------------------------------------------------------------------------


def test_metrics_of_a_run_do_not_depend_on_the_order_of_queries():
    run = random_run(0)
    qrels = {query: {"s01", f"s{n + 2:02d}"} for n, query in enumerate(run)}
    shuffled = {query: run[query] for query in reversed(run)}
    assert evaluate(shuffled, qrels).equals(evaluate(run, qrels))
    assert list(evaluate(run, qrels).index) == list(qrels)


def test_a_run_worked_by_hand_is_scored():
    run = {"c1": {"s2": 3.0, "s1": 2.0, "s3": 1.0}, "c2": {"s1": 3.0, "s2": 2.0, "s3": 1.0}}
    found = evaluate(run, {"c1": {"s1", "s3"}, "c2": {"s1"}})
    # c1: relevant at ranks 2 and 3, so AP is (1/2 + 2/3) / 2 = 7/12; c2 is perfect
    assert found["mAP"].tolist() == pytest.approx([7 / 12, 1])
    assert found["hit@1"].tolist() == [0, 1]
    assert found["precision@3"].tolist() == pytest.approx([2 / 3, 1 / 3])


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda run, qrels: run.pop("c1"), "query c1 is only in the qrels"),
        (lambda run, qrels: qrels.pop("c2"), "query c2 is only in the run"),
        (lambda run, qrels: qrels["c3"].clear(), "query c3: the qrels name no relevant sticker"),
        (lambda run, qrels: qrels["c3"].add("s77"), "query c3: the run leaves out the relevant sticker s77"),
    ],
)
def test_a_run_that_does_not_fit_the_qrels_is_refused(spoil, told):
    run = random_run(0)
    qrels = {query: {"s01"} for query in run}
    spoil(run, qrels)
    with pytest.raises(IntraError) as error:
        evaluate(run, qrels)
    assert str(error.value) == told


def test_ranks_past_a_short_ranking_are_not_relevant():
    # c1 ranks two, its right one second; c2 ranks four, the first and the last are right; c3 ranks one, the right one
    run = {"c1": {"s2": 2.0, "s1": 1.0}, "c2": {"s1": 4.0, "s2": 3.0, "s3": 2.0, "s4": 1.0}, "c3": {"s3": 0.0}}
    found = evaluate(run, {"c1": {"s1"}, "c2": {"s1", "s4"}, "c3": {"s3"}})
    assert found["hit@1"].tolist() == [0, 1, 1]
    assert found["hit@3"].tolist() == [1, 1, 1]
    assert found["precision@3"].tolist() == pytest.approx([1 / 3, 1 / 3, 1 / 3])
    assert found["precision@5"].tolist() == pytest.approx([1 / 5, 2 / 5, 1 / 5])
    assert found["mAP"].tolist() == pytest.approx([1 / 2, (1 + 2 / 4) / 2, 1])
    assert found["MRR"].tolist() == pytest.approx([1 / 2, 1, 1])
    ideal = 1 + 1 / math.log2(3)
    assert found["nDCG@10"].tolist() == pytest.approx([1 / math.log2(3), (1 + 1 / math.log2(5)) / ideal, 1])
    for query, ranking in run.items():  # each by itself, where nothing is filled up
        alone = evaluate({query: ranking}, {query: {"c1": {"s1"}, "c2": {"s1", "s4"}, "c3": {"s3"}}[query]})
        assert alone.loc[query].to_dict() == pytest.approx(found.loc[query].to_dict())


def test_means_with_candidates_worked_by_hand():
    # c1 and c3 find s1 second of two, c2 third of three, c4 has s2 alone; exact and intention match agree
    scores = np.array([[1.0, 3.0, 2.0]] * 4)
    run = make_run(scores, ["c1", "c2", "c3", "c4"], ["s1", "s2", "s3"], WITH_CANDIDATES)
    found = match_metrics(run, WITH_CANDIDATES, "test")
    assert found["intention"]["mAP"] == pytest.approx((1 / 2 + 1 / 3 + 1 / 2 + 1) / 4, abs=1e-6)
    assert found["exact"] == found["intention"]
    assert found["intention"]["hit@1"] == 0.25


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda run: run["c2"].pop("s3"), "query c2: the run leaves out s3, which is one of its candidates"),
        (lambda run: run["c2"].update(s4=0.0), "query c2: the run ranks s4, which is not one of its candidates"),
        (lambda run: run["c1"].pop("s3"), "query c1: the run leaves out s3, which is one of its candidates"),
        (lambda run: run["c3"].update(s2=0.0), "query c3: the run ranks s2, which is not one of its candidates"),
        (lambda run: run["c4"].update(s9=0.0), "query c4: the run ranks s9, which is not one of its candidates"),
        (lambda run: run.pop("c4"), "query c4 is only in the qrels"),
    ],
)
def test_a_run_over_other_stickers_is_refused(spoil, told):
    """None of the first five touches what is right, so their metrics could be computed, but they would flatter."""
    scores = np.array([[1.0, 3.0, 2.0]] * 4)
    run = make_run(scores, ["c1", "c2", "c3", "c4"], ["s1", "s2", "s3"], WITH_CANDIDATES)
    spoil(run)
    with pytest.raises(IntraError) as error:
        match_metrics(run, WITH_CANDIDATES, "test")
    assert str(error.value) == told


def test_means_are_taken_over_the_queries_of_the_split_under_both_matches():
    # gallery s1 (joy), s2 (fear), s3 (no intention), qrels as above; every query ranks s2, s1, s3
    # intention: c1 and c2 find s1 at rank 2, c3 both at 1 and 2, c4 s2 at rank 1: AP 1/2, 1/2, 1, 1, mean 3/4
    # exact: c1, c2 and c3 find s1 at rank 2, c4 s2 at rank 1: mean 5/8
    run = make_run(np.tile([1.0, 2.0, 0.0], (4, 1)), ["c1", "c2", "c3", "c4"], ["s1", "s2", "s3"])
    found = match_metrics(run, SMALL, "test")
    assert (found["intention"]["mAP"], found["exact"]["mAP"]) == (0.75, 0.625)
    assert (found["intention"]["hit@1"], found["exact"]["hit@1"]) == (0.5, 0.25)
    assert found["intention"]["precision@3"] == 0.416667  # (1 + 1 + 2 + 1) / 12, to six decimals


def test_a_run_cut_at_ten_is_refused_and_not_flattered():
    run = make_run(-np.arange(20.0)[None], ["c1"], [f"s{n:02d}" for n in range(20)])
    qrels = {"c1": {"s00", "s19"}}
    # whole: (1/1 + 2/20) / 2 = 0.55; the first ten alone would look perfect
    assert evaluate(run, qrels)["mAP"].tolist() == pytest.approx([0.55])
    top = {"c1": dict(itertools.islice(run["c1"].items(), 10))}
    with pytest.raises(IntraError, match="leaves out the relevant sticker s19"):
        evaluate(top, qrels)


# --- intervals ------------------------------------------------------------------------------------------------


def test_an_interval_of_equal_values_has_no_width():
    low, high = bootstrap_interval([np.full(12, 0.25), np.full(12, 0.25)])
    assert low == high == 0.25


def test_an_interval_repeats_with_its_seed_and_holds_the_mean():
    rng = np.random.default_rng(0)
    values = [rng.random(40) for _ in range(3)]
    first = bootstrap_interval(values, seed=4)
    assert first == bootstrap_interval(values, seed=4) != bootstrap_interval(values, seed=5)
    assert first[0] < np.mean(values) < first[1]
    wide, narrow = bootstrap_interval(values, level=0.99), bootstrap_interval(values, level=0.5)
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


def test_an_interval_over_one_seed_is_that_of_the_mean_of_queries():
    # mean of n values: standard error s / sqrt(n), and 1.96 of them to each side for many queries
    values = np.random.default_rng(1).normal(0.4, 0.1, 400)
    low, high = bootstrap_interval([values], resamples=4000)
    error = values.std() / 20
    assert (low, high) == pytest.approx((values.mean() - 1.96 * error, values.mean() + 1.96 * error), abs=0.15 * error)


def test_intervals_widen_with_the_spread_of_seeds():
    queries = np.random.default_rng(2).random(50)
    agreeing, differing = [queries, queries, queries], [queries - 0.2, queries, queries + 0.2]
    low, high = bootstrap_interval(agreeing)
    wider_low, wider_high = bootstrap_interval(differing)
    assert wider_high - wider_low > 1.5 * (high - low)


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    # hits of 80 queries with chance 0.3, over and over: a 90 % interval should hold 0.3 about 90 % of the time
    rng = np.random.default_rng(3)
    covered = 0
    for trial in range(200):
        low, high = bootstrap_interval([(rng.random(80) < 0.3).astype(float)], level=0.9, resamples=200, seed=trial)
        covered += low <= 0.3 <= high
    assert 0.82 <= covered / 200 <= 0.96
