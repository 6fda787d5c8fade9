"""Drawn cases, causes, near misses and likeness, against plain loops and cases worked by hand."""

import itertools
import json
import re
from base64 import b64decode
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from urllib.parse import unquote

import numpy as np
import pytest

from intra import cases
from intra.case_pages import CasePage, cause_bars, drawn
from intra.data.intentions import INTENTIONS
from intra.data.reader import profile_dataset
from intra.data.schema import ATTRIBUTES, USAGES
from intra.errors import IntraError
from intra.study import reference_records


@pytest.fixture(scope="module")
def study():
    return reference_records("main")


@pytest.fixture(scope="module")
def records(study):
    return study["Int-RA"]


@pytest.fixture(scope="module")
def dataset():
    return profile_dataset("replystickers", "mini")


@pytest.fixture(scope="module")
def test_split(dataset):
    return {conversation.id: conversation for conversation in dataset.split("test").conversations}


@pytest.fixture(scope="module")
def labels(dataset):
    return {sticker: own[0] for sticker, own in dataset.split("test").sticker_intentions().items()}


@pytest.fixture(scope="module")
def shown(records, dataset):
    return cases.cases(records[0], dataset)


# Selection


def group_by_hand(conversation, ranking, labels):
    """By the ranked list and the stickers' intentions alone."""
    for rank, sticker in enumerate(list(ranking)[:5], 1):
        if sticker == conversation.sticker or labels[sticker] == conversation.intention:
            return "right" if rank == 1 else "near"
    return "wrong"


def test_groups_are_read_off_the_ranked_lists(records, test_split, labels):
    for record in records:
        found = cases.groups(record)
        assert found == {query: group_by_hand(test_split[query], r, labels) for query, r in record.run().items()}
        assert set(found.values()) == set(cases.GROUPS)


@pytest.mark.parametrize("seed", range(8))
def test_any_draw_keeps_the_stated_rule(seed, records, dataset, test_split):
    found = cases.groups(records[0])
    pairs = cases.draw_cases(records[0], dataset, seed)
    for group, places in cases.GROUPS.items():
        own = [conversation for name, conversation in pairs if name == group]
        assert len(own) == places and all(found[conversation.id] == group for conversation in own)
        assert max(Counter(conversation.usage for conversation in own).values()) <= (places + 1) // 2
    intentions = [conversation.intention for _, conversation in pairs]
    assert len(set(intentions)) == len(intentions)
    assert all(test_split[conversation.id] is conversation for _, conversation in pairs)


@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_passed_over_that_the_rule_would_take(seed, records, dataset):
    """Every conversation before the last that was taken of a group has a reason not to have been taken."""
    test, found = dataset.split("test").conversations, cases.groups(records[0])
    order = [test[number] for number in np.random.default_rng(seed).permutation(len(test))]
    pairs, intentions = cases.draw_cases(records[0], dataset, seed), []
    for group, places in cases.GROUPS.items():
        own = [conversation for name, conversation in pairs if name == group]
        for place, conversation in enumerate(own):
            for other in order[: order.index(conversation)]:
                if found[other.id] != group or other in own[:place]:
                    continue
                before = Counter(earlier.usage for earlier in own[:place])
                taken = {*intentions, *(earlier.intention for earlier in own[:place])}
                assert other.intention in taken or before[other.usage] == (places + 1) // 2
        intentions += [conversation.intention for conversation in own]


def test_one_seed_draws_the_same_cases(records, dataset):
    first, again, other = (cases.draw_cases(records[0], dataset, seed) for seed in (0, 0, 1))
    assert first == again and first != other


def test_a_group_may_have_fewer_conversations_than_places(records, dataset, monkeypatch):
    monkeypatch.setattr(cases, "GROUPS", {"right": 40, "near": 0, "wrong": 2})
    found = Counter(group for group, _ in cases.draw_cases(records[0], dataset))
    assert 0 < found["right"] < 28 and not found["near"]


def test_a_case_is_what_the_record_says(shown, records, labels):
    run, details = records[0].run(), records[0].details()
    rows = dict(zip(run, details["intention_probabilities"], strict=True))
    for case in shown:
        identifier = case.conversation.id
        assert case.ranked == dict(itertools.islice(run[identifier].items(), 5))
        best = sorted(range(28), key=lambda n: -rows[identifier][n])[:3]
        assert list(case.predicted) == [list(INTENTIONS)[n] for n in best]
        assert list(case.predicted.values()) == [float(rows[identifier][n]) for n in best]
        assert all(label == labels[sticker] for sticker, label in case.intentions.items())
        right = [case.right(sticker) for sticker in case.ranked]
        assert case.group == ("right" if right[0] else "near" if any(right) else "wrong")


def test_its_contributions_are_those_of_the_intention_that_was_predicted(shown, records, dataset):
    found = cases.read_contributions(dataset.split("test").stickers)
    assert found["runs"][0] == records[0].path.name
    for case in shown:
        row = list(INTENTIONS).index(next(iter(case.predicted)))
        for sticker, score in case.ranked.items():
            column = found["stickers"].tolist().index(sticker)
            assert score == pytest.approx(found["scores"][0, row, column], abs=1e-6)
            assert list(case.contributions[sticker]) == list(ATTRIBUTES)
            added = found["scores"][0, row, column] - found["without"][0, row, column, :4]
            assert list(case.contributions[sticker].values()) == added.tolist()


def test_a_run_that_is_not_on_record_has_no_contributions(records, dataset):
    other, stickers = records[0].path.with_name("int_ra-seed99-000000000000"), dataset.split("test").stickers
    assert cases.contributions_of(replace(records[0], path=other), stickers) is None
    assert cases.contributions_of(replace(records[0], path=other), stickers[1:]) is None


def test_contributions_of_other_stickers_are_refused(records, dataset):
    stickers = dataset.split("test").stickers
    assert cases.read_contributions(stickers)["stickers"].tolist() == [sticker.id for sticker in stickers]
    for others in (stickers[1:], stickers[::-1]):
        with pytest.raises(IntraError, match=r"npz: holds scores of other stickers; python -m intra\.contributions"):
            cases.read_contributions(others)
        with pytest.raises(IntraError, match="of other stickers"):
            cases.contributions_of(records[0], others)


def test_a_missing_or_damaged_record_of_contributions_is_told(records, tmp_path, monkeypatch):
    path = tmp_path / "contributions.npz"
    monkeypatch.setattr(cases, "CONTRIBUTIONS", path)
    with pytest.raises(IntraError, match=r"contributions\.npz: is not there; python -m intra\.contributions writes"):
        cases.read_contributions([])
    path.write_bytes(b"PK")
    with pytest.raises(IntraError, match=r"npz: cannot be read: .*; python -m intra\.contributions writes"):
        cases.contributions_of(records[0], [])


def test_the_table_of_cases_counts_right_stickers(shown):
    frame = cases.case_frame(shown)
    assert frame.index.tolist() == [case.conversation.id for case in shown]
    assert (frame.loc[frame["group"] == "wrong", "right of five"] == 0).all()
    assert (frame.loc[frame["group"] != "wrong", "right of five"] > 0).all()
    right = frame["group"] == "right"
    assert (frame["first sticker"] == frame["intention"])[right].all()
    assert not (frame["first sticker"] == frame["intention"])[~right].any()


# Causes


def test_sentiments_divide_the_intentions():
    members = list(itertools.chain(*cases.SENTIMENTS.values()))
    assert sorted(members) == sorted(INTENTIONS)
    assert {name: len(own) for name, own in cases.SENTIMENTS.items()} == {
        "positive": 12,
        "negative": 11,
        "ambiguous": 4,
        "neutral": 1,
    }
    assert cases.sentiment("grief") == "negative" and cases.sentiment("surprise") == "ambiguous"


def test_outcomes_of_cases_worked_by_hand(test_split):
    one = next(iter(test_split.values()))
    meant = replace(one, intention="grief", second_reading="surprise")
    agreed = replace(meant, second_reading="grief")
    assert cases.outcome(meant, "joy", True) == "right"
    assert cases.outcome(meant, "grief", False) == "sticker"
    assert cases.outcome(meant, "surprise", False) == "ambiguous"
    assert cases.outcome(agreed, "surprise", False) == "far"
    assert cases.outcome(meant, "sadness", False) == "near"
    assert cases.outcome(replace(meant, second_reading="sadness"), "sadness", False) == "ambiguous"
    assert cases.outcome(meant, "neutral", False) == "far"


def causes_that_apply(conversation, ranking, predicted, labels):
    """All conditions of the notebook's list without their order: each is written so that it excludes the others."""
    first = next(iter(ranking))
    right = first == conversation.sticker or labels[first] == conversation.intention
    known, other = predicted == conversation.intention, predicted == conversation.second_reading
    same = any({predicted, conversation.intention} <= set(own) for own in cases.SENTIMENTS.values())
    conditions = {
        "right": right,
        "sticker": not right and known,
        "ambiguous": not right and not known and other,
        "near": not right and not known and not other and same,
        "far": not right and not known and not other and not same,
    }
    return [name for name, applies in conditions.items() if applies]


def test_every_conversation_has_exactly_one_outcome(records, dataset, test_split, labels):
    found = cases.outcomes(records, dataset)
    assert found.columns.tolist() == [record.seed for record in records]
    names = list(dataset.intentions)
    for record in records:
        best = record.details()["intention_probabilities"].argmax(axis=1)
        for (query, ranking), number in zip(record.run().items(), best, strict=True):
            applies = causes_that_apply(test_split[query], ranking, names[number], labels)
            assert applies == [found.at[query, record.seed]]
    assert set(found.to_numpy().ravel()) == set(cases.OUTCOMES)


def test_shares_of_causes_are_counts_and_add_up(records, dataset, test_split):
    frame, found = cases.cause_frame(records, dataset), cases.outcomes(records, dataset)
    for usage in ("all", *USAGES):
        own = [query for query in found.index if usage in ("all", test_split[query].usage)]
        assert frame.loc[usage, "mean"].sum() == pytest.approx(100)
        assert frame.loc[usage, "chance"].sum() == pytest.approx(100)
        for what in cases.OUTCOMES:
            count = sum(found.at[query, seed] == what for query in own for seed in found.columns)
            assert frame.at[(usage, what), "conversations"] == pytest.approx(count / len(records))
            assert frame.at[(usage, what), "mean"] == pytest.approx(100 * count / len(own) / len(records))
    assert (frame["low"] <= frame["mean"]).all() and (frame["mean"] <= frame["high"]).all()
    hit = np.mean([record.metrics["intention"]["hit@1"] for record in records])
    assert frame.at[("all", "right"), "mean"] == pytest.approx(100 * hit, abs=1e-3)


def test_chance_is_what_shuffled_answers_give_on_average(records, dataset, test_split):
    expected = cases.outcomes_by_chance(records[:1], dataset).mean()
    told, rng = cases.predictions(records[0], dataset), np.random.default_rng(0)
    counts = Counter()
    for _ in range(60):
        mixed = told.iloc[rng.permutation(len(told))]
        for query, predicted, first in zip(told.index, mixed["predicted"], mixed["shown"], strict=True):
            right = first == test_split[query].intention
            counts[cases.outcome(test_split[query], predicted, right)] += 1
    for what in cases.OUTCOMES:  # 9240 answers: a deviation of half a point, less for rare ones
        assert counts[what] / counts.total() == pytest.approx(expected[what], abs=0.015)


def test_bars_and_marks_stand_at_the_numbers_of_the_table(records, dataset):
    frame = cases.cause_frame(records, dataset)
    (axes,) = cause_bars(frame).axes
    rows = list(itertools.product(USAGES, cases.CAUSES))
    assert [label.get_text() for label in axes.get_yticklabels()] == list(cases.CAUSES)
    assert [bar.get_width() for bar in axes.patches] == pytest.approx([frame.at[row, "mean"] for row in rows])
    (marks,) = [line for line in axes.lines if line.get_label() == "chance"]
    assert marks.get_xdata() == pytest.approx([frame.at[row, "chance"] for row in rows])
    assert marks.get_ydata() == pytest.approx([bar.get_y() + bar.get_height() / 2 for bar in axes.patches])
    shown = {usage: axes.patches[4 * number].get_facecolor() for number, usage in enumerate(USAGES)}
    legend = axes.get_legend()
    named = {text.get_text(): handle for text, handle in zip(legend.get_texts(), legend.legend_handles, strict=True)}
    assert {usage: named[usage].get_facecolor() for usage in USAGES} == shown


# Near misses


def test_near_misses_by_a_plain_loop(records, dataset, test_split, labels):
    frame = cases.near_misses(records, dataset)
    for name, field in cases.SECOND_READINGS.items():
        failures, hits, chances, possible = 0, 0, 0.0, set()
        for record in records:
            for query, ranking in record.run().items():
                conversation, first = test_split[query], next(iter(ranking))
                choice = getattr(conversation, field)
                if not choice or choice == conversation.intention:
                    continue
                possible.add(query)
                if labels[first] == conversation.intention:
                    continue
                failures += 1
                hits += labels[first] == choice
                wrong = [label for label in labels.values() if label != conversation.intention]
                chances += wrong.count(choice) / len(wrong)
        row = frame.loc[name]
        assert row["conversations"] == len(possible) and row["failures"] == pytest.approx(failures / len(records))
        assert row["mean"] == pytest.approx(100 * hits / failures)
        assert row["chance"] == pytest.approx(100 * chances / failures)
        assert row["difference"] == pytest.approx(row["mean"] - row["chance"])
        assert row["low"] < row["difference"] < row["high"]


# Sides


def test_examples_for_either_side_by_a_plain_loop(study, records):
    rival = cases.best_rival(study)
    frame = cases.one_sided(records, study[rival])
    counts = Counter()
    for ours, theirs in zip(records, study[rival], strict=True):
        assert ours.seed == theirs.seed
        counts.update(zip(*(r.per_query("intention")["hit@1"].tolist() for r in (ours, theirs)), strict=True))
    named = {"both right": (1, 1), "only ours": (1, 0), "only theirs": (0, 1), "both wrong": (0, 0)}
    for name, pair in named.items():
        assert frame.at[name, "mean"] == pytest.approx(100 * counts[pair] / counts.total())
    last = frame.loc["only ours minus only theirs"]
    assert last["mean"] == pytest.approx(frame.at["only ours", "mean"] - frame.at["only theirs", "mean"])


def test_the_rival_is_chosen_on_validation(study):
    chosen = cases.best_rival(study)
    assert chosen.split()[0] in {"SRS", "MOD", "LGUR", "IRRA", "PCME", "CLIP"}
    values = {}
    for label, runs in study.items():
        if label.split()[0] in {"SRS", "MOD", "LGUR", "IRRA", "PCME", "CLIP"} and runs[0].content["selection"]:
            values[label] = sum(json.loads((r.path / "record.json").read_text())["selection"]["value"] for r in runs)
    assert len(values) == 14 and max(values, key=values.get) == chosen


# Descriptions and likeness


def test_what_descriptions_add_in_a_case_worked_by_hand():
    scores = np.array([[[0.5, 0.4], [0.1, 0.3]]])  # one run, two intentions, two stickers: 0 and 1 rank first
    added = np.zeros((1, 2, 2, 5))
    added[0, 0, 0, 0] = 0.2  # without its gesture sticker 0 has 0.3, so sticker 1 ranks first
    added[0, 1, 1, 1] = -0.2  # without its posture sticker 1 would be further ahead
    frame = cases.contribution_frame({"scores": scores, "without": scores[..., None] - added})
    assert frame.index.tolist() == [*ATTRIBUTES, "all"]
    assert frame["other first"].tolist() == [50, 0, 0, 0, 0]
    assert frame["size"].tolist() == pytest.approx([0.05, 0.05, 0, 0, 0])
    assert frame["first"].tolist() == pytest.approx([0.1, -0.1, 0, 0, 0])


def test_likeness_counts_pairs():
    looks = ["wave", "wave", "clap", "wave", "nod"]
    assert cases.alike(np.array([[0, 1, 3, 2, 4], [0, 2, 1, 3, 4], [0, 2, 4, 1, 3]]), looks).tolist() == [1, 1 / 3, 0]
    pairs = list(itertools.combinations(looks, 2))
    by_chance = sum(a == b for a, b in pairs) / len(pairs)
    assert cases.alike_by_chance(looks) == pytest.approx(by_chance)
    every = np.array(list(itertools.permutations(range(5))))
    assert cases.alike(every, looks).mean() == pytest.approx(by_chance)


def test_likeness_of_the_record_by_a_plain_loop(dataset):
    gallery = dataset.split("test").stickers
    found, stickers = cases.read_contributions(gallery), {sticker.id: sticker for sticker in gallery}
    frame = cases.likeness(found, gallery)
    for look, field in (("gesture", "gesture"), ("facial_expression", "expression")):
        drawn_as = [stickers[name].specification[field] for name in found["stickers"].tolist()]
        for name, scores in (("ours", found["scores"]), ("theirs", found["without"][..., 4])):
            shares = []
            for row in scores.reshape(-1, scores.shape[2]):
                first = [drawn_as[n] for n in sorted(range(len(row)), key=lambda n: -row[n])[:3]]
                shares.append(sum(a == b for a, b in itertools.combinations(first, 2)) / 3)
            assert frame.at[(look, "without descriptions"), name] == pytest.approx(100 * np.mean(shares))
        assert frame.at[(look, "chance"), "theirs"] == pytest.approx(100 * cases.alike_by_chance(drawn_as))
    assert np.allclose(frame["mean"], frame["ours"] - frame["theirs"])


# Pages


class Parts(HTMLParser):
    """Text, pictures and list classes of a page, and whether every element is closed in its turn."""

    def __init__(self, html):
        super().__init__()
        self.open, self.pictures, self.classes, self.text = [], [], Counter(), []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag == "img":
            self.pictures.append(attributes)
        else:
            self.open.append(tag)
        self.classes[attributes.get("class")] += 1

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture(scope="module")
def stickers(dataset):
    return {sticker.id: sticker for sticker in dataset.stickers}


@pytest.fixture(scope="module")
def page(shown, stickers):
    return Parts(CasePage(shown, stickers)._repr_html_())


def test_a_page_is_well_formed_and_tells_every_conversation(page, shown):
    assert page.open == []
    for case in shown:
        for utterance in case.conversation.utterances:
            assert {utterance.user, utterance.text, utterance.english} <= set(page.text)


def test_right_and_wrong_are_told_by_sign_and_by_colour(page, shown):
    right = sum(case.right(sticker) for case in shown for sticker in case.ranked)
    assert (page.classes["yes"], page.classes["no"]) == (right, 5 * len(shown) - right)
    assert (page.text.count("✓ right"), page.text.count("✗ wrong")) == (right, 5 * len(shown) - right)


def test_every_picture_is_the_file_itself_with_a_text(page, shown, stickers):
    expected = [sticker for case in shown for sticker in (case.conversation.sticker, *case.ranked)]
    assert len(page.pictures) == len(expected)
    for picture, sticker in zip(page.pictures, expected, strict=True):
        kind, _, data = picture["src"].partition(",")
        assert kind == "data:image/webp;base64" and "/" not in data
        assert b64decode(unquote(data)) == stickers[sticker].image.read_bytes()
        assert picture["alt"] == drawn(stickers[sticker])
        assert stickers[sticker].specification["caption"] in picture["alt"]


def test_the_part_that_the_model_does_not_read_is_marked(page, shown):
    unread = [max(0, len(case.conversation.utterances) - 6) for case in shown]
    assert page.classes["unread"] == sum(unread) > 0
    assert page.classes["start"] == sum(count > 0 for count in unread)


def test_users_and_texts_cannot_break_the_page(shown, stickers):
    odd = replace(shown[0].conversation.utterances[0], user="<b>", text="a & b </section>", english='"<script>')
    conversation = replace(shown[0].conversation, utterances=(odd,), sender="<i>")
    parts = Parts(CasePage([replace(shown[0], conversation=conversation)], stickers)._repr_html_())
    assert parts.open == [] and {"<b>", "a & b </section>", '"<script>', "<i>"} <= set(parts.text)


def test_a_sticker_without_specification_is_told_by_its_id(stickers):
    plain = replace(stickers["s0001"], specification={})
    assert drawn(plain) == "Sticker s0001"
    told = "Sticker s0001: grandma, face smile, gesture heart hands, sitting; it says 带把伞哦"
    assert drawn(stickers["s0001"]) == told


def test_plain_text_says_the_same(shown, stickers):
    text = repr(CasePage(shown, stickers))
    assert text.count("✓") == sum(case.right(sticker) for case in shown for sticker in case.ranked)
    for case in shown:
        assert f"{case.conversation.sender} sent {case.conversation.sticker}" in text
        assert all(f"{u.user}: {u.text} | {u.english}" in text for u in case.conversation.utterances)
    assert len(re.findall(r"verbal [+-]\d", text)) == 5 * len(shown)
    without = repr(CasePage([replace(case, contributions=None) for case in shown], stickers))
    assert "verbal" not in without and "second reader" in without
