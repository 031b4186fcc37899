// What several pages say of an incident.
import { link, pageHref, slowestTracesHref } from "#web/assets/address.js";
import { clausesText } from "#web/assets/clock.js";
import { h } from "#web/assets/dom.js";
import { healthState } from "#web/assets/timeline/signs.js";
import { atRangeEnd, formatUnix } from "#web/assets/widgets/time_range.js";

/** @typedef {import("#web/assets/payload.d.ts").Incident} Incident */

/** Seconds that are shown before an incident began, and its end that is left out. */
const [LEAD_SECONDS, TAIL_SECONDS] = [600, 20];

/**
 * The cause of an incident in words; nothing has happened yet where it has no victims.
 * @param {Pick<Incident, "cause" | "victims">} incident
 * @param {Record<string, string>} [words] by cause, where others than its name are wanted
 */
export const causeText = ({ cause, victims }, words = {}) => {
  const name = cause.replaceAll("_", " ");
  return victims.length ? words[cause] || name : `${name} may come`;
};

/**
 * The recommended action against an incident.
 * @param {import("#web/assets/payload.d.ts").Action} action
 */
export const actionStep = ({ clauses }) => {
  const text = clausesText(clauses);
  const sentence = `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
  return h("p", { class: "step" }, h("b", null, "Do now"), h("span", null, sentence));
};

/**
 * The parameters from and to that show an ended incident as it was shortly before its end; null each while it is open.
 * @param {Pick<Incident, "since" | "until">} incident
 */
export const incidentRange = ({ since, until }) => ({
  from: until ? formatUnix(since - LEAD_SECONDS) : null,
  to: until ? formatUnix(until - TAIL_SECONDS) : null,
});

/**
 * The state of an incident that is open.
 * @param {string} phase
 */
export const phaseState = (phase) => healthState(phase === "advisory" ? "warning" : "critical", phase);

/**
 * The address of the post-mortem of an incident.
 * @param {string} id
 */
export const reportHref = (id) => atRangeEnd(`/api/report/${encodeURIComponent(id)}?as=zip`);

/**
 * A link to the slowest traces of a service.
 * @param {string} service
 * @param {string} text
 */
export const slowestTracesLink = (service, text) => link(slowestTracesHref(service), text);

/**
 * The address of an incident on the Cascade page.
 * @param {string} incident id
 */
export const incidentHref = (incident) => pageHref("/cascade", { incident });
