"""What a run is made of: one frozen, digestible config, and the profiles that name its parts."""

import dataclasses
import difflib
import hashlib
import json
import math
from collections.abc import Mapping
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
    dataset: str | None = "replystickers"
    """Data set of a run that names none; None where every run has to name one."""
    settings: Mapping[str, float | str] = dataclasses.field(default_factory=dict)
    """Values of `RunConfig` fields where a run gives no other."""


_BASE = Profile(text="m-bert", vision="clip-vit-b-32", knowledge="comet", attributes="qwen-vl")

PROFILES = {
    "mini": Profile(
        text="multilingual-e5-small",
        vision="sticker-vit",
        knowledge="retrieved",
        attributes="tagger-and-ocr",
        # better than `sequence` on validation with every seed of the study `readings`
        settings={"context_encoding": "utterances", "encoder_learning_rate": 1e-3},
    ),
    "smoke": Profile(
        text="tiny-bert",
        vision="tiny-vit",
        knowledge="retrieved",
        attributes="tiny-tagger",
        conversations_per_split=24,
    ),
    "base": _BASE,
    # as base, texts and pictures in one space, which the systems `clip` and `clip_zero_shot` need
    "clip": dataclasses.replace(_BASE, text="clip-multilingual", vision="clip-multilingual"),
    # as base, stickers described by a model behind a server
    "served": dataclasses.replace(_BASE, attributes="endpoint"),
    # what Section V-A of the paper prints
    "paper": dataclasses.replace(
        _BASE,
        dataset=None,
        settings={
            "batch_size": 4,
            "learning_rate": 1e-4,
            "encoder_learning_rate": 1e-4,
            "tuned_layers": 12,
            "weight_retrieval": 1.0,
            "weight_intention": 1.0,
        },
    ),
}


CHOICES = {
    "context_encoding": ("sequence", "utterances", "words", "masked words"),
    "query": ("label", "straight-through", "teacher", "mixture", "context", "concat", "gold"),
    "relation": ("attention", "value", "scalar"),
    "sticker_evidence": ("regions", "regions+descriptions", "descriptions"),
    "head_reduction": ("mean", "max"),
    "attribute_reduction": ("max", "mean"),
    "description_units": ("attribute", "token"),
    "regions": ("patches", "patches+class", "class"),
    "retrieval_loss": ("hinge", "hardest", "literal", "infonce"),
    "negatives": ("other", "batch", "all"),
    "negative_reduction": ("mean", "sum"),
    "label_policy": ("dataset", "majority", "last", "all"),
    "gallery": ("split", "all"),
    "supervision": ("sticker", "intention"),
    "query_text": ("context", "last utterance", "attributes", "answer"),
    "gallery_text": ("attributes", "attributes+intention"),
}
"""Field of `RunConfig` to the values it may have, the default reading of the paper first (see the method page)."""
_WORDS = {"context_encoding": "words", "knowledge": False, "negatives": "batch"}
"""What the systems read that are not the paper's: words of the same window, without inferred knowledge."""
SYSTEM_SETTINGS: dict[str, dict] = {
    # its parts, as chosen by cross-validation on the training and validation conversations
    "int_ra_plus": {"query": "mixture", "sticker_evidence": "regions+descriptions"},
    "srs": _WORDS,
    "mod": _WORDS,
    "lgur": _WORDS,
    "irra": _WORDS | {"context_encoding": "masked words"},
    "pcme": _WORDS,
    "clip": _WORDS | {"context_encoding": "sequence", "encoder_learning_rate": 3e-5},
    "clip_zero_shot": _WORDS | {"context_encoding": "sequence"},
    "intention_classifier": _WORDS | {"context_encoding": "sequence"},
    "told_classifier": _WORDS | {"context_encoding": "sequence"},
}
"""System to the values of `RunConfig` fields that differ from the defaults where a run gives no other."""
MAY_BE_EMPTY = ("attributes", "language_model")
"""Fields of text that may be empty."""
ATTRIBUTE_KEYS = "GPFV"
"""Gesture, posture, facial expression, verbal: the letters of Table III, in the order of `schema.ATTRIBUTES`."""


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
    context_encoding: str = "sequence"
    """How a context becomes H^T: `sequence` encodes it with its knowledge as one text (Eq. 3); `utterances` encodes
    each utterance and the knowledge alone, and a small trained layer joins them; `words` keeps a vector for each word
    of each utterance, `masked words` also some of which the encoder saw a part of the words only."""
    tuned_layers: int = 0
    """How many of the text encoder's last layers learn, with `sequence`; 0 freezes the encoder. With all of them
    everything above the embedding table learns."""
    encoder_learning_rate: float = 5e-5
    """Adam's step for what makes H^T, where that learns: tuned layers or the layer that joins utterances."""
    knowledge: bool = True
    """Whether H^T knows the inferences C_know of Eq. 3."""
    attributes: str = ATTRIBUTE_KEYS
    """Which attributes of a sticker are told (Eq. 7), some of `ATTRIBUTE_KEYS`; empty: none, all regions count
    alike."""
    query: str = "label"
    """What is matched with stickers (Eq. 5, 13): the encoded `label` of the predicted intention. `straight-through`
    lets the gradient pass the argmax, `teacher` takes the true label while training, `mixture` mixes the labels by
    their probability, `context` takes H^T instead, `concat` H^T beside H^Y, `gold` the true label always."""
    relation: str = "attention"
    """M_j of Eq. 11: `attention` weights over regions, the attended `value` as a gate, or one `scalar`."""
    sticker_evidence: str = "regions"
    """What a sticker's vector is made of: its `regions`, weighed by the descriptions (Eq. 12); also what the
    `descriptions` say, or that alone. The last two are not in the paper."""
    head_reduction: str = "mean"
    """How the heads' weights become one (Eq. 11)."""
    attribute_reduction: str = "max"
    """How the attributes' weights become one; the paper takes the largest."""
    description_units: str = "attribute"
    """Whether H^A of Eq. 8 is one vector an `attribute`, or one a `token` of its description."""
    regions: str = "patches"
    """What H^I of Eq. 9 holds: `patches`, also the `class` token, or that alone."""
    retrieval_loss: str = "hinge"
    """Eq. 14: `hinge` with the sign that makes positives come nearer, over all negatives or the `hardest`; `literal`
    as printed; `infonce`."""
    negatives: str = "other"
    """Stickers that Eq. 14 pushes away: those with another intention, in the `batch` of conversations and beside
    it (`other`) or in it alone (`batch`); or `all` that were not sent, whatever their intention."""
    negative_reduction: str = "mean"
    """Whether Eq. 14 takes the mean or the sum over a query's negatives."""
    label_policy: str = "dataset"
    """The intentions of a sticker whose conversations differ (`schema.LABEL_POLICIES`); `dataset`: as it says."""
    gallery: str = "split"
    """Stickers that a validation or test query is ranked against: those of its `split`, or `all`."""
    supervision: str = "sticker"
    """What makes a conversation and a sticker match while the systems train that are not the paper's: the same
    `sticker`, as published, or the same `intention`."""
    query_text: str = "context"
    """What `text_retrieval` compares with the text of stickers: the `context`, its `last utterance`, the `attributes`
    of the sticker that was sent (an upper bound), or a language model's `answer`."""
    gallery_text: str = "attributes"
    """What stickers are to it: their generated `attributes`, or these behind the true intention, which gives part of
    the answer away."""
    language_model: str = ""
    """Key of `generation.language_models.LANGUAGE_MODELS`, for the query text `answer`."""
    train_fraction: float = 1.0
    """Share of the training conversations that is learned from, a random one by the seed."""
    width: int = 128
    """Common width d of Eq. 10. The paper gives none."""
    heads: int = 8
    """Attention heads h of Eq. 11, and of the layer that joins utterances. The paper gives none."""
    margin: float = 0.2
    """Margin of Eq. 14. The paper gives none."""
    weight_retrieval: float = 1.0
    """lambda_1 (paper, Section V-A)."""
    weight_intention: float = 1.0
    """lambda_2 (paper, Section V-A)."""
    learning_rate: float = 1e-3
    """Adam's step; better than 3e-3 on validation. The paper prints 1e-4; here only small layers learn, on frozen
    features."""
    batch_size: int = 64
    """The paper uses 4; frozen features allow more."""
    other_stickers: int = 64
    """Training stickers in a batch beside those that its conversations were answered with: negatives are taken
    from both. The paper says nothing of how many."""
    epochs: int = 60
    """Most passes over the training split."""
    patience: int = 6
    """Passes without a better validation mAP after which training stops."""

    def __post_init__(self):
        """Check values that no later step would refuse clearly.

        Raises:
            IntraError: Naming the field, its value and what is expected.
        """
        for field in dataclasses.fields(self):
            name, value = field.name, getattr(self, field.name)
            least = 0 if name in ("seed", "tuned_layers") else 1
            if field.type is bool and not isinstance(value, bool):
                raise IntraError(f"{name} is {value!r}, expected true or false")
            if field.type is str and not (isinstance(value, str) and (value or name in MAY_BE_EMPTY)):
                raise IntraError(f"{name} is {value!r}, expected a name")
            if field.type is int and (not isinstance(value, int) or isinstance(value, bool) or value < least):
                raise IntraError(f"{name} is {value!r}, expected a whole number of at least {least}")
            if field.type is float:
                if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < math.inf:
                    raise IntraError(f"{name} is {value!r}, expected a number of at least 0")
                object.__setattr__(self, name, float(value))  # 1 and 1.0 are one setting with one digest
        if self.profile not in PROFILES:
            raise IntraError(unknown("profile", self.profile, PROFILES))
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise IntraError(f"{name}: {unknown('value', getattr(self, name), choices)}")
        if self.attributes != "".join(key for key in ATTRIBUTE_KEYS if key in self.attributes):
            raise IntraError(f"attributes is {self.attributes!r}, expected some letters of {ATTRIBUTE_KEYS} in order")
        if not 0 < self.train_fraction <= 1:
            raise IntraError(f"train_fraction is {self.train_fraction}, expected a share above 0 and at most 1")
        if self.width % self.heads:
            raise IntraError(f"width {self.width} is no multiple of heads {self.heads}")

    @classmethod
    def of_profile(cls, profile: str, /, **changes) -> "RunConfig":
        """The config that a profile and a system stand for.

        Args:
            profile: Key of `PROFILES`.
            **changes: Other values for fields, also for those that profile and system set; a `dataset` of None is
                the profile's.

        Raises:
            IntraError: If a name is unknown, or neither the profile nor the changes name a data set.
        """
        base = cls().with_changes(profile=profile)
        described = PROFILES[profile]
        values = {**described.settings, **SYSTEM_SETTINGS.get(changes.get("system"), {}), **changes}
        if values.get("dataset") is None:
            values["dataset"] = described.dataset
        if values["dataset"] is None:
            raise IntraError(f"the profile {profile!r} has no data set of its own: give a packaged name or a folder")
        return base.with_changes(**values)

    def as_dict(self) -> dict:
        """Field names to values."""
        return dataclasses.asdict(self)

    def digest(self) -> str:
        """First 12 hexadecimal digits of the SHA-256 of the sorted fields."""
        text = json.dumps(self.as_dict(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def with_changes(self, /, **changes) -> "RunConfig":
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
