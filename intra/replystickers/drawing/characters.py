"""The cast: 36 benchmark characters, and any number of others composed of the same kinds of parts."""

import random
from collections.abc import Iterator
from dataclasses import astuple, dataclass

from intra.replystickers import vocabulary
from intra.replystickers.drawing import bodies
from intra.replystickers.drawing.styles import from_hls, luminance, mix, saturate

Range = tuple[float, float]


@dataclass(frozen=True)
class Palette:
    """Colours of one character, all `#rrggbb`."""

    body: str
    """Head."""
    accent: str
    """Inner ears, belly, beak, hair and markings."""
    outline: str
    """Dark colour of the character: dark patches, glasses, noses."""
    blush: str
    cloth: str
    """Torso and legs; equals `body` where the character wears nothing."""
    trim: str
    """Accessory."""
    feet: str
    sleeve: str
    """Arms."""


@dataclass(frozen=True)
class Parts:
    """Which shapes a character is made of: each a key of the table of that name in `bodies`."""

    head: str
    ears: str = "none"
    muzzle: str = "none"
    marking: str = "none"
    accessory: str = "none"
    tail: str = "none"
    torso: str = "bean"


@dataclass(frozen=True)
class Character:
    """One figure that can be drawn with any expression, gesture and posture."""

    key: str
    zh: str
    en: str
    parts: Parts
    palette: Palette
    default_style: str
    width: float = 1.0
    """Factor on the width of the head."""
    height: float = 1.0
    """Factor on the height of the head."""
    eyes: str = "oval"
    """Shape of the neutral eye: oval, dot, tall or shine."""


def _palette(
    body: str,
    accent: str,
    outline: str = "#3d3238",
    blush: str = "#ff9aa5",
    cloth: str | None = None,
    trim: str = "#e8534f",
    feet: str | None = None,
    sleeve: str | None = None,
) -> Palette:
    worn = cloth or body
    return Palette(body, accent, outline, blush, worn, trim, feet or worn, sleeve or worn)


_CAST = [
    Character(
        "orange_cat",
        "小橘猫",
        "orange tabby cat",
        Parts("wide", "cat", "cat", "stripes", "bell", "cat"),
        _palette("#fbb45c", "#e07f2c", trim="#3f8fd0"),
        "outline",
    ),
    Character(
        "grey_cat",
        "灰猫",
        "grey cat with a bow tie",
        Parts("wide", "cat", "cat", "blaze", "tie", "cat"),
        _palette("#8d93a8", "#e9ecf4", trim="#e0455e", feet="#e9ecf4"),
        "bold",
        eyes="shine",
    ),
    Character(
        "corgi",
        "柯基",
        "corgi",
        Parts("round", "upright", "dog", "blaze", "scarf", "round"),
        _palette("#eda75c", "#fff4e2", trim="#3fa66b", feet="#fff4e2"),
        "outline",
    ),
    Character(
        "spotted_dog",
        "斑点狗",
        "spotted dog",
        Parts("round", "floppy", "dog", "one_patch", "bell", "cat"),
        _palette("#f3e3cf", "#8a5a3c", trim="#d8443f"),
        "flat",
        eyes="dot",
    ),
    Character(
        "rabbit",
        "粉兔",
        "pink rabbit",
        Parts("egg", "rabbit", "rabbit", "none", "bow", "round"),
        _palette("#ffe3ea", "#ff9fb8", trim="#b07fe0"),
        "pastel",
        eyes="tall",
    ),
    Character(
        "bear",
        "棕熊",
        "brown bear",
        Parts("round", "bear", "bear", "none", "scarf", "round"),
        _palette("#b9835a", "#f0d3ac", trim="#e8534f"),
        "outline",
        eyes="dot",
    ),
    Character(
        "panda",
        "熊猫",
        "panda",
        Parts("wide", "panda", "bear", "eye_patches", "none", "round"),
        _palette("#fbfbf7", "#46424c", feet="#5d5866", sleeve="#5d5866"),
        "outline",
        eyes="shine",
    ),
    Character(
        "frog",
        "青蛙",
        "frog",
        Parts("wide", "frog", "none", "pale_chin", "none", "none"),
        _palette("#7cc26b", "#dcefa8"),
        "flat",
        height=0.88,
    ),
    Character(
        "duck",
        "小黄鸭",
        "duck",
        Parts("round", "tuft", "bill", "none", "scarf", "bird"),
        _palette("#ffe05a", "#ff9a2e", trim="#3d8ee0", feet="#ff9a2e"),
        "bold",
        eyes="dot",
    ),
    Character(
        "chick",
        "小鸡",
        "chick",
        Parts("egg", "comb", "beak", "none", "none", "bird"),
        _palette("#fff0a0", "#ffad42", feet="#ffad42", trim="#ff6b5e"),
        "pastel",
        width=0.95,
        eyes="dot",
    ),
    Character(
        "pig",
        "小猪",
        "pig",
        Parts("wide", "pig", "snout", "none", "none", "curl"),
        _palette("#ffc1c8", "#f58ba0"),
        "pastel",
        eyes="dot",
    ),
    Character(
        "hamster",
        "仓鼠",
        "hamster",
        Parts("wide", "mouse", "rabbit", "cheeks", "none", "round"),
        _palette("#f2c78b", "#fff5e4"),
        "outline",
        width=1.05,
        height=0.95,
        eyes="shine",
    ),
    Character(
        "fox",
        "狐狸",
        "fox",
        Parts("heart", "fox", "dog", "mask", "none", "fox"),
        _palette("#f0803c", "#fff1de", feet="#6b3f34"),
        "flat",
    ),
    Character(
        "penguin",
        "企鹅",
        "penguin",
        Parts("round", "none", "beak", "mask", "earmuffs", "bird"),
        _palette("#5d7fc4", "#f7f8ff", trim="#ff6470", feet="#ffa53a"),
        "bold",
    ),
    Character(
        "tiger",
        "老虎",
        "tiger",
        Parts("wide", "bear", "cat", "king", "none", "cat"),
        _palette("#ffb83d", "#fff0d4", outline="#4a3328", feet="#fff0d4"),
        "bold",
        eyes="shine",
    ),
    Character(
        "sheep",
        "绵羊",
        "sheep",
        Parts("cloud", "sheep", "rabbit", "face_plate", "bell", "round"),
        _palette("#fffaf0", "#f7d9c0", feet="#a98a80", trim="#f0b13c"),
        "pastel",
        eyes="tall",
    ),
    Character(
        "koala",
        "考拉",
        "koala",
        Parts("round", "koala", "koala", "none", "none", "none"),
        _palette("#b3b7c9", "#f3e6ee"),
        "sketch",
        eyes="dot",
    ),
    Character(
        "ghost",
        "小幽灵",
        "little ghost",
        Parts("ghost", "none", "none", "none", "halo", "none", "wisp"),
        _palette("#f6f5ff", "#c9c4f2", trim="#f3c64a"),
        "sketch",
        eyes="tall",
    ),
    Character(
        "dumpling",
        "饺子",
        "dumpling",
        Parts("dumpling", "none", "none", "pleats", "none", "none", "tiny"),
        _palette("#fff3d6", "#dcb983"),
        "outline",
        width=1.08,
        eyes="dot",
    ),
    Character(
        "bun",
        "包子",
        "steamed bun",
        Parts("bun", "steam", "none", "swirl", "none", "none", "tiny"),
        _palette("#fff6ea", "#e3bfa0"),
        "pastel",
        width=1.06,
        eyes="dot",
    ),
    Character(
        "tofu",
        "豆腐",
        "tofu block",
        Parts("square", "none", "none", "cube", "headband", "none", "tiny"),
        _palette("#fffae3", "#e6d9a2", trim="#d9483b"),
        "sketch",
        eyes="dot",
    ),
    Character(
        "egg",
        "鸡蛋",
        "egg in its shell",
        Parts("egg", "none", "none", "shell", "none", "none", "tiny"),
        _palette("#ffd45e", "#f8f0e2"),
        "flat",
        height=1.05,
    ),
    Character(
        "cloud",
        "云朵",
        "cloud",
        Parts("cloud", "none", "none", "none", "rainbow", "none", "tiny"),
        _palette("#e3f1ff", "#9cc8f2"),
        "pastel",
        width=1.1,
        eyes="tall",
    ),
    Character(
        "radish",
        "萝卜",
        "radish",
        Parts("turnip", "leaves", "none", "rings", "none", "none", "tiny"),
        _palette("#f29bb0", "#69b35a"),
        "flat",
        eyes="dot",
    ),
    Character(
        "mushroom",
        "蘑菇",
        "mushroom",
        Parts("stem", "mushroom", "none", "none", "none", "none", "tiny"),
        _palette("#ffeed6", "#e5483f"),
        "bold",
    ),
    Character(
        "cactus",
        "仙人掌",
        "cactus",
        Parts("capsule", "blossom", "none", "prickles", "none", "none", "pot"),
        _palette("#6fb878", "#f26a8d", cloth="#6fb878", feet="#c9774a", trim="#c9774a"),
        "flat",
    ),
    Character(
        "star",
        "星星",
        "star",
        Parts("star", "none", "none", "none", "cape", "none", "tiny"),
        _palette("#ffd93b", "#ffb400", trim="#e04a4a"),
        "bold",
        width=1.12,
        height=1.12,
        eyes="shine",
    ),
    Character(
        "boy",
        "男孩",
        "boy",
        Parts("round", "short_hair", "none", "none", "cap", "none", "shirt"),
        _palette("#ffdcbd", "#4d3a34", cloth="#5a9be0", feet="#39527a", trim="#e8534f"),
        "sketch",
    ),
    Character(
        "girl",
        "女孩",
        "girl",
        Parts("round", "twin_tails", "none", "none", "clip", "none", "dress"),
        _palette("#ffe0c8", "#6b4230", cloth="#f48fb1", feet="#a8506f", trim="#ffd34d"),
        "outline",
        eyes="tall",
    ),
    Character(
        "grandma",
        "奶奶",
        "grandma",
        Parts("round", "hair_bun", "none", "wrinkles", "glasses", "none", "dress"),
        _palette("#fadcc4", "#c9c7d1", cloth="#8a6bb0", feet="#5a4a6b"),
        "sketch",
        eyes="dot",
    ),
    Character(
        "robot",
        "机器人",
        "robot",
        Parts("square", "antenna", "none", "screen", "none", "none", "box"),
        _palette("#9fb8cc", "#dff5f2", feet="#62798f", trim="#ff6b5e"),
        "flat",
        width=1.04,
        eyes="oval",
    ),
    Character(
        "dinosaur",
        "小恐龙",
        "dinosaur",
        Parts("round", "spikes", "nostrils", "pale_chin", "none", "dino"),
        _palette("#66c7a0", "#ffd257"),
        "bold",
    ),
    Character(
        "octopus",
        "章鱼",
        "octopus",
        Parts("dome", "none", "pout", "speckles", "none", "tentacles", "tiny"),
        _palette("#c9a2ea", "#9a6cd0"),
        "pastel",
        eyes="shine",
    ),
    Character(
        "shrimp",
        "大虾",
        "shrimp",
        Parts("egg", "feelers", "none", "rings", "none", "fan"),
        _palette("#ff8a66", "#ffd2b8", feet="#e0583f"),
        "bold",
        eyes="dot",
    ),
    Character(
        "capybara",
        "卡皮巴拉",
        "capybara",
        Parts("loaf", "mouse", "capybara", "none", "fruit", "none"),
        _palette("#b98d62", "#96694a", trim="#ffa531"),
        "flat",
        width=0.95,
        height=1.06,
        eyes="dot",
    ),
    Character(
        "avocado",
        "牛油果",
        "avocado",
        Parts("pear", "stalk", "none", "flesh", "none", "none", "pit"),
        _palette("#6d9a4c", "#e6efae", cloth="#6d9a4c", trim="#9c6238"),
        "sketch",
        eyes="dot",
    ),
]

CHARACTERS: dict[str, Character] = {character.key: character for character in _CAST}


def held_out_characters(seed: int, n: int) -> list[Character]:
    """Compose characters that share no combination of head, ears and muzzle with a benchmark character.

    Args:
        seed: Chooses the characters; the first of a longer list are those of a shorter one.
        n: How many.

    Returns:
        Characters with different parts, for `sticker.draw(specification, character)`.
    """
    characters = _composed(random.Random(f"held out {seed}"))
    return [next(characters) for _ in range(n)]


def silhouette(parts: Parts) -> tuple[str, str, str]:
    """The parts that make a figure recognisable, which no held-out character shares with the benchmark."""
    return parts.head, parts.ears, parts.muzzle


def _composed(rng: random.Random) -> Iterator[Character]:
    known = {silhouette(character.parts) for character in _CAST}
    colours = {character.palette.body for character in _CAST}
    seen = set()
    while True:
        parts = Parts(
            head=rng.choice(list(bodies.HEADS)),
            ears=rng.choice(list(bodies.EARS)),
            muzzle=rng.choice(list(bodies.MUZZLES)),
            marking=rng.choice(list(bodies.MARKINGS)),
            accessory=rng.choice(list(bodies.ACCESSORIES)),
            tail=rng.choice(list(bodies.TAILS)),
            torso=rng.choice(list(bodies.TORSOS)),
        )
        palette = _random_palette(rng)
        if silhouette(parts) in known or astuple(parts) in seen or palette.body in colours:
            continue
        seen.add(astuple(parts))
        yield _named(parts, palette, rng)


def _named(parts: Parts, palette: Palette, rng: random.Random) -> Character:
    words = [word for word in astuple(parts) if word != "none"]
    return Character(
        key="other_" + "_".join(astuple(parts)),
        zh="拼合角色",
        en="figure of " + ", ".join(word.replace("_", " ") for word in words),
        parts=parts,
        palette=palette,
        default_style=rng.choice(list(vocabulary.STYLES)),
        width=rng.uniform(0.94, 1.08),
        height=rng.uniform(0.94, 1.06),
        eyes=rng.choice(["oval", "dot", "tall", "shine"]),
    )


def _random_palette(rng: random.Random) -> Palette:
    hue = rng.random()
    body = _readable(rng, (hue, hue), (0.64, 0.93), 0.55)
    accent = _readable(rng, (hue + 0.05, hue + 0.6), (0.5, 0.9), 0.45)
    worn = rng.choice([body, body, _readable(rng, (0, 1), (0.55, 0.75), 0.4)])
    return Palette(
        body=body,
        accent=accent,
        outline="#3d3238",
        blush="#ff9aa5",
        cloth=worn,
        trim=from_hls(rng.random(), 0.55, 0.75),
        feet=rng.choice([body, mix(body, "#4a3040", 0.5), accent]),
        sleeve=worn,
    )


def _readable(rng: random.Random, hues: Range, lightness: Range, brightness: float) -> str:
    """A random colour on which dark features show, even after a style has saturated it."""
    while True:
        colour = from_hls(rng.uniform(*hues) % 1, rng.uniform(*lightness), rng.uniform(0.25, 0.9))
        if luminance(saturate(colour, 1.7)) >= brightness:
            return colour
