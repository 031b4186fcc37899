// The evidence of the open incidents, and the incidents that ended in the last hour.
import { link, pageHref, serviceLink } from "#web/assets/address.js";
import { clausesText, timeElement } from "#web/assets/clock.js";
import { byId, fact, h, headCells, put, scrollTable, setPanel, setPanelEmpty } from "#web/assets/dom.js";
import {
  capitalized,
  formatDuration,
  formatPercent,
  formatSignal,
  formatValue,
  inWords,
  uncapitalized,
} from "#web/assets/format.js";
import { actionCard } from "#web/assets/timeline/action_card.js";
import {
  causeText,
  courseOf,
  evidenceId,
  incidentRange,
  incidentState,
  reportLink,
  runbookHref,
  slowestTracesLink,
} from "#web/assets/timeline/incident.js";
import { responseLine } from "#web/assets/timeline/response.js";
import { breakable } from "#web/assets/widgets/widgets.js";
import { EMPTY, NOW_TEXTS, QUALITIES, SIGNAL_MEANINGS, SIGNAL_NOTES } from "#web/assets/words.js";

/** @typedef {import("#web/pages/now/payload.d.ts").Evidence} Evidence */
/** @typedef {import("#web/pages/now/payload.d.ts").NowData} NowData */
/** @typedef {import("#web/pages/now/payload.d.ts").NowIncident} NowIncident */

const MAX_CANDIDATES = 4;
/** Share of all suspicion from which a further suspect is named. */
const MIN_SCORE = 0.2;
const MAX_ACTIONS = 2;
const GPU_WAIT = "GPU wait";
/** By metric. @type {Partial<Record<string, string>>} */
const NOTES = SIGNAL_NOTES;
/** By metric. @type {Partial<Record<string, string>>} */
const MEANINGS = SIGNAL_MEANINGS;
/** Age of the evidence of a firing incident from which its time is shown: so long, and more than two evaluations. */
const STALE_SECONDS = 60;

/**
 * @param {NowIncident} incident
 * @param {boolean} isShown its summary is the verdict, which has the other links
 */
const incidentLinks = (incident, isShown = false) => {
  const { id, service, state, resolved } = incident;
  const range = resolved ? incidentRange(incident) : null;
  const params = { incident: id, ...(range?.from && range.to ? { from: range.from, to: range.to } : {}) };
  return h(
    "span",
    { class: "links" },
    isShown ? null : link(pageHref("/cascade", params), "Cascade"),
    slowestTracesLink(service, "Slowest traces"),
    resolved || isShown ? null : h("a", { href: runbookHref(incident) }, "Runbook"),
    isShown || state === "firing" ? null : reportLink(incident),
  );
};

/**
 * @param {NowIncident} incident
 * @param {number} now
 * @param {boolean} isAnother whether another incident is open, which stands above
 */
const resolvedIncident = (incident, now, isAnother) => {
  const { service, suspect, since } = incident;
  const resolved = incident.resolved ?? now;
  const by = suspect.service && suspect.service !== service ? ` (suspected: ${inWords(suspect.service)})` : "";
  return h(
    "li",
    { class: "over" },
    isAnother ? `${NOW_TEXTS.another_incident} ` : null,
    incidentState(incident),
    ` ${causeText(incident)} at `,
    serviceLink(service),
    `${by}, resolved `,
    timeElement(resolved, now),
    ` (${formatDuration(now - resolved)} ago), ${NOW_TEXTS.open_for} ${formatDuration(resolved - since)} `,
    incidentLinks(incident),
  );
};

/**
 * The value that a latent risk calls for: at least, or at most.
 * @param {number | null} value
 * @param {number | null} target
 * @param {string} unit
 */
const targetText = (value, target, unit) =>
  `${(value ?? 0) < (target ?? 0) ? "≥" : "≤"} ${formatValue(target, unit).replace(".0 ", " ")}`;

/**
 * A signal; where its value seems to contradict another one, with what it covers.
 * @param {Pick<Evidence, "signal" | "metric" | "entity" | "xid">} row
 */
const signalCell = ({ signal, metric, entity, xid }) => {
  if (xid) return [`${signal} `, h("span", { class: "muted" }, xid.text)];
  const metricName = signal === GPU_WAIT ? "gpu_wait" : (metric ?? "");
  const name = entity?.includes(" -> ") ? "at_caller" : metricName;
  const note = NOTES[name];
  return note ? [signal, " ", h("abbr", { class: "muted", title: MEANINGS[name] }, `(${note})`)] : signal;
};

/**
 * The services in breach that no evidence is of, and where their values are.
 * @param {readonly Evidence[]} evidence
 * @param {NowData["verdict"]["situation"]} situation
 */
const breachedNote = (evidence, situation) => {
  const entities = new Set(evidence.map(({ entity }) => entity));
  const others = (situation?.breached ?? []).map(({ service }) => service).filter((service) => !entities.has(service));
  return others.length
    ? `${NOW_TEXTS.also_in_breach}: ${others.map(inWords).join(", ")}. ${NOW_TEXTS.see_services}`
    : "";
};

/**
 * The evidence by time, with that of each entity together.
 * @param {readonly Evidence[]} evidence
 */
const byEntity = (evidence) => {
  const sorted = evidence.toSorted((one, other) => (one.since ?? 0) - (other.since ?? 0));
  const entities = [...new Set(sorted.map(({ entity }) => entity))];
  return entities.flatMap((name) => sorted.filter(({ entity }) => entity === name));
};

/**
 * @param {NowIncident} incident
 * @param {number} now
 */
const evidenceTable = ({ service, evidence, affected }, now) =>
  scrollTable(
    `${NOW_TEXTS.evidence_of} ${inWords(service)}`,
    { class: "evidence" },
    headCells(["Service", "Signal", "Value", affected.length ? "Baseline" : "Target", "Since (±1 min)"]),
    byEntity(evidence).map(({ entity, signal, metric, value, baseline, unit, since, xid }, i, rows) => {
      const isSame = rows[i - 1]?.entity === entity;
      const entityName = breakable(inWords(entity ? entity.replace(" -> ", " → ") : service));
      const hidden = entity ? h("span", { class: "visually-hidden" }, inWords(entity)) : entityName;
      return h(
        "tr",
        { class: isSame ? "same" : null },
        h("th", { scope: "row" }, isSame ? hidden : entityName),
        h("td", null, signalCell({ signal, metric, entity, xid })),
        h("td", null, h("b", null, formatSignal(metric, value, unit))),
        h("td", null, affected.length ? formatSignal(metric, baseline, unit) : targetText(value, baseline, unit)),
        h("td", null, timeElement(since, now)),
      );
    }),
  );

/**
 * The suspects, the likeliest first: their rank is shown, and their score, which is no probability, in the tooltip.
 * @param {NowIncident} incident
 * @param {boolean} isShown the verdict has the first one, and the confidence
 */
const suspectFacts = (incident, isShown) => {
  const { cause, suspect, candidates, confidence_level, confidence, quality, affected, at_risk } = incident;
  const suffering = new Set([...affected, ...at_risk.map(({ service }) => service)]);
  const [first, ...others] = candidates
    .slice(0, MAX_CANDIDATES)
    .filter(({ service, score }, i) => !i || (score >= MIN_SCORE && !suffering.has(service)));
  return h(
    "dl",
    { class: "facts suspects" },
    first && !isShown ? fact(cause ? "Suspected cause" : NOW_TEXTS.candidates, candidateText(first)) : null,
    others.length && confidence_level !== "high"
      ? fact(
          "Other suspects",
          others.map((candidate, i) => [i ? ", " : "", candidateText(candidate)]),
        )
      : null,
    isShown
      ? null
      : fact(
          "Confidence",
          h("span", { class: "level", title: formatPercent(confidence) }, capitalized(confidence_level)),
        ),
    fact("Data quality", QUALITIES[quality]),
    suspect.gpus.length
      ? fact(
          "GPUs",
          inWords(suspect.gpus.join(", "))
            .split(", ")
            .map((gpu, i) => [i ? ", " : "", h("span", { class: "unbroken" }, gpu)]),
        )
      : null,
  );
};

/** @param {NowIncident["candidates"][number]} candidate */
const candidateText = ({ service, score, why }) => [
  h("span", { title: `score ${score.toFixed(2)}` }, serviceLink(service)),
  why ? h("span", { class: "muted" }, ` (${why})`) : "",
];

/**
 * @param {NowIncident} incident
 * @param {NowData["verdict"]["situation"]} situation of the verdict, which has its summary already; else null
 * @param {number} now
 * @param {number} [step] seconds between evaluations
 */
const openIncident = (incident, situation, now, step = 0) => {
  const isShown = situation !== null;
  const { severity, state, service, affected, actions, evidence, evidence_at } = incident;
  const isLatent = !affected.length;
  const age = evidence_at ? now - evidence_at : 0;
  const others = breachedNote(evidence, situation);
  const isPast = age > Math.max(STALE_SECONDS, 2 * step) || (age > 0 && state !== "firing");
  const body = [
    h(
      "p",
      { class: "warning-head" },
      isLatent ? null : [incidentState(incident), " "],
      serviceLink(service),
      isShown ? null : h("span", { class: "muted" }, ` ${causeText(incident)}. `, courseOf(incident, now)),
      " ",
      incidentLinks(incident, isShown),
    ),
    isShown ? null : h("p", null, clausesText(incident.summary_clauses)),
    isShown || isLatent ? null : responseLine(incident.id, now),
    isShown || !actions.length || state === "recovering"
      ? null
      : actionCard(actions.slice(0, MAX_ACTIONS), isLatent ? NOW_TEXTS.reduce_risk : undefined, isLatent),
    h(
      "div",
      { class: isShown ? "evidence-body shown" : "evidence-body" },
      evidence.length
        ? h(
            "div",
            null,
            isPast && !isLatent
              ? h(
                  "p",
                  { class: "note" },
                  `${evidence_at === incident.paged ? NOW_TEXTS.values_at_page : NOW_TEXTS.values_at} `,
                  timeElement(evidence_at, now),
                  NOW_TEXTS.past_values,
                )
              : null,
            evidenceTable(incident, now),
            others ? h("p", { class: "note" }, others) : null,
          )
        : null,
      h("div", { class: evidence.length ? null : "only" }, suspectFacts(incident, isShown)),
    ),
  ];
  const id = evidenceId(incident.id);
  if (!isLatent) return h("li", { id, "data-severity": state === "firing" ? severity : "inactive" }, body);
  const time = evidence_at ? [` · ${uncapitalized(NOW_TEXTS.values_at)} `, timeElement(evidence_at, now)] : null;
  const summary = [incidentState(incident), ` ${inWords(service)}`, h("span", { class: "muted" }, time)];
  return h("li", { id, "data-severity": "inactive" }, h("details", null, h("summary", null, summary), body));
};

/**
 * Draw the incidents.
 * @param {NowData} data
 * @param {number} now
 */
export const drawIncidents = ({ open_incidents, resolved, learning, verdict, step }, now) => {
  if (!open_incidents.length && !resolved.length) {
    const texts = [
      EMPTY.incidents,
      learning.done ? "" : EMPTY.incidents_learning,
      verdict.state === "unknown" ? EMPTY.incidents_unknown : "",
    ];
    setPanelEmpty("evidence", texts.filter(Boolean).join(" "));
    return;
  }
  const { situation } = verdict;
  const [latent, affecting] = [false, true].map((affects) =>
    open_incidents.filter(({ affected }) => affected.length > 0 === affects),
  );
  const open = [...(affecting ?? []), ...(latent ?? [])].map((incident) =>
    openIncident(incident, situation?.incident.id === incident.id ? situation : null, now, step),
  );
  const ended = resolved.map((incident) => resolvedIncident(incident, now, open.length > 0));
  put(byId("evidence"), h("ul", { class: "incident-list" }, open, ended));
  setPanel("evidence", "ready");
};
