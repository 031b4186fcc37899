// The open incidents with their evidence, and those that ended in the last hour.
import { link, pageHref, serviceLink } from "#web/assets/address.js";
import { clausesText, timeElement } from "#web/assets/clock.js";
import { byId, h, headCells, put, scrollTable, setPanel, setPanelEmpty } from "#web/assets/dom.js";
import { formatDuration, formatPercent, formatValue, plural } from "#web/assets/format.js";
import { causeText, incidentRange, phaseState, reportHref, slowestTracesLink } from "#web/assets/timeline/incident.js";
import { healthState } from "#web/assets/timeline/signs.js";
import { breakable } from "#web/assets/widgets/widgets.js";
import { CAUSE_WORDS } from "#web/pages/now/verdict.js";

/** @typedef {import("#web/pages/now/payload.d.ts").Evidence} Evidence */
/** @typedef {import("#web/pages/now/payload.d.ts").NowData} NowData */
/** @typedef {import("#web/pages/now/payload.d.ts").NowIncident} NowIncident */

const MAX_CANDIDATES = 3;
/** @type {Record<string, string>} */
const RUNBOOKS = { advisory: "IncidentAdvisory", page: "IncidentPage", cascading: "IncidentCascading" };

/** @param {NowIncident} incident */
const incidentLinks = (incident) => {
  const { id, victim, phase, until } = incident;
  const range = until ? incidentRange(incident) : null;
  const params = { incident: id, ...(range?.from && range.to ? { from: range.from, to: range.to } : {}) };
  return h(
    "span",
    { class: "links" },
    link(pageHref("/cascade", params), "cascade"),
    " ",
    slowestTracesLink(victim, "slowest traces"),
    " ",
    until ? null : h("a", { href: `/runbooks/${RUNBOOKS[phase]}` }, "runbook"),
    " ",
    h("a", { href: reportHref(id), download: "" }, "post-mortem"),
  );
};

/**
 * @param {NowIncident} incident
 * @param {number} now
 */
const endedIncident = (incident, now) => {
  const { aggressor, victim, gpus, until } = incident;
  const text =
    aggressor && gpus.length
      ? `${aggressor} starved ${victim} on ${plural(gpus.length, "GPU")}, ended `
      : `${victim}: ${causeText(incident)}, ended `;
  return h(
    "li",
    { class: "over" },
    healthState("idle", "over"),
    " ",
    text,
    timeElement(until, now),
    ` (${formatDuration(now - (until ?? now))} ago) `,
    incidentLinks(incident),
  );
};

/**
 * @param {NowIncident} incident
 * @param {number} now
 */
const evidenceTable = ({ victim, evidence }, now) =>
  scrollTable(
    `Evidence of ${victim}`,
    { class: "evidence" },
    headCells(["of", "figure", "now", "usually", "since"]),
    evidence.map(({ entity, name, value, baseline, unit, since }, i) => {
      const isSame = evidence[i - 1]?.entity === entity;
      const entityName = breakable(entity ? entity.replace(" -> ", " → ") : victim);
      const hidden = entity ? h("span", { class: "visually-hidden" }, entity) : entityName;
      return h(
        "tr",
        { class: isSame ? "same" : null },
        h("th", { scope: "row" }, isSame ? hidden : entityName),
        h("td", null, name),
        h("td", null, h("b", null, formatValue(value, unit))),
        h("td", null, formatValue(baseline, unit)),
        h("td", null, timeElement(since, now)),
      );
    }),
  );

/** @param {NowIncident} incident */
const confidenceText = ({ gpus, candidates, confidence, quality }) => {
  const shares = candidates
    .slice(0, MAX_CANDIDATES)
    .map(({ service, score, why }) => `${service} ${formatPercent(score)}${why ? ` (${why})` : ""}`);
  return [
    gpus.length ? `on ${gpus.join(", ")}` : "",
    candidates.length > 1 ? `share of the blame: ${shares.join(", ")}` : "",
    `${formatPercent(confidence)} sure whose doing it is, ${quality}`,
  ]
    .filter(Boolean)
    .join(" · ");
};

/**
 * @param {NowIncident} incident
 * @param {number} now
 */
const openIncident = (incident, now) => {
  const { phase, aggressor, victim, since, evidence } = incident;
  const head =
    aggressor && aggressor !== victim ? [serviceLink(aggressor), " → ", serviceLink(victim)] : serviceLink(victim);
  const cause = causeText(incident, CAUSE_WORDS);
  return h(
    "li",
    { "data-phase": phase },
    h(
      "p",
      { class: "warning-head" },
      phaseState(phase),
      " ",
      h("b", null, head),
      h("span", { class: "muted" }, ` ${cause}, since `, timeElement(since, now), ` (${formatDuration(now - since)}) `),
      incidentLinks(incident),
    ),
    h("p", null, clausesText(incident.summary)),
    evidence.length ? evidenceTable(incident, now) : null,
    h("p", { class: "muted" }, confidenceText(incident)),
  );
};

/**
 * Draw the incidents.
 * @param {NowData} data
 * @param {number} now
 */
export const drawIncidents = ({ warnings, over, learning, verdict }, now) => {
  if (!warnings.length && !over.length) {
    const isLearning = learning.done ? "" : " None can be given while the hub is learning what is usual.";
    const isBlind = verdict.state === "blind" ? " None can be given while no fresh data comes." : "";
    setPanelEmpty("warnings", `No incidents are open and none ended in the last hour.${isLearning}${isBlind}`);
    return;
  }
  const open = warnings.map((incident) => openIncident(incident, now));
  const ended = over.map((incident) => endedIncident(incident, now));
  put(byId("warnings"), h("ul", { class: "warnings" }, open, ended));
  setPanel("warnings", "ready");
};
