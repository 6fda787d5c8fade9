"""Gestures: where each hand goes, how it is held, and the motion marks round it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Arm:
    """One arm, described for the right side; the left arm uses the mirror image."""

    anchor: str
    """`head` or `chest`: the frame of `x` and `y`."""
    x: float
    y: float
    hand: str
    """Key of `hands.HANDS`; empty for a hand that is hidden."""
    degrees: float = 0.0
    """Direction of the fingers, clockwise from upwards."""
    scale: float = 1.0
    elbow: tuple[float, float] | None = None
    """Point in the frame of the chest that bends the arm."""
    over_head: bool = False
    """Whether the arm lies in front of the head."""


@dataclass(frozen=True)
class Gesture:
    """What both arms do; `None` leaves an arm to the posture."""

    right: Arm | None
    left: Arm | None
    marks: str = ""
    """Path of motion lines."""
    marks_anchor: str = "head"


REST = Arm("chest", 42, 15, "paw", 165, elbow=(40, -6))
HOLD = Arm("chest", 58, 0, "fist", 0, 0.95, elbow=(46, 14))


def _both(arm: Arm, marks: str = "", marks_anchor: str = "head") -> Gesture:
    return Gesture(arm, arm, marks, marks_anchor)


GESTURES: dict[str, Gesture] = {
    "arms_down": Gesture(None, None),
    "wave": Gesture(
        Arm("head", 80, -8, "palm", 18, 1.3, elbow=(76, -6)),
        None,
        "M 100 -36 Q 110 -28 111 -16 M 58 -36 Q 52 -28 52 -18",
    ),
    "thumbs_up": Gesture(Arm("chest", 58, -22, "thumb", 4, 1.5, elbow=(48, 18)), None),
    "thumbs_down": Gesture(Arm("chest", 60, -14, "thumb", 184, 1.5, elbow=(52, -40)), None),
    "clap": _both(
        Arm("chest", 13, -2, "clapping", 13, 1.3, elbow=(46, 34)),
        "M -36 -18 Q -43 -6 -38 6 M -47 -22 Q -56 -6 -49 10 M 36 -18 Q 43 -6 38 6 M 47 -22 Q 56 -6 49 10",
        "chest",
    ),
    "facepalm": Gesture(Arm("head", 22, -6, "palm", -20, 1.6, elbow=(78, 0), over_head=True), None),
    "hands_on_cheeks": _both(Arm("head", 45, 24, "paw", -14, 1.2, elbow=(60, 6), over_head=True)),
    "arms_crossed": Gesture(
        Arm("chest", -20, -2, "paw", -80, 1.0, elbow=(50, 14)), Arm("chest", -20, 6, "paw", -80, 1.0, elbow=(50, 16))
    ),
    "fists_up": _both(
        Arm("head", 76, -30, "fist", 8, 1.35, elbow=(84, 0)),
        "M 97 -52 L 101 -58 M 76 -57 L 76 -65 M -97 -52 L -101 -58 M -76 -57 L -76 -65",
    ),
    "pointing": Gesture(Arm("chest", 62, -16, "pointer", 82, 1.4, elbow=(40, -2)), None),
    "shrug": _both(
        Arm("chest", 66, -8, "tray", 52, 1.3, elbow=(46, 26)), "M -74 28 Q -66 22 -60 28 M 60 28 Q 66 22 74 28"
    ),
    "palms_together": _both(Arm("chest", 0, -6, "praying", 0, 1.25, elbow=(62, 28))),
    "open_arms": _both(Arm("head", 84, 34, "palm", 54, 1.35, elbow=(52, -22))),
    "heart_hands": _both(Arm("chest", 0, -4, "heart_ring", 0, 1.1, elbow=(58, 32))),
    "chin_rest": Gesture(
        Arm("head", 20, 46, "pointer", 18, 1.1, elbow=(60, 24), over_head=True),
        Arm("chest", -20, 12, "paw", -80, elbow=(46, 20)),
    ),
    "stop_palm": Gesture(Arm("chest", 52, -26, "stop", 4, 2.0, elbow=(46, 14)), None),
    "cover_mouth": Gesture(Arm("head", 6, 31, "mitt", -84, 1.3, elbow=(70, 10), over_head=True), None),
    "hands_on_hips": _both(Arm("chest", 30, 16, "fist", -110, 0.9, elbow=(78, -2))),
}

LEFT_FREE = frozenset(key for key, gesture in GESTURES.items() if gesture.left is None)
"""Gestures that leave the left hand to do something else."""
