"""Single conversations and what was retrieved for them: a drawn selection, causes of failures, near misses, likeness.

All is computed from records of Int-RA that hold ranked lists and details. No torch here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

from intra.analysis import DRAWN
from intra.arrays import read_arrays
from intra.data.schema import ATTRIBUTES, USAGES, Conversation, Dataset, Sticker
from intra.errors import IntraError
from intra.evaluation import bootstrap_interval
from intra.identity import in_groups
from intra.paths import RECORDS
from intra.records import Record
from intra.tables import Labelled

COMMAND = "python -m intra.contributions"
CONTRIBUTIONS = RECORDS / "contributions.npz"
"""The record that `COMMAND` writes."""
TOP = 5
"""Stickers that are shown of a ranking."""
GROUPS = {"right": 3, "near": 3, "wrong": 6}
"""How many cases are drawn of each group: the first sticker is right; one of the next `TOP` - 1; none of these."""
SENTIMENTS = {
    "positive": (
        *("admiration", "amusement", "approval", "caring", "desire", "excitement"),
        *("gratitude", "joy", "love", "optimism", "pride", "relief"),
    ),
    "negative": (
        *("anger", "annoyance", "disappointment", "disapproval", "disgust", "embarrassment"),
        *("fear", "grief", "nervousness", "remorse", "sadness"),
    ),
    "ambiguous": ("confusion", "curiosity", "realization", "surprise"),
    "neutral": ("neutral",),
}
"""GoEmotions' grouping of its 27 emotions (Demszky et al., 2020), and neutral."""
OUTCOMES = {
    "right": "the first sticker is right",
    "sticker": "the intention was predicted, and a sticker of another ranked first",
    "ambiguous": "the second reader chose the predicted intention",
    "near": "predicted: another intention of the same sentiment",
    "far": "predicted: an intention of another sentiment",
}
"""What can become of a conversation; each but the first is the cause of a failure. The first that applies counts."""
CAUSES = tuple(OUTCOMES)[1:]
SECOND_READINGS = {"second reader": "second_reading", "writer's second choice": "neighbour"}
"""Who might have meant another intention, and the field of a conversation that says it."""
LOOKS = ("gesture", "facial_expression")
"""The drawn attributes in which the paper finds retrieved stickers alike."""
DEEP = 3
"""How many stickers of each ranking the paper's Figure 7 shows."""


@dataclass(frozen=True)
class Case:
    """One conversation, and what one run of Int-RA made of it."""

    group: str
    """One of `GROUPS`."""
    conversation: Conversation
    window: int
    """How many of the last utterances the model read."""
    predicted: dict[str, float]
    """The three most probable intentions, best first."""
    ranked: dict[str, float]
    """The first `TOP` stickers, best first, with their scores."""
    intentions: dict[str, str]
    """Of these stickers and of the one that was sent."""
    contributions: dict[str, dict[str, float]] | None
    """Sticker to attribute to what its description adds to the score; None where that is not on record."""

    def right(self, sticker: str) -> bool:
        """Whether a sticker is right under intention match."""
        return sticker == self.conversation.sticker or self.intentions[sticker] == self.conversation.intention


# Selection


def groups(record: Record) -> dict[str, str]:
    """Test conversation to its group in `GROUPS`, by the rank of the first right sticker."""
    first = record.relevance("intention").argmax(axis=1)
    names = np.select([first == 0, first < TOP], ["right", "near"], "wrong")
    return dict(zip(record.per_query("intention").index, names.tolist(), strict=True))


def draw_cases(record: Record, dataset: Dataset, seed: int = 0) -> list[tuple[str, Conversation]]:
    """Conversations of the test split by a rule that looks at nothing but group, intention and usage.

    The conversations are put into a random order. For one group after the other, and as long as it has places, the
    next conversation of that order is taken unless its intention is taken already, or its usage has half of the
    group's places (rounded up).

    Args:
        record: Of Int-RA.
        dataset: Whose test split it ranks.
        seed: Of the order.

    Returns:
        Pairs of group and conversation; fewer than `GROUPS` asks for where there are not enough.
    """
    test = dataset.split("test").conversations
    order = [test[number] for number in np.random.default_rng(seed).permutation(len(test))]
    group_of, taken, drawn = groups(record), set(), []
    for group, places in GROUPS.items():
        free = dict.fromkeys(USAGES, -(-places // 2))
        for conversation in order:
            if group_of[conversation.id] != group or conversation.intention in taken or not free[conversation.usage]:
                continue
            if places == 0:
                break
            places -= 1
            free[conversation.usage] -= 1
            taken.add(conversation.intention)
            drawn.append((group, conversation))
    return drawn


def cases(record: Record, dataset: Dataset, seed: int = 0) -> list[Case]:
    """The drawn conversations with what a run made of them; see `draw_cases`."""
    queries = list(record.per_query("intention").index)
    probabilities, run = record.details()["intention_probabilities"].astype(float), record.run()
    labels = {sticker: own[0] for sticker, own in dataset.split("test").sticker_intentions().items()}
    added, made = contributions_of(record, dataset.split("test").stickers), []
    for group, conversation in draw_cases(record, dataset, seed):
        own = probabilities[queries.index(conversation.id)]
        best = np.argsort(-own, kind="stable")[:3]
        ranked = dict(list(run[conversation.id].items())[:TOP])
        predicted = {dataset.intentions[number]: float(own[number]) for number in best}
        case = Case(
            group,
            conversation,
            record.config.window,
            predicted,
            ranked,
            {sticker: labels[sticker] for sticker in (*ranked, conversation.sticker)},
            added and {sticker: added[best[0], sticker] for sticker in ranked},
        )
        made.append(case)
    return made


def case_frame(drawn: Sequence[Case]) -> pd.DataFrame:
    """One row a case: what it is about and what became of it."""
    rows = {}
    for case in drawn:
        first = next(iter(case.ranked))
        rows[case.conversation.id] = {
            "group": case.group,
            "usage": case.conversation.usage,
            "intention": case.conversation.intention,
            "second reader": case.conversation.second_reading,
            "predicted": next(iter(case.predicted)),
            "first sticker": case.intentions[first],
            "right of five": sum(map(case.right, case.ranked)),
        }
    return pd.DataFrame.from_dict(rows, orient="index")


# Causes


def sentiment(intention: str) -> str:
    """The group of `SENTIMENTS` that an intention is in."""
    (name,) = [name for name, members in SENTIMENTS.items() if intention in members]
    return name


def outcome(conversation: Conversation, predicted: str, right: bool) -> str:
    """Which of `OUTCOMES` became of a conversation.

    Args:
        conversation: With its intention and its second reading.
        predicted: The most probable intention.
        right: Whether the first sticker is right.
    """
    if right:
        return "right"
    if predicted == conversation.intention:
        return "sticker"
    if predicted == conversation.second_reading:
        return "ambiguous"
    return "near" if sentiment(predicted) == sentiment(conversation.intention) else "far"


def predictions(record: Record, dataset: Dataset) -> pd.DataFrame:
    """What a run says of each test conversation, one row each, in the order of the record.

    Returns:
        The `predicted` intention, the `first` sticker, and the intention `shown` by that sticker.
    """
    labels = dataset.split("test").sticker_intentions()
    first = {query: next(iter(ranking)) for query, ranking in record.run().items()}
    best = record.details()["intention_probabilities"].argmax(axis=1)
    frame = pd.DataFrame({"predicted": np.array(dataset.intentions)[best], "first": first.values()}, index=list(first))
    return frame.assign(shown=[labels[sticker][0] for sticker in frame["first"]])


def outcomes(records: Sequence[Record], dataset: Dataset) -> pd.DataFrame:
    """One row a test conversation, one column a seed: the outcome."""
    test = {conversation.id: conversation for conversation in dataset.split("test").conversations}
    columns = {}
    for record in records:
        told = zip(predictions(record, dataset)["predicted"], record.relevance("intention")[:, 0], strict=True)
        queries = record.per_query("intention").index
        columns[record.seed] = [outcome(test[query], *pair) for query, pair in zip(queries, told, strict=True)]
    return pd.DataFrame(columns, index=queries)


def outcomes_by_chance(records: Sequence[Record], dataset: Dataset) -> pd.DataFrame:
    """How probable each outcome would be if every conversation got the answer to a random one.

    An answer is a predicted intention with the intention of the first sticker. The expectation is exact: every
    conversation with every answer of every seed.

    Returns:
        One row a test conversation, one column an outcome; rows sum to 1.
    """
    test = {conversation.id: conversation for conversation in dataset.split("test").conversations}
    queries = list(records[0].per_query("intention").index)
    counts = pd.DataFrame(0.0, queries, list(OUTCOMES))
    for record in records:
        answers = predictions(record, dataset)[["predicted", "shown"]].value_counts()
        for query in queries:
            for (predicted, shown), count in answers.items():
                # no sticker of the packaged test split was sent with two intentions
                counts.at[query, outcome(test[query], predicted, shown == test[query].intention)] += count
    return counts / (len(records) * len(queries))


def cause_frame(records: Sequence[Record], dataset: Dataset) -> pd.DataFrame:
    """How often each outcome is, in percent of the test conversations, for all of them and by usage.

    Returns:
        One row a (usage, outcome): `conversations`, how many a seed on average; `mean`, `low`, `high`, the share with
        its 95 % bootstrap interval over seeds and conversations; `chance`, see `outcomes_by_chance`.
    """
    found, chance = outcomes(records, dataset), outcomes_by_chance(records, dataset)
    usage = pd.Series({c.id: c.usage for c in dataset.split("test").conversations}).loc[found.index]
    rows = {}
    for name in ("all", *USAGES):
        own = found[(usage == name) | (name == "all")]
        for what in OUTCOMES:
            values = (own == what).to_numpy(float).T
            chances = chance.loc[own.index, what].mean()
            rows[name, what] = {"conversations": values.sum(axis=1).mean(), **_ends(values), "chance": 100 * chances}
    frame = pd.DataFrame.from_dict(rows, orient="index")
    frame.index = pd.MultiIndex.from_tuples(frame.index, names=["usage", "outcome"])
    return frame


def _ends(values: np.ndarray) -> dict[str, float]:
    """Mean of shares of shape (R, Q) and its 95 % bootstrap interval, in percent."""
    low, high = bootstrap_interval(list(values))
    return {"mean": 100 * float(values.mean()), "low": 100 * low, "high": 100 * high}


# Near misses


def near_misses(records: Sequence[Record], dataset: Dataset) -> pd.DataFrame:
    """How often a wrong first sticker carries the intention that somebody else chose for the conversation.

    Only conversations where that is another intention than the label can be such a near miss.

    Returns:
        One row a key of `SECOND_READINGS`: `conversations` with another choice; `failures`, how many of these got a
        wrong first sticker, a seed on average; `mean`, the share of these failures whose first sticker carries the
        choice; `chance`, that of a wrong sticker drawn at random from the gallery; their `difference`, and `low` and
        `high`, the ends of its 95 % bootstrap interval over seeds and conversations. Shares are in percent.
    """
    part = dataset.split("test")
    test = {conversation.id: conversation for conversation in part.conversations}
    held = pd.Series([own[0] for own in part.sticker_intentions().values()]).value_counts()
    rows = {}
    for name, field in SECOND_READINGS.items():
        choices = {query: getattr(c, field) for query, c in test.items() if getattr(c, field) not in ("", c.intention)}
        hits, chances, wrong = [], [], []
        for record in records:
            told = predictions(record, dataset).loc[list(choices)]
            labels = pd.Series({query: test[query].intention for query in told.index})
            wrong.append((told["shown"] != labels).to_numpy(float))
            choice = told.index.map(choices)
            hits.append((told["shown"] == choice).to_numpy(float))
            chances.append((held.reindex(choice).fillna(0) / (held.sum() - held.loc[labels].to_numpy())).to_numpy())
        rows[name] = {"conversations": len(choices)} | _near(hits, chances, wrong)
    return pd.DataFrame.from_dict(rows, orient="index")


def _near(hits: list[np.ndarray], chances: list[np.ndarray], wrong: list[np.ndarray]) -> dict[str, float]:
    """Shares among what is wrong, and their difference with its interval.

    All three hold one array of Q values a seed. The number of failures varies with the draw, so that this is a ratio.
    """
    hits, chances, wrong = (np.stack(values) for values in (hits, chances, wrong))
    excess = wrong * (hits - chances)
    rng = np.random.default_rng(0)
    seeds = rng.integers(len(wrong), size=(2000, len(wrong)))
    queries = rng.integers(wrong.shape[1], size=(2000, wrong.shape[1]))
    drawn = [(excess[s][:, q].sum(), wrong[s][:, q].sum()) for s, q in zip(seeds, queries, strict=True)]
    low, high = np.quantile([100 * over / failures for over, failures in drawn if failures], [0.025, 0.975])
    mean, chance = (100 * (wrong * values).sum() / wrong.sum() for values in (hits, chances))
    ends = {"mean": mean, "chance": chance, "difference": mean - chance, "low": low, "high": high}
    return {"failures": wrong.sum(axis=1).mean()} | ends


# What the other side could show


def best_rival(study: Labelled) -> str:
    """The retrieval system of Table II whose runs have the best mean mAP on validation."""
    labels = [label for label in in_groups(study)["retrieval systems"] if study[label][0].content["selection"]]
    return max(labels, key=lambda label: np.mean([r.content["selection"]["value"] for r in study[label]]))


def one_sided(ours: Sequence[Record], theirs: Sequence[Record]) -> pd.DataFrame:
    """For how many test conversations an example could be chosen for either side, in percent.

    Args:
        ours: Records of one configuration.
        theirs: Of another, with the same seeds.

    Returns:
        One row each for `both right`, `only ours`, `only theirs`, `both wrong` and `only ours minus only theirs`:
        `mean`, `low` and `high`, the 95 % bootstrap interval over seeds and conversations.
    """
    a, b = (np.stack([r.relevance("intention")[:, 0] for r in records]).astype(float) for records in (ours, theirs))
    values = {
        "both right": a * b,
        "only ours": a * (1 - b),
        "only theirs": b * (1 - a),
        "both wrong": (1 - a) * (1 - b),
        "only ours minus only theirs": a - b,
    }
    return pd.DataFrame.from_dict({name: _ends(value) for name, value in values.items()}, orient="index")


# What descriptions add


def read_contributions(stickers: Sequence[Sticker]) -> dict[str, np.ndarray]:
    """What `python -m intra.contributions` found.

    Args:
        stickers: The gallery that the record must be of, in order.

    Returns:
        `runs` (R,), `stickers` (G,), `scores` (R, C, G), float64, and `without` (R, C, G, A + 1), float64: the scores
        without each attribute in the order of `ATTRIBUTES`, then without all. What all add together is not the sum of
        the others.

    Raises:
        IntraError: If the record is missing, damaged, or of other stickers.
    """
    found = read_arrays(CONTRIBUTIONS, ("runs", "stickers", "scores", "without"), COMMAND)
    if found["stickers"].tolist() != [sticker.id for sticker in stickers]:
        raise IntraError(f"{CONTRIBUTIONS}: holds scores of other stickers; {COMMAND} writes it anew")
    return found | {name: found[name].astype(float) for name in ("scores", "without")}


def contributions_of(record: Record, stickers: Sequence[Sticker]) -> dict[tuple[int, str], dict[str, float]] | None:
    """(Predicted intention's number, sticker) to attribute to what it adds to the score; None if not on record.

    Args:
        record: Of Int-RA.
        stickers: The gallery that it ranks.
    """
    runs = read_arrays(CONTRIBUTIONS, ["runs"], COMMAND)["runs"].tolist()
    if record.path.name not in runs:
        return None
    found, run = read_contributions(stickers), runs.index(record.path.name)
    own = found["scores"][run][..., None] - found["without"][run]
    return {
        (number, sticker): dict(zip(ATTRIBUTES, own[number, column].tolist(), strict=False))
        for number in range(len(own))
        for column, sticker in enumerate(found["stickers"].tolist())
    }


def contribution_frame(found: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """How much leaving a description out changes, over all rankings of all runs on record.

    Args:
        found: Answer of `read_contributions`.

    Returns:
        One row an attribute and one for `all`: `size`, the mean absolute contribution; `first`, the mean contribution
        to the sticker that is ranked first; `other first`, in how many percent of the rankings leaving it out puts
        another sticker first, with `low` and `high`, its 95 % bootstrap interval over runs and intentions.
    """
    scores, rows = found["scores"], {}
    before = scores.argmax(axis=2)
    for number, name in enumerate((*ATTRIBUTES, "all")):
        without = found["without"][..., number]
        changed = (without.argmax(axis=2) != before).astype(float)
        added = scores - without
        first = np.take_along_axis(added, before[..., None], axis=2)
        ends = _ends(changed)
        rows[name] = {"size": np.abs(added).mean(), "first": first.mean(), "other first": ends["mean"]}
        rows[name] |= {"low": ends["low"], "high": ends["high"]}
    return pd.DataFrame.from_dict(rows, orient="index")


# Likeness


def alike(order: np.ndarray, looks: Sequence[str], deep: int = DEEP) -> np.ndarray:
    """Share of the pairs among the first stickers of each ranking that look alike.

    Args:
        order: Numbers of stickers, best first, shape (..., G).
        looks: Of each sticker.
        deep: How many stickers make the pairs.

    Returns:
        Shape (...), float64.
    """
    shown = np.unique(list(looks), return_inverse=True)[1][order[..., :deep]]
    return np.mean([shown[..., a] == shown[..., b] for a, b in combinations(range(deep), 2)], axis=0)


def alike_by_chance(looks: Sequence[str]) -> float:
    """The same for a random order: the share of all pairs that look alike."""
    counts = np.unique(list(looks), return_counts=True)[1]
    return float((counts * (counts - 1)).sum() / (len(looks) * (len(looks) - 1)))


def likeness(found: Mapping[str, np.ndarray], stickers: Sequence[Sticker]) -> pd.DataFrame:
    """Are the first three stickers of a ranking alike, and because of their descriptions?

    Eq. 5 lets a model give as many rankings as there are intentions; each counts once.

    Args:
        found: Answer of `read_contributions`.
        stickers: Of the test gallery, with their drawing specifications.

    Returns:
        One row a (look, comparison): `ours` and `theirs`, shares of alike pairs in percent, and `mean`, `low`, `high`,
        their difference with its 95 % bootstrap interval over runs and intentions. `chance` is a random order,
        `without descriptions` the same model told nothing of the stickers.
    """
    by_id, rows = {sticker.id: sticker for sticker in stickers}, {}
    orders = [np.argsort(-s, axis=2, kind="stable") for s in (found["scores"], found["without"][..., -1])]
    for look in LOOKS:
        drawn = [by_id[sticker].specification[DRAWN[look][0]] for sticker in found["stickers"].tolist()]
        ours, plain = (alike(order, drawn) for order in orders)
        for name, theirs in (("chance", np.full_like(ours, alike_by_chance(drawn))), ("without descriptions", plain)):
            shares = {"ours": 100 * ours.mean(), "theirs": 100 * theirs.mean()}
            rows[look, name] = shares | _ends(ours - theirs)
    frame = pd.DataFrame.from_dict(rows, orient="index")
    frame.index = pd.MultiIndex.from_tuples(frame.index, names=["look", "against"])
    return frame
