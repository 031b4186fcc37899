// The five numbers below the verdict, each beside its limit.
import { pageHref } from "#web/assets/address.js";
import { byId, h, put } from "#web/assets/dom.js";
import { formatLoad, formatValue, isNumber, NOT_KNOWN } from "#web/assets/format.js";
import { hiddenSign } from "#web/assets/timeline/signs.js";
import { sparkline } from "#web/assets/widgets/widgets.js";

/** @typedef {import("#web/pages/now/payload.d.ts").NowData} NowData */
/** @typedef {import("#web/pages/now/payload.d.ts").Tile} Tile */

/** @type {Record<Tile["status"], string>} */
const SIGNS = { critical: "■", warning: "◆", ok: "", unknown: "?" };

/**
 * The address of a tile's page, with the time range.
 * @param {string} href
 */
const withRange = (href) => {
  const [path = "/", query = ""] = href.split("?");
  return pageHref(path, Object.fromEntries(new URLSearchParams(query)));
};

/** @param {Tile} tile */
const valueText = ({ name, value, unit, slo }) => {
  if (!isNumber(value)) return NOT_KNOWN;
  if (slo?.breached) return `${slo.breached} breached`;
  if (slo) return slo.at_risk ? `${slo.at_risk} at risk` : "Met";
  return name === "Peak load" ? formatLoad(value).replace(" capacity", "") : formatValue(value, unit);
};

/**
 * @param {Tile} tile
 * @param {boolean} isLearning
 */
const limitText = ({ name, value, unit, limit, limit_kind, slo }, isLearning) => {
  if (slo) {
    const atRisk = slo.breached && slo.at_risk ? `${slo.at_risk} at risk` : "";
    return [atRisk, `${slo.within} within SLO`, slo.without ? `${slo.without} without SLO` : ""]
      .filter(Boolean)
      .join(", ");
  }
  if (!isNumber(value)) return isLearning ? "No baseline yet" : "No data";
  if (!isNumber(limit)) return "No baseline yet";
  const text = name === "Peak load" ? formatLoad(limit) : formatValue(limit, unit);
  return `${limit_kind}${limit_kind === "baseline" ? " ≤" : ""} ${text}`;
};

/**
 * @param {Tile} tile
 * @param {boolean} isLearning
 */
const tileLink = (tile, isLearning) => {
  const { name, who, status, href, limit, spark } = tile;
  const [value, note] = [valueText(tile), limitText(tile, isLearning)];
  return h(
    "a",
    {
      class: `figure ${status}`,
      href: withRange(href),
      "data-go": true,
      "aria-label": [`${name}: ${value}`, note, who].filter(Boolean).join(", "),
    },
    h("span", { class: "figure-name" }, name),
    h(
      "span",
      { class: "figure-row" },
      h("b", null, SIGNS[status] ? [h("span", { class: "sign" }, hiddenSign(SIGNS[status])), " "] : null, value),
      sparkline(spark, { limit, kind: status }),
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
