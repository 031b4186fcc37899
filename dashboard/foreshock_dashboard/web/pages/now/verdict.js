// The page's verdict: what is wrong and how bad, the suspected cause, the action, and the services next at risk.
import { gpuHref, link, pageHref, pairHref, serviceHref, serviceLink } from "#web/assets/address.js";
import { clausesText, clauseText, timeElement, zoneName } from "#web/assets/clock.js";
import { byId, fact, h, put, requireId, setText } from "#web/assets/dom.js";
import {
  formatBucket,
  formatCount,
  formatDuration,
  formatInterval,
  formatPercent,
  formatRate,
  formatValue,
  isNumber,
  plural,
  shortLabels,
  unbroken,
} from "#web/assets/format.js";
import { live } from "#web/assets/state.js";
import {
  actionCard,
  causeText,
  courseOf,
  incidentHref,
  incidentRange,
  outsideLinks,
  reportHref,
  stateWords,
} from "#web/assets/timeline/incident.js";
import { responseLine } from "#web/assets/timeline/response.js";
import { hiddenSign } from "#web/assets/timeline/signs.js";
import { VERDICTS } from "#web/assets/words.js";

/** @typedef {import("#web/assets/dom.js").Content} Content */
/** @typedef {import("#web/assets/payload.d.ts").Clause} Clause */
/** @typedef {import("#web/pages/now/payload.d.ts").Impact} Impact */
/** @typedef {import("#web/pages/now/payload.d.ts").NowData} NowData */
/** @typedef {import("#web/pages/now/payload.d.ts").NowIncident} NowIncident */
/** @typedef {import("#web/pages/now/payload.d.ts").Reading} Reading */
/** @typedef {import("#web/pages/now/payload.d.ts").Situation} Situation */
/** @typedef {import("#web/pages/now/payload.d.ts").Verdict} Verdict */

const MAX_NAMED_SERVICES = 4;
const MAX_NAMED_GPUS = 2;
const MAX_CANDIDATES = 3;
/** The Cascade page has all actions. */
const MAX_ACTIONS = 2;
/** Changes before an incident that are named, the newest ones. */
const MAX_CHANGES = 3;
const JUST_NOW_SECONDS = 10;
/** @type {Record<string, string>} */
const STATE_WORDS = VERDICTS;

/**
 * Where a clause leads; null for words and times.
 * @param {Clause} clause
 */
const clauseHref = ({ kind, services: [first = "", second = ""], gpus: [gpu = ""] }) => {
  if (kind === "service") return serviceHref(first);
  if (kind === "pair") return pairHref(first, second);
  return kind === "gpus" ? gpuHref(gpu) : null;
};

/** @param {Clause} clause */
const clauseLink = (clause) => {
  const href = clauseHref(clause);
  return href ? link(href, clause.text, clause.kind === "gpus" ? clause.gpus.join(", ") : null) : clauseText(clause);
};

/** @param {readonly string[]} names */
const serviceLinks = (names) => [
  names.slice(0, MAX_NAMED_SERVICES).map((name, i) => [i ? ", " : "", serviceLink(name)]),
  names.length > MAX_NAMED_SERVICES
    ? [", ", link(pageHref("/services"), `${names.length - MAX_NAMED_SERVICES} more`)]
    : "",
];

/** @param {readonly string[]} gpus */
const gpuLinks = (gpus) => {
  const [first = "", second = ""] = gpus;
  if (gpus.length <= MAX_NAMED_GPUS) {
    return [link(gpuHref(first), first), second ? [" and ", link(gpuHref(second), second)] : ""];
  }
  const hosts = new Set(gpus.map((gpu) => gpu.split("/")[0])).size;
  return link(gpuHref(first), `${gpus.length} GPUs on ${plural(hosts, "host")}`, gpus.join(", "));
};

/**
 * A value beside its limit: "p95 27.4 s (SLO 16.4 s)".
 * @param {Reading} reading
 */
export const readingText = ({ metric, value, unit, limit, limit_kind }) =>
  unbroken(`${metric} ${formatValue(value, unit)} (${limit_kind} ${formatValue(limit, unit)})`);

/** @param {Impact} impact */
const impactText = ({ requests, failed, slow }) => {
  const bad = failed + slow;
  if (bad < 1) return "no requests failed or were too slow";
  const of = `about ${formatCount(bad)} of ${formatCount(requests)} requests`;
  if (slow < 1) return `${of} failed`;
  return failed < 1 ? `${of} were too slow` : `${of} failed or were too slow`;
};

/** @param {Impact} impact */
const impactTitle = ({ service, failed, slow }) =>
  `Requests to ${service}: ${formatCount(failed)} failed, ${formatCount(slow)} were slower than the SLO`;

/**
 * @param {NonNullable<Situation["breach"]>} breach
 * @param {number} now
 */
const breachText = ({ since, until, earlier, intermittent }, now) => {
  const seconds = (until ?? now) - since;
  const isNew = until === null && !earlier && seconds < JUST_NOW_SECONDS;
  const length = isNew ? "(just now)" : `(${earlier ? "over " : ""}${formatDuration(seconds)})`;
  const start = earlier ? "before " : "";
  const breach = intermittent ? "Intermittent SLO breach" : "SLO breach";
  return until === null
    ? [`${breach} since ${start}`, timeElement(since, now), ` ${length}`]
    : [`${breach} from `, start, timeElement(since, now), " to ", timeElement(until, now), ` ${length}`];
};

/**
 * The time range of the impact.
 * @param {Situation["breach"]} breach
 * @param {Impact | null} impact
 * @param {number} now
 */
const impactSince = (breach, impact, now) => {
  if (breach) return breachText(breach, now);
  return impact ? "Since the first anomaly" : null;
};

/**
 * @param {NowIncident} incident
 * @param {string} why
 */
const suspectedCause = (incident, why) => {
  const { suspect, candidates, confidence, confidence_level, quality } = incident;
  const title = `confidence ${formatPercent(confidence)}, ${quality}`;
  const level = h("span", { class: "level", title }, `${confidence_level} confidence`);
  if (confidence_level === "low") {
    const names = candidates.slice(0, MAX_CANDIDATES).map(({ service }) => service);
    const listed = names.length ? [names.length > 1 ? ". Candidates: " : ". Candidate: ", serviceLinks(names)] : "";
    return [`Uncertain, best match: ${causeText(incident)}`, listed, " ", level];
  }
  const host = suspect.host ? ` on ${suspect.host}` : "";
  const where = suspect.gpus.length ? [" on ", gpuLinks(suspect.gpus)] : host;
  if (suspect.change)
    return [causeText(incident), ": ", clausesText(suspect.clauses), why ? `, ${why}` : "", " ", level];
  const by = ["overload", "scale_up_lag"].includes(incident.cause) ? ": extra load from " : ": ";
  const who = suspect.service && suspect.service !== incident.service ? [by, serviceLink(suspect.service)] : "";
  return [causeText(incident), who, where, why ? `, ${why}` : "", " ", level];
};

/** @param {Situation["at_risk"]} atRisk */
const nextAtRisk = (atRisk) => {
  if (!atRisk.length) return "No SLO breach forecast in the next 30 min";
  const label = shortLabels(atRisk.map(({ service }) => service));
  const bucketOf = (/** @type {Situation["at_risk"][number]} */ { breach_seconds: { p50 } }) => formatBucket(p50);
  const buckets = [...new Set(atRisk.map(bucketOf))];
  return h(
    "ul",
    { class: "chips" },
    buckets.map((bucket) =>
      h(
        "li",
        null,
        h("b", null, bucket),
        ":",
        atRisk
          .filter((risk) => bucketOf(risk) === bucket)
          .map(({ service, breach_seconds: { p10, p90 } }, i) => [
            i ? ", " : " ",
            link(
              serviceHref(service),
              label(service),
              isNumber(p10) ? `${service}, 80% interval: ${formatInterval(p10, p90)}` : service,
            ),
          ]),
      ),
    ),
  );
};

/**
 * Who owns services, and their links; null where no owner is known.
 * @param {(string | null)[]} services
 */
const ownerFact = (services) => {
  const owners = live.data?.owners ?? {};
  const known = [...new Set(services)].flatMap((name) => (name && owners[name] ? [{ name, ...owners[name] }] : []));
  const text = known.map(({ name, owner, tier, links }, i) => [
    i ? ", " : "",
    owner || "no owner",
    h("span", { class: "muted" }, ` (${name}${tier ? `, ${tier}` : ""})`),
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
  const { incident, reading, is_forecast, origin, suspicion, breach, impact, recovery, resolves, breached } = situation;
  const { at_risk, changes } = situation;
  const { state, actions } = incident;
  const isRecovering = state === "recovering";
  return [
    h(
      "p",
      { class: "lead", title: impact ? impactTitle(impact) : null },
      reading && is_forecast ? `${readingText(reading)}. ` : null,
      impactSince(breach, impact, now),
      impact ? `: ${impactText(impact)}` : null,
      breach || impact ? "." : null,
    ),
    h("p", { class: "lead muted" }, courseOf(incident, now), `. Times: ${zoneName()}.`),
    h(
      "dl",
      { class: "facts" },
      fact("Suspected cause", suspectedCause(incident, suspicion)),
      ownerFact([incident.service, incident.suspect.service]),
      origin ? fact("Origin", serviceLink(origin.service), ` ${readingText(origin)}`) : null,
    ),
    isRecovering ? null : actionCard(actions.slice(0, MAX_ACTIONS)),
    h(
      "dl",
      { class: "facts" },
      recovery.length
        ? fact(
            "Recovery",
            recovery.map((found, i) => [i ? "; " : "", recoveryText(found)]),
          )
        : null,
      isRecovering ? fact("Action", "None needed now", resolves ? resolvesText(resolves, now) : null) : null,
      isRecovering && actions.length ? fact("Follow-up", actions.map(({ text }) => text).join("; ")) : null,
      fact("Next to breach", nextAtRisk(at_risk)),
      breached.length ? fact((reading?.usage ?? 0) > 1 ? "Also in breach" : "In breach", serviceLinks(breached)) : null,
      risks.length ? fact("Latent risk", latentRisks(risks)) : null,
      fact("Changes", recentChanges(changes)),
    ),
  ];
};

/** @param {Situation["changes"]} changes */
const recentChanges = (changes) => {
  if (changes?.length)
    return [
      `${changes.length} in the 30 min before: `,
      changes.slice(0, MAX_CHANGES).map((change, i) => [i ? "; " : "", clausesText(change)]),
      changes.length > MAX_CHANGES ? `; +${changes.length - MAX_CHANGES} more` : null,
    ];
  return h("span", { class: "muted" }, changes ? "None in the 30 min before" : "Not tracked: check deploys");
};

/** @param {Situation["recovery"][number]} recovery */
const recoveryText = ({ service, signal, worst, now }) => {
  const isRate = signal === "request rate";
  const [before, after] = isRate ? [formatRate(worst), formatRate(now)] : [formatCount(worst), formatCount(now)];
  return [`${signal} of `, serviceLink(service), ` ${before} → ${after} (${isRate ? "peak" : "lowest"} → now)`];
};

/**
 * @param {number} resolves Unix seconds
 * @param {number} now
 */
const resolvesText = (resolves, now) => [": resolves at about ", timeElement(resolves, now), " without new symptoms"];

/** @param {Verdict["risks"]} risks */
const latentRisks = (risks) => [
  "No impact now. ",
  risks.map((risk) => [clausesText(risk), " "]),
  h("a", { href: "#evidence-panel" }, "Actions and evidence"),
];

/** @param {Reading} reading */
const headroomText = ({ value, unit, limit }) =>
  unit === "ratio"
    ? `${((limit - value) * 100).toFixed(limit - value < 0.1 ? 1 : 0)} pp`
    : formatValue(limit - value, unit);

/**
 * @param {Verdict} verdict
 * @param {number} now
 */
const calmFacts = ({ state, since, closest: [reading], risks, resolved }, now) => [
  state === "unknown" && since
    ? h("p", { class: "lead" }, "Last data ", timeElement(since, now), ` (${formatDuration(now - since)} ago).`)
    : null,
  h(
    "dl",
    { class: "facts" },
    reading
      ? fact(
          "Closest to its limit",
          serviceLink(reading.service),
          ` ${readingText(reading)}`,
          reading.usage <= 1 ? `, headroom ${headroomText(reading)}` : "",
        )
      : null,
    risks.length ? fact("Latent risk", latentRisks(risks)) : null,
    resolved ? fact("Last incident", resolvedIncident(resolved, now)) : null,
  ),
];

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
      `${causeText(incident)} at ${service}`,
    ),
    suspect && suspect !== service ? ` (suspected: ${suspect})` : "",
    `, lasted ${formatDuration((resolved ?? now) - since)}. `,
    h("a", { href: reportHref(id), download: "" }, "Report"),
  ];
};

/** @param {Situation} situation */
const links = ({ incident, others }) =>
  h(
    "span",
    { class: "verdict-links" },
    others ? h("a", { href: "#evidence-panel" }, `${plural(others, "more incident")}`) : null,
    h("a", { href: "#evidence-panel" }, `Evidence (${plural(incident.evidence.length, "signal")})`),
    link(incidentHref(incident.id), "Cascade"),
    h("a", { href: reportHref(incident.id), download: "" }, "Report"),
  );

/**
 * The suspected cause as a sentence for screen readers.
 * @param {Situation} situation
 */
const suspectText = ({ incident }) => {
  const { service, suspect, confidence_level } = incident;
  const who = suspect.service && suspect.service !== service ? `, ${suspect.service}` : "";
  return `. Suspected cause: ${causeText(incident)}${who} (${confidence_level} confidence).`;
};

/**
 * Draw the verdict.
 * @param {NowData} data
 * @param {number} now
 */
export const drawVerdict = ({ verdict }, now) => {
  const { state, clauses, notes, situation } = verdict;
  const words = situation ? stateWords(situation.incident) : (STATE_WORDS[state] ?? state);
  const reading = situation?.reading;
  requireId("verdict").dataset.state = state;
  setText(requireId("verdict-alert"), `${words}: ${clausesText(clauses)}${situation ? suspectText(situation) : ""}`);
  put(
    byId("verdict-state"),
    h("span", { class: "chip" }, h("span", null, words)),
    situation ? [responseLine(situation.incident.id, now), links(situation)] : null,
  );
  put(
    byId("headline"),
    clauses.map(situation ? clauseLink : clauseText),
    reading && !situation?.is_forecast ? `: ${readingText(reading)}` : null,
  );
  put(
    byId("verdict-detail"),
    situation ? situationFacts(situation, verdict.risks, now) : calmFacts(verdict, now),
    notes.map((note) => h("p", { class: "note" }, clausesText(note))),
  );
};
