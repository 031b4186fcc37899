// What several pages say of an incident.
import { link, pageHref, serviceLink, slowestTracesHref } from "#web/assets/address.js";
import { clausesText, timeElement } from "#web/assets/clock.js";
import { h, unbrokenWords } from "#web/assets/dom.js";
import { capitalized, formatDuration, isNumber, unbroken, uncapitalized } from "#web/assets/format.js";
import { live } from "#web/assets/state.js";
import { healthState, RESOLVED_SIGN } from "#web/assets/timeline/signs.js";
import * as timeRange from "#web/assets/widgets/time_range.js";
import { ACTION_TEXTS, CAUSES, COURSE, LOCAL_CAUSES, NOW_TEXTS, RISKS, SEVERITIES, STATES } from "#web/assets/words.js";

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

/**
 * A button that copies a command.
 * @param {string} text
 * @param {string} command
 */
const copyButton = (text, command) =>
  h("button", { type: "button", class: "quiet", title: command, "data-copy": command, "data-copy-name": text }, text);

/**
 * The commands of an action, to copy, below what else they change, or how to take it.
 * @param {Pick<import("#web/assets/payload.d.ts").Action, "command" | "revert_command" | "how">} action
 */
const commandRows = ({ command, revert_command: revert, how }) => {
  if (!command) return how ? h("p", { class: "how muted" }, `${ACTION_TEXTS.by_hand} ${uncapitalized(how)}.`) : null;
  return [
    how ? h("p", { class: "how" }, `${how}.`) : null,
    h(
      "p",
      { class: "command" },
      h("code", { title: `${command}\n${ACTION_TEXTS.names}` }, unbrokenWords(command)),
      copyButton(ACTION_TEXTS.copy, command),
    ),
    revert ? revertRow(revert) : null,
  ];
};

/**
 * The command that takes an action back, with its own button; on a phone, which has no room for it, it unfolds.
 * @param {string} command
 */
const revertRow = (command) => {
  const row = [h("code", null, unbrokenWords(command)), copyButton(ACTION_TEXTS.copy_revert, command)];
  if (NARROW.matches)
    return h(
      "details",
      { class: "revert" },
      h("summary", null, ACTION_TEXTS.revert),
      h("p", { class: "command" }, row),
    );
  return h("p", { class: "command revert" }, h("span", { class: "muted" }, ACTION_TEXTS.revert), row);
};

const WHEN = ", takes effect ";

/**
 * What an action changes and when; of an alternative with the same effect, when.
 * @param {Pick<import("#web/assets/payload.d.ts").Action, "expected" | "effect">} action
 * @param {string} [same] what the first action changes, and when
 */
const expectedText = ({ expected, effect }, same = "") => {
  if (!expected) return null;
  const [change, when] = expected.split(WHEN);
  if (effect && when && change === same.split(WHEN)[0]) return `${ACTION_TEXTS.same_effect}${WHEN}${when}`;
  return unbroken(effect ? `${ACTION_TEXTS.expected} ${expected}` : capitalized(expected));
};

/** Why commands are not to be run, where what is shown does not happen now; else null. */
const caution = () => {
  const { simulated, bounds } = live.data ?? {};
  if (!simulated && !bounds && timeRange.isLive()) return null;
  return h("p", { class: "caution" }, simulated ? ACTION_TEXTS.simulated : ACTION_TEXTS.replay);
};

const NARROW = matchMedia("(max-width: 600px)");

/**
 * An action. On a phone, all but the first unfold, so that the services next at risk are in sight.
 * @param {readonly import("#web/assets/payload.d.ts").Action[]} actions
 * @param {number} i its place among them
 * @param {object} options
 * @param {string | null} options.joint what several steps achieve together
 * @param {number} options.steps place of the last action that is needed beside the first
 * @param {boolean} options.isOptional
 */
const actionItem = (actions, i, { joint, steps, isOptional }) => {
  const [action, first] = [actions[i], actions[0]];
  if (!action || !first) return null;
  const isAlternative = i > steps && typeof first.enough === "boolean";
  const kind = { class: isAlternative || (!steps && typeof first.enough === "boolean") ? "alternative" : null };
  const title = [
    isAlternative ? h("span", { class: "muted" }, `${ACTION_TEXTS.alternative} `) : null,
    h("b", null, clausesText(action.clauses)),
  ];
  const followed = !i && !isOptional && action.enough === false && actions.length > 1;
  const expected = h(
    "p",
    { class: "expected" },
    isOptional && !action.effect
      ? ACTION_TEXTS.no_effect + (actions.some(({ outcome }) => outcome) ? ` ${ACTION_TEXTS.both_steps}` : "")
      : expectedText(action, i ? (first.expected ?? "") : ""),
    followed
      ? [". ", actions[1]?.why ? `${actions[1].why}. ` : null, joint ? null : h("b", null, ACTION_TEXTS.next_step)]
      : null,
  );
  const outcome =
    action.outcome && action.outcome !== joint && !isAlternative
      ? h("p", { class: "outcome" }, unbroken(`${action.outcome}.`))
      : null;
  const unfolds = (
    /** @type {import("#web/assets/dom.js").Content} */ summary,
    /** @type {import("#web/assets/dom.js").Content[]} */ ...content
  ) => h("details", null, h("summary", null, summary), content);
  if (NARROW.matches && i) return h("li", kind, unfolds(title, expected, outcome, commandRows(action)));
  const commands = commandRows(action);
  return h(
    "li",
    kind,
    title,
    NARROW.matches && joint ? unfolds(ACTION_TEXTS.own_effect, expected) : expected,
    outcome,
    i && action.too_late && action.command ? unfolds(ACTION_TEXTS.commands, commands) : commands,
  );
};

/**
 * The recommended actions against an incident, in order of their time to effect, with their commands.
 * @param {readonly import("#web/assets/payload.d.ts").Action[]} actions
 * @param {string} [title]
 * @param {boolean} [isOptional] whether they reduce a risk of which nothing is affected yet
 */
export const actionCard = (
  actions,
  title = actions.length > 1 ? ACTION_TEXTS.several : ACTION_TEXTS.one,
  isOptional = false,
) => {
  const lastOutcome = actions.findLastIndex(({ outcome }) => outcome);
  const steps = actions[0]?.enough === false ? Math.max(1, lastOutcome) : 0;
  const hasSteps = steps > 0 || typeof actions[0]?.enough !== "boolean";
  const joint = isOptional || !hasSteps ? null : (actions.slice(1).find(({ outcome }) => outcome)?.outcome ?? null);
  return h(
    "div",
    { class: actions[0]?.enough === false ? "action steps" : "action" },
    h("div", { class: "action-head" }, h("h2", null, title), actions.some(({ command }) => command) ? caution() : null),
    joint ? h("p", { class: "outcome" }, unbroken(`${joint}.`)) : null,
    actions.length
      ? h(
          "ol",
          null,
          actions.map((_, i) => actionItem(actions, i, { joint, steps, isOptional })),
        )
      : h("p", null, ACTION_TEXTS.none),
  );
};

/** A breach and a page this close are one event. */
const SAME_EVENT_SECONDS = 15;

/** @param {string | null | undefined} service */
const forService = (service) => (service ? [COURSE.of, serviceLink(service)] : null);

/** @param {string} service */
const breachOf = (service) => [COURSE.when, serviceLink(service), COURSE.breached];

/** @typedef {{ affected: readonly string[], paged_service: string | null, evidence: readonly Onset[] }} Details */

/**
 * When an incident began, opened, breached an SLO, and paged: "Started 08:40:20 (4 min 23 s ago) → early warning
 * 08:40:40 → paged 08:44:10 for serving/gateway". Evidence that began after the page is that of a later cause.
 * @param {Pick<Incident, "since" | "opened" | "paged"> & Partial<Details>} incident
 * @param {number | null} now Unix seconds
 * @param {{ service: string, since: number } | null} [breach] the first one, of whichever service
 */
export const courseOf = ({ since, opened, paged, paged_service, affected, evidence = [] }, now, breach = null) => {
  const isLatent = affected?.length === 0;
  const start = opened > since ? COURSE.anomaly : COURSE.anomaly_and_warning;
  const isPage = breach !== null && paged !== null && Math.abs(breach.since - paged) <= SAME_EVENT_SECONDS;
  return [
    isLatent ? COURSE.vulnerable : start,
    timeElement(since, now),
    ` (${formatDuration((now ?? since) - since)}${isLatent ? "" : COURSE.ago})`,
    [
      { at: opened > since && (paged === null || paged > opened) ? opened : null, name: COURSE.warning, of: null },
      { at: isPage ? null : (breach?.since ?? null), name: COURSE.breach, of: forService(breach?.service) },
      { at: paged, name: COURSE.paged, of: isPage ? breachOf(breach.service) : forService(paged_service) },
    ]
      .sort((one, other) => (one.at ?? 0) - (other.at ?? 0))
      .map(({ at, name, of }) => (at === null ? null : [name, timeElement(at, now), of])),
    paged === null || firstOf(evidence) <= paged ? null : [COURSE.updated, timeElement(firstOf(evidence), now)],
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
 * The address of the postmortem of an incident.
 * @param {string} id
 */
export const reportHref = (id) => timeRange.atRangeEnd(`/api/report/${encodeURIComponent(id)}?as=zip`);

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
