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

/**
 * The requests that failed or were too slow, and in which time range.
 * @param {Impact} impact
 * @param {Situation["breach"]} breach
 * @param {number} now
 */
const impactText = ({ requests, failed, slow }, breach, now) => {
  const bad = failed + slow;
  const during = breach ? ["since ", timeElement(breach.since, now)] : "since the first anomaly";
  const range = [` of ${formatCount(requests)} requests `, breach?.until ? "in that time" : during];
  if (bad < 1) return ["None", range, " failed or were too slow"];
  const of = [`About ${formatCount(bad)}`, range];
  if (slow < 1) return [of, " failed"];
  return [of, failed < 1 ? " were too slow" : " failed or were too slow"];
};

/** @param {Impact} impact */
const impactTitle = ({ service, failed, slow }) =>
  `Requests to ${service}: ${formatCount(failed)} failed, ${formatCount(slow)} were slower than the SLO`;

/**
 * @param {NonNullable<Situation["breach"]>} breach
 * @param {number} now
 */
const breachText = ({ since, until, earlier, steady_since: steady }, now) => {
  const seconds = (until ?? now) - since;
  const isNew = until === null && !earlier && seconds < JUST_NOW_SECONDS;
  const length = isNew ? "just now" : `${earlier ? "over " : ""}${formatDuration(seconds)}`;
  const start = earlier ? "before " : "";
  if (until !== null) {
    return ["In breach from ", start, timeElement(since, now), " to ", timeElement(until, now), ` (${length})`];
  }
  const pause = steady ? ["; recovered briefly, continuous since ", timeElement(steady, now)] : null;
  return [`In breach since ${start}`, timeElement(since, now), ` (${length}`, pause, ")"];
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
  const other = suspect.service === incident.service ? null : suspect.service;
  const by = ["overload", "scale_up_lag"].includes(incident.cause) ? ": extra load from " : ": ";
  const local = incident.cause === "dependency" ? [" of ", serviceLink(incident.service)] : "";
  const who = other ? [by, serviceLink(other)] : local;
  return [causeText(incident), who, where, why ? `, ${why}` : "", " ", level];
};

/** @param {Situation["at_risk"]} atRisk */
const nextAtRisk = (atRisk) => {
  if (!atRisk.length) return "None expected in the next 30 min";
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
              service,
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
  const { incident, reading, is_forecast, origin, suspicion, breach, first_breach, impact, peak, recovery } = situation;
  const { resolves, failing, breached, at_risk } = situation;
  const { state, actions } = incident;
  const isRecovering = state === "recovering";
  const followUps = actions.filter(({ kind }) => kind !== "restart");
  return [
    h(
      "p",
      { class: "lead", title: impact ? impactTitle(impact) : null },
      reading && is_forecast ? `${readingText(reading)}. ` : null,
      peak ? [peakText(peak), breach ? ". " : ", no SLO breach. "] : null,
      breach ? [breachText(breach, now), ". "] : null,
      impact ? [impactText(impact, breach, now), "."] : null,
      failing.length ? [" Also failing: ", failing.map(failingText), "."] : null,
    ),
    h(
      "p",
      { class: "lead muted" },
      courseOf(incident, now, first_breach && first_breach.service !== situation.service ? first_breach : null),
      isRecovering && incident.recovering_since
        ? [", recovering since ", timeElement(incident.recovering_since, now)]
        : null,
      `. Times: ${zoneName()}.`,
    ),
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
      isRecovering ? fact("Action", "None needed now", resolves ? closesText(resolves, now) : null) : null,
      isRecovering && followUps.length ? fact("Follow-up", followUps.map(({ text }) => text).join("; ")) : null,
      fact("At risk next", nextAtRisk(at_risk)),
      breached.length
        ? fact((reading?.usage ?? 0) > 1 ? "Also in breach" : "In breach", breachedServices(breached))
        : null,
      fact("Changes", recentChanges(situation)),
    ),
    risks.length
      ? h("p", { class: "note risk" }, h("b", null, "Not part of this incident: "), latentRisks(risks))
      : null,
  ];
};

/**
 * What a symptom rose to: "p95 rose from 8.26 s to 10.2 s (SLO 13.2 s)".
 * @param {NonNullable<Situation["peak"]>} peak
 */
const peakText = ({ metric, unit, before, peak, limit }) => {
  const from = isNumber(before) ? `from ${formatValue(before, unit)} ` : "";
  const slo = isNumber(limit) ? ` (SLO ${formatValue(limit, unit)})` : "";
  return unbroken(`${metric} rose ${from}to ${formatValue(peak, unit)}${slo}`);
};

/** @param {Situation["breached"]} breached */
const breachedServices = (breached) =>
  h(
    "ul",
    { class: "chips" },
    breached
      .slice(0, MAX_NAMED_SERVICES)
      .map(({ service, reading }) => h("li", null, serviceLink(service), reading ? ` ${readingText(reading)}` : null)),
    breached.length > MAX_NAMED_SERVICES
      ? h("li", null, link(pageHref("/services"), `${breached.length - MAX_NAMED_SERVICES} more`))
      : null,
  );

/**
 * A service of which most requests fail, in a list.
 * @param {Reading} reading
 * @param {number} i
 */
const failingText = ({ service, value }, i) => [
  i ? ", " : "",
  serviceLink(service),
  ` ${formatPercent(value)}${i ? "" : " of requests"}`,
];

/** @param {Situation} situation */
const recentChanges = ({ incident, changes, change_count: count, untracked }) => {
  if (changes.length) {
    return [
      `${count} around the first anomaly: `,
      changes.slice(0, MAX_CHANGES).map((change, i) => [i ? "; " : "", clausesText(change)]),
      count > MAX_CHANGES ? `; +${count - MAX_CHANGES} more` : null,
    ];
  }
  const named = new Set([incident.suspect.service ?? incident.service, incident.service]);
  const none = untracked.length < named.size ? "None in the 30 min before the first anomaly. " : "";
  const gap = untracked.length ? `No change data for ${untracked.join(" and ")}: check your deploy log` : "";
  return h("span", { class: "muted" }, none, gap);
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
const closesText = (resolves, now) => [". Closes at about ", timeElement(resolves, now), " if no new symptoms appear"];

/** @param {Verdict["risks"]} risks */
const latentRisks = (risks) => [
  "No impact now. ",
  risks.map((risk) => [clausesText(risk), " "]),
  h("a", { href: "#evidence-panel" }, "Evidence"),
];

/**
 * @param {Verdict} verdict
 * @param {number} now
 */
const calmFacts = ({ state, since, closest: [reading], healthy_since: healthy, risks, resolved }, now) => [
  state === "unknown" && since
    ? h("p", { class: "lead" }, "Last data ", timeElement(since, now), ` (${formatDuration(now - since)} ago).`)
    : null,
  h(
    "dl",
    { class: "facts" },
    state === "healthy" ? fact("Action", "No action needed") : null,
    healthy?.at_least === false
      ? fact("Healthy since", timeElement(healthy.at, now), ` (${formatDuration(now - healthy.at)})`)
      : null,
    healthy?.at_least ? fact("SLO breaches", `No SLO breach in the last ${formatDuration(now - healthy.at)}`) : null,
    reading
      ? fact(
          "Closest to its limit",
          serviceLink(reading.service),
          ` ${readingText(reading)}, ${formatPercent(reading.usage)} of its limit`,
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
