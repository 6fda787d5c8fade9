// Which sample sizes can print given percentages: the same questions as intra/audit/granularity.py, in whole numbers.
(function () {
  "use strict";
  const intra = (globalThis.intra = globalThis.intra || {});

  const RULES = ["half-up", "half-even", "truncated"];
  const MOST_DECIMALS = 6; // with these limits every product below is a whole number that a double holds exactly
  const LARGEST = 100000;
  const Z = 1.959963984540054; // 97.5 % quantile of the normal distribution

  /** Whole part of a / b, exact for whole numbers from 0. */
  function quotient(a, b) {
    return (a - (a % b)) / b;
  }

  /** A percentage as printed: {text, decimals, units}, units of its last place; null if it is none. */
  function parse(text) {
    const match = /^(0|[1-9]\d?|100)(?:\.(\d+))?$/.exec(text.trim());
    if (!match) return null;
    const decimals = (match[2] || "").length;
    const units = Number(match[1] + (match[2] || ""));
    return decimals > MOST_DECIMALS || units > 10 ** (decimals + 2) ? null : { text: text.trim(), decimals, units };
  }

  /** How 100 count / n prints under a rule. */
  function printedAs(count, n, rule, decimals = 2) {
    const scaled = 10 ** (decimals + 2) * count;
    const rest = scaled % n;
    let kept = quotient(scaled, n);
    if (rule === "half-up" && 2 * rest >= n) kept += 1;
    if (rule === "half-even" && (2 * rest > n || (2 * rest === n && kept % 2 === 1))) kept += 1;
    const digits = String(kept).padStart(decimals + 1, "0");
    return decimals ? `${digits.slice(0, -decimals)}.${digits.slice(-decimals)}` : digits;
  }

  /**
   * The smallest and the largest k for which k of n prints as a parsed value, or null.
   * They are the k with low <= 2 * 10^(decimals + 2) * k / n <= high, where a rule may leave out the ends.
   */
  function countRange(value, n, rule) {
    const twice = 2 * 10 ** (value.decimals + 2);
    const tie = rule === "half-even" && value.units % 2 === 0;
    const low = n * (2 * value.units - (rule === "truncated" ? 0 : 1));
    const high = n * (2 * value.units + (rule === "truncated" ? 2 : 1));
    const open = rule === "half-even" && !tie ? 1 : 0;
    const first = low + open <= 0 ? 0 : quotient(low + open + twice - 1, twice);
    const last = Math.min(n, quotient(high - (tie ? 0 : 1), twice));
    return first <= last ? [first, last] : null;
  }

  /** All k for which k of n prints as a parsed value, rising. */
  function counts(value, n, rule) {
    const range = countRange(value, n, rule);
    return range ? Array.from({ length: range[1] - range[0] + 1 }, (_, place) => range[0] + place) : [];
  }

  /** The rules under each of which every value is a share of n. */
  function fittingRules(values, n) {
    return RULES.filter((rule) => values.every((value) => countRange(value, n, rule)));
  }

  /** Whether all values are shares of n; choice: a rule, `one` for any that explains all, `mixed` for one a value. */
  function fits(values, n, choice) {
    if (choice === "mixed") return values.every((value) => RULES.some((rule) => countRange(value, n, rule)));
    const rules = choice === "one" ? RULES : [choice];
    return rules.some((rule) => values.every((value) => countRange(value, n, rule)));
  }

  /** All n, 1 to a largest, of which every value is a share. */
  function denominators(values, largest, choice) {
    const found = [];
    for (let n = 1; n <= largest; n += 1) if (fits(values, n, choice)) found.push(n);
    return found;
  }

  /** 95 % Wilson interval of count of n, in percent. */
  function wilson(count, n) {
    const share = count / n;
    const middle = share + (Z * Z) / (2 * n);
    const half = Z * Math.sqrt((share * (1 - share)) / n + (Z * Z) / (4 * n * n));
    const ends = [(middle - half) / (1 + (Z * Z) / n), (middle + half) / (1 + (Z * Z) / n)];
    if (count === 0) ends[0] = 0;
    if (count === n) ends[1] = 1;
    return ends.map((end) => 100 * end);
  }

  intra.audit = { RULES, parse, printedAs, counts, fittingRules, fits, denominators, wilson };

  // The page

  const CHOICES = {
    mixed: "any, each value its own",
    one: "any, the same for all values",
    "half-up": "half up",
    "half-even": "half to even",
    truncated: "cut off",
  };
  const FIELDS = 5;
  const SHOWN = 8;
  const whole = (value) => value.toLocaleString("en");

  /** Rising whole numbers as text, runs joined: 3, 7–9. */
  function listed(numbers) {
    const runs = [];
    for (const n of numbers) {
      const last = runs[runs.length - 1];
      if (last && last[1] === n - 1) last[1] = n;
      else runs.push([n, n]);
    }
    return runs.map(([first, last]) => (first === last ? whole(first) : `${whole(first)}–${whole(last)}`)).join(", ");
  }

  /** Rules that a choice allows for one value at n. */
  function allowed(values, n, choice) {
    if (choice === "mixed") return RULES;
    return choice === "one" ? fittingRules(values, n) : [choice];
  }

  /** All k behind a value at n under several rules, rising. */
  function countsUnder(value, n, rules) {
    return [...new Set(rules.flatMap((rule) => counts(value, n, rule)))].sort((one, other) => one - other);
  }

  /** What stands behind one value at n, in words; without a count, the nearest shares. */
  function explained(value, n, rules) {
    const found = countsUnder(value, n, rules);
    if (found.length) return `${value.text} % is ${listed(found)} of ${whole(n)}.`;
    const below = quotient(value.units * n, 10 ** (value.decimals + 2));
    const rule = rules[0];
    const near = [below, below + 1].filter((count) => count <= n);
    const shares = near.map((count) => `${whole(count)} of ${whole(n)} is ${printedAs(count, n, rule, value.decimals)} %`);
    return `${value.text} % is no share of ${whole(n)}: ${shares.join(", ")}.`;
  }

  /** The page's controls and answers. */
  function calculator(content) {
    const { element, labelled, button, group, spoken } = intra.html;
    const text = (title) => labelled(title, element("input", { type: "text", inputmode: "decimal", autocomplete: "off" }));
    const number = (title, start, most) => {
      const made = labelled(title, element("input", { type: "number", min: 1, max: most, step: 1 }));
      made.control.value = start;
      return made;
    };
    const select = (title, options) => {
      const entries = options.map(([value, shown]) => element("option", { value }, shown));
      return labelled(title, element("select", {}, ...entries));
    };

    const rows = content.rows.map((row, place) => [place, `${row.label} (Table ${row.table})`]);
    const row = select("A row of the paper", rows);
    const values = Array.from({ length: FIELDS }, (_, place) => text(`Value ${place + 1}`));
    const rule = select("Rule of rounding", Object.entries(CHOICES));
    const largest = number("Largest n", 1000, LARGEST);
    const asked = number("n", content.n, LARGEST);
    const rate = text("Hit rate (%)");
    const queries = number("of n", "", LARGEST);
    const said = spoken();
    const found = element("div");
    const saidOne = spoken();
    const lines = element("ul", { class: "intra-lines" });
    const saidInterval = spoken();

    /** A whole number from a field, or null; the field is marked. */
    function size(field) {
      const n = Number(field.control.value);
      const fine = Number.isInteger(n) && n >= 1 && n <= LARGEST;
      field.control.setAttribute("aria-invalid", String(!fine));
      return fine ? n : null;
    }

    /** The parsed values of the fields that are not empty, or null; fields that are wrong are marked. */
    function read(fields) {
      const written = fields.filter((field) => {
        field.control.setAttribute("aria-invalid", "false");
        return field.control.value.trim();
      });
      const parsed = written.map((field) => parse(field.control.value));
      written.forEach((field, place) => field.control.setAttribute("aria-invalid", String(!parsed[place])));
      return parsed.includes(null) ? null : parsed;
    }

    const WRONG = `Write each percentage as it is printed: 0 to 100, a point, at most ${MOST_DECIMALS} decimals.`;
    const WRONG_SIZE = `n is a whole number from 1 to ${whole(LARGEST)}.`;

    function search(parsed, most) {
      found.replaceChildren();
      if (!parsed || !most || !parsed.length) {
        said.textContent = !parsed ? WRONG : !most ? WRONG_SIZE : "Enter at least one percentage.";
        return;
      }
      const sizes = denominators(parsed, most, rule.control.value);
      if (!sizes.length) {
        said.textContent = `No n up to ${whole(most)} can print these values together.`;
        return;
      }
      const many = sizes.length === 1 ? "size fits" : "sizes fit";
      said.textContent = `Smallest n: ${whole(sizes[0])}. Up to ${whole(most)}, ${whole(sizes.length)} ${many}.`;
      found.append(strip(sizes, most), smallest(parsed, sizes.slice(0, SHOWN)));
      const all = element("summary", {}, `All ${whole(sizes.length)} sizes`);
      found.append(element("details", {}, all, element("p", {}, listed(sizes))));
    }

    /** Lines at the sizes that fit, along 1 to the largest. */
    function strip(sizes, most) {
      const picture = document.createElementNS("http://www.w3.org/2000/svg", "svg");
      const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
      const settings = { viewBox: `0 0 ${most + 1} 1`, preserveAspectRatio: "none", "aria-hidden": "true" };
      for (const [name, value] of Object.entries(settings)) picture.setAttribute(name, value);
      picture.classList.add("intra-strip");
      path.setAttribute("d", sizes.map((n) => `M${n} 0V1`).join(""));
      path.setAttribute("vector-effect", "non-scaling-stroke");
      picture.append(path);
      const ends = [element("span", {}, "n = 1"), element("span", {}, whole(most))];
      return element("div", {}, picture, element("div", { class: "intra-ends", "aria-hidden": "true" }, ...ends));
    }

    /** A table of the smallest sizes with their counts. */
    function smallest(parsed, sizes) {
      const heads = ["n", ...parsed.map((value) => `k for ${value.text}`), "explained for all by"];
      const head = element("tr", {}, ...heads.map((title) => element("th", { scope: "col" }, title)));
      const body = sizes.map((n) => {
        const rules = fittingRules(parsed, n);
        const names = rules.map((name) => CHOICES[name]).join(" or ") || "no single rule";
        const ks = parsed.map((value) => listed(countsUnder(value, n, allowed(parsed, n, rule.control.value))));
        const cells = [...ks, names].map((cell) => element("td", {}, cell));
        return element("tr", {}, element("th", { scope: "row" }, whole(n)), ...cells);
      });
      const parts = [element("caption", {}, "Smallest sizes"), element("thead", {}, head), element("tbody", {}, ...body)];
      const region = { class: "intra-scroll", role: "region", tabindex: 0, "aria-label": "Smallest sizes" };
      return element("div", region, element("table", {}, ...parts));
    }

    function one(parsed, n) {
      lines.replaceChildren();
      if (!parsed || !n || !parsed.length) {
        saidOne.textContent = !n ? WRONG_SIZE : "";
        return;
      }
      const choice = rule.control.value;
      saidOne.textContent = fits(parsed, n, choice)
        ? `Yes: ${whole(n)} can print all of these values.`
        : `No: ${whole(n)} cannot print all of these values${choice === "one" ? " under one rule" : ""}.`;
      const rules = choice === "mixed" || choice === "one" ? RULES : [choice];
      lines.append(...parsed.map((value) => element("li", {}, explained(value, n, rules))));
    }

    function interval() {
      const parsed = read([rate]);
      const empty = !queries.control.value.trim();
      const n = empty ? null : size(queries);
      if (empty) queries.control.setAttribute("aria-invalid", "false");
      if (!parsed || !n || !parsed.length) {
        saidInterval.textContent = !parsed ? WRONG : !n && !empty ? WRONG_SIZE : "Enter a hit rate and n.";
        return;
      }
      const ks = countsUnder(parsed[0], n, RULES);
      if (!ks.length) {
        saidInterval.textContent = explained(parsed[0], n, RULES);
        return;
      }
      const ends = [...new Set([ks[0], ks[ks.length - 1]])].map((count) => {
        const [low, high] = wilson(count, n).map((end) => end.toFixed(1));
        return `${whole(count)} of ${whole(n)}: 95 % interval ${low} to ${high} %.`;
      });
      saidInterval.textContent = ends.join(" ");
    }

    function update() {
      const parsed = read(values);
      search(parsed, size(largest));
      one(parsed, size(asked));
    }

    function fill() {
      const printed = content.rows[Number(row.control.value)].values;
      values.forEach((field, place) => (field.control.value = printed[place] || ""));
      update();
    }

    function clear() {
      for (const field of values) field.control.value = "";
      update();
      values[0].control.focus();
    }

    row.control.value = content.rows.findIndex((one) => one.label === content.first);
    row.control.addEventListener("change", fill);
    for (const field of [...values, rule, largest, asked]) field.control.addEventListener("input", update);
    for (const field of [rate, queries]) field.control.addEventListener("input", interval);
    fill();
    rate.control.value = values[0].control.value;
    queries.control.value = denominators(read(values), LARGEST, "mixed")[0] || content.n;
    interval();
    return [
      group("Percentages as printed", ...values.map((field) => field.whole), button("Clear", clear)),
      group("Or fill in", row.whole),
      group("Search", rule.whole, largest.whole),
      said,
      found,
      group("Can this n print them?", asked.whole),
      saidOne,
      lines,
      group("Interval of one hit rate (Wilson)", rate.whole, queries.whole),
      saidInterval,
    ];
  }

  intra.builders = Object.assign(intra.builders || {}, { calculator });
})();
