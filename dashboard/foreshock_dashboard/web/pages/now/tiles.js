// The five numbers below the verdict, each beside its limit.
import { pageHref } from "#web/assets/address.js";
import { byId, h, put } from "#web/assets/dom.js";
import { formatLoad, formatValue, isNumber, NOT_KNOWN } from "#web/assets/format.js";
import { hiddenSign } from "#web/assets/timeline/signs.js";
import { sparkline } from "#web/assets/widgets/widgets.js";

/** @typedef {import("#web/pages/now/payload.d.ts").NowData} NowData */
/** @typedef {import("#web/pages/now/payload.d.ts").Tile} Tile */

/** @type {Record<Tile["status"], string>} */
const SIGNS = { critical: "⬢", warning: "◆", ok: "", unknown: "?" };

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
  return `${within} ${isMet ? "within SLO" : "healthy"}${without ? `, ${without} without SLO` : ""}`;
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
  if (hasNoErrors({ name, value })) return "No errors";
  return name === "Peak load" ? formatLoad(value).replace(" capacity", "") : formatValue(value, unit);
};

/**
 * @param {Tile} tile
 * @param {boolean} isLearning
 */
const limitText = ({ name, value, unit, limit, limit_kind, slo }, isLearning) => {
  if (slo) {
    const further = SLO_STATES.filter(([state]) => slo[state]).slice(1);
    return further.map(([, text]) => text(slo)).join(", ") || withinText(slo);
  }
  if (!isNumber(value)) return isLearning ? "No baseline yet" : "No data";
  if (!isNumber(limit)) return "No baseline yet";
  if (hasNoErrors({ name, value })) return "in all services with an SLO";
  const text = name === "Peak load" ? formatLoad(limit) : formatValue(limit, unit);
  return `${limit_kind} ${text}`;
};

/**
 * @param {Tile} tile
 * @param {boolean} isLearning
 */
const tileLink = (tile, isLearning) => {
  const { name, status, href, limit, spark } = tile;
  const [value, note] = [valueText(tile), limitText(tile, isLearning)];
  const who = whoText(tile, note);
  const chart = sparkline(spark, { limit, kind: status });
  return h(
    "a",
    {
      class: `figure ${status}${tile.slo ? " states" : ""}`,
      href: withRange(href),
      "data-go": true,
      "aria-label": [`${name}: ${value}`, note, who].filter(Boolean).join(", "),
    },
    h("span", { class: "figure-row figure-name" }, name, chart ? h("span", null, "15 min") : null),
    h(
      "span",
      { class: "figure-row" },
      h("b", null, SIGNS[status] ? [h("span", { class: "sign" }, hiddenSign(SIGNS[status])), " "] : null, value),
      chart,
    ),
    h("span", { class: "figure-note" }, note),
    h("span", { class: "figure-note", title: who || null }, who || " "),
  );
};

/**
 * Draw the tiles.
 * @param {NowData} data
 */
export const drawTiles = ({ tiles, learning }) =>
  put(
    byId("figures"),
    tiles.map((tile) => tileLink(tile, !learning.done)),
  );
