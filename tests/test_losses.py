"""The losses against hand-worked cases and plain loops."""

import math

import numpy as np
import pytest
import torch

from intra.losses import hinge_retrieval_loss, intention_loss


def random_case(seed, queries=5, stickers=7):
    """Similarities, the column of each positive, and which columns are negatives."""
    rng = np.random.default_rng(seed)
    similarity = rng.uniform(-1, 1, size=(queries, stickers))
    positives = rng.integers(stickers, size=queries)
    negatives = rng.random((queries, stickers)) < 0.6
    negatives[np.arange(queries), positives] = False
    return torch.from_numpy(similarity), torch.from_numpy(positives), torch.from_numpy(negatives)


def hinge_by_loops(similarity, positives, negatives, margin):
    total = 0.0
    for b in range(len(similarity)):
        terms = [
            max(0.0, margin - float(similarity[b, positives[b]]) + float(similarity[b, s]))
            for s in range(similarity.shape[1])
            if negatives[b, s]
        ]
        total += sum(terms) / len(terms) if terms else 0.0
    return total / len(similarity)


def eq_14_as_printed(similarity, positives, negatives, margin):
    r"""\sum_N \max(\rho_{neg} - (1 - \rho_{pos}) + margin): max has one argument, so nothing is clipped."""
    positive = similarity.gather(1, positives[:, None])
    return ((similarity - (1 - positive) + margin) * negatives).sum()


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
    assert float(hinge_retrieval_loss(similarity, torch.tensor([0, 2]), negatives, 0.2)) == pytest.approx(0.275)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("margin", [0.0, 0.2, 1.0])
def test_hinge_against_loops(seed, margin):
    case = random_case(seed)
    assert float(hinge_retrieval_loss(*case, margin)) == pytest.approx(hinge_by_loops(*case, margin), abs=1e-5)


def test_hinge_without_negatives_counts_zero():
    similarity, positives, negatives = random_case(0)
    whole = hinge_by_loops(similarity[1:], positives[1:], negatives[1:], 0.2)
    negatives[0] = False
    similarity.requires_grad_()
    loss = hinge_retrieval_loss(similarity, positives, negatives, 0.2)
    loss.backward()
    assert loss.item() == pytest.approx(whole * 4 / 5, abs=1e-5)  # still one of the five queries of the mean
    assert similarity.grad[0].tolist() == [0.0] * 7


def test_hinge_of_one_query_without_negatives_is_zero():
    loss = hinge_retrieval_loss(torch.tensor([[0.3]]), torch.tensor([0]), torch.tensor([[False]]), 0.2)
    assert float(loss) == 0.0


def test_hinge_does_not_look_at_what_is_no_negative():
    similarity, positives, negatives = random_case(3)
    changed = torch.where(negatives, similarity, torch.rand_like(similarity))
    changed.scatter_(1, positives[:, None], similarity.gather(1, positives[:, None]))
    assert hinge_retrieval_loss(changed, positives, negatives, 0.2) == pytest.approx(
        hinge_retrieval_loss(similarity, positives, negatives, 0.2).item()
    )


def test_hinge_is_zero_once_the_margin_is_kept():
    similarity = torch.tensor([[0.9, 0.69, -1.0]])
    negatives = torch.tensor([[False, True, True]])
    assert float(hinge_retrieval_loss(similarity, torch.tensor([0]), negatives, 0.2)) == 0.0


@pytest.mark.parametrize(("loss", "rises"), [(hinge_retrieval_loss, True), (eq_14_as_printed, False)])
def test_eq_14_as_printed_drives_positives_away(loss, rises):
    """Learn free unit vectors: with our reading positives come nearer, with the printed one they leave."""
    _, positives, negatives = random_case(4)
    torch.manual_seed(0)
    queries, stickers = torch.randn(5, 6, requires_grad=True), torch.randn(7, 6, requires_grad=True)
    optimiser = torch.optim.Adam([queries, stickers], lr=0.05)

    def cosines():
        return torch.nn.functional.normalize(queries, dim=1) @ torch.nn.functional.normalize(stickers, dim=1).T

    def positive_mean():
        return float(cosines().gather(1, positives[:, None]).mean().detach())

    before = positive_mean()
    for _ in range(60):
        optimiser.zero_grad()
        loss(cosines(), positives, negatives, 0.2).backward()
        optimiser.step()
    if rises:
        assert positive_mean() > before + 0.2
    else:
        assert positive_mean() < before - 0.2
