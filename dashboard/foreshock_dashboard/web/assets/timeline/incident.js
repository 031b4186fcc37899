// What several pages say of an incident.
import { link, pageHref, slowestTracesHref } from "#web/assets/address.js";
import { clausesText } from "#web/assets/clock.js";
import { h } from "#web/assets/dom.js";
import { healthState } from "#web/assets/timeline/signs.js";
import { atRangeEnd, formatUnix } from "#web/assets/widgets/time_range.js";
import { CAUSES, SEVERITIES, STATES } from "#web/assets/words.js";

/** @typedef {import("#web/assets/payload.d.ts").Incident} Incident */

/** Seconds that are shown before an incident began, and its end that is left out. */
const [LEAD_SECONDS, TAIL_SECONDS] = [600, 20];

/**
 * The cause of an incident in words; a risk of it where no service is affected.
 * @param {Pick<Incident, "cause" | "affected">} incident
 */
export const causeText = ({ cause, affected }) => (affected.length ? CAUSES[cause] : `Risk: ${CAUSES[cause]}`);

/**
 * The recommended actions against an incident, in order of their time to effect.
 * @param {readonly import("#web/assets/payload.d.ts").Action[]} actions
 */
export const actionSteps = (actions) =>
  actions.map(({ clauses, expected }, i) => {
    const sentences = `${clausesText(clauses)}.${expected ? ` Expected: ${expected}.` : ""}`;
    return h("p", { class: "step" }, h("b", null, i ? "Then: " : "Action: "), sentences);
  });

/**
 * The parameters from and to that show an ended incident as it was shortly before its end; null each while it is open.
 * @param {Pick<Incident, "since" | "resolved">} incident
 */
export const incidentRange = ({ since, resolved }) => ({
  from: resolved ? formatUnix(since - LEAD_SECONDS) : null,
  to: resolved ? formatUnix(resolved - TAIL_SECONDS) : null,
});

/**
 * The severity and the state of an incident as words: "Critical · firing".
 * @param {Pick<Incident, "severity" | "state">} incident
 */
export const stateWords = ({ severity, state }) => `${SEVERITIES[severity]} · ${STATES[state]}`;

/**
 * The severity and the state of an incident.
 * @param {Pick<Incident, "severity" | "state">} incident
 */
export const incidentState = ({ severity, state }) =>
  healthState(
    state === "resolved" ? "idle" : severity,
    state === "firing" ? SEVERITIES[severity] : `${SEVERITIES[severity]}, ${STATES[state]}`,
  );

/**
 * The address of the runbook for an incident.
 * @param {Pick<Incident, "severity">} incident
 */
export const runbookHref = ({ severity }) =>
  `/runbooks/${severity === "critical" ? "ForeshockIncident" : "ForeshockEarlyWarning"}`;

/**
 * The address of the postmortem of an incident.
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
