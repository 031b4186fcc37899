// A cell in a matrix of GPU wait: the share of time that one service waits on another, an upper bound.
import { h } from "#web/assets/dom.js";
import { formatPercent, isNumber, plural } from "#web/assets/format.js";

/** A smaller share of time is no wait. */
export const MIN_WAIT_RATIO = 0.005;
const FULL_HEAT_RATIO = 0.5;
const MAX_HEAT_PERCENT = 60;

/** @param {number | null} ratio */
const heatPercent = (ratio) => Math.round(Math.min((ratio ?? 0) / FULL_HEAT_RATIO, 1) * MAX_HEAT_PERCENT);

/**
 * A cell that links to its pair: red for a pair in an open incident, otherwise on the neutral ramp.
 * @param {object} pair
 * @param {string} pair.victim the service that waits
 * @param {string} pair.aggressor the service that it waits on
 * @param {number | null} pair.ratio share of time, null without data
 * @param {number} pair.gpus number of shared GPUs
 * @param {boolean} pair.inIncident
 * @param {string} pair.href
 * @param {boolean} [pair.isOpen] whether the page shows this pair
 */
export const waitCell = ({ victim, aggressor, ratio, gpus, inIncident, href, isOpen = false }) => {
  const count = plural(gpus, "GPU");
  const wait = isNumber(ratio) ? `up to ${formatPercent(ratio)} of the time` : "(no data)";
  const label = `${victim} waits on ${aggressor} ${wait}, ${count}${inIncident ? ", in an open incident" : ""}`;
  const kinds = ["wait", inIncident && "incident", isOpen && "open"];
  return h(
    "td",
    { class: kinds.filter(Boolean).join(" "), style: `--heat:${heatPercent(ratio)}%` },
    h(
      "a",
      { href, "data-go": true, title: label, "aria-label": label, "aria-current": isOpen ? "true" : null },
      isNumber(ratio) ? formatPercent(ratio) : "no data",
      h("small", null, count),
    ),
  );
};
