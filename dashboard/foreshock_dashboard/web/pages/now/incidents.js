// The open incidents with their evidence, and those that ended in the last hour.
import { link, pageHref, serviceLink } from "#web/assets/address.js";
import { clausesText, timeElement } from "#web/assets/clock.js";
import { byId, h, headCells, put, scrollTable, setPanel, setPanelEmpty } from "#web/assets/dom.js";
import { formatDuration, formatPercent, formatValue, plural } from "#web/assets/format.js";
import {
  causeText,
  incidentRange,
  incidentState,
  reportHref,
  slowestTracesLink,
} from "#web/assets/timeline/incident.js";
import { breakable } from "#web/assets/widgets/widgets.js";
import { CAUSE_WORDS } from "#web/pages/now/verdict.js";

/** @typedef {import("#web/pages/now/payload.d.ts").Evidence} Evidence */
/** @typedef {import("#web/pages/now/payload.d.ts").NowData} NowData */
/** @typedef {import("#web/pages/now/payload.d.ts").NowIncident} NowIncident */

const MAX_CANDIDATES = 3;

/** @param {NowIncident} incident */
const runbookName = ({ severity }) => (severity === "warning" ? "ForeshockEarlyWarning" : "ForeshockIncident");

/** @param {NowIncident} incident */
const incidentLinks = (incident) => {
  const { id, service, resolved } = incident;
  const range = resolved ? incidentRange(incident) : null;
  const params = { incident: id, ...(range?.from && range.to ? { from: range.from, to: range.to } : {}) };
  return h(
    "span",
    { class: "links" },
    link(pageHref("/cascade", params), "cascade"),
    " ",
    slowestTracesLink(service, "slowest traces"),
    " ",
    resolved ? null : h("a", { href: `/runbooks/${runbookName(incident)}` }, "runbook"),
    " ",
    h("a", { href: reportHref(id), download: "" }, "post-mortem"),
  );
};

/**
 * @param {NowIncident} incident
 * @param {number} now
 */
const endedIncident = (incident, now) => {
  const { suspect, service, resolved } = incident;
  const text =
    suspect.service && suspect.gpus.length
      ? `${suspect.service} starved ${service} on ${plural(suspect.gpus.length, "GPU")}, ended `
      : `${service}: ${causeText(incident)}, ended `;
  return h(
    "li",
    { class: "over" },
    incidentState(incident),
    " ",
    text,
    timeElement(resolved, now),
    ` (${formatDuration(now - (resolved ?? now))} ago) `,
    incidentLinks(incident),
  );
};

/**
 * @param {NowIncident} incident
 * @param {number} now
 */
const evidenceTable = ({ service, evidence }, now) =>
  scrollTable(
    `Evidence of ${service}`,
    { class: "evidence" },
    headCells(["of", "figure", "now", "usually", "since"]),
    evidence.map(({ entity, signal, value, baseline, unit, since }, i) => {
      const isSame = evidence[i - 1]?.entity === entity;
      const entityName = breakable(entity ? entity.replace(" -> ", " → ") : service);
      const hidden = entity ? h("span", { class: "visually-hidden" }, entity) : entityName;
      return h(
        "tr",
        { class: isSame ? "same" : null },
        h("th", { scope: "row" }, isSame ? hidden : entityName),
        h("td", null, signal),
        h("td", null, h("b", null, formatValue(value, unit))),
        h("td", null, formatValue(baseline, unit)),
        h("td", null, timeElement(since, now)),
      );
    }),
  );

/** @param {NowIncident} incident */
const confidenceText = ({ suspect, candidates, confidence, quality }) => {
  const shares = candidates
    .slice(0, MAX_CANDIDATES)
    .map(({ service, score, why }) => `${service} ${formatPercent(score)}${why ? ` (${why})` : ""}`);
  return [
    suspect.gpus.length ? `on ${suspect.gpus.join(", ")}` : "",
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
  const { severity, suspect, service, since, evidence } = incident;
  const head =
    suspect.service && suspect.service !== service
      ? [serviceLink(suspect.service), " → ", serviceLink(service)]
      : serviceLink(service);
  const cause = causeText(incident, CAUSE_WORDS);
  return h(
    "li",
    { "data-severity": severity },
    h(
      "p",
      { class: "warning-head" },
      incidentState(incident),
      " ",
      h("b", null, head),
      h("span", { class: "muted" }, ` ${cause}, since `, timeElement(since, now), ` (${formatDuration(now - since)}) `),
      incidentLinks(incident),
    ),
    h("p", null, clausesText(incident.summary_clauses)),
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
