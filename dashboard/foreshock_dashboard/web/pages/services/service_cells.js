// How values of services are shown, in the table of all and on the page of one.
import { link, serviceHref } from "#web/assets/address.js";
import { h } from "#web/assets/dom.js";
import { formatMultiple, formatPercent, formatSeconds, isNumber, truncate } from "#web/assets/format.js";
import { serviceDot } from "#web/assets/timeline/signs.js";
import { breakable } from "#web/assets/widgets/widgets.js";

/** @typedef {import("#web/pages/services/payload.d.ts").ServiceValues} ServiceValues */

const MANY_ATTEMPTS = 1.2;

export const ERROR_RATE_LIMITS = /** @type {const} */ ({ poor: 0.01, bad: 0.05 });
export const WAIT_LIMITS = /** @type {const} */ ({ poor: 0.1, bad: 0.3 });
export const PAIR_WAIT_LIMITS = /** @type {const} */ ({ poor: 0.05, bad: 0.2 });
export const RISK_LIMITS = /** @type {const} */ ({ poor: 0.2, bad: 0.5 });

/**
 * The class of a value that is too high; "" where it is not.
 * @param {number} value
 * @param {{ poor: number, bad: number }} limits
 */
export const limitClass = (value, { poor, bad }) => {
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

/**
 * Retries per call; null where they are not known.
 * @param {{ attempts: number | null }} row
 */
export const retriesCell = ({ attempts }) =>
  isNumber(attempts) ? h("span", { class: attempts >= MANY_ATTEMPTS ? "poor" : "" }, (attempts - 1).toFixed(2)) : null;

/**
 * A service with its color, as a link to its page.
 * @param {{ id: string, colour: number }} row
 * @param {number} maxLength
 * @param {(id: string) => string} [label]
 */
export const serviceCell = ({ id, colour }, maxLength, label = (name) => name) => [
  serviceDot(colour),
  link(serviceHref(id), breakable(truncate(label(id), maxLength)), id),
];

/**
 * The SLO of a service in words; "" where it has none.
 * @param {Pick<ServiceValues, "promise">} values
 */
export const objectiveText = ({ promise }) => {
  if (!promise) return "";
  const source = promise.learned ? "learned from what is usual" : "configured";
  return `p95 at most ${formatSeconds(promise.seconds)}, ${formatPercent(promise.failed)} failed: ${source}`;
};

/**
 * The load of a service's model servers, marked above what is safe; null where it is not known.
 * @param {Pick<ServiceValues, "load" | "safe">} values
 */
export const loadCell = ({ load, safe }) => {
  if (!isNumber(load)) return null;
  const title = isNumber(safe) ? `up to ${formatPercent(safe)} its bursts do no harm` : "what is safe is not known";
  return h("span", { class: isNumber(safe) && load > safe ? "bad" : "", title }, formatMultiple(load));
};
