"""The last blocks of a vision tower, apart from the tower, so that they can be trained."""

from copy import deepcopy

from torch import Tensor, nn


class LastBlocks(nn.Module):
    """Token vectors in, vectors of the joint space out: what an open_clip tower does from some block on.

    Args:
        blocks: The last blocks of the tower; copied, as is all else.
        tower: The `open_clip` VisionTransformer, whose last norm and projection follow.
    """

    def __init__(self, blocks: nn.Module, tower: nn.Module):
        super().__init__()
        self.blocks = deepcopy(blocks)
        self.norm = deepcopy(tower.ln_post)
        self.projection = deepcopy(tower.proj)

    def forward(self, states: Tensor) -> Tensor:
        """Encode pictures.

        Args:
            states: Token vectors that enter the first of the blocks, class token first, shape (B, P + 1, w).

        Returns:
            Shape (B, c), not normalised.
        """
        return self.norm(self.blocks(states)[:, 0]) @ self.projection
