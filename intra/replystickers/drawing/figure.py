"""One whole figure: body, face, arms and prop put together in the order in which they cover each other."""

import math
from dataclasses import dataclass

from intra.replystickers.drawing import bodies, faces, gestures, hands, props
from intra.replystickers.drawing.characters import Character
from intra.replystickers.drawing.gestures import Arm
from intra.replystickers.drawing.postures import POSTURES, Clothes, Posture
from intra.replystickers.drawing.styles import Pen, mix
from intra.replystickers.drawing.svg import Box, Frame, Point, around, ellipse, path, reach, union
from intra.replystickers.specification import StickerSpecification

_FACE = Frame(a=0.96, d=0.96, f=4.0)
_ARM_WIDTH = 14.5
_COVERED = ("lying", "slumped")
"""Postures in which a blanket is spread over the body instead of hung over the back."""


_ONE_HANDED = gestures.LEFT_FREE - {"arms_down"}
_RAISED = ("fists_up",)
"""Gestures whose hands are where signs would be."""


@dataclass(frozen=True)
class Figure:
    """A figure in its own coordinates, not yet fitted to the canvas."""

    svg: str
    boxes: dict[str, Box]
    extent: Box
    """Box round everything that is drawn."""


@dataclass(frozen=True)
class _Limb:
    """One arm of this figure, in the figure's coordinates."""

    arm: Arm
    path: str
    shoulder: Point
    middle: Point
    hand: Frame

    @property
    def box(self) -> Box:
        """Box of the hand."""
        size = hands.reach(self.arm.hand)
        return self.hand.box((-size, -size, size, size))

    @property
    def extent(self) -> Box:
        """Box of hand and arm."""
        return union([self.box, around([self.middle], _ARM_WIDTH * 0.8)])


def figure(pen: Pen, character: Character, specification: StickerSpecification, mirror: bool) -> Figure:
    """Draw a figure.

    Args:
        pen: The style.
        character: Who is drawn.
        specification: What it does.
        mirror: Whether the result will be mirrored; lettering is drawn reversed then.
    """
    posture = POSTURES[specification.posture]
    gesture = gestures.GESTURES[specification.gesture]
    key = specification.prop
    held = key != "none" and _is_held(specification, posture)
    right = _limb(posture, gesture.right or posture.rest[1], 1)
    left = _limb(posture, gestures.HOLD if held else gesture.left or posture.rest[0], -1)
    limbs = [left, right]

    prop_back, prop_front, prop_box = _prop(pen, specification, posture, left.hand if held else None, mirror)
    svg = [
        prop_back,
        _lower_body(pen, character, posture, specification),
        *(_sleeve(pen, character, limb) for limb in limbs if not limb.arm.over_head),
        posture.head.group(_head(pen, character, specification.expression)),
        *(_sleeve(pen, character, limb) for limb in limbs if limb.arm.over_head),
        _marks(pen, posture, gesture),
        prop_front,
        *(_hand(pen, character, limb) for limb in _distinct(limbs)),
    ]
    boxes = {
        "face": posture.head.then(_FACE).box(faces.BOX),
        "body": union([posture.box, posture.head.box(_head_box(character))]),
        "hand": union(limb.box for limb in (limbs[1:] if specification.gesture in _ONE_HANDED else limbs)),
    }
    if prop_box:
        boxes["prop"] = prop_box
    tail = posture.torso.box(bodies.TAIL_BOXES.get(character.parts.tail, (-30.0, -30.0, 30.0, 34.0)))
    extents = [tail, *(limb.extent for limb in limbs)]
    if gesture.marks:
        extents.append(_marks_frame(posture, gesture).box(reach(gesture.marks)))
    return Figure("".join(svg), boxes, union([*boxes.values(), *extents]))


def _is_held(specification: StickerSpecification, posture: Posture) -> bool:
    prop = props.PROPS[specification.prop]
    free = specification.gesture in gestures.LEFT_FREE
    return prop.role == "thing" and not prop.heavy and posture.holds and free


def _head_box(character: Character) -> Box:
    left, top, right, bottom = bodies.head_box(character)
    return left * character.width, top * character.height, right * character.width, bottom * character.height


def _lower_body(pen: Pen, character: Character, posture: Posture, specification: StickerSpecification) -> str:
    palette, clothes = character.palette, _clothes(character)
    wrapped = specification.prop == "blanket"
    covered = wrapped and specification.posture in _COVERED
    hung = wrapped and not covered
    parts = (
        props.cloak(pen)[0] if hung else "",
        bodies.accessory(pen, character, "back"),
        bodies.TAILS[character.parts.tail](pen, palette),
    )
    torso = bodies.TORSOS[character.parts.torso](pen, palette)
    collar = bodies.accessory(pen, character, "neck")
    return "".join(
        [
            posture.torso.group("".join(parts)),
            posture.back(pen, clothes),
            posture.torso.group(torso + collar + (props.cover(pen)[0] if covered else "")),
            posture.front(pen, clothes),
            posture.torso.group(props.cloak_edges(pen)) if hung else "",
        ]
    )


def _clothes(character: Character) -> Clothes:
    palette = character.palette
    legs = {"shirt": palette.feet, "dress": palette.body, "pot": palette.trim}
    return Clothes(
        leg=legs.get(character.parts.torso, palette.cloth),
        foot=palette.feet,
        pad=mix(palette.feet, "#ff9fae", 0.55),
        trim=palette.trim,
    )


def _head(pen: Pen, character: Character, expression: str) -> str:
    palette, parts = character.palette, character.parts
    outline = bodies.head_path(character)
    behind, ahead = bodies.EARS[parts.ears](pen, palette)
    colour = faces.tint(expression)
    shaped = Frame(a=character.width, d=character.height)
    skull = "".join(
        [
            bodies.accessory(pen, character, "behind_head"),
            behind,
            pen.shape(outline, palette.body),
            bodies.MARKINGS[parts.marking](pen, palette),
            pen.fade(outline, colour) if colour else "",
            ahead,
        ]
    )
    features = faces.face(pen, expression, character.eyes, palette.blush)
    hat = bodies.accessory(pen, character, "head")
    return shaped.group(skull) + _FACE.group(bodies.MUZZLES[parts.muzzle](pen, palette) + features) + shaped.group(hat)


def _limb(posture: Posture, arm: Arm, side: int) -> _Limb:
    flip = Frame() if side > 0 else Frame(a=-1.0)
    chest = posture.chest.then(flip)
    anchor, turn = (posture.head.then(flip), _turn(posture.head)) if arm.anchor == "head" else (chest, 0.0)
    hand = Frame.place(*anchor.point(arm.x, arm.y), turn + side * arm.degrees, arm.scale, mirror=side < 0)
    shoulder = posture.shoulders[side > 0]
    (sx, sy), (wx, wy) = shoulder, hand.point(*hands.wrist(arm.hand))
    ex, ey = chest.point(*arm.elbow) if arm.elbow else ((sx + wx) / 2, (sy + wy) / 2)
    middle = (sx + 2 * ex + wx) / 4, (sy + 2 * ey + wy) / 4
    return _Limb(arm, path(f"M {sx} {sy} Q {ex} {ey} {wx} {wy}"), shoulder, middle, hand)


def _turn(frame: Frame) -> float:
    return math.degrees(math.atan2(frame.b, frame.a))


def _sleeve(pen: Pen, character: Character, limb: _Limb) -> str:
    palette = character.palette
    arm = pen.limb(limb.path, _ARM_WIDTH, palette.sleeve)
    if palette.sleeve != palette.cloth:
        return arm
    return arm + pen.patch(ellipse(*limb.shoulder, _ARM_WIDTH / 2 + 0.5), palette.cloth)


def _hand(pen: Pen, character: Character, limb: _Limb) -> str:
    palette = character.palette
    bare = palette.body if palette.sleeve == palette.cloth else palette.sleeve
    with pen.zoomed(limb.arm.scale):
        return limb.hand.group(hands.HANDS[limb.arm.hand](pen, bare))


def _distinct(limbs: list[_Limb]) -> list[_Limb]:
    """Leave out the left of two hands that are one shape on the middle line."""
    return limbs[1:] if limbs[0].arm.x == 0 else limbs


def _marks(pen: Pen, posture: Posture, gesture: gestures.Gesture) -> str:
    if not gesture.marks:
        return ""
    return _marks_frame(posture, gesture).group(pen.line(gesture.marks, 3.6))


def _marks_frame(posture: Posture, gesture: gestures.Gesture) -> Frame:
    return posture.head if gesture.marks_anchor == "head" else posture.chest


def _prop(
    pen: Pen, specification: StickerSpecification, posture: Posture, hand: Frame | None, mirror: bool
) -> tuple[str, str, Box | None]:
    """Return what lies behind the figure, what lies in front of its body, and the box of both."""
    key = specification.prop
    role = props.PROPS[key].role if key != "none" else "none"
    if role == "thing":
        svg, box = _thing(pen, key, posture, hand, mirror)
        return "", svg, box
    if role == "blanket":
        draw = props.cover if specification.posture in _COVERED else props.cloak
        return "", "", posture.torso.box(draw(pen)[1])
    if role == "none":
        return "", "", None
    svg, box = props.signs(pen, key, _signs_middle(posture, specification.gesture), mirror)
    return (svg, "", box) if role == "backdrop" else ("", svg, box)


def _signs_middle(posture: Posture, gesture: str) -> Point:
    """Middle of the signs: the head, or above it where raised hands take the place at its sides."""
    x, y = posture.head.point(0, 0)
    return x, y - (34 if gesture in _RAISED else 0)


def _thing(pen: Pen, key: str, posture: Posture, hand: Frame | None, mirror: bool) -> tuple[str, Box]:
    _, top, right, _ = props.PROPS[key].box
    if hand is None:
        x, y = posture.ground
        return props.thing(pen, key, (x + right * 0.5, y), mirror)
    x, y = hand.point(0, 0)
    return props.thing(pen, key, (x - right * 0.35, y - top * 0.26), mirror, -8)
