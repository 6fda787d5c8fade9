"""The system's Chromium, and what it finds wrong with a page that is opened from a folder with the network off."""

import os
import shutil
from dataclasses import dataclass, field, fields
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import BrowserContext, Page, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
THEMES = ("light", "dark")
WIDTHS = {390: 844, 1440: 900}
"""Width to height of a window, in pixels: a telephone, and a desk."""
LOCAL = ("file:", "data:", "blob:")
GRAVE = ("serious", "critical")
CONTRAST = {"runOnly": ["color-contrast"]}
STRUCTURE = {"rules": {"color-contrast": {"enabled": False}}}

SETTLED = """async () => {
  await window.MathJax?.startup?.promise;
  for (const one of document.getAnimations()) if (one.effect.getComputedTiming().endTime < Infinity) one.finish();
  await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  // the theme lets the keyboard reach what scrolls, a while after the window has changed
  const boxes = "pre, .cell_output > .output, .pst-scrollable-table-container";
  const unreached = () => [...document.querySelectorAll(boxes)].some(
    (one) => one.tabIndex !== 0 && one.scrollWidth > one.clientWidth);
  for (let tries = 0; tries < 10 && unreached(); tries += 1) await new Promise((done) => setTimeout(done, 100));
}"""

PROBLEMS = r"""() => {
  const all = (selector) => [...document.querySelectorAll(selector)].filter((one) => one.checkVisibility());
  const told = (one) => `${one.tagName} class="${one.className}": ${one.textContent.trim().slice(0, 40)}`;
  const ancestors = (one) => one ? [one, ...ancestors(one.parentElement)] : [];
  const style = (one) => getComputedStyle(one);

  const scrolls = (one) => ancestors(one.parentElement).some(
    (outer) => outer !== document.body && outer !== document.documentElement && style(outer).overflowX !== "visible");
  const over = document.scrollingElement.scrollWidth - innerWidth;
  const wide = over <= 1 ? [] : [`${over} px too wide`,
    ...all("body *").filter((one) => one.getBoundingClientRect().right > innerWidth + 1 && !scrolls(one)).map(told)];

  const small = (selector, least) => all(selector)
    .filter((one) => one.textContent.trim() && parseFloat(style(one).fontSize) < least)
    .map((one) => `${style(one).fontSize}: ${told(one)}`);

  const pen = new OffscreenCanvas(1, 1).getContext("2d", {willReadFrequently: true});
  const darkest = (colour) => {  // the lowest of red, green and blue; 0 where one sees through
    pen.clearRect(0, 0, 1, 1);
    pen.fillStyle = colour;
    pen.fillRect(0, 0, 1, 1);
    const [red, green, blue, alpha] = pen.getImageData(0, 0, 1, 1).data;
    return alpha < 128 ? 0 : Math.min(red, green, blue);
  };
  const dimmed = (one) => ancestors(one).reduce(
    (left, outer) => left * parseFloat((style(outer).filter.match(/brightness\(([^)]+)\)/) || [0, 1])[1]), 1);
  const pale = document.documentElement.dataset.theme !== "dark" ? [] : all("html, body, body *").filter((one) => {
    const {width, height} = one.getBoundingClientRect();
    if (width * height <= 10000) return false;
    return one.tagName === "IMG" ? dimmed(one) > 0.9 : darkest(style(one).backgroundColor) * dimmed(one) > 150;
  }).map(told);

  const images = [...document.images].flatMap((one) => [
    ...(one.naturalWidth ? [] : [`not loaded: ${one.src}`]),
    ...(one.alt.trim() && !/\.(png|svg|webp|jpe?g)$/.test(one.alt) ? [] : [`not described: ${one.src}`]),
  ]);
  const equations = [...document.querySelectorAll(".math")]
    .filter((one) => !one.querySelector("mjx-container svg") || one.querySelector("[data-mjx-error]"))
    .map((one) => one.textContent.trim().slice(0, 80));
  return {wide, small: [...small("p:not(td *, th *)", 14), ...small("td, th", 11)], pale, images, equations};
}"""


@dataclass
class Visit:
    """What is wrong with a page, each line with the theme and the width of the window; a good page has none.

    Attributes:
        loading: Errors of the console and of scripts, and requests that failed or left the machine.
        wide: What sticks out of the window.
        small: Text that is too small to read.
        pale: Large and nearly white parts in the dark theme.
        images: Pictures that did not load, or that nothing describes.
        equations: What MathJax has not drawn.
        barriers: What axe calls serious or critical.
    """

    loading: list[str] = field(default_factory=list)
    wide: list[str] = field(default_factory=list)
    small: list[str] = field(default_factory=list)
    pale: list[str] = field(default_factory=list)
    images: list[str] = field(default_factory=list)
    equations: list[str] = field(default_factory=list)
    barriers: list[str] = field(default_factory=list)


QUESTIONS = tuple(one.name for one in fields(Visit))


def chromium() -> str | None:
    """Path of the system's Chromium."""
    return next(filter(None, map(shutil.which, NAMES)), None)


@pytest.fixture(scope="module")  # not of the session: its event loop would be in the way of other modules
def browser():
    """A running Chromium; without one tests are skipped, but fail in continuous integration."""
    path = chromium()
    if path is None:
        reason = f"no Chromium on the path ({', '.join(NAMES)})"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path)
        yield running
        running.close()


@pytest.fixture(scope="module")
def context(browser):
    """A browser profile with the network off."""
    made = browser.new_context(color_scheme="light", offline=True, viewport={"width": 1440, "height": 900})
    made.set_default_timeout(10_000)
    yield made
    made.close()


def watched(context: BrowserContext, found: list[str]) -> Page:
    """Open a tab that writes down what goes wrong in it."""
    page = context.new_page()
    page.on("console", lambda said: said.type == "error" and found.append(f"console: {said.text}"))
    page.on("pageerror", lambda error: found.append(f"script: {error}"))
    page.on("requestfailed", lambda request: found.append(f"failed: {request.url}"))
    page.on("request", lambda request: request.url.startswith(LOCAL) or found.append(f"left: {request.url}"))
    return page


def visit(context: BrowserContext, path: Path) -> Visit:
    """Open a page once, look at it in both themes and at every width, and run axe: in the dark for contrast alone."""
    seen = Visit()
    page = watched(context, seen.loading)
    page.set_viewport_size({"width": min(WIDTHS), "height": WIDTHS[min(WIDTHS)]})
    page.goto(path.as_uri())
    for theme in THEMES:
        page.emulate_media(color_scheme=theme)
        for width, height in WIDTHS.items():
            page.set_viewport_size({"width": width, "height": height})
            page.evaluate(SETTLED)
            found = page.evaluate(PROBLEMS)
            if theme == THEMES[0]:
                found["barriers"] = barriers(page, STRUCTURE)
            for name, problems in found.items():
                getattr(seen, name).extend(f"{theme}, {width}: {problem}" for problem in problems)
        seen.barriers.extend(f"{theme}: {problem}" for problem in barriers(page, CONTRAST))
    page.close()
    return seen


def barriers(page: Page, rules: dict) -> list[str]:
    """Return what axe finds serious or critical: rule, element and reason.

    Only the first two rows of a table are looked at, since the others look like them. Style sheets are not fetched
    again, which a browser refuses for files.
    """
    options = {"resultTypes": ["violations"], "preload": False, **rules}
    answer = Axe().run(page, {"exclude": ["tbody tr:nth-child(n + 3)"]}, options).response
    return [
        f"{rule['id']}: {node['target'][-1]}: {node['failureSummary'].splitlines()[1].strip()}"
        for rule in answer["violations"]
        if rule["impact"] in GRAVE
        for node in rule["nodes"]
    ]
