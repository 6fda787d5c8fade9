"""The command line: `python -m intra.pretraining --art FOLDER`."""

import argparse
import dataclasses
import json
import logging
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from intra.data.reader import load_dataset
from intra.encoders.text import offline_e5
from intra.encoders.vision import STICKER_VIT, STICKER_VIT_WEIGHTS, OpenClipVisionEncoder
from intra.generation.tagger import TAGGER_WEIGHTS
from intra.paths import cache_directory
from intra.pretraining import RECORD
from intra.pretraining.art import SEEN, UNSEEN, read_art
from intra.pretraining.cache import digest, write_whole
from intra.pretraining.data import joined, prepare, prepare_art
from intra.pretraining.drawings import (
    TRAINING_CHARACTERS,
    VALIDATION_CHARACTERS,
    draw_examples,
    drawing_digest,
    read_captions,
)
from intra.pretraining.learner import accuracies, rounded
from intra.pretraining.texts import fast_bfloat16
from intra.pretraining.training import Settings, save_weights, train
from intra.pretraining.transfer import picture_vectors, retrieval, zero_shot

logger = logging.getLogger("intra.pretraining")


@dataclass(frozen=True)
class Files:
    """What a training leaves."""

    tower: Path = STICKER_VIT_WEIGHTS
    tagger: Path = TAGGER_WEIGHTS
    record: Path = RECORD

    @classmethod
    def below(cls, folder: Path) -> "Files":
        """The same names in another folder."""
        return cls(*(folder / path.name for path in dataclasses.astuple(cls())))

    def write_record(self, content: dict) -> None:
        """Write the record, whole or not at all."""
        write_whole(self.record, lambda file: file.write((json.dumps(content, indent=1) + "\n").encode()))


def run(settings: Settings, drawings: int, validations: int, art: Path, files: Files) -> None:
    """Draw, train, and write weights and record.

    Args:
        settings: What decides the weights, beside the data.
        drawings: How many to learn from.
        validations: How many, of another cast, to measure on.
        art: Where npm installed the emoji art.
        files: What is written.
    """
    start = time.perf_counter()
    cache, encoder, size = cache_folder(), text_encoder(), picture_size()
    captions = read_captions()
    logger.info("drawing code %s, text encoder %s", drawing_digest(), encoder.name)
    emoji = read_art(art, SEEN)
    data = prepare(draw_examples(drawings, TRAINING_CHARACTERS, captions), size, encoder, cache)
    data = joined(data, prepare_art(emoji, size, encoder, cache, settings.seed))
    validation = prepare(draw_examples(validations, VALIDATION_CHARACTERS, captions), size, encoder, cache)
    logger.info("drawn after %.0f s", time.perf_counter() - start)
    key = digest(settings, STICKER_VIT.read_text(), data.pixels.tobytes(), data.texts.tobytes())
    learner, history = train(STICKER_VIT, settings, data, validation, cache / f"training-{key}.pt")
    record = {
        "settings": dataclasses.asdict(settings),
        "drawings": drawings,
        "validation_drawings": validations,
        "emoji": dict(Counter(each.collection for each in emoji)),
        "drawing_code": drawing_digest(),
        "text_encoder": encoder.name,
        "seconds": round(sum(entry["seconds"] for entry in history)),
        "validation": accuracies(rounded(learner), validation),
        "epochs": history,
    }
    save_weights(learner.tower, files.tower)
    save_weights(learner.tagger, files.tagger)
    files.write_record(record)


def measure(art: Path, files: Files) -> None:
    """Measure weights on the benchmark's stickers and on unseen art, and add `transfer` to their record.

    Args:
        art: Where npm installed the emoji art.
        files: What is measured; the record is written anew.
    """
    cache, encoder = cache_folder(), text_encoder()
    vision = OpenClipVisionEncoder(STICKER_VIT, files.tower)
    stickers = load_dataset().stickers
    transfer = {
        "vision_encoder": vision.name,
        "licences": SEEN | UNSEEN,
        "zero_shot": zero_shot(vision.encode([sticker.image for sticker in stickers]).pooled, stickers, encoder, cache),
        "retrieval": [],
    }
    for collection in UNSEEN:
        emoji = read_art(art, [collection])
        vectors = picture_vectors(vision, emoji, picture_size())
        transfer["retrieval"] += retrieval(vectors, emoji, encoder, cache)
    files.write_record(json.loads(files.record.read_text(encoding="utf-8")) | {"transfer": transfer})


def cache_folder() -> Path:
    """Folder of what can be computed again."""
    return cache_directory() / "pretraining"


def text_encoder():
    """The frozen encoder that makes targets of descriptions."""
    return offline_e5(cache_directory(), max_tokens=96)


def picture_size() -> int:
    """Side of what the vision encoder sees, in pixels."""
    return json.loads(STICKER_VIT.read_text())["vision_cfg"]["image_size"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m intra.pretraining",
        description="Train the packaged vision encoder and tagger on drawings and emoji art, and measure how far they "
        "carry. A training that was cut off goes on.",
    )
    parser.add_argument("--art", type=Path, required=True, help="folder where npm installed the emoji art")
    parser.add_argument("--measure", action="store_true", help="train nothing; measure the weights that are there")
    parser.add_argument("--drawings", type=int, default=20000, help="to learn from (default: %(default)s)")
    parser.add_argument("--validation", type=int, default=600, help="to measure on (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=11, help="passes over them (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of batches and augmentation (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="of torch (default: %(default)s)")
    parser.add_argument("--output", type=Path, help="folder of the files (default: the package's own)")
    chosen = parser.parse_args(arguments)
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.INFO)
    torch.set_num_threads(chosen.threads)
    files = Files.below(chosen.output) if chosen.output else Files()
    if not chosen.measure:
        settings = Settings(epochs=chosen.epochs, seed=chosen.seed, bfloat16=fast_bfloat16())
        run(settings, chosen.drawings, chosen.validation, chosen.art, files)
    measure(chosen.art, files)


if __name__ == "__main__":
    main()
