// Small parts of panels: figures, sparklines, heat, and names that may break.
import { h, s } from "#web/assets/dom.js";
import { isNumber } from "#web/assets/format.js";

/** @typedef {import("#web/assets/dom.js").Content} Content */

/**
 * A value with its name above it.
 * @param {string} name
 * @param {string} value
 * @param {object} [options]
 * @param {string} [options.note] after the value
 * @param {"" | "poor" | "bad"} [options.mark] of a value beyond its limit
 * @param {string | null} [options.title]
 */
export const figure = (name, value, { note = "", mark = "", title = null } = {}) =>
  h(
    "div",
    { class: `figure ${mark}`, title },
    h("span", { class: "figure-name" }, name),
    h("span", null, h("b", null, value), note ? ` ${note}` : ""),
  );

const MAX_UNBROKEN = 24;

/**
 * Text that may break at its spaces, and at the slashes and hyphens of long names only.
 * @param {string} text
 * @returns {Content[]}
 */
export const breakable = (text) =>
  text.split(/(?<=\s)/).flatMap((word) => {
    const name = word.trimEnd();
    const parts = name.split(/(?<=[^/]\/)/).flatMap((part, i) => (i ? [h("wbr"), part] : [part]));
    const isShort = name.length <= MAX_UNBROKEN && /[-/]/.test(name);
    // The space is outside, so that the line may break at it.
    return [isShort ? h("span", { class: "unbroken" }, parts) : parts, word.slice(name.length)];
  });

/**
 * The path of a line through values from left to right; gaps stay gaps.
 * @param {readonly (number | null)[]} values
 * @param {number} width
 * @param {(value: number) => number} y
 */
export const linePath = (values, width, y) => {
  let command = "M";
  let path = "";
  values.forEach((value, i) => {
    if (isNumber(value)) {
      const x = (i / Math.max(1, values.length - 1)) * width;
      path += `${command}${x.toFixed(1)} ${y(value).toFixed(1)}`;
    }
    command = isNumber(value) ? "L" : "M";
  });
  return path;
};

/** Upper end of the scale of a sparkline, in its largest value or its limit. */
const SCALE = 1.1;

/**
 * A small line over time from zero, with its limit as a dashed line; null with fewer than two values.
 * @param {readonly (number | null)[]} values
 * @param {object} [options]
 * @param {readonly (number | null)[]} [options.judged] those of the values that count; the others are dotted
 * @param {number | null} [options.limit]
 * @param {string} [options.kind] a class that gives the color
 * @param {string | null} [options.label] for screen readers
 * @param {string | null} [options.title]
 * @param {number} [options.width]
 */
export const sparkline = (values, options = {}) => {
  const { judged = values, limit = null, kind = "", label = null, title = null, width = 96 } = options;
  const height = 24;
  const measured = values.filter(isNumber);
  if (measured.length < 2) return null;
  const top = SCALE * Math.max(...measured, limit ?? 0) || 1;
  const y = (/** @type {number} */ value) => height - 2 - (value / top) * (height - 4);
  const role = label ? { role: "img", "aria-label": label } : { "aria-hidden": "true" };
  return s(
    "svg",
    { width, height, viewBox: `0 0 ${width} ${height}`, class: `spark ${kind}`, ...role },
    title ? s("title", null, title) : null,
    judged === values ? null : s("path", { d: linePath(values, width, y), class: "not-judged" }),
    s("path", { d: linePath(judged, width, y) }),
    isNumber(limit) ? s("line", { x1: 0, x2: width, y1: y(limit), y2: y(limit), class: "limit" }) : null,
  );
};

const FULL_HEAT_RATIO = 0.5;
const MAX_HEAT_PERCENT = 60;

/**
 * How strong the color of a cell for a share of time is, in percent.
 * @param {number | null} ratio
 */
export const heatPercent = (ratio) => Math.round(Math.min((ratio || 0) / FULL_HEAT_RATIO, 1) * MAX_HEAT_PERCENT);
