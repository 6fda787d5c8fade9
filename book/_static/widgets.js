// Interactive figures: finds <div class="intra-widget">, reads its JSON island and builds controls and bars.
// Numbers come from the notebook's records (intra/widgets.py); nothing is computed here but text and widths.
(function () {
  "use strict";
  const intra = (globalThis.intra = globalThis.intra || {});
  let made = 0;

  /** A new element with attributes and children; a child may be a string. */
  function element(name, attributes = {}, ...children) {
    const node = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    node.append(...children);
    return node;
  }

  /** An id that no other control of the page has. */
  function newId() {
    made += 1;
    return `intra-control-${made}`;
  }

  /** A control of a form with its label: {control, whole}, `whole` to be put into the page. */
  function labelled(text, control, first = false) {
    control.id = newId();
    const label = element("label", { for: control.id }, text);
    const parts = first ? [control, label] : [label, control];
    return { control, label, whole: element("span", { class: "intra-field" }, ...parts) };
  }

  /** A checkbox with its label. */
  function checkbox(text, checked) {
    const made = labelled(text, element("input", { type: "checkbox" }), true);
    made.control.checked = checked;
    return made;
  }

  /** A button that calls a function. */
  function button(text, act) {
    const node = element("button", { type: "button" }, text);
    node.addEventListener("click", act);
    return node;
  }

  /** Buttons that stay together. */
  function buttons(...made) {
    return element("span", { class: "intra-buttons" }, ...made);
  }

  /** A group of controls with a legend. */
  function group(title, ...controls) {
    return element("fieldset", {}, element("legend", {}, title), ...controls);
  }

  /** A place whose changes are read aloud. */
  function spoken() {
    return element("output", { "aria-live": "polite" });
  }

  const minus = (text) => text.replace("-", "−");
  const percent = (value) => minus(value.toFixed(1));
  const points = (value) => (value < 0 ? "" : "+") + percent(value);
  const interval = ([, low, high], write) => `[${write(low)}, ${write(high)}]`;
  const whole = (value) => value.toLocaleString("en");
  const listed = (names) => names.join(", ").replace(/, ([^,]*)$/, " and $1");

  /** The end of an axis from 0 that holds all values: a multiple of ten. */
  function axisEnd(values) {
    return 10 * Math.ceil(Math.max(...values) / 10);
  }

  /** A mark on a track, from `left` to `right` percent of the axis. */
  function mark(kind, end, left, right) {
    const node = element("span", { class: `intra-mark intra-${kind}` });
    node.style.left = `${(100 * left) / end}%`;
    if (right !== undefined) node.style.width = `${(100 * (right - left)) / end}%`;
    return node;
  }

  /**
   * One row of the picture: name, bar with interval and marks, values, and a note.
   * bar: {name, value: [mean, low, high], chance, paper, note}, or {name, validation} or {name, chance} alone
   */
  function barRow(bar, end) {
    const marks = [];
    if (bar.value) marks.push(mark("fill", end, 0, bar.value[0]), mark("interval", end, bar.value[1], bar.value[2]));
    if (bar.validation !== undefined) marks.push(mark("validation", end, 0, bar.validation));
    if (bar.chance !== undefined) marks.push(mark("chance", end, bar.chance));
    if (bar.paper) marks.push(mark("paper", end, Number(bar.paper)));
    const alone = bar.validation === undefined ? bar.chance : bar.validation;
    const value = bar.value ? `${percent(bar.value[0])} ${interval(bar.value, percent)}` : percent(alone);
    return element(
      "li",
      {},
      element("span", { class: "intra-name" }, bar.name),
      element("span", { class: "intra-track", "aria-hidden": "true" }, ...marks),
      element("span", { class: "intra-value" }, value),
      ...(bar.note ? [element("span", { class: "intra-note" }, bar.note)] : []),
    );
  }

  /** The rows and the axis of a picture. */
  function picture(bars, end, size = "") {
    const ticks = [0, end / 2, end].map((value) => element("span", {}, `${value}`));
    ticks[2].textContent += " %";
    const axis = element("div", { class: "intra-axis", "aria-hidden": "true" }, ...ticks);
    const rows = element("ul", { class: "intra-bars" }, ...bars.map((bar) => barRow(bar, end)));
    return element("div", { class: `intra-picture ${size}` }, rows, axis);
  }

  /** Marks of the pictures that show one result on test. */
  const ON_TEST = { fill: "mean, test (%)", interval: "95 % interval", chance: "chance" };

  /** What the marks of a picture mean. */
  function key(entries) {
    const items = Object.entries(entries).map(([kind, text]) =>
      element(
        "span",
        { class: "intra-key-entry" },
        element("span", { class: `intra-sample intra-sample-${kind}`, "aria-hidden": "true" }),
        text,
      ),
    );
    return element("p", { class: "intra-key" }, ...items);
  }

  /** Means and interval ends of every row, and what else is drawn, so that the axis stays as it is. */
  function drawn(rows, more) {
    return [...rows.flatMap((row) => Object.values(row).flat()), ...more];
  }

  /** hit@1 and mAP in words. */
  function inWords(here) {
    return `hit@1 ${percent(here["hit@1"][0])} %, mAP ${percent(here.mAP[0])} %`;
  }

  /** Sets of attributes: a checkbox each. */
  function subsets(content) {
    const printed = content.sets.flatMap((set) => (set.paper ? Object.values(set.paper).map(Number) : []));
    const end = axisEnd(drawn(content.sets.map((set) => set.here), printed));
    const boxes = content.attributes.map((name) => checkbox(name, true));
    const said = spoken();
    const shown = element("div");

    function update() {
      const has = content.attributes.filter((_, number) => boxes[number].control.checked);
      const set = content.sets.find((one) => one.has.join() === has.join());
      shown.replaceChildren();
      if (!set) {
        said.textContent = "Without attributes there is no run here: choose at least one.";
        return;
      }
      const left = content.attributes.filter((name) => !has.includes(name));
      const title = has.length === 0 ? "No attribute, the ablation without attributes" : `Told: ${listed(has)}`;
      const missing = set.paper ? "" : " This is the one set that the paper does not print.";
      const omitted = has.length && left.length ? `; left out: ${listed(left)}` : "";
      said.textContent = `${title}${omitted}. ${inWords(set.here)}.${missing}`;
      const bars = content.metrics.map((metric) => ({
        name: metric,
        value: set.here[metric],
        chance: content.chance[metric],
        paper: set.paper && set.paper[metric],
        note: [
          `chance ${percent(content.chance[metric])}`,
          ...(set.difference
            ? [`against all four ${points(set.difference[metric][0])} ${interval(set.difference[metric], points)}`]
            : []),
          set.paper ? `paper, another data set: ${set.paper[metric]}` : "paper: not printed",
        ].join(" · "),
      }));
      shown.append(picture(bars, end, "intra-metrics"));
    }

    const all = button("All four", () => {
      for (const box of boxes) box.control.checked = true;
      update();
    });
    for (const box of boxes) box.control.addEventListener("change", update);
    update();
    return [
      group("Attributes that Int-RA is told", ...boxes.map((box) => box.whole), all),
      said,
      shown,
      key({
        ...ON_TEST,
        paper: "the paper's tables, on its own data",
      }),
      element(
        "p",
        { class: "intra-remark" },
        "Differences to all four attributes are in points, paired by seed and query; each interval stands for one comparison " +
          "alone, so that among fifteen sets one that leaves out 0 is no finding yet: the table of differences " +
          "below corrects hit@1 and mAP for their number. The paper's values are from Table III, without attributes from Table II.",
      ),
    ];
  }

  /** A slider over the places of a list: {whole, changed(), go(place)}; `update` is called with the place. */
  function slider(title, values, start, describe, update) {
    const range = element("input", { type: "range", min: 0, max: values.length - 1, step: 1 });
    const made = labelled(title, range);
    const shown = element("span", { class: "intra-chosen" });
    range.value = start;

    function changed() {
      const text = describe(values[Number(range.value)]);
      range.setAttribute("aria-valuetext", text);
      shown.textContent = text;
      update(Number(range.value));
    }

    range.addEventListener("input", changed);
    made.whole.append(shown);
    return {
      whole: made.whole,
      changed,
      go(place) {
        range.value = place;
        changed();
      },
    };
  }

  /** Windows: a slider. */
  function windows(content) {
    const rows = content.windows;
    const end = axisEnd(drawn(rows.map((row) => row.here), rows.map((row) => row.validation)));
    const said = spoken();
    const shown = element("div");

    function update(place) {
      const row = rows[place];
      const share = (count) => `${percent((100 * count) / content.conversations)} %`;
      const roles = [];
      if (row.window === content.chosen) roles.push("the window that validation chooses");
      if (row.window === content.paper) roles.push("the paper's best");
      said.textContent =
        `${row.window} utterances${roles.length ? `, ${roles.join(" and ")}` : ""}. ${inWords(row.here)}; ` +
        `validation mAP ${percent(row.validation)} %. Of ${content.conversations} test conversations ` +
        `${row.shorter} (${share(row.shorter)}) are shorter than this window, ${row.cut} (${share(row.cut)}) are cut.`;
      const bars = content.metrics.map((metric) => ({
        name: metric,
        value: row.here[metric],
        chance: content.chance[metric],
        note: `chance ${percent(content.chance[metric])}`,
      }));
      bars.push({ name: "mAP, validation", validation: row.validation });
      shown.replaceChildren(picture(bars, end, "intra-metrics"), profile(rows, place, content));
    }

    const start = rows.findIndex((row) => row.window === content.paper);
    const range = slider("Window", rows, start, (row) => `${row.window} utterances`, update);
    const to = (window) => () => range.go(rows.findIndex((row) => row.window === window));
    range.changed();
    return [
      group(
        "Utterances that are read",
        range.whole,
        buttons(
          button(`Validation's choice (${content.chosen})`, to(content.chosen)),
          button(`The paper's best (${content.paper})`, to(content.paper)),
        ),
      ),
      said,
      shown,
      key({
        ...ON_TEST,
        validation: "validation mAP, mean over seeds, by which a window would be chosen",
      }),
    ];
  }

  /** Columns of test and validation mAP for every window, the shown one marked. */
  function profile(rows, place, content) {
    const end = Math.max(...rows.flatMap((row) => [row.here.mAP[0], row.validation]));
    const columns = rows.map((row, number) => {
      const test = element("span", { class: "intra-column" });
      const validation = element("span", { class: "intra-column intra-column-validation" });
      test.style.height = `${(100 * row.here.mAP[0]) / end}%`;
      validation.style.height = `${(100 * row.validation) / end}%`;
      const name = `${row.window}${row.window === content.chosen ? "*" : ""}`;
      const pair = element("span", { class: "intra-pair" }, test, validation);
      return element("span", { class: number === place ? "intra-window intra-now" : "intra-window" }, pair, name);
    });
    return element(
      "div",
      { "aria-hidden": "true" },
      element("p", { class: "intra-remark" }, "mAP by window, test beside validation; * marks validation's choice:"),
      element("div", { class: "intra-profile" }, ...columns),
    );
  }

  /** Galleries: a slider over sizes and a checkbox a system. */
  function galleries(content) {
    const names = Object.keys(content.systems);
    const values = drawn(Object.values(content.systems).flat(), content.chance.flatMap(Object.values));
    const end = axisEnd(values);
    const boxes = names.map((name) => checkbox(name, content.chosen.includes(name)));
    const said = spoken();
    const shown = element("div");
    let place = content.sizes.length - 1;

    function update() {
      const chosen = names.filter((_, number) => boxes[number].control.checked);
      const size = `${whole(content.sizes[place])} stickers`;
      shown.replaceChildren();
      if (chosen.length === 0) {
        said.textContent = `${size}: choose at least one system.`;
        return;
      }
      const at = (name, metric) => content.systems[name][place][metric];
      const best = content.metrics.map((metric) => {
        const first = chosen.reduce((one, other) => (at(other, metric)[0] > at(one, metric)[0] ? other : one));
        return `the highest ${metric} shown is ${percent(at(first, metric)[0])} % (${first}), chance ` +
          `${percent(content.chance[place][metric])} %`;
      });
      said.textContent = `In a gallery of ${size} ${best.join("; ")}.`;
      for (const metric of content.metrics) {
        const chance = content.chance[place][metric];
        const bars = chosen.map((name) => ({ name, value: at(name, metric), chance }));
        bars.push({ name: "chance", chance });
        shown.append(element("p", { class: "intra-metric" }, `${metric} (%)`), picture(bars, end));
      }
    }

    const range = slider("Size", content.sizes, place, (size) => `${whole(size)} stickers`, (now) => {
      place = now;
      update();
    });
    const choose = (wanted) => () => {
      names.forEach((name, number) => (boxes[number].control.checked = wanted(name)));
      update();
    };
    for (const box of boxes) box.control.addEventListener("change", update);
    range.changed();
    return [
      group("Stickers in the gallery", range.whole),
      group(
        "Systems",
        ...boxes.map((box) => box.whole),
        buttons(
          button("As in the figure", choose((name) => content.chosen.includes(name))),
          button("All", choose(() => true)),
          button("None", choose(() => false)),
        ),
      ),
      said,
      shown,
      key({ fill: "mean (%)", interval: "95 % interval", chance: "chance at this size" }),
    ];
  }

  intra.builders = Object.assign(intra.builders || {}, { subsets, windows, galleries });
  intra.html = { element, labelled, button, group, spoken };

  /** Fill every widget of the page that has a builder. */
  intra.build = function () {
    for (const place of document.querySelectorAll(".intra-widget:not(.intra-built)")) {
      const build = intra.builders[place.dataset.widget];
      if (!build) continue;
      const island = place.querySelector('script[type="application/json"]');
      place.replaceChildren(island, ...build(JSON.parse(island.textContent)));
      place.classList.add("intra-built");
    }
  };

  if (typeof document !== "undefined") document.addEventListener("DOMContentLoaded", intra.build);
})();
