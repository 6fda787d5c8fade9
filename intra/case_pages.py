"""What the page of cases shows: cases as HTML for narrow screens and dark mode too, or as plain text; causes as bars.

No torch here.
"""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from mimetypes import guess_type
from urllib.parse import quote

import pandas as pd

from intra.cases import CAUSES, Case
from intra.data.schema import ATTRIBUTES, USAGES, Sticker
from intra.figures import INK, PRINTED

SIGNS = {True: "✓", False: "✗"}
TITLES = {
    "right": "the first sticker is right",
    "near": "a later one of the five is right",
    "wrong": "none of the five is right",
}
USAGE_TEXTS = {"reply": "the sticker answers alone", "supplement": "the sticker follows the sender's own words"}
WIDEST = 0.5
"""Contribution whose bar is as wide as its sticker."""
# Colours are the theme's, which change with its mode; the others are for where there is no theme. Stickers keep a light
# ground in the dark, since some are transparent with dark lines; the long selector is what overrules the theme there.
STYLE = """<style>
.case { border: 1px solid var(--pst-color-border, #8889); border-radius: .5rem; padding: .75rem 1rem;
  margin: 0 0 1.5rem; white-space: normal; }
.case h3 { margin: 0 0 .25rem; font-size: 1.1rem; }
.case p { margin: .5rem 0; }
.case ol { list-style: none; margin: .5rem 0; padding: 0; }
.case .chat > li { display: flex; flex-wrap: wrap; gap: 0 .75rem; padding: .15rem 0; margin: 0; }
.case .chat b { flex: 0 0 5rem; }
.case .chat span { flex: 1 1 13rem; }
.case .chat [lang=en], .case .unread { color: var(--pst-color-text-muted, inherit); }
.case .chat .start { border-top: 1px dashed var(--pst-color-text-muted, #888); font-size: .8rem;
  color: var(--pst-color-text-muted, inherit); }
.case img { display: block; width: 6.5rem; max-width: 100%; height: auto; background: #fff; border-radius: .4rem; }
.case .five { display: grid; grid-template-columns: repeat(auto-fit, minmax(7.25rem, 1fr)); gap: .6rem; }
.case .five > li { border: 2px solid; border-radius: .5rem; padding: .4rem; margin: 0; font-size: .8rem; }
.case .five > .yes { border-color: var(--pst-color-success, #28a745); }
.case .five > .no { border-color: var(--pst-color-danger, #d72d47); }
.case .five img { margin: 0 auto .3rem; }
.case .adds { margin: .3rem 0 0; }
.case .adds div { display: flex; justify-content: space-between; gap: .3rem; font-variant-numeric: tabular-nums; }
.case .adds i { display: block; height: 3px; background: var(--pst-color-primary, #0a7d91); }
.case .adds i.less { background: var(--pst-color-warning, #b07d12); margin-left: auto; }
html[data-theme=dark] .bd-content div.cell_output .case img { background: #dfe3e8; border-radius: .4rem; padding: 0; }
</style>
"""


@dataclass(frozen=True, repr=False)
class CasePage:
    """Cases one below the other; a notebook shows it where it stands last in a cell."""

    cases: Sequence[Case]
    stickers: Mapping[str, Sticker]

    def _repr_html_(self) -> str:
        return STYLE + "\n".join(_article(case, self.stickers) for case in self.cases)

    def __repr__(self) -> str:
        """The same without pictures."""
        return "\n\n".join(_text(case) for case in self.cases)


def cause_bars(causes: pd.DataFrame):
    """Share of each cause of failures by usage, with its interval, and what chance gives.

    Args:
        causes: Answer of `cases.cause_frame`.

    Returns:
        A matplotlib figure.
    """
    mean, low, high, chance = (
        causes[column].unstack("usage").loc[list(CAUSES), list(USAGES)] for column in ("mean", "low", "high", "chance")
    )
    ends = [[mean[usage] - low[usage], high[usage] - mean[usage]] for usage in USAGES]
    axes = mean.plot.barh(xerr=ends, color=[INK, PRINTED], ecolor="black", capsize=3, width=0.75, figsize=(6.4, 4))
    middles = [bar.get_y() + bar.get_height() / 2 for bar in axes.patches]  # all bars of a usage, then of the next
    axes.plot(chance.T.to_numpy().ravel(), middles, "D", color="black", markerfacecolor="white", label="chance")
    axes.invert_yaxis()
    axes.set(xlabel="test conversations (%)", ylabel="", xlim=(0, None))
    axes.grid(axis="y", visible=False)
    axes.legend()
    axes.figure.tight_layout()
    return axes.figure


def picture(sticker: Sticker) -> str:
    """An `img` element that holds the file itself, with what is drawn as its text."""
    kind, _ = guess_type(sticker.image.name, strict=False)
    # percent-encoded: a bare base64 text is full of what looks like paths
    data = quote(b64encode(sticker.image.read_bytes()).decode(), safe="")
    return f'<img class="dark-light" alt="{escape(drawn(sticker))}" src="data:{kind};base64,{data}">'


def drawn(sticker: Sticker) -> str:
    """What a sticker shows, by its drawing specification; its id where it has none."""
    drawing = sticker.specification
    if not drawing:
        return f"Sticker {sticker.id}"
    parts = [drawing[name].replace("_", " ") for name in ("character", "expression", "gesture", "posture")]
    caption = f"; it says {drawing['caption']}" if drawing["caption"] else ""
    return f"Sticker {sticker.id}: {parts[0]}, face {parts[1]}, gesture {parts[2]}, {parts[3]}{caption}"


def _article(case: Case, stickers: Mapping[str, Sticker]) -> str:
    conversation = case.conversation
    sent, guesses = stickers[conversation.sticker], _guesses(case)
    five = "".join(_ranked(case, rank, stickers[sticker]) for rank, sticker in enumerate(case.ranked, 1))
    return (
        f'<section class="case" aria-label="{escape(_title(case))}"><h3>{escape(_title(case))}</h3>'
        f'<ol class="chat">{_chat(case)}</ol>'
        f"<p><b>{escape(conversation.sender)}</b> sent {escape(sent.id)}: "
        f"{escape(USAGE_TEXTS[conversation.usage])}.</p>"
        f"{picture(sent)}<p>{escape(_readings(case))} {escape(guesses)}</p>"
        f"<p>The first five stickers, best first:</p>"
        f'<ol class="five">{five}</ol></section>'
    )


def _title(case: Case) -> str:
    return f"{case.conversation.id}: {TITLES[case.group]}"


def _readings(case: Case) -> str:
    labels = {"Intention": case.conversation.intention, "second reader": case.conversation.second_reading}
    return "; ".join(f"{who}: {label}" for who, label in labels.items() if label) + "."


def _guesses(case: Case) -> str:
    return "Predicted: " + ", ".join(f"{name} {100 * share:.0f} %" for name, share in case.predicted.items()) + "."


def _chat(case: Case) -> str:
    lines, unread = [], len(case.conversation.utterances) - case.window
    for number, utterance in enumerate(case.conversation.utterances):
        if number == unread:
            lines.append('<li class="start">The model reads from here.</li>')
        lines.append(
            f"<li{' class=unread' if number < unread else ''}><b>{escape(utterance.user)}</b>"
            f'<span lang="zh">{escape(utterance.text)}</span><span lang="en">{escape(utterance.english)}</span></li>'
        )
    return "".join(lines)


def _ranked(case: Case, rank: int, sticker: Sticker) -> str:
    right = case.right(sticker.id)
    added = "".join(_added(name, value) for name, value in (case.contributions or {}).get(sticker.id, {}).items())
    return (
        f'<li class="{"yes" if right else "no"}">{picture(sticker)}<div>{rank}. {escape(sticker.id)}</div>'
        f"<div><b>{SIGNS[right]} {'right' if right else 'wrong'}</b>: {escape(case.intentions[sticker.id])}</div>"
        f'<div>score {case.ranked[sticker.id]:.2f}</div><div class="adds">{added}</div></li>'
    )


def _added(name: str, value: float) -> str:
    width = min(100, 100 * abs(value) / WIDEST)
    short = name.replace("facial_", "")
    return (
        f"<div><span>{short}</span><span>{value:+z.2f}</span></div>"
        f'<i{" class=less" if value < 0 else ""} style="width:{width:.0f}%"></i>'
    )


def _text(case: Case) -> str:
    conversation = case.conversation
    lines = [f"{u.user}: {u.text} | {u.english}" for u in conversation.utterances]
    ranked = [
        f"{rank}. {SIGNS[case.right(sticker)]} {sticker} {case.intentions[sticker]} {score:.2f}{_sums(case, sticker)}"
        for rank, (sticker, score) in enumerate(case.ranked.items(), 1)
    ]
    sent = f"-> {conversation.sender} sent {conversation.sticker} ({conversation.usage})"
    return "\n".join([_title(case), *lines, sent, f"{_readings(case)} {_guesses(case)}", *ranked])


def _sums(case: Case, sticker: str) -> str:
    if case.contributions is None:
        return ""
    return ": " + ", ".join(f"{name} {case.contributions[sticker][name]:+z.2f}" for name in ATTRIBUTES)
