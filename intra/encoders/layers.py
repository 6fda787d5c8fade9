"""The last layers of a text encoder, apart from the encoder, so that they can be trained."""

from collections.abc import Callable
from copy import deepcopy

from torch import Tensor, nn
from transformers import PretrainedConfig
from transformers.masking_utils import create_bidirectional_mask


class LastLayers(nn.Module):
    """Token vectors in, unit vectors out: what an encoder does from some layer on.

    Args:
        layers: Transformer layers of an encoder like BERT or XLM-R; copied.
        config: The encoder's configuration, which says how attention is computed.
        pool: Turns token vectors (B, T, D) and what is a token, (B, T), into one vector a sequence (B, D).
    """

    def __init__(self, layers: nn.ModuleList, config: PretrainedConfig, pool: Callable[[Tensor, Tensor], Tensor]):
        super().__init__()
        self.layers = deepcopy(layers)
        self.config = config
        self.pool = pool

    def forward(self, states: Tensor, present: Tensor) -> Tensor:
        """Encode sequences.

        Args:
            states: Token vectors that enter the first of the layers, shape (B, T, D).
            present: Where there is a token, shape (B, T), bool.

        Returns:
            Shape (B, D).
        """
        mask = create_bidirectional_mask(config=self.config, inputs_embeds=states, attention_mask=present)
        for layer in self.layers:
            states = layer(states, mask)
        return self.pool(states, present)
