// What several pages say of an incident.
import { link, pageHref, serviceLink, slowestTracesHref } from "#web/assets/address.js";
import { timeElement } from "#web/assets/clock.js";
import { h } from "#web/assets/dom.js";
import { formatDuration, isNumber, uncapitalized } from "#web/assets/format.js";
import { healthState, RESOLVED_SIGN } from "#web/assets/timeline/signs.js";
import * as timeRange from "#web/assets/widgets/time_range.js";
import { CAUSES, COURSE, LOCAL_CAUSES, NOW_TEXTS, RISKS, SEVERITIES, STATES } from "#web/assets/words.js";

/** @typedef {import("#web/assets/payload.d.ts").Incident} Incident */

/** Seconds that are shown before an incident began, and its end that is left out. */
const [LEAD_SECONDS, TAIL_SECONDS] = [600, 20];

/** @type {Partial<Record<keyof typeof CAUSES, string>>} */
const LOCAL = LOCAL_CAUSES;

/**
 * The cause of an incident in words, if it is stated; that of a latent risk is only possible.
 * @param {Pick<Incident, "cause" | "service"> & Partial<Pick<Incident, "suspect" | "affected">>} incident
 */
export const causeText = ({ cause, service, suspect, affected }) => {
  if (!cause) return NOW_TEXTS.uncertain;
  if (affected?.length === 0) return `${CAUSES[cause]} possible`;
  return (suspect && (suspect.service ?? service) === service && LOCAL[cause]) || CAUSES[cause];
};

/** A breach and a page this close are one event. */
const SAME_EVENT_SECONDS = 15;

/** @param {string | null | undefined} service */
const forService = (service) => (service ? [COURSE.of, serviceLink(service)] : null);

/** @param {string} service */
const breachOf = (service) => [COURSE.when, serviceLink(service), COURSE.breached];

/** @typedef {{ affected: readonly string[], paged_service: string | null, evidence: readonly Onset[] }} Details */

/**
 * When an incident began, opened, breached an SLO, and paged: "First anomaly 08:40:20 (4 min 23 s ago) → early warning
 * 08:40:40 → paged 08:44:10 for serving/gateway". Load that rose before stands first. Evidence that began after the
 * page is that of a later cause.
 * @param {Pick<Incident, "since" | "opened" | "paged"> & Partial<Details & { service: string }>} incident
 * @param {number | null} now Unix seconds
 * @param {{ service: string, since: number } | null} [breach] the first one, of whichever service
 */
export const courseOf = (incident, now, breach = null) => {
  const { since, opened, paged, service, paged_service, affected, evidence = [] } = incident;
  const isLatent = affected?.length === 0;
  const anomaly = opened > since ? COURSE.anomaly : COURSE.anomaly_and_warning;
  const start = isLatent ? COURSE.vulnerable : anomaly;
  const first = firstOf(evidence);
  const hasLoadBefore = !isLatent && first < since && first > 0; // more requests alone begin no incident
  const isPage = breach !== null && paged !== null && Math.abs(breach.since - paged) <= SAME_EVENT_SECONDS;
  return [
    hasLoadBefore ? [COURSE.load, timeElement(first, now), " → "] : null,
    hasLoadBefore ? uncapitalized(start) : start,
    timeElement(since, now),
    ` (${formatDuration((now ?? since) - since)}${isLatent ? "" : COURSE.ago})`,
    [
      { at: opened > since && (paged === null || paged > opened) ? opened : null, name: COURSE.warning, of: null },
      { at: isPage ? null : (breach?.since ?? null), name: COURSE.breach, of: forService(breach?.service) },
      {
        at: paged,
        name: COURSE.paged,
        of: isPage ? breachOf(breach.service) : forService(paged_service === service ? null : paged_service),
      },
    ]
      .sort((one, other) => (one.at ?? 0) - (other.at ?? 0))
      .map(({ at, name, of }) => (at === null ? null : [name, timeElement(at, now), of])),
    paged === null || first <= paged ? null : [COURSE.updated, timeElement(first, now)],
  ];
};

/**
 * When the first of some evidence began, Unix seconds; -Infinity where that is not known.
 * @param {readonly Onset[]} evidence
 */
const firstOf = (evidence) => {
  const known = evidence.map(({ since }) => since).filter(isNumber);
  return known.length ? Math.min(...known) : Number.NEGATIVE_INFINITY;
};

/**
 * The parameters from and to that show an ended incident as it was shortly before its end; null each while it is open.
 * @param {Pick<Incident, "since" | "resolved">} incident
 */
export const incidentRange = ({ since, resolved }) => ({
  from: resolved ? timeRange.formatUnix(since - LEAD_SECONDS) : null,
  to: resolved ? timeRange.formatUnix(resolved - TAIL_SECONDS) : null,
});

/** @typedef {{ since: number | null }} Onset */
/** @typedef {"critical" | "warning" | "recovering"} IncidentStatus */

/**
 * The status in whose color an open incident is shown.
 * @param {Pick<Incident, "severity" | "state">} incident
 * @returns {IncidentStatus}
 */
export const incidentStatus = ({ severity, state }) => (state === "firing" ? severity : "recovering");

/**
 * The worst of some statuses; null for none.
 * @param {readonly (IncidentStatus | null)[]} statuses
 */
export const worstStatus = (statuses) =>
  /** @type {const} */ (["critical", "warning", "recovering"]).find((status) => statuses.includes(status)) ?? null;

/**
 * The severity and the state of an incident; one that affects no service is a latent risk.
 * @param {Pick<Incident, "severity" | "state" | "affected">} incident
 */
export const incidentState = ({ severity, state, affected }) => {
  const word = affected.length ? SEVERITIES[severity] : RISKS.latent;
  if (state === "resolved") return healthState("idle", `${word}, ${STATES[state]}`, RESOLVED_SIGN);
  if (state === "recovering") return healthState("recovering", `${word}, ${STATES[state]}`);
  return healthState(affected.length ? severity : "idle", word);
};

/**
 * The address of the runbook for an incident.
 * @param {Pick<Incident, "severity">} incident
 */
export const runbookHref = ({ severity }) =>
  `/runbooks/${severity === "critical" ? "ForeshockIncident" : "ForeshockEarlyWarning"}`;

/**
 * Links to other sites; the hub admits http and https only.
 * @param {Record<string, string>} links URLs by name
 */
export const outsideLinks = (links) =>
  Object.entries(links).map(([name, href]) => [
    " ",
    h("a", { href, rel: "noreferrer", target: "_blank" }, `open ${name}`),
  ]);

/**
 * A link that saves the report of an incident, which is a draft until the incident is resolved.
 * @param {Pick<Incident, "id" | "state">} incident
 */
export const reportLink = ({ id, state }) => {
  const href = timeRange.atRangeEnd(`/api/report/${encodeURIComponent(id)}?as=zip`);
  return h("a", { href, download: "" }, state === "resolved" ? NOW_TEXTS.postmortem : NOW_TEXTS.draft_report);
};

/**
 * A link to the slowest traces of a service.
 * @param {string} service
 * @param {string} text
 */
export const slowestTracesLink = (service, text) => link(slowestTracesHref(service), text);

/**
 * The id on Now of the evidence of an incident.
 * @param {string} incident id
 */
export const evidenceId = (incident) => `incident-${incident}`;

/**
 * The address on Now of the evidence of an incident.
 * @param {string} incident id
 */
export const evidenceHref = (incident) => `#${encodeURIComponent(evidenceId(incident))}`;

/**
 * The address of an incident on the Cascade page.
 * @param {string} incident id
 */
export const incidentHref = (incident) => pageHref("/cascade", { incident });
