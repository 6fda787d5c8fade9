"""Data sets of conversations that end with a sticker."""

from intra.data.intentions import INTENTIONS
from intra.data.reader import Problem, load_dataset, validate
from intra.data.schema import SPLITS, Conversation, Dataset, Sticker, Utterance

__all__ = [
    "INTENTIONS",
    "SPLITS",
    "Conversation",
    "Dataset",
    "Problem",
    "Sticker",
    "Utterance",
    "load_dataset",
    "validate",
]
