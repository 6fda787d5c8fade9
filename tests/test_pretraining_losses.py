"""The losses are their equations; augmented pictures keep what they show, and boxes move with it."""

import math

import pytest
import torch

from intra.pretraining.augmentation import augment
from intra.pretraining.losses import contrastive_loss, guidance_loss

pytest_plugins = ["pretraining_helpers"]


def test_the_contrastive_loss_is_its_equation():
    torch.manual_seed(3)
    images, texts = torch.randn(4, 5), torch.nn.functional.normalize(torch.randn(4, 5), dim=1)
    texts[2] = texts[0]
    groups = torch.tensor([0, 1, 0, 2])
    loss = contrastive_loss(images, texts, torch.tensor(7.0), groups)

    def score(i, j):
        length = math.sqrt(sum(x * x for x in images[i].tolist()))
        return 7 * sum(x * y for x, y in zip(images[i].tolist(), texts[j].tolist(), strict=True)) / length

    total = 0.0
    for i in range(4):
        others = [j for j in range(4) if j == i or groups[j] != groups[i]]
        total -= score(i, i) - math.log(sum(math.exp(score(i, j)) for j in others))
        total -= score(i, i) - math.log(sum(math.exp(score(j, i)) for j in others))
    assert loss.item() == pytest.approx(total / 8, abs=1e-5)


def test_augmentation_is_seeded_small_and_never_a_mirror(drawn_data):
    pixels, boxes = torch.from_numpy(drawn_data.pixels), torch.from_numpy(drawn_data.boxes)
    one, _ = augment(pixels, boxes, torch.Generator().manual_seed(1))
    same, _ = augment(pixels, boxes, torch.Generator().manual_seed(1))
    other, _ = augment(pixels, boxes, torch.Generator().manual_seed(2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert one.shape == (16, 3, 32, 32)
    plain = pixels.permute(0, 3, 1, 2).float() / 127.5 - 1
    assert (one - plain).abs().mean() < (one - plain.flip(3)).abs().mean()


def test_boxes_move_with_what_they_hold():
    pixels = torch.full((40, 64, 64, 3), 255, dtype=torch.uint8)
    pixels[:, 20:36, 10:30] = 0
    boxes = torch.tensor([10, 20, 30, 36]).float().expand(40, 1, 4) / 32 - 1
    changed, moved = augment(pixels, boxes, torch.Generator().manual_seed(3))
    for picture, box in zip(changed, moved[:, 0], strict=True):
        rows, columns = torch.nonzero(picture.mean(0) < 0.3, as_tuple=True)
        seen = torch.stack([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]) / 32 - 1
        torch.testing.assert_close(seen, box, atol=0.1, rtol=0)


def test_the_guidance_loss_counts_the_cells_that_a_box_touches():
    attention = torch.full((2, 9), 1 / 12)
    attention[:, 4] = 4 / 12
    boxes = torch.tensor([[-0.9, -0.9, 0.2, -0.5], [0.5, 0.5, 0.6, 0.6]])  # two cells of the top row; the last cell
    expected = -(math.log(2 / 12) + math.log(1 / 12)) / 2
    assert guidance_loss(attention, boxes).item() == pytest.approx(expected, abs=1e-5)
    outside = torch.tensor([[1.2, 1.2, 1.4, 1.4]]).expand(2, 4)
    assert math.isfinite(guidance_loss(attention, outside).item())
