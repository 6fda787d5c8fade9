"""What a run is made of: one frozen, digestible config, and the profiles that name its parts."""

import dataclasses
import difflib
import hashlib
import json
import math
from dataclasses import dataclass

from intra.errors import IntraError


@dataclass(frozen=True)
class Profile:
    """The pretrained parts that a study is run with (each name is a key of its registry)."""

    text: str
    """Key of `components.TEXT_ENCODERS`."""
    vision: str
    """Key of `components.VISION_ENCODERS`."""
    knowledge: str
    """Key of `components.KNOWLEDGE_SOURCES`."""
    attributes: str
    """Key of `components.ATTRIBUTE_SOURCES`."""
    conversations_per_split: int | None = None
    """Keep only the first so many conversations of each split; None keeps all."""


PROFILES = {
    "mini": Profile(
        text="multilingual-e5-small", vision="sticker-vit", knowledge="retrieved", attributes="tagger-and-ocr"
    ),
    "smoke": Profile(
        text="tiny-bert",
        vision="tiny-vit",
        knowledge="retrieved",
        attributes="tiny-tagger",
        conversations_per_split=24,
    ),
}


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides the outcome of one run."""

    system: str = "int_ra"
    """Key of `models.SYSTEMS`."""
    seed: int = 0
    profile: str = "mini"
    dataset: str = "replystickers"
    """A packaged data set, or a folder in the native layout."""
    window: int = 6
    """Utterances of context: the paper's best value (Section V-E)."""
    width: int = 128
    """Common width d of Eq. 10. The paper gives none."""
    heads: int = 4
    """Attention heads h of Eq. 11. The paper gives none."""
    margin: float = 0.2
    """Margin of Eq. 14. The paper gives none."""
    weight_retrieval: float = 1.0
    """lambda_1 (paper, Section V-A)."""
    weight_intention: float = 1.0
    """lambda_2 (paper, Section V-A)."""
    learning_rate: float = 3e-3
    """Adam's step: the best of 3e-4, 1e-3 and 3e-3 on validation. The paper prints 1e-4; here only small layers
    learn, on frozen features."""
    batch_size: int = 32
    """The paper uses 4; frozen features allow more."""
    other_stickers: int = 64
    """Training stickers in a batch beside those that its conversations were answered with: negatives are taken
    from both. The paper says nothing of how many."""
    epochs: int = 60
    """Most passes over the training split."""
    patience: int = 10
    """Passes without a better validation mAP after which training stops."""

    def __post_init__(self):
        """Check values that no later step would refuse clearly.

        Raises:
            IntraError: Naming the field, its value and what is expected.
        """
        for field in dataclasses.fields(self):
            name, value, least = field.name, getattr(self, field.name), 0 if field.name == "seed" else 1
            if field.type is str and not (isinstance(value, str) and value):
                raise IntraError(f"{name} is {value!r}, expected a name")
            if field.type is int and (not isinstance(value, int) or isinstance(value, bool) or value < least):
                raise IntraError(f"{name} is {value!r}, expected a whole number of at least {least}")
            if field.type is float:
                if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < math.inf:
                    raise IntraError(f"{name} is {value!r}, expected a number of at least 0")
                object.__setattr__(self, name, float(value))  # 1 and 1.0 are one setting with one digest
        if self.profile not in PROFILES:
            raise IntraError(unknown("profile", self.profile, PROFILES))
        if self.width % self.heads:
            raise IntraError(f"width {self.width} is no multiple of heads {self.heads}")

    def as_dict(self) -> dict:
        """Field names to values."""
        return dataclasses.asdict(self)

    def digest(self) -> str:
        """First 12 hexadecimal digits of the SHA-256 of the sorted fields."""
        text = json.dumps(self.as_dict(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def with_changes(self, **changes) -> "RunConfig":
        """A copy with some fields changed.

        Raises:
            IntraError: If a name is no field.
        """
        known = {field.name for field in dataclasses.fields(self)}
        for name in changes:
            if name not in known:
                raise IntraError(unknown("setting", name, known))
        return dataclasses.replace(self, **changes)


def unknown(what: str, name: str, known) -> str:
    """The line for a name that is not known, with the nearest one that is."""
    near = difflib.get_close_matches(str(name), [str(key) for key in known], 1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    return f"unknown {what} {name!r}{hint}; known are {', '.join(sorted(str(key) for key in known))}"
