// A strip of hours for each service: how much of its hourly safe limit is expected. One row of color has one meaning.
import { hrefWith, link, navigate, param, serviceHref } from "#web/assets/address.js";
import { dayName, formatMoment, midnight } from "#web/assets/clock.js";
import { h, put, requireId, setText } from "#web/assets/dom.js";
import { formatPercent, inWords, isNumber, localName } from "#web/assets/format.js";
import { hubTime } from "#web/assets/state.js";
import { breakable } from "#web/assets/widgets/widgets.js";
import { CAPACITY_TEXTS } from "#web/assets/words.js";

/** @typedef {import("#web/pages/capacity/payload.d.ts").CapacityData} CapacityData */
/** @typedef {import("#web/pages/capacity/payload.d.ts").StripRow} StripRow */

const HOUR_SECONDS = 3600;
/** Steps of the color scale up to the safe limit. */
const LEVELS = 9;
/** Days have short names below this width of a day in pixels. */
const SHORT_NAME_PIXELS = 70;

/** Screens without a pointer that hovers. */
const TOUCH = matchMedia("(hover: none)");

/**
 * The rows that are drawn, the hour that is read in each, and the words of the last one that was.
 * @type {{ start: number, rows: readonly StripRow[], hours: number[], reading: string }}
 */
const drawn = { start: 0, rows: [], hours: [], reading: "" };

/**
 * The color of a share of the safe limit.
 * @param {number | null | undefined} percent
 */
const stripColor = (percent) => {
  if (!isNumber(percent)) return "var(--raised)";
  if (percent > 100) return "var(--warn)";
  const level = Math.min(LEVELS - 1, Math.floor((percent / 100) * LEVELS));
  const step = Math.floor(level / 2);
  return level % 2 ? `color-mix(in oklab, var(--ramp-${step}), var(--ramp-${step + 1}))` : `var(--ramp-${step})`;
};

/**
 * A row of colors as a CSS gradient; equal hours are one part of it.
 * @param {readonly (number | null)[]} percents
 */
export const gradient = (percents) => {
  const stops = [];
  for (let i = 0; i < percents.length; ) {
    const color = stripColor(percents[i]);
    let end = i + 1;
    while (end < percents.length && stripColor(percents[end]) === color) end += 1;
    const [from, to] = [i, end].map((place) => `${((100 * place) / percents.length).toFixed(2)}%`);
    stops.push(`${color} ${from} ${to}`);
    i = end;
  }
  return `linear-gradient(90deg, ${stops.join(", ")})`;
};

/** @param {StripRow} row */
export const rowName = ({ service, pool }) => (service ? inWords(service) : `pool ${inWords(pool)}`);

/** @param {StripRow} row */
export const rowLink = (row) => {
  const { service, pool } = row;
  if (!service) return h("span", null, `pool ${inWords(pool)}`);
  return link(serviceHref(service), breakable(localName(service)), service);
};

/**
 * Whether a row is the one that the chart shows: that of the address, else the most urgent one.
 * @param {StripRow} row
 * @param {number} i its place
 */
export const isChosen = ({ service, pool }, i) => {
  if (!param("service") && !param("pool")) return i === 0;
  return (service ?? "") === param("service") && (!param("pool") || pool === param("pool"));
};

/** @param {StripRow} row */
export const choose = ({ service, pool }) => navigate(hrefWith({ service, pool: pool || null }), true);

/**
 * What a strip says of an hour: "tomorrow at 11:00: 92% of hourly safe limit (80% upper bound 108%)".
 * @param {StripRow} row
 * @param {number} hour
 * @param {number} start Unix seconds
 * @param {number} now Unix seconds
 */
export const hourText = (row, hour, start, now) => {
  const median = row.median[hour];
  const upper = row.upper[hour];
  const when = formatMoment(start + hour * HOUR_SECONDS, now);
  if (!isNumber(median)) return `${when}: ${CAPACITY_TEXTS.unknown}`;
  const bound = isNumber(upper) ? ` (${CAPACITY_TEXTS.upper} ${formatPercent(upper / 100)})` : "";
  return `${when}: ${formatPercent(median / 100)} ${CAPACITY_TEXTS.of_safe}${bound}`;
};

/**
 * The beginnings of days, as shares of the strip.
 * @param {number} start Unix seconds
 * @param {number} hours
 */
const days = (start, hours) => {
  const end = start + hours * HOUR_SECONDS;
  const found = [{ at: start, left: 0 }];
  for (let day = 1; midnight(start, day) < end; day += 1) {
    const at = midnight(start, day);
    found.push({ at, left: (at - start) / (end - start) });
  }
  return found;
};

/**
 * @param {number} start
 * @param {number} hours
 * @param {number} width of the strips, pixels
 */
const axis = (start, hours, width) => {
  const marks = days(start, hours);
  const length = width / (hours / 24) < SHORT_NAME_PIXELS ? "short" : "long";
  return h(
    "div",
    { class: "strip-axis", "aria-hidden": "true" },
    marks.map(({ at, left }, i) => {
      const next = marks[i + 1]?.left ?? 1;
      const name = next - left > 0.06 ? dayName(at, hubTime(), length) : "";
      return h("span", { class: i ? "day" : "day first", style: `left: ${(100 * left).toFixed(2)}%` }, name);
    }),
  );
};

/**
 * The place of the middle of an hour on a strip.
 * @param {StripRow} row
 * @param {number} hour
 */
const cursor = (row, hour) => `${(100 * (hour + 0.5)) / row.median.length}%`;

/**
 * @param {StripRow} row
 * @param {number} i
 * @param {number} start
 */
const strip = (row, i, start) => {
  if (!row.median.length) return h("div", { class: "strip unknown" }, CAPACITY_TEXTS.no_limit);
  const hour = Math.min(drawn.hours[i] ?? 0, row.median.length - 1);
  return h("div", {
    class: "strip",
    "data-strip": i,
    tabindex: "0",
    role: "slider",
    "aria-label": `${rowName(row)}, share of hourly safe limit`,
    "aria-valuemin": "0",
    "aria-valuemax": row.median.length - 1,
    "aria-valuenow": hour,
    "aria-valuetext": hourText(row, hour, start, hubTime()),
    style: `--median: ${gradient(row.median)}; --upper: ${gradient(row.upper)}; --cursor: ${cursor(row, hour)}`,
  });
};

/** @param {StripRow} row */
const peak = (row) => {
  const isOver = (row.peak ?? 0) > 1;
  return h(
    "span",
    { class: isOver ? "strip-peak poor" : "strip-peak" },
    h("small", null, `${CAPACITY_TEXTS.peak} `),
    isNumber(row.peak) && row.safe !== 0 ? formatPercent(row.peak) : "–",
  );
};

const legend = () =>
  h(
    "p",
    { class: "legend strip-legend" },
    h("span", null, "Of hourly safe limit: 0%"),
    h("span", {
      class: "strip-scale",
      style: `background: ${gradient(Array.from({ length: LEVELS }, (_, i) => (100 * (i + 0.5)) / LEVELS))}`,
      "aria-hidden": "true",
    }),
    h("span", null, "100%"),
    h("span", { class: "key strip-over" }, "above hourly safe limit"),
    h("span", { class: "key strip-bands" }, `thin band: ${CAPACITY_TEXTS.upper}; thick band: median`),
  );

/**
 * Draw the strips into an element.
 * @param {Element | null} body
 * @param {CapacityData} data
 */
export const drawStrips = (body, { start, rows = [], hidden }) => {
  if (!body || !isNumber(start)) return;
  Object.assign(drawn, { start, rows });
  const hours = Math.max(...rows.map(({ median }) => median.length), 1);
  const lines = days(start, hours).slice(1);
  const grid = lines.map(({ left }) => `var(--line) ${(100 * left).toFixed(2)}%`);
  put(
    body,
    legend(),
    h(
      "div",
      { class: "strips", "data-days": grid.length },
      axis(start, hours, body.clientWidth * (body.clientWidth < 600 ? 1 : 0.7)),
      rows.map((row, i) =>
        h(
          "div",
          { class: isChosen(row, i) ? "strip-row current" : "strip-row" },
          h(
            "div",
            { class: "strip-name" },
            rowLink(row),
            row.service && row.pool ? h("small", null, ` ${row.pool}`) : null,
          ),
          h(
            "div",
            { class: "strip-cell" },
            strip(row, i, start),
            lines.map(({ left }) => h("i", { class: "midnight", style: `left: ${(100 * left).toFixed(2)}%` })),
          ),
          peak(row),
        ),
      ),
    ),
    h(
      "p",
      { id: "strip-reading", class: "note" },
      drawn.reading || (TOUCH.matches ? CAPACITY_TEXTS.tap_hour : CAPACITY_TEXTS.point_at_hour),
    ),
    hidden ? h("p", { class: "note" }, `${hidden} more: `, h("a", { href: "/api/forecast" }, "/api/forecast")) : null,
  );
};

/**
 * Read an hour of a strip aloud and below the strips.
 * @param {HTMLElement} element
 * @param {number} hour
 */
const read = (element, hour) => {
  const i = Number(element.dataset.strip);
  const row = drawn.rows[i];
  if (!row) return;
  const at = Math.max(0, Math.min(row.median.length - 1, hour));
  drawn.hours[i] = at;
  const text = hourText(row, at, drawn.start, hubTime());
  element.setAttribute("aria-valuenow", String(at));
  element.setAttribute("aria-valuetext", text);
  element.style.setProperty("--cursor", cursor(row, at));
  drawn.reading = `${rowName(row)}, ${text}`;
  setText(requireId("strip-reading"), drawn.reading);
};

/** @param {Event} event */
const stripOf = (event) => {
  const found = event.target instanceof Element ? event.target.closest("[data-strip]") : null;
  return found instanceof HTMLElement ? found : null;
};

/** @type {Readonly<Record<string, number>>} */
const KEYS = {
  ArrowRight: 1,
  ArrowLeft: -1,
  ArrowUp: 1,
  ArrowDown: -1,
  PageUp: 24,
  PageDown: -24,
  Home: -1e6,
  End: 1e6,
};

/**
 * Let the strips of an element be read by pointer and keys, and chosen.
 * @param {HTMLElement} body
 * @param {() => void} onChoose
 */
export const followStrips = (body, onChoose) => {
  const chooseStrip = (/** @type {HTMLElement} */ element) => {
    const row = drawn.rows[Number(element.dataset.strip)];
    if (!row) return;
    choose(row);
    onChoose();
  };
  const readAt = (/** @type {PointerEvent | MouseEvent} */ event) => {
    const element = stripOf(event);
    if (!element) return;
    const { left, width } = element.getBoundingClientRect();
    const hours = drawn.rows[Number(element.dataset.strip)]?.median.length ?? 0;
    read(element, Math.floor(((event.clientX - left) / width) * hours));
  };
  body.addEventListener("pointermove", readAt);
  body.addEventListener("focusin", (event) => {
    const element = stripOf(event);
    if (element) read(element, drawn.hours[Number(element.dataset.strip)] ?? 0);
  });
  body.addEventListener("keydown", (event) => {
    const element = stripOf(event);
    if (!element) return;
    const move = KEYS[event.key];
    if (move) read(element, (drawn.hours[Number(element.dataset.strip)] ?? 0) + move);
    else if (event.key === "Enter" || event.key === " ") chooseStrip(element);
    else return;
    event.preventDefault();
  });
  body.addEventListener("click", (event) => {
    const element = stripOf(event);
    if (event.detail) readAt(event);
    if (element) chooseStrip(element);
  });
};
