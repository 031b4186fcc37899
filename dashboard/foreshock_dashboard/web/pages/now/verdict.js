// The page's verdict: what is wrong and how bad, the suspected cause, the action, and the services next at risk.
import { link, pageHref, serviceLink } from "#web/assets/address.js";
import { clausesText, clauseTexts, timeElement, zoneName } from "#web/assets/clock.js";
import { byId, fact, h, put, requireId, setText } from "#web/assets/dom.js";
import { filled, formatDuration, inWords, plural, unbroken, uncapitalized } from "#web/assets/format.js";
import { live } from "#web/assets/state.js";
import { actionCard } from "#web/assets/timeline/action_card.js";
import { nextAtRisk } from "#web/assets/timeline/at_risk.js";
import { causeFact, clauseLink, linked } from "#web/assets/timeline/cause.js";
import {
  causeText,
  courseOf,
  evidenceHref,
  incidentHref,
  incidentRange,
  outsideLinks,
  reportLink,
  runbookHref,
} from "#web/assets/timeline/incident.js";
import { responseLine } from "#web/assets/timeline/response.js";
import { healthState, hiddenSign } from "#web/assets/timeline/signs.js";
import * as timeRange from "#web/assets/widgets/time_range.js";
import { ABSENT, CAUSES, CONFIDENCE_LEVELS, COURSE, NOW_TEXTS, TILE_TEXTS, VERDICTS } from "#web/assets/words.js";

/** @typedef {import("#web/assets/dom.js").Content} Content */
/** @typedef {import("#web/assets/payload.d.ts").Clause} Clause */
/** @typedef {import("#web/pages/now/payload.d.ts").NowData} NowData */
/** @typedef {import("#web/pages/now/payload.d.ts").NowIncident} NowIncident */
/** @typedef {import("#web/pages/now/payload.d.ts").Reading} Reading */
/** @typedef {import("#web/pages/now/payload.d.ts").Situation} Situation */
/** @typedef {import("#web/pages/now/payload.d.ts").Verdict} Verdict */

const MAX_NAMED_SERVICES = 4;
/** The Cascade page has all actions. */
const MAX_ACTIONS = 2;
/** Changes before an incident that are named, the newest ones. */
const MAX_CHANGES = 3;
/** @type {Record<string, string>} */
const STATE_WORDS = VERDICTS;

/**
 * Who owns services, and their links; null where no owner is known.
 * @param {(string | null)[]} services
 */
const ownerFact = (services) => {
  const owners = live.data?.owners ?? {};
  const known = [...new Set(services)].flatMap((name) => (name && owners[name] ? [{ name, ...owners[name] }] : []));
  const text = known.map(({ name, owner, tier, links }, i) => [
    i ? ", " : "",
    owner || ABSENT.owner,
    h("span", { class: "muted" }, ` (${inWords(name)}${tier ? `, ${tier} tier` : ""})`),
    outsideLinks(links),
  ]);
  return known.length ? fact("Owner", text) : null;
};

/**
 * @param {Situation} situation
 * @param {Verdict["risks"]} risks
 * @param {number} now
 */
const situationFacts = (situation, risks, now) => {
  const { incident, reading, origin, origin_text, lead, suspected, recovery_text, action_text } = situation;
  const { breached, degraded, at_risk, first_breach, gpu_wait } = situation;
  const { state, actions } = incident;
  const isRecovering = state === "recovering";
  const followUps = actions.filter(({ kind }) => kind !== "restart");
  return [
    furtherIncidents(situation),
    h(
      "dl",
      { class: "facts times" },
      fact(
        `${NOW_TEXTS.times} (${zoneName()})`,
        courseOf(incident, now, first_breach?.service === situation.service ? null : first_breach),
        isRecovering && incident.recovering_since
          ? [COURSE.recovering, timeElement(incident.recovering_since, now)]
          : null,
      ),
    ),
    h(
      "dl",
      { class: "facts impact" },
      fact(NOW_TEXTS.impact, linked(lead)),
      breached.length
        ? fact((reading?.usage ?? 0) > 1 ? NOW_TEXTS.also_in_breach : NOW_TEXTS.in_breach, breachedServices(breached))
        : null,
      degraded.length ? fact(NOW_TEXTS.degraded, breachedServices(degraded)) : null,
    ),
    h(
      "dl",
      { class: "facts" },
      causeFact(suspected, incident),
      origin ? fact("Origin", serviceLink(origin.service), ` ${origin_text}`) : null,
    ),
    isRecovering ? null : actionCard(actions.slice(0, MAX_ACTIONS), undefined, false, situation.service),
    h(
      "dl",
      { class: "facts" },
      recovery_text.length ? fact("Recovery", linked(recovery_text)) : null,
      isRecovering ? fact("Action", linked(action_text)) : null,
      isRecovering && followUps.length ? fact("Follow-up", followUpText(followUps)) : null,
      fact(NOW_TEXTS.next_at_risk, nextAtRisk(at_risk, situation.none_at_risk)),
    ),
    h(
      "dl",
      { class: "facts" },
      gpu_wait.length ? fact(CAUSES.gpu_contention, linked(gpu_wait)) : null,
      ownerFact([incident.suspect.service, incident.service]),
      isRecovering && followUps.length && !situation.changes.length ? null : fact("Changes", recentChanges(situation)),
    ),
    risks.length
      ? h("details", { class: "note risk" }, h("summary", null, NOW_TEXTS.latent_risk), latentRisks(risks))
      : null,
  ];
};

/**
 * The other open incidents, a line each, which leads to the evidence of that incident.
 * @param {Situation} situation
 */
const furtherIncidents = ({ further, more }) => {
  if (!further.length) return null;
  const lines = further.map(({ id, status, badge, clauses, since }) =>
    h(
      "p",
      { class: "further-incident" },
      healthState(status, badge),
      " ",
      h("a", { href: evidenceHref(id) }, clausesText(clauses)),
      `, ${NOW_TEXTS.first_anomaly} `,
      timeElement(since, live.time),
    ),
  );
  const rest = more ? h("p", null, h("a", { href: "#evidence-panel" }, plural(more, NOW_TEXTS.further_more))) : null;
  return h("dl", { class: "facts further" }, fact(NOW_TEXTS.further, lines, rest));
};

/**
 * What keeps an incident from coming back: alternatives, unless the first is not enough by itself.
 * @param {readonly import("#web/assets/payload.d.ts").Action[]} actions
 */
const followUpText = ([first, ...others]) => {
  if (!first || !others.length) return first?.text ?? null;
  const isEither = first.enough !== false;
  const rest = others.map(({ text }) => uncapitalized(text));
  return isEither
    ? `${NOW_TEXTS.either} ${[uncapitalized(first.text), ...rest].join(`, ${NOW_TEXTS.or} `)}`
    : [first.text, ...rest].join("; ");
};

/**
 * The other services in breach, or degraded, those that fail most requests in bold.
 * @param {Situation["breached"]} breached
 */
const breachedServices = (breached) =>
  h(
    "ul",
    { class: "also" },
    breached
      .slice(0, MAX_NAMED_SERVICES)
      .map(({ service, fails, figure, limit }) =>
        h(
          "li",
          null,
          serviceLink(service),
          " ",
          h(fails ? "b" : "span", null, unbroken(figure)),
          h("span", { class: "reference" }, limit ? ` (${unbroken(limit)})` : null),
        ),
      ),
    breached.length > MAX_NAMED_SERVICES
      ? h("li", null, link(pageHref("/services"), `${breached.length - MAX_NAMED_SERVICES} ${NOW_TEXTS.more}`))
      : null,
  );

/** @param {Situation} situation */
const recentChanges = ({ changes, change_count: count, no_changes }) => {
  if (!changes.length) return h("span", { class: "muted" }, no_changes);
  return [
    `${count} ${NOW_TEXTS.changes} `,
    changes.slice(0, MAX_CHANGES).map((change, i) => [i ? "; " : "", clausesText(change)]),
    count > MAX_CHANGES ? `; +${count - MAX_CHANGES} ${NOW_TEXTS.more}` : null,
  ];
};

/** @param {Verdict["risks"]} risks */
const latentRisks = (risks) => [
  `${NOW_TEXTS.no_impact} `,
  risks.map((risk) => [linked(risk), " "]),
  h("a", { href: "#evidence-panel" }, "Evidence"),
];

/**
 * @param {Verdict} verdict
 * @param {number} now
 * @param {number | null} dataTime of the newest data, where that is shown as it becomes older; Unix seconds
 */
const healthyFacts = ({ state, lead, coverage, since, facts, risks, remedy, resolved }, now, dataTime) => [
  lead ? h("p", { class: "lead" }, unbroken(lead)) : null,
  coverage.length
    ? h(
        "p",
        { class: "coverage" },
        dataTime === null
          ? null
          : `${NOW_TEXTS.newest_data} ${unbroken(formatDuration(now - dataTime))}${COURSE.ago}. `,
        linked(coverage),
      )
    : null,
  state === "unknown" && since
    ? h(
        "p",
        { class: "lead" },
        `${NOW_TEXTS.last_data} `,
        timeElement(since, now),
        ` (${formatDuration(now - since)} ago)`,
      )
    : null,
  h(
    "dl",
    { class: "facts" },
    facts.map(({ label, clauses }) => fact(label, linked(clauses))),
    risks.length ? fact("Latent risk", latentRisks(risks)) : null,
    remedy.length ? fact(NOW_TEXTS.recommended, linked(remedy)) : null,
    resolved ? fact(lastOf(resolved), resolvedIncident(resolved, now)) : null,
  ),
];

/** @param {NowIncident} incident */
const lastOf = ({ severity }) => (severity === "warning" ? NOW_TEXTS.last_warning : NOW_TEXTS.last_incident);

/**
 * @param {NowIncident} incident
 * @param {number} now
 */
const resolvedIncident = (incident, now) => {
  const { id, service, since, resolved } = incident;
  const { from, to } = incidentRange(incident);
  const suspect = incident.suspect.service;
  return [
    h("span", { class: "state ok" }, hiddenSign("✓"), " Resolved"),
    ` ${formatDuration(now - (resolved ?? now))} ago: `,
    link(
      pageHref("/cascade", { incident: id, from: from ?? "", to: to ?? "" }),
      `${causeText(incident)} at ${inWords(service)}`,
    ),
    suspect && suspect !== service ? ` (suspected: ${inWords(suspect)})` : "",
    `, ${NOW_TEXTS.open_for} ${formatDuration((resolved ?? now) - since)}. `,
    reportLink(incident),
  ];
};

/** @param {Situation} situation */
const links = ({ incident }) =>
  h(
    "span",
    { class: "verdict-links" },
    h("a", { href: "#evidence-panel", class: "wide-only" }, `Evidence (${plural(incident.evidence.length, "signal")})`),
    h("a", { href: runbookHref(incident) }, "Runbook"),
    h("span", { class: "wide-only" }, link(incidentHref(incident.id), "Cascade")),
    incident.state === "firing" ? null : reportLink(incident),
  );

/**
 * The suspected cause, or the candidates, as a sentence for screen readers.
 * @param {Situation} situation
 */
const suspectText = ({ incident, suspected }) =>
  filled(incident.cause ? NOW_TEXTS.suspected_cause : NOW_TEXTS.possible_causes, {
    cause: clausesText(suspected),
    confidence: CONFIDENCE_LEVELS[incident.confidence_level],
  });

/**
 * Where the SLO of the headline comes from, if it is learned.
 * @param {Situation} situation
 */
const figureTitle = ({ learned }) => (learned ? TILE_TEXTS.learned_slo : null);

/**
 * Draw the verdict.
 * @param {NowData} data
 * @param {number} now
 */
export const drawVerdict = ({ verdict, data_time, bounds }, now) => {
  const { state, clauses, notes, situation } = verdict;
  const note = situation?.badge_note ? ` · ${situation.badge_note}` : ""; // changes with values, and is not announced
  const words = situation?.badge ?? STATE_WORDS[state] ?? state;
  requireId("verdict").dataset.state = state;
  const suspected = situation ? `. ${suspectText(situation)}` : "";
  setText(requireId("verdict-alert"), `${words}: ${clausesText(clauses)}${suspected}`);
  put(
    byId("verdict-state"),
    h("span", { class: "chip" }, h("span", null, words), note ? h("span", { class: "badge-note" }, note) : null),
    situation ? [links(situation), responseLine(situation.incident.id, now)] : null,
  );
  put(
    byId("headline"),
    situation ? clauses.map(clauseLink) : clauseTexts(clauses),
    situation?.figure ? [": ", h("span", { title: figureTitle(situation) }, unbroken(situation.figure))] : null,
    situation?.interval ? h("span", { class: "headline-interval" }, unbroken(situation.interval)) : null,
  );
  put(
    byId("verdict-detail"),
    situation
      ? situationFacts(situation, verdict.risks, now)
      : healthyFacts(verdict, now, timeRange.isLive() && !bounds ? data_time : null),
    notes.map((note) => h("p", { class: "note" }, clausesText(note))),
  );
};
