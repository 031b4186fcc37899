// The page's verdict: its sentence, who is hit next, what to do, and the facts behind it.
import { gpuHref, link, pairHref, serviceHref, serviceLink } from "#web/assets/address.js";
import { clausesText, clauseText, timeElement } from "#web/assets/clock.js";
import { byId, h, put, requireId } from "#web/assets/dom.js";
import {
  formatDuration,
  formatInterval,
  formatPercent,
  formatSeconds,
  formatTimeToEvent,
  isNumber,
} from "#web/assets/format.js";
import { actionStep, causeText } from "#web/assets/timeline/incident.js";

/** @typedef {import("#web/assets/payload.d.ts").Clause} Clause */
/** @typedef {import("#web/pages/now/payload.d.ts").NextHit} NextHit */
/** @typedef {import("#web/pages/now/payload.d.ts").NowData} NowData */
/** @typedef {import("#web/pages/now/payload.d.ts").NowIncident} NowIncident */

const MAX_NAMED_SERVICES = 3;
/** @type {Record<string, string>} */
export const CAUSE_WORDS = {
  overload: "more is asked than it can carry",
  scale_up_lag: "new replicas come late",
  gpu_contention: "a neighbour takes the GPUs",
  retry_storm: "retries keep it down",
  network: "network",
  dependency: "a service it needs",
  kv_cache_pressure: "KV cache full",
  load_imbalance: "replicas unevenly loaded",
  hardware: "hardware",
};

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
  names.length > MAX_NAMED_SERVICES ? ` and ${names.length - MAX_NAMED_SERVICES} more` : "",
];

/** @param {NextHit} next */
const nextHit = ({ service, seconds, missing, objective }) => {
  const count = missing.length === 1 ? "1 service misses its" : `${missing.length} services miss their`;
  const already = missing.length ? h("span", null, `${count} objective already: `, serviceLinks(missing)) : null;
  const head = h("b", null, "Next hit: ");
  if (!service) {
    const text = missing.length ? "nobody further within 30 min. " : "nobody within 30 min.";
    return h("p", { class: "next-hit" }, head, text, already);
  }
  return h(
    "p",
    { class: "next-hit" },
    head,
    serviceLink(service),
    ` misses its objective${isNumber(objective) ? ` (p95 of at most ${formatSeconds(objective)})` : ""} in about `,
    h("b", { class: "minutes" }, formatTimeToEvent(seconds.p50)),
    ` (80 % sure: ${formatInterval(seconds.p10, seconds.p90)}). `,
    already,
  );
};

/**
 * @param {NowIncident} incident
 * @param {number} since
 * @param {number} now
 */
const incidentFacts = (incident, since, now) => {
  const { suspect, confidence, quality, affected, service, evidence } = incident;
  const slower = affected.filter((name) => name !== suspect.service && name !== service);
  const sure = h("b", { title: `how sure it is whose doing it is; ${quality}` }, `${formatPercent(confidence)} sure`);
  return [
    h(
      "span",
      { class: "sure" },
      "culprit ",
      suspect.service ? [serviceLink(suspect.service), ", ", sure] : "not known",
    ),
    h("span", null, "cause ", h("b", null, causeText(incident, CAUSE_WORDS))),
    h(
      "span",
      null,
      "since ",
      h("a", { href: "#timeline-panel" }, timeElement(since, now)),
      ` (${formatDuration(now - since)})`,
    ),
    slower.length ? h("span", null, "slower too: ", serviceLinks(slower)) : null,
    h("a", { href: "#warnings-panel" }, `evidence (${evidence.length} figures)`),
  ];
};

/**
 * @param {NowData["verdict"]} verdict
 * @param {number} now
 */
const facts = ({ since, incident, state }, now) => {
  if (!since) return null;
  if (incident) return incidentFacts(incident, since, now);
  const event = state === "blind" ? "last data " : "last warning ended ";
  return h("span", null, event, timeElement(since, now), ` (${formatDuration(now - since)} ago)`);
};

/**
 * Draw the verdict.
 * @param {NowData} data
 * @param {number} now
 */
export const drawVerdict = ({ verdict }, now) => {
  const { state, clauses, notes, incident, next } = verdict;
  const shownFacts = facts(verdict, now);
  requireId("verdict").dataset.state = state;
  put(byId("headline"), clauses.map(clauseLink));
  put(
    byId("verdict-detail"),
    next ? nextHit(next) : null,
    incident?.action ? actionStep(incident.action) : null,
    shownFacts ? h("p", { class: "facts" }, shownFacts) : null,
    notes.map((note) => h("p", { class: "muted" }, clausesText(note))),
  );
};
