r"""Train the packaged vision encoder and tagger on drawings: `python -m intra.pretraining --art FOLDER`.

No picture encoder can be had without a network, so a small ViT learns what stickers show from stickers that
are in no benchmark: composed characters, and expressions, gestures, postures, props, styles and captions
drawn independently of each other, so that nothing about intentions can be learnt; and from emoji art with its
names. The loss is

    L = sum_a CE(tagger_a(regions), key_a) + C(pooled, text) + 1/2 sum_b -log sum_{p in box_b} alpha_bp

with the tagger's cross-entropy for each attribute a, the symmetric contrastive loss C of CLIP against the
frozen text encoder's vectors of a description in Chinese or English, and the share of the tagger's attention
that falls on the face (expression) and on the hands (gesture), which the drawing code knows.
"""

import json
from pathlib import Path

RECORD = Path(__file__).with_name("record.json")
"""How the packaged weights were trained, and how far they carry."""


def read_record() -> dict:
    """The packaged record: `settings`, numbers of pictures, `validation`, `epochs` and `transfer`."""
    return json.loads(RECORD.read_text(encoding="utf-8"))
