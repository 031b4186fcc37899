// The five numbers below the verdict, each beside its limit.
import { pageHref } from "#web/assets/address.js";
import { formatTimestamp } from "#web/assets/clock.js";
import { byId, h, put, unbrokenWords } from "#web/assets/dom.js";
import {
  formatDuration,
  formatLoad,
  formatPercent,
  formatValue,
  inWords,
  isNumber,
  NOT_KNOWN,
  shownValue,
} from "#web/assets/format.js";
import { AT_RISK_SIGN, HEALTH_SIGNS, hiddenSign } from "#web/assets/timeline/signs.js";
import * as timeRange from "#web/assets/widgets/time_range.js";
import { sparkline } from "#web/assets/widgets/widgets.js";
import { SIGNAL_MEANINGS, SLO_COUNTS, TILE_TEXTS } from "#web/assets/words.js";

/** @typedef {import("#web/pages/now/payload.d.ts").NowData} NowData */
/** @typedef {import("#web/pages/now/payload.d.ts").Tile} Tile */

/** @type {Record<Tile["status"], string>} */
const SIGNS = { ...HEALTH_SIGNS, ok: "" };
const HIGHEST_LOAD = "Highest request load";
const GPU_WAIT = "Highest GPU wait (serving)";
const SPARK_WIDTH = 72;
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
const SLO_STATES = /** @type {const} */ (["breached", "degraded", "at_risk"]);

/**
 * Counts of services by state, as far as there are any: "1 degraded, 2 at risk".
 * @param {SloStatus} slo
 * @param {readonly (keyof typeof SLO_COUNTS)[]} states
 */
const countsText = (slo, states) =>
  states
    .filter((state) => slo[state])
    .map((state) => `${slo[state]} ${SLO_COUNTS[state]}`)
    .join(", ");

/**
 * The services in the other states, without those that the value of the tile counts.
 * @param {SloStatus} slo
 */
const othersText = (slo) => {
  const [shown, ...others] = SLO_STATES.filter((state) => slo[state]);
  const within = slo.within ? `${slo.within} ${shown ? TILE_TEXTS.others_within : TILE_TEXTS.within}` : "";
  return [countsText(slo, others), within, countsText(slo, ["few", "without", "unknown"])].filter(Boolean).join(", ");
};

/**
 * The service or pair of a tile; without any error, what the worst was before.
 * @param {Tile} tile
 */
const whoText = (tile) => {
  if (!hasNoErrors(tile)) return tile.who;
  const { peak, unit } = tile;
  return peak ? `${TILE_TEXTS.before} ${formatValue(peak.value, unit)} (SLO ${formatValue(peak.limit, unit)})` : "";
};

/** @param {Pick<Tile, "value" | "unit" | "limit_kind">} tile */
const hasNoErrors = ({ value, unit, limit_kind }) => value === 0 && unit === "ratio" && limit_kind === "SLO";

/**
 * Whether a tile says how many times its SLO a value is: one far beyond a short SLO may be less than one within a long
 * one.
 * @param {Tile} tile
 */
const isRatio = ({ limit_kind, usage }) => limit_kind === "SLO" && isNumber(usage);

/**
 * Value over limit, of the two as they are shown, unless they are shown alike.
 * @param {Pick<Tile, "value" | "limit" | "unit" | "usage">} tile
 */
export const shownRatio = ({ value, limit, unit, usage }) => {
  const ratio = shownValue(value ?? 0, unit) / shownValue(limit ?? 0, unit);
  return isNumber(ratio) && (ratio !== 1 || value === limit) ? ratio : (usage ?? 0);
};

/** @param {Tile} tile */
const valueText = (tile) => {
  const { name, value, unit, limit_kind, slo } = tile;
  if (!isNumber(value)) return NOT_KNOWN;
  if (slo) return countsText(slo, SLO_STATES.filter((state) => slo[state]).slice(0, 1)) || TILE_TEXTS.met;
  if (hasNoErrors({ value, unit, limit_kind })) return TILE_TEXTS.no_errors;
  return name === HIGHEST_LOAD ? formatLoad(value) : formatValue(value, unit);
};

/**
 * @param {Tile} tile
 * @param {boolean} isLearning
 */
const limitText = (tile, isLearning) => {
  const { name, value, unit, limit, limit_kind, slo, status, peak } = tile;
  if (slo) return othersText(slo);
  if (!isNumber(value)) return isLearning ? TILE_TEXTS.no_baseline : TILE_TEXTS.no_data;
  if (!isNumber(limit)) return TILE_TEXTS.no_baseline;
  if (hasNoErrors(tile)) {
    return peak ? `${inWords(peak.service)}, ${formatTimestamp(peak.at)}` : TILE_TEXTS.all_services;
  }
  if (name === HIGHEST_LOAD) {
    const above = value > limit ? `${TILE_TEXTS.above} ` : "";
    return `${TILE_TEXTS.of_capacity} ${above}${limit_kind} ${formatLoad(limit)}`;
  }
  const text = `${limit_kind} ${formatValue(limit, unit)}`;
  if (limit_kind === "baseline") return status === "ok" ? `${text}: ${TILE_TEXTS.normal}` : text;
  const ratio = isRatio(tile) ? shownRatio(tile) : Number.NaN;
  return ratio <= 1 ? `${formatPercent(ratio)} ${TILE_TEXTS.of} ${text}` : `${text}${beyondText(ratio)}`;
};

/**
 * How many times its SLO a value is, beyond it: " (1.67x)", " (21x)"; never "1x".
 * @param {number} ratio
 */
const beyondText = (ratio) =>
  ratio > 1 ? ` (${ratio >= 10 ? ratio.toFixed(0) : Math.max(1.01, ratio).toFixed(2)}x)` : "";

/**
 * The sign of a tile: hollow while services are only at risk; none where the value is not known.
 * @param {Tile} tile
 */
const signOf = ({ status, slo, value }) => {
  if (!isNumber(value)) return "";
  return status === "warning" && slo && !slo.breached && !slo.degraded ? AT_RISK_SIGN : SIGNS[status];
};

/**
 * The time that sparklines cover, where it is not the page's time range; else "".
 * @param {number} seconds
 */
const otherRange = (seconds) => {
  const [start, end] = timeRange.bounds();
  return Math.abs(end - start - seconds) > RANGE_TOLERANCE_SECONDS ? formatDuration(seconds) : "";
};

/**
 * What the figure of a tile means, for its tooltip.
 * @param {Tile} tile
 */
const tileTitle = ({ name, slo }) => {
  if (slo?.learned) return TILE_TEXTS.learned;
  if (name === GPU_WAIT) return SIGNAL_MEANINGS.gpu_wait;
  return name === HIGHEST_LOAD ? TILE_TEXTS.request_load : null;
};

/**
 * @param {Tile} tile
 * @param {string} range of its sparkline, "" for the page's
 * @param {boolean} isLearning
 */
const tileLink = (tile, range, isLearning) => {
  const { name, status, href, limit, limit_kind, spark } = tile;
  const [value, note] = [valueText(tile), limitText(tile, isLearning)];
  const [who, sign] = [whoText(tile), signOf(tile)];
  const chart = sparkline(spark, {
    limit: limit_kind === "baseline" ? null : limit, // its line is a limit, and a baseline is none
    kind: status,
    width: SPARK_WIDTH,
  });
  return h(
    "a",
    {
      class: `figure ${status}${tile.slo ? " states" : ""}`,
      href: withRange(href),
      "data-go": true,
      title: tileTitle(tile),
      "aria-label": [`${name}: ${value}`, who, note].filter(Boolean).join(", "),
    },
    h("span", { class: "figure-row figure-name" }, name, chart && range ? h("span", null, range) : null),
    h(
      "span",
      { class: "figure-row" },
      h("b", null, sign ? [h("span", { class: "sign" }, hiddenSign(sign)), " "] : null, value),
      chart,
    ),
    h("span", { class: "figure-note who", title: who || null }, who ? unbrokenWords(who) : " "),
    h("span", { class: "figure-note" }, note),
  );
};

/**
 * Draw the tiles; a healthy verdict says of the SLOs all that theirs would, unless it has to name services.
 * @param {NowData} data
 */
export const drawTiles = ({ tiles, spark_seconds, learning, verdict }) => {
  const range = otherRange(spark_seconds);
  const shown = tiles.filter(({ slo }) => !slo || verdict.state !== "healthy" || slo.degraded || slo.at_risk);
  put(
    byId("figures"),
    shown.map((tile) => tileLink(tile, range, !learning.done)),
  );
};
