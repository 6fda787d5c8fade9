"""What one sticker shows, as data: the input of the drawing code and the truth that taggers are scored against."""

from dataclasses import dataclass

from intra.replystickers import vocabulary

VOCABULARIES: dict[str, vocabulary.Vocabulary] = {
    "style": vocabulary.STYLES,
    "expression": vocabulary.EXPRESSIONS,
    "gesture": vocabulary.GESTURES,
    "posture": vocabulary.POSTURES,
    "prop": vocabulary.PROPS,
}
"""Field of a specification to the keys it may hold."""


@dataclass(frozen=True)
class StickerSpecification:
    """One sticker, described by keys of the closed vocabularies."""

    character: str
    """A key of `drawing.characters.CHARACTERS`."""
    style: str
    expression: str
    gesture: str
    posture: str
    prop: str = "none"
    caption: str = ""
    """Text drawn on the sticker; empty for none."""
    background: str = "transparent"
    """`transparent`, or a `#rrggbb` colour that fills the canvas."""
    variation: int = 0
    """Seed of the small differences (tilt, line wobble, caption place) between stickers of one look."""

    def __post_init__(self):
        """Refuse a key that is in no vocabulary.

        Raises:
            ValueError: Naming the field, the value and the known keys.
        """
        for field, known in VOCABULARIES.items():
            value = getattr(self, field)
            if value not in known:
                raise ValueError(f"{field}: {value!r} is not one of {', '.join(known)}")
