// The five numbers below the verdict, each beside its limit.
import { pageHref } from "#web/assets/address.js";
import { byId, h, put } from "#web/assets/dom.js";
import { formatDuration, formatLoad, formatPercent, formatValue, isNumber, NOT_KNOWN } from "#web/assets/format.js";
import { AT_RISK_SIGN, HEALTH_SIGNS, hiddenSign } from "#web/assets/timeline/signs.js";
import * as timeRange from "#web/assets/widgets/time_range.js";
import { sparkline } from "#web/assets/widgets/widgets.js";

/** @typedef {import("#web/pages/now/payload.d.ts").NowData} NowData */
/** @typedef {import("#web/pages/now/payload.d.ts").Tile} Tile */

/** @type {Record<Tile["status"], string>} */
const SIGNS = { ...HEALTH_SIGNS, ok: "" };
/** Difference from the page's time range up to which a sparkline counts as covering it. */
const RANGE_TOLERANCE_SECONDS = 60;

/**
 * The address of a tile's page, with the time range.
 * @param {string} href
 */
const withRange = (href) => {
  const [path = "/", query = ""] = href.split("?");
  return pageHref(path, Object.fromEntries(new URLSearchParams(query)));
};

/** @typedef {NonNullable<Tile["slo"]>} SloStatus */
/** @type {readonly (readonly ["breached" | "degraded" | "at_risk", (slo: SloStatus) => string])[]} */
const SLO_STATES = [
  ["breached", ({ breached }) => `${breached} breached`],
  ["degraded", ({ degraded }) => `${degraded} degraded`],
  ["at_risk", ({ at_risk }) => `${at_risk} at risk`],
];

/** @param {SloStatus} slo */
const withinText = ({ within, without, ...troubled }) => {
  const isMet = SLO_STATES.every(([state]) => !troubled[state]);
  const others = without ? `, ${without} ${without === 1 ? "has" : "have"} no SLO` : "";
  return `${within} ${isMet ? "within SLO" : "healthy"}${others}`;
};

/**
 * The service or pair of a tile; of the SLOs, the services without trouble where the line above has the others.
 * @param {Tile} tile
 * @param {string} note
 */
const whoText = ({ who, slo, ...tile }, note) => {
  if (hasNoErrors(tile)) return "";
  return slo && note !== withinText(slo) ? withinText(slo) : who;
};

/** @param {Pick<Tile, "name" | "value">} tile */
const hasNoErrors = ({ name, value }) => value === 0 && name.startsWith("Error rate");

/** @param {Tile} tile */
const valueText = ({ name, value, unit, slo }) => {
  if (!isNumber(value)) return NOT_KNOWN;
  if (slo) return SLO_STATES.find(([state]) => slo[state])?.[1](slo) ?? "Met";
  if (hasNoErrors({ name, value })) return "No errors now";
  return name === "Peak load" ? formatLoad(value).replace(" capacity", "") : formatValue(value, unit);
};

/**
 * @param {Tile} tile
 * @param {boolean} isLearning
 */
const limitText = ({ name, value, unit, limit, limit_kind, usage, slo }, isLearning) => {
  if (slo) {
    const further = SLO_STATES.filter(([state]) => slo[state]).slice(1);
    return further.map(([, text]) => text(slo)).join(", ") || withinText(slo);
  }
  if (!isNumber(value)) return isLearning ? "No baseline yet" : "No data";
  if (!isNumber(limit)) return "No baseline yet";
  if (hasNoErrors({ name, value })) return "in all services with an SLO";
  const text = `${limit_kind} ${name === "Peak load" ? formatLoad(limit) : formatValue(limit, unit)}`;
  const isCapped = name === "Peak load" && formatLoad(value) !== formatPercent(value);
  if (!isNumber(usage) || isCapped) return text;
  if (usage > 1) return `${formatRatio(usage)} its ${text}`;
  return unit === "ratio" ? text : `${formatPercent(usage)} of ${text}`; // two percentages would be one too many
};

/**
 * How many times a limit: "1.67x", "21x".
 * @param {number} ratio
 */
const formatRatio = (ratio) => `${ratio >= 10 ? ratio.toFixed(0) : Number(ratio.toPrecision(3))}x`;

/**
 * The sign of a tile: hollow while services are only at risk.
 * @param {Tile} tile
 */
const signOf = ({ status, slo }) =>
  status === "warning" && slo && !slo.breached && !slo.degraded ? AT_RISK_SIGN : SIGNS[status];

/**
 * The time that sparklines cover, where it is not the page's time range; else "".
 * @param {number} seconds
 */
const otherRange = (seconds) => {
  const [start, end] = timeRange.bounds();
  return Math.abs(end - start - seconds) > RANGE_TOLERANCE_SECONDS ? formatDuration(seconds) : "";
};

/**
 * @param {Tile} tile
 * @param {string} range of its sparkline, "" for the page's
 * @param {boolean} isLearning
 */
const tileLink = (tile, range, isLearning) => {
  const { name, status, href, limit, spark } = tile;
  const [value, note] = [valueText(tile), limitText(tile, isLearning)];
  const [who, sign] = [whoText(tile, note), signOf(tile)];
  const chart = sparkline(spark, { limit, kind: status });
  return h(
    "a",
    {
      class: `figure ${status}${tile.slo ? " states" : ""}`,
      href: withRange(href),
      "data-go": true,
      "aria-label": [`${name}: ${value}`, who, note].filter(Boolean).join(", "),
    },
    h("span", { class: "figure-row figure-name" }, name, chart && range ? h("span", null, range) : null),
    h(
      "span",
      { class: "figure-row" },
      h("b", null, sign ? [h("span", { class: "sign" }, hiddenSign(sign)), " "] : null, value),
      chart,
    ),
    tile.slo ? null : h("span", { class: "figure-note who", title: who || null }, who || " "),
    h("span", { class: "figure-note" }, note),
    tile.slo ? h("span", { class: "figure-note" }, who || " ") : null,
  );
};

/**
 * Draw the tiles.
 * @param {NowData} data
 */
export const drawTiles = ({ tiles, spark_seconds, learning }) => {
  const range = otherRange(spark_seconds);
  put(
    byId("figures"),
    tiles.map((tile) => tileLink(tile, range, !learning.done)),
  );
};
