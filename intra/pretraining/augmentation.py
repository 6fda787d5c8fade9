"""Batches of pictures that are never twice the same."""

import torch
import torch.nn.functional as F

from intra.pretraining.data import Data


def augment(pixels: torch.Tensor, boxes: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Change pictures a little: shift, scale, turn, contrast, colour, blur or noise; nothing is mirrored.

    Args:
        pixels: Shape (B, size, size, 3), uint8.
        boxes: As in `Data`, shape (B, parts, 4).
        generator: Source of all chance.

    Returns:
        Pixels, shape (B, 3, size, size), float32, about [-1, 1], and the boxes, moved along.
    """

    def uniform(low: float, high: float, *shape: int) -> torch.Tensor:
        return low + (high - low) * torch.rand(len(pixels), *shape, generator=generator)

    darkness = 1 - pixels.permute(0, 3, 1, 2).float() / 255  # what is sampled from outside is white
    turn, zoom, shifts = uniform(-0.07, 0.07), uniform(0.92, 1.15), uniform(-0.08, 0.08, 2)
    cosine, sine = turn.cos() * zoom, turn.sin() * zoom
    # each new place to the old place that it shows
    maps = torch.stack([cosine, -sine, shifts[:, 0], sine, cosine, shifts[:, 1]], 1).reshape(-1, 2, 3)
    grid = F.affine_grid(maps, darkness.shape, align_corners=False)
    darkness = F.grid_sample(darkness, grid, align_corners=False)
    darkness = darkness * uniform(0.75, 1.2, 1, 1, 1) * uniform(0.85, 1.15, 3, 1, 1)
    blurred = uniform(0, 1) < 0.15
    darkness[blurred] = F.avg_pool2d(darkness[blurred], 3, stride=1, padding=1)
    noise = torch.randn(darkness.shape, generator=generator) * uniform(-0.06, 0.04, 1, 1, 1).clamp(min=0)
    # the turn of at most four degrees hardly moves a box
    return 1 - 2 * (darkness + noise), (boxes - shifts.repeat(1, 2)[:, None]) / zoom[:, None, None]


def take(data: Data, rows: torch.Tensor, generator: torch.Generator) -> Data:
    """A batch of augmented pictures, as tensors."""
    index = rows.numpy()
    pixels, boxes = augment(torch.from_numpy(data.pixels[index]), torch.from_numpy(data.boxes[index]), generator)
    return Data(
        pixels=pixels,
        boxes=boxes,
        labels={name: torch.from_numpy(places[index]) for name, places in data.labels.items()},
        texts=torch.from_numpy(data.texts[index]),
        groups=torch.from_numpy(data.groups[index]),
    )
