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
 * The cause of an incident in words; nothing has happened yet where no service is affected.
 * @param {Pick<Incident, "cause" | "affected">} incident
 * @param {Record<string, string>} [words] by cause, where others than its name are wanted
 */
export const causeText = ({ cause, affected }, words = {}) => {
  const name = cause.replaceAll("_", " ");
  return affected.length ? words[cause] || name : `${name} may come`;
};

/**
 * The recommended actions against an incident, in order of their time to effect.
 * @param {readonly import("#web/assets/payload.d.ts").Action[]} actions
 */
export const actionSteps = (actions) =>
  actions.map(({ clauses, expected }, i) => {
    const sentences = `${clausesText(clauses)}.${expected ? ` Expected: ${expected}.` : ""}`;
    return h("p", { class: "step" }, h("b", null, i ? "Then" : "Action"), h("span", null, sentences));
  });

/**
 * The parameters from and to that show an ended incident as it was shortly before its end; null each while it is open.
 * @param {Pick<Incident, "since" | "resolved">} incident
 */
export const incidentRange = ({ since, resolved }) => ({
  from: resolved ? formatUnix(since - LEAD_SECONDS) : null,
  to: resolved ? formatUnix(resolved - TAIL_SECONDS) : null,
});

/** @type {Record<Incident["severity"], string>} */
const SEVERITY_WORDS = { critical: "Critical", warning: "Early warning" };
/** @type {Record<Incident["state"], string>} */
const STATE_WORDS = { firing: "firing", recovering: "recovering", resolved: "resolved" };

/**
 * The severity and the state of an incident as words: "Critical · firing".
 * @param {Pick<Incident, "severity" | "state">} incident
 */
export const stateWords = ({ severity, state }) => `${SEVERITY_WORDS[severity]} · ${STATE_WORDS[state]}`;

/**
 * The severity and the state of an incident.
 * @param {Pick<Incident, "severity" | "state">} incident
 */
export const incidentState = ({ severity, state }) =>
  healthState(
    state === "resolved" ? "idle" : severity,
    state === "firing" ? SEVERITY_WORDS[severity] : `${SEVERITY_WORDS[severity]}, ${STATE_WORDS[state]}`,
  );

/**
 * The address of the runbook for an incident.
 * @param {Pick<Incident, "severity">} incident
 */
export const runbookHref = ({ severity }) =>
  `/runbooks/${severity === "critical" ? "ForeshockIncident" : "ForeshockEarlyWarning"}`;

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
