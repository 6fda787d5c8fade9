"""What each attribute's description adds to a sticker's score in Int-RA, by leaving it out.

`python -m intra.contributions` writes the record that the book shows, from the weights of fresh runs that `make
reproduce` leaves.
"""

from pathlib import Path

import numpy as np
import torch

from intra.cases import CONTRIBUTIONS
from intra.config import RunConfig
from intra.data.schema import ATTRIBUTES
from intra.errors import IntraError
from intra.features import Gallery, build_features
from intra.files import replaced
from intra.models.int_ra import IntRA, IntRASystem
from intra.models.intention import LabelQuery
from intra.models.trained import gallery_tensors
from intra.records import RUNS, WEIGHTS, run_name
from intra.study import FRESH_RECORDS, WHOLE, distinct_configs


@torch.inference_mode()
def label_scores(model: IntRA, gallery: Gallery, left_out: tuple[str, ...] = ()) -> np.ndarray:
    """CA of Eq. 13 for every intention that Eq. 5 can predict, shape (C, G), float32.

    The query is the encoded name of one intention and nothing else, so these are all scores that the model can give.

    Args:
        model: With the query `label`.
        gallery: G stickers.
        left_out: Attributes whose descriptions are not told.

    Raises:
        IntraError: If the query holds more than an intention.
    """
    if type(model.query) is not LabelQuery:
        raise IntraError(f"the query is {type(model.query).__name__}, expected LabelQuery, which has one score a label")
    descriptions, described, regions = gallery_tensors(gallery)
    described = described & torch.tensor([name not in left_out for name in ATTRIBUTES])
    labels = model.query.label_features
    queries = model.query(labels, torch.eye(len(labels)), None)
    return (queries @ model.sticker(descriptions, described, regions).T).numpy()


def leave_out(model: IntRA, gallery: Gallery) -> dict[str, np.ndarray]:
    """Scores, and what they are without descriptions.

    Returns:
        `scores`, shape (C, G), float32, and `without`, shape (C, G, A + 1), float32: the scores without one attribute,
        in the order of `ATTRIBUTES`, and without all of them.
    """
    scores = label_scores(model, gallery)
    left_out = [*((name,) for name in ATTRIBUTES), tuple(ATTRIBUTES)]
    without = [label_scores(model, gallery, names) for names in left_out]
    return {"scores": scores, "without": np.stack(without, axis=-1)}


def of_run(config: RunConfig, root: Path = FRESH_RECORDS) -> dict[str, np.ndarray]:
    """`leave_out` of a trained run on the test gallery, with the ids of its stickers.

    Raises:
        IntraError: If there are no weights.
    """
    weights = root / config.profile / RUNS / run_name(config) / WEIGHTS
    if not weights.exists():
        raise IntraError(f"{weights}: is not there; run `make reproduce` first")
    features = build_features(config, root / config.profile / "generated")
    system = IntRASystem(config, features)
    system.load(weights)
    return {"stickers": np.array(features.test.gallery.ids)} | leave_out(system.model, features.test.gallery)


def main(path: Path = CONTRIBUTIONS) -> None:
    """Write the record: one entry a run of the reference that keeps its ranked lists.

    All in float32, as the model computes it: in float16, rounding would tie stickers and so decide their order.
    """
    study, label = WHOLE
    configs = list(distinct_configs([study], labels=[label]))
    found = [of_run(config) for config in configs]
    arrays = {name: np.stack([each[name] for each in found]) for name in ("scores", "without")}
    with replaced(path) as unfinished:
        np.savez_compressed(
            unfinished, runs=[run_name(config) for config in configs], stickers=found[0]["stickers"], **arrays
        )


if __name__ == "__main__":
    main()
