// How values of services are shown, in the table of all and on the page of one.
import { link, serviceHref } from "#web/assets/address.js";
import { h } from "#web/assets/dom.js";
import {
  capitalized,
  formatLoad,
  formatMedian,
  formatPercent,
  formatSeconds,
  intervalText,
  isNumber,
  localName,
  NOT_KNOWN,
  plural,
  truncate,
} from "#web/assets/format.js";
import { breakable } from "#web/assets/widgets/widgets.js";
import { BREACH_TEXTS, SLO_NAMES, TILE_TEXTS } from "#web/assets/words.js";

/** @typedef {import("#web/pages/services/payload.d.ts").ServiceRow} ServiceRow */
/** @typedef {import("#web/pages/services/payload.d.ts").ServiceValues} ServiceValues */

const MANY_ATTEMPTS = 1.2;

export const ERROR_RATE_LIMITS = /** @type {const} */ ({ poor: 0.01, bad: 0.05 });
const MAX_SHOWN_PROBABILITY = 0.95;
const WITHIN = "probability within 10 min: ";

/**
 * The class of a value that is too high; "" where it is not.
 * @param {number} value
 * @param {{ poor: number, bad: number }} limits
 */
const limitClass = (value, { poor, bad }) => {
  if (value >= bad) return "bad";
  return value >= poor ? "poor" : "";
};

/**
 * A share, marked where it is too high; null where it is not known.
 * @param {number | null} value
 * @param {{ poor: number, bad: number }} limits
 */
export const shareCell = (value, limits) =>
  isNumber(value) ? h("span", { class: limitClass(value, limits) }, formatPercent(value)) : null;

/** @type {Record<NonNullable<ServiceRow["wait_status"]>, "" | "poor" | "bad">} */
const WAIT_CLASSES = { critical: "bad", warning: "poor", recovering: "" };

/**
 * The class of a GPU wait: a wait without an incident is neutral, as a batch job may wait all day.
 * @param {ServiceRow["wait_status"]} status of the open incident
 */
export const waitClass = (status) => (status ? WAIT_CLASSES[status] : "");

/**
 * The share of time that a service waits; null where it is not known.
 * @param {{ wait: number | null, wait_status?: ServiceRow["wait_status"] }} row
 */
export const gpuWaitCell = ({ wait, wait_status: status = null }) =>
  isNumber(wait) ? h("span", { class: waitClass(status) }, formatPercent(wait)) : null;

/**
 * The share of time that a service waits, and the number of shared GPUs that it is the mean of; null where it is not
 * known.
 * @param {ServiceRow} row
 */
export const gpuWaitOnGpusCell = (row) =>
  row.wait
    ? [gpuWaitCell(row), h("small", { class: "reference" }, ` (${plural(row.shared_gpus, "GPU")})`)]
    : gpuWaitCell(row);

/**
 * Whether some service gets retries, of which the table shows two decimals.
 * @param {readonly { attempts: number | null }[]} rows
 */
export const hasRetries = (rows) => rows.some(({ attempts }) => (attempts ?? 1) - 1 >= 0.005);

/**
 * Retries per call; null where they are not known.
 * @param {{ attempts: number | null }} row
 */
export const retriesCell = ({ attempts }) =>
  isNumber(attempts) ? h("span", { class: attempts >= MANY_ATTEMPTS ? "poor" : "" }, (attempts - 1).toFixed(2)) : null;

/**
 * A service as a link to its page.
 * @param {{ id: string }} row
 * @param {number} maxLength
 */
export const serviceCell = ({ id }, maxLength) =>
  link(serviceHref(id), breakable(truncate(localName(id), maxLength)), id);

/**
 * The SLO of a service in words; "" where it has none.
 * @param {Pick<ServiceValues, "slo">} values
 */
export const sloText = ({ slo }) => {
  if (!slo) return "";
  const name = SLO_NAMES[slo.learned ? "learned" : "set"];
  return `${capitalized(name)}: p95 ${formatSeconds(slo.p95)}, error rate ${formatPercent(slo.error_rate)}`;
};

/**
 * The class of a value beyond its limit: a warning, and critical only in an incident that is.
 * @param {number | null} value
 * @param {number | null | undefined} limit
 * @param {boolean} isCritical
 */
export const beyondClass = (value, limit, isCritical) => {
  if (!isNumber(limit) || (value ?? 0) <= limit) return "";
  return isCritical ? "bad" : "poor";
};

/**
 * A value with its reference, which the head of the column names, in brackets; null where the value is not known.
 * @param {number | null} value
 * @param {(value: number) => string} format
 * @param {number | null | undefined} limit
 * @param {object} options
 * @param {"" | "poor" | "bad"} options.kind of the value
 * @param {string | null} [options.title] what the reference is
 */
const referenceCell = (value, format, limit, { kind, title = null }) => {
  if (!isNumber(value)) return null;
  return [
    h("span", { class: kind }, format(value)),
    isNumber(limit) ? h("small", { class: "reference", title }, ` (${format(limit)})`) : null,
  ];
};

/**
 * Whether a service is in a critical state, in whose color its values beyond their limits are shown.
 * @param {Pick<ServiceRow, "health" | "stage">} row
 */
export const isCritical = ({ health, stage }) => health === "critical" || stage === "breached";

/** @typedef {Pick<ServiceRow, "health" | "stage" | "condition">} Judged */

/**
 * The class of a value beyond its SLO; "" with low traffic, where it is not judged.
 * @param {Judged} row
 * @param {number | null} value
 * @param {number | undefined} limit
 */
export const sloClass = (row, value, limit) =>
  row.condition === "low_traffic" ? "" : beyondClass(value, limit, isCritical(row));

/**
 * A value with its SLO.
 * @param {Judged & Pick<ServiceRow, "slo">} row
 * @param {number | null} value
 * @param {(value: number) => string} format
 * @param {number | undefined} limit
 */
const sloCell = (row, value, format, limit) =>
  referenceCell(value, format, limit, { kind: sloClass(row, value, limit), title: learnedTitle(row) });

/**
 * What a learned SLO is, and how to set one; null for one that is set.
 * @param {Pick<ServiceValues, "slo">} values
 */
const learnedTitle = ({ slo }) => (slo?.learned ? TILE_TEXTS.learned_slo : null);

/** @param {Judged & Pick<ServiceRow, "p95" | "slo">} row */
export const p95Cell = (row) => sloCell(row, row.p95, formatSeconds, row.slo?.p95);

/** @param {Judged & Pick<ServiceRow, "error_rate" | "slo">} row */
export const errorRateCell = (row) =>
  row.slo
    ? sloCell(row, row.error_rate, formatPercent, row.slo.error_rate)
    : shareCell(row.error_rate, ERROR_RATE_LIMITS);

/** @param {Pick<ServiceValues, "load" | "safe_load">} values */
export const loadCell = ({ load, safe_load: limit }) =>
  referenceCell(load, formatLoad, limit, { kind: beyondClass(load, limit, (load ?? 0) > 1) });

/**
 * The probability of an SLO breach within ten minutes: never more certain than it can be.
 * @param {Pick<ServiceValues, "breach_probability">} values
 */
export const probabilityText = ({ breach_probability: probability }) => {
  if (!isNumber(probability)) return "";
  if (probability > MAX_SHOWN_PROBABILITY) return `${WITHIN}> 95%`;
  return WITHIN + (probability < 1 - MAX_SHOWN_PROBABILITY ? "< 5%" : formatPercent(probability));
};

/** @typedef {Pick<ServiceValues, "breach_probability" | "breach_seconds"> & { condition?: string }} Forecast */

/**
 * That it is in breach, the median of an expected breach, or that it is unlikely; a service with low traffic is not
 * judged.
 * @param {Forecast} values
 */
export const breachText = ({ breach_probability: probability, breach_seconds: seconds, condition }) => {
  if (condition === "low_traffic") return NOT_KNOWN;
  if (!seconds) return isNumber(probability) ? BREACH_TEXTS.none : NOT_KNOWN;
  return seconds.p50 === 0 ? BREACH_TEXTS.now : formatMedian(seconds.p50);
};

/**
 * The interval of a breach that is expected and does not last; null without one.
 * @param {Forecast} values
 */
export const breachInterval = ({ breach_seconds: seconds, condition }) =>
  seconds && seconds.p50 !== 0 && condition !== "low_traffic" ? intervalText(seconds) || null : null;

/** @param {Pick<ServiceRow, "breach_seconds" | "health" | "stage">} row */
export const breachClass = (row) => {
  if (!row.breach_seconds) return "";
  return row.breach_seconds.p50 === 0 && isCritical(row) ? "bad" : "poor";
};

/**
 * The rank of a breach forecast, the more urgent the larger; null where nothing is known. The sooner of the expected
 * breaches, then the more probable of the others.
 * @param {Forecast & Pick<ServiceValues, "slo">} values
 */
export const breachRank = ({ slo, breach_probability: probability, breach_seconds: seconds, condition }) => {
  if (!slo || condition === "low_traffic") return null;
  return seconds ? 1 + 1 / (1 + (seconds.p50 ?? Number.POSITIVE_INFINITY)) : probability;
};

/**
 * The forecast, and its interval below; both break where a phone has no room between their words alone.
 * @param {Pick<ServiceRow, "breach_probability" | "breach_seconds" | "health" | "stage" | "slo">} row
 */
export const breachCell = (row) => {
  if (breachRank(row) === null) return null;
  const text = breachText(row).replaceAll(/(?<!median) /g, "\u00a0");
  const interval = breachInterval(row)?.replaceAll(/(?<!:) /g, "\u00a0");
  return [
    h("span", { class: breachClass(row), title: probabilityText(row) }, text),
    h("small", { class: "reference interval" }, interval),
  ];
};
