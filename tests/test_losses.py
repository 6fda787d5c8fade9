"""The losses against hand-worked cases and plain loops."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from intra.config import CHOICES, RunConfig
from intra.losses import (
    NEGATIVES,
    RETRIEVAL_LOSSES,
    HardestLoss,
    HingeLoss,
    InfoNCELoss,
    LiteralLoss,
    intention_loss,
)


def random_case(seed, queries=5, stickers=7):
    """Similarities, the column of each positive, and which columns are negatives."""
    rng = np.random.default_rng(seed)
    similarity = rng.uniform(-1, 1, size=(queries, stickers))
    positives = rng.integers(stickers, size=queries)
    negatives = rng.random((queries, stickers)) < 0.6
    negatives[np.arange(queries), positives] = False
    return torch.from_numpy(similarity), torch.from_numpy(positives), torch.from_numpy(negatives)


def hinge(positive, negatives, margin):
    return [max(0.0, margin - positive + negative) for negative in negatives]


def literal(positive, negatives, margin):
    r"""\sum_N \max(\rho_{neg} - (1 - \rho_{pos}) + margin): max has one argument, so nothing is clipped."""
    return [negative - (1 - positive) + margin for negative in negatives]


def mean(terms):
    return sum(terms) / len(terms)


def infonce(positive, negatives, scale):
    powers = [math.exp(scale * value) for value in (positive, *negatives)]
    return -math.log(powers[0] / sum(powers))


def by_loops(of_query, similarity, positives, negatives, argument):
    """Mean over the queries of what a function of its positive and its negatives, where it has any, says."""
    total = 0.0
    for row, own, wrong in zip(similarity.tolist(), positives.tolist(), negatives.tolist(), strict=True):
        values = [value for value, counts in zip(row, wrong, strict=True) if counts]
        total += of_query(row[own], values, argument) if values else 0.0
    return total / len(similarity)


def of_margin(margin, **changes):
    return RunConfig(margin=margin, **changes)


HINGE = HingeLoss(of_margin(0.2))


def test_intention_loss_by_hand():
    # softmax of (log 1, log 3) is (1/4, 3/4), of (0, 0) it is (1/2, 1/2); the truth is class 1, then class 0:
    # -(log 3/4 + log 1/2) / 2 = -log(3/8) / 2
    logits = torch.tensor([[math.log(1), math.log(3)], [0.0, 0.0]])
    assert float(intention_loss(logits, torch.tensor([1, 0]))) == pytest.approx(-math.log(3 / 8) / 2)


def test_intention_loss_against_a_loop():
    rng = np.random.default_rng(1)
    logits, truth = rng.normal(size=(6, 5)), rng.integers(5, size=6)
    expected = 0.0
    for row, y in zip(logits, truth, strict=True):
        expected -= math.log(math.exp(row[y]) / sum(math.exp(z) for z in row)) / 6
    assert float(intention_loss(torch.from_numpy(logits), torch.from_numpy(truth))) == pytest.approx(expected)


def test_hinge_by_hand():
    # Margin 0.2. Query 0: positive 0.5, negatives 0.4 and 0.1: max(0, 0.1) and max(0, -0.2), mean 0.05.
    # Query 1: positive 0.0 (column 2), negative 0.3 (column 0): 0.5; column 1 is no negative. Mean 0.275.
    similarity = torch.tensor([[0.5, 0.4, 0.1], [0.3, 0.9, 0.0]])
    negatives = torch.tensor([[False, True, True], [True, False, False]])
    assert float(HINGE(similarity, torch.tensor([0, 2]), negatives)) == pytest.approx(0.275)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("margin", [0.0, 0.2, 1.0])
@pytest.mark.parametrize(("reduction", "together"), [("mean", mean), ("sum", sum)])
@pytest.mark.parametrize(("loss", "terms"), [(HingeLoss, hinge), (LiteralLoss, literal)])
def test_margin_losses_against_loops(loss, terms, reduction, together, margin, seed):
    case = random_case(seed)
    expected = by_loops(lambda *query: together(terms(*query)), *case, margin)
    found = loss(of_margin(margin, negative_reduction=reduction))(*case)
    assert float(found) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("reduction", CHOICES["negative_reduction"])
def test_the_hardest_negative_against_loops(reduction, seed):
    case = random_case(seed)
    expected = by_loops(lambda *query: max(hinge(*query)), *case, 0.2)
    assert float(HardestLoss(of_margin(0.2, negative_reduction=reduction))(*case)) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_infonce_against_loops(seed):
    case = random_case(seed)
    loss = InfoNCELoss(RunConfig())
    assert loss.scale().item() == pytest.approx(1 / 0.07)
    assert loss(*case).item() == pytest.approx(by_loops(infonce, *case, 1 / 0.07), abs=1e-5)


def test_losses_by_hand():
    # Positive 0.5, negatives 0.4 and 0.1, margin 0.2. Hinge terms 0.1 and 0; printed terms 0.4 - 0.5 + 0.2 and
    # 0.1 - 0.5 + 0.2. InfoNCE with a scale of log(2) / 0.1: powers 32, 16 and 2, of which 32 is 32 / 50.
    case = torch.tensor([[0.5, 0.4, 0.1]]), torch.tensor([0]), torch.tensor([[False, True, True]])
    assert float(HardestLoss(of_margin(0.2))(*case)) == pytest.approx(0.1)
    assert float(HingeLoss(of_margin(0.2, negative_reduction="sum"))(*case)) == pytest.approx(0.1)
    assert float(LiteralLoss(of_margin(0.2))(*case)) == pytest.approx(-0.05)
    assert float(LiteralLoss(of_margin(0.2, negative_reduction="sum"))(*case)) == pytest.approx(-0.1)
    infonce_loss = InfoNCELoss(RunConfig())
    with torch.no_grad():
        infonce_loss.logit_scale.fill_(math.log(math.log(2) / 0.1))
    assert infonce_loss(*case).item() == pytest.approx(-math.log(32 / 50))


@pytest.mark.parametrize("name", RETRIEVAL_LOSSES)
def test_a_query_without_negatives_counts_zero(name):
    loss = RETRIEVAL_LOSSES[name](RunConfig())
    similarity, positives, negatives = random_case(0)
    whole = loss(similarity[1:], positives[1:], negatives[1:]).item()
    negatives[0] = False
    similarity.requires_grad_()
    found = loss(similarity, positives, negatives)
    found.backward()
    assert found.item() == pytest.approx(whole * 4 / 5, abs=1e-5)  # still one of the five queries of the mean
    assert similarity.grad[0].tolist() == [0.0] * 7
    alone = loss(torch.tensor([[0.3]]), torch.tensor([0]), torch.tensor([[False]]))
    assert float(alone.detach()) == 0.0


@pytest.mark.parametrize("name", RETRIEVAL_LOSSES)
def test_losses_do_not_look_at_what_is_no_negative(name):
    loss = RETRIEVAL_LOSSES[name](RunConfig())
    similarity, positives, negatives = random_case(3)
    changed = torch.where(negatives, similarity, torch.rand_like(similarity))
    changed.scatter_(1, positives[:, None], similarity.gather(1, positives[:, None]))
    assert not torch.equal(changed, similarity)
    assert loss(changed, positives, negatives).item() == pytest.approx(loss(similarity, positives, negatives).item())


@pytest.mark.parametrize("loss", [HingeLoss, HardestLoss])
def test_hinges_are_zero_once_the_margin_is_kept(loss):
    similarity = torch.tensor([[0.9, 0.69, -1.0]])
    negatives = torch.tensor([[False, True, True]])
    assert float(loss(of_margin(0.2))(similarity, torch.tensor([0]), negatives)) == 0.0


def positives_on_the_way(loss, steps=60):
    """Mean cosine of the positives while free unit vectors learn from a loss."""
    _, positives, negatives = random_case(4)
    torch.manual_seed(0)
    queries, stickers = torch.randn(5, 6, requires_grad=True), torch.randn(7, 6, requires_grad=True)
    optimiser = torch.optim.Adam([queries, stickers, *loss.parameters()], lr=0.05)
    means = []
    for _ in range(steps + 1):
        cosines = torch.nn.functional.normalize(queries, dim=1) @ torch.nn.functional.normalize(stickers, dim=1).T
        means.append(cosines.gather(1, positives[:, None]).mean().item())
        optimiser.zero_grad()
        loss(cosines, positives, negatives).backward()
        optimiser.step()
    return means


@pytest.mark.parametrize("name", RETRIEVAL_LOSSES)
def test_eq_14_as_printed_drives_positives_away(name):
    """With every other reading positives come nearer, with the printed one they leave."""
    means = positives_on_the_way(RETRIEVAL_LOSSES[name](of_margin(0.2)))
    if name == "literal":
        assert means[-1] < means[0] - 0.2
        assert all(later < before for before, later in pairwise(means[:20]))
    else:
        assert means[-1] > means[0] + 0.2


def test_the_scale_of_infonce_never_passes_100():
    """Positives far ahead ask for an ever larger scale; a wrong order then lowers it again."""
    loss = InfoNCELoss(RunConfig())
    optimiser = torch.optim.Adam(loss.parameters(), lr=0.5)
    ahead, behind = torch.tensor([[0.5, 0.49]]), torch.tensor([[0.2, 0.5]])
    scales = []
    for step in range(60):
        optimiser.zero_grad()
        loss(ahead if step < 30 else behind, torch.tensor([0]), torch.tensor([[False, True]])).backward()
        optimiser.step()
        scales.append(loss.scale().item())
    assert max(scales) == pytest.approx(100, rel=1e-5) and scales[29] == max(scales)
    assert loss.logit_scale.item() < scales[-1] < 20


@pytest.mark.parametrize("kind", CHOICES["negatives"])
def test_negatives_by_hand(kind):
    # Two queries, four stickers. Query 0 was answered with sticker 1 and means what 0 and 1 are sent for.
    relevant = torch.tensor([[True, True, False, False], [False, False, False, True]])
    found = NEGATIVES[kind](relevant, torch.tensor([1, 3]))
    other = [[False, False, True, True], [True, True, True, False]]
    everything = [[True, False, True, True], [True, True, True, False]]
    assert found.tolist() == (everything if kind == "all" else other)


@pytest.mark.parametrize(
    ("choice", "registry"),
    [("retrieval_loss", RETRIEVAL_LOSSES), ("negatives", NEGATIVES)],
)
def test_every_choice_is_there(choice, registry):
    assert tuple(registry) == CHOICES[choice]
