// A cell in a matrix of GPU wait: the share of time that one service waits on another, an upper bound.
import { h } from "#web/assets/dom.js";
import { filled, formatPercent, inWords, isNumber, plural } from "#web/assets/format.js";
import { ABSENT, GPU_TEXTS, INCIDENT_MARKS } from "#web/assets/words.js";

/** @typedef {import("#web/assets/timeline/incident.js").IncidentStatus} IncidentStatus */

/**
 * Entries of a legend for the marks of open incidents.
 * @param {ReadonlySet<IncidentStatus | null>} statuses that are in the picture
 */
export const incidentKeys = (statuses) =>
  /** @type {IncidentStatus[]} */ (Object.keys(INCIDENT_MARKS))
    .filter((status) => statuses.has(status))
    .map((status) => h("span", { class: `key marked ${status}` }, INCIDENT_MARKS[status]));

/** The corner of a matrix: what its rows and columns are. */
export const MATRIX_AXES = "Row waits on column";
/** A smaller share of time is no wait. */
export const MIN_WAIT_RATIO = 0.005;
const FULL_HEAT_RATIO = 0.5;
const MAX_HEAT_PERCENT = 60;

/** @param {number | null} ratio */
const heatPercent = (ratio) => Math.round(Math.min((ratio ?? 0) / FULL_HEAT_RATIO, 1) * MAX_HEAT_PERCENT);

/**
 * A cell that links to its pair: in the color of the open incident of a pair, otherwise on the neutral ramp.
 * @param {object} pair
 * @param {string} pair.victim the service that waits
 * @param {string} pair.aggressor the service that it waits on
 * @param {number | null} pair.ratio share of time, null without data
 * @param {number} pair.gpus number of shared GPUs
 * @param {IncidentStatus | null} pair.status of the open incident of the pair
 * @param {string} pair.href
 * @param {boolean} [pair.isOpen] whether the page shows this pair
 */
export const waitCell = ({ victim, aggressor, ratio, gpus, status, href, isOpen = false }) => {
  const count = plural(gpus, "GPU");
  const wait = isNumber(ratio) ? filled(GPU_TEXTS.up_to, { share: formatPercent(ratio) }) : `(${ABSENT.data})`;
  const pair = inWords(`${victim} waits on ${aggressor}`);
  const label = `${pair} ${wait}, ${count}${status ? `, ${INCIDENT_MARKS[status]}` : ""}`;
  const kinds = ["wait", status, isOpen && "open"];
  return h(
    "td",
    { class: kinds.filter(Boolean).join(" "), style: `--heat:${heatPercent(ratio)}%` },
    h(
      "a",
      { href, "data-go": true, title: label, "aria-label": label, "aria-current": isOpen ? "true" : null },
      isNumber(ratio) ? formatPercent(ratio) : ABSENT.data,
      h("small", null, count),
    ),
  );
};
