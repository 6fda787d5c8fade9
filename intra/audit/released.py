"""The paper against its released code, point by point, from reading: the public snapshot 34a8d50, which does not run.

The points are properties of that snapshot. It cannot be the exact program behind the paper's tables, and other versions
may exist. `intra.models.released` restates what it would do, and points marked `RESTATED` are checked there.
"""

import math
from dataclasses import dataclass

import pandas as pd

READ = "read"
RESTATED = "read, and restated here"


@dataclass(frozen=True)
class Point:
    """One place where paper and code can be compared."""

    topic: str
    paper: str
    code: str
    where: str
    """File and function of the snapshot."""
    how: str = READ
    """How we know of it."""


POINTS = (
    Point("text encoder", "multilingual BERT", "a Chinese BERT of Chinese-CLIP, for all texts", "main.py: main"),
    Point("regions", "ViT regions", "one pooled vector a picture", "VisualTransformer.forward", RESTATED),
    Point(
        "attention",
        "each attribute attends to the regions",
        "four chained calls with one key each, so that every weight is exactly one",
        "CLIP.forward, Cross_Attention",
        RESTATED,
    ),
    Point(
        "attributes",
        "four",
        "only the last, verbal, reaches a score; picture, gesture, posture and face do not",
        "CLIP.forward",
        RESTATED,
    ),
    Point(
        "projections",
        "learned W of Eq. 11",
        "new random layers at every call, never optimised and never stored",
        "Cross_Attention",
        RESTATED,
    ),
    Point("relation score", "maximum and Eq. 12", "absent, as are heads and the scale", "Cross_Attention", RESTATED),
    Point("query", "the predicted intention", "the context; the prediction is printed", "evaluate, get_loss", RESTATED),
    Point(
        "loss",
        "retrieval and intention",
        "the mean of four terms, two of them contrastive on plain picture vectors",
        "get_loss",
        RESTATED,
    ),
    Point(
        "margin loss",
        "Eq. 14",
        "a multi-label margin loss of similarities without gradient; its 0/1 targets are read as class numbers",
        "get_loss, get_images_similarity",
        RESTATED,
    ),
    Point("intention loss", "softmax and cross-entropy", "the softmax is taken twice", "Classifier.forward", RESTATED),
    Point("classifier", "W and b are learned", "not given to the optimiser, nor saved", "main.py: main", RESTATED),
    Point("optimiser", "Adam", "AdamW with decay, a schedule and warm-up", "main.py: main"),
    Point("context", "ends with the user who replies", "last piece dropped, then the first; no user", "data.py"),
    Point(
        "knowledge",
        "joined with the context",
        "appended behind it, before a cut at a length that is not published; at the loader's default it is cut off",
        "data.py, utils.py: tokenize",
    ),
    Point(
        "number of utterances",
        "a window is varied",
        "only conversations with exactly that many pieces are kept, so that each setting has its own subset",
        "build_lmdb_dataset.py",
    ),
    Point("gallery", "a sticker set V", "every picture of the store, all splits", "get_all_features"),
    Point("sticker label", "one for each conversation", "one a sticker, the last read wins", "get_all_features"),
    Point(
        "match of labels",
        "same intention",
        "the first character of a number; above nine it names another intention",
        "evaluate, get_loss",
    ),
    Point("pictures", "not stated", "training augmentation, in evaluation too", "get_all_features"),
    Point("mAP", "reported", "computed nowhere; evaluation prints three counts", "evaluate"),
    Point("denominator", "not stated", "the set is padded to whole batches by repeating items", "data.py: pad_dataset"),
    Point(
        "selection",
        "not stated",
        "evaluation after every training step, under the title of a test; no rule of selection",
        "train.py: train",
    ),
    Point("ablations, baselines, PR curve", "reported", "no switch and no code for them", "whole repository"),
    Point("random seeds", "not stated", "the random layers are not seeded", "main.py: main"),
    Point(
        "does it run?",
        "code is released",
        "no: a folder and the data are missing, and the names of the validation split differ between files",
        "get_data, train, evaluate",
    ),
)


def points() -> pd.DataFrame:
    """Every entry of `POINTS`: one row each, with how it is known."""
    rows = [{"paper": p.paper, "released code": p.code, "where": p.where, "known by": p.how} for p in POINTS]
    return pd.DataFrame(rows, index=[point.topic for point in POINTS])


def twice_softmax_floor(classes: int) -> float:
    r"""Smallest cross-entropy of a softmax that is taken again: \log(1 + (C - 1) / e), reached by full certainty.

    Args:
        classes: C.
    """
    return math.log1p((classes - 1) / math.e)
