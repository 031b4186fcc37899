// The incidents of the Now page, and actions against them.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { emptyMain } from "./document.js";

const { put } = await import("#web/assets/dom.js");
const { actionCard } = await import("#web/assets/timeline/action_card.js");
const { courseOf, reportLink } = await import("#web/assets/timeline/incident.js");
const { drawIncidents } = await import("#web/pages/now/incidents.js");
const { drawVerdict } = await import("#web/pages/now/verdict.js");

const NOW = 1_000_000;

/**
 * Whether the page says of when the evidence of a firing incident is.
 * @param {number} age seconds
 * @param {number | undefined} step seconds between evaluations
 */
const saysWhen = (age, step) => drawnEvidence(age, step).includes("Values as of");

/**
 * The evidence of a firing incident: the p95 of a service, and the rate of calls to it.
 * @param {number} age seconds
 * @param {number | undefined} step seconds between evaluations
 */
const drawnEvidence = (age, step) => {
  const main = emptyMain();
  main.innerHTML = '<section class="panel"><div id="evidence"></div></section>';
  const suspect = { service: "train-llm", gpus: [] };
  const times = { since: NOW - 900, opened: NOW - 800, paged: null, resolved: null, evidence_at: NOW - age };
  const p95 = {
    entity: "embedder",
    signal: "p95",
    name: "p95",
    value: 0.4,
    baseline: 0.1,
    unit: "s",
    since: NOW - 900,
  };
  const calls = { ...p95, entity: "gateway -> embedder", signal: "call rate", metric: "edge_rate", unit: "req/s" };
  const evidence = [p95, calls];
  const lists = { affected: ["embedder"], actions: [], evidence, candidates: [], at_risk: [], summary_clauses: [] };
  const state = { id: "a", service: "embedder", severity: "critical", state: "firing", cause: "gpu_contention" };
  const incident = { ...state, ...times, ...lists, suspect, confidence: 0.9, confidence_level: "high" };
  const data = { open_incidents: [incident], resolved: [], learning: { done: true }, verdict: {}, step };
  drawIncidents(/** @type {any} */ (data), NOW);
  return main.textContent ?? "";
};

test("the rate of calls says that the caller measured it, beside the request rate that the service measured", () => {
  const text = drawnEvidence(0, 10);
  assert.match(text, /gateway → embeddercall rate \(measured by the caller\)/);
  assert.equal(text.match(/measured by the caller/g)?.length, 1);
});

test("evidence is old where a newer evaluation could have had it", () => {
  assert.equal(saysWhen(90, 10), true);
  assert.equal(saysWhen(90, undefined), true);
  assert.equal(saysWhen(50, 10), false);
  assert.equal(saysWhen(200, 120), false);
  assert.equal(saysWhen(300, 120), true);
});

test("optional actions are to be taken together only where that has an effect", () => {
  const action = { clauses: [], effect: null, expected: null, command: null, how: "", outcome: null, enough: null };
  /** @param {string | null} outcome */
  const card = (outcome) => {
    const main = emptyMain();
    const actions = /** @type {any} */ ([action, { ...action, outcome }]);
    put(main, actionCard(actions, "Reduce the risk", true));
    return main.textContent ?? "";
  };
  assert.match(card("Both together: survivable outage 34 s → 75 s"), /Little effect on its own\. Do both steps\./);
  assert.match(card(null), /Little effect on its own\./);
  assert.doesNotMatch(card(null), /Do both steps/);
});

test("incidents that are open but not named are counted", () => {
  const { verdict } = JSON.parse(readFileSync("tests/golden/web-now-contended.json", "utf8"));
  const named = { id: "b", status: "warning", badge: "Early warning", clauses: [], since: NOW - 900 };
  /** @param {number} more */
  const drawn = (more) => {
    const ids = ["verdict", "verdict-alert", "verdict-state", "headline", "verdict-detail"];
    emptyMain().innerHTML = ids.map((id) => `<div id="${id}"></div>`).join("");
    const situation = { ...verdict.situation, further: [named], more };
    drawVerdict(/** @type {any} */ ({ verdict: { ...verdict, situation } }), NOW);
    return document.querySelector(".further")?.textContent ?? "";
  };
  assert.match(drawn(2), /2 more incidents$/);
  assert.match(drawn(1), /1 more incident$/);
  assert.doesNotMatch(drawn(0), /more/);
});

for (const [what, loadSince, words] of /** @type {const} */ ([
  [
    "load that rose before the first anomaly stands first",
    NOW - 920,
    /^Extra load began .* → first anomaly .* \(15 min ago\) → early/,
  ],
  ["a course begins with the first anomaly", NOW - 900, /^First anomaly .* \(15 min ago\) → early warning/],
])) {
  test(what, () => {
    const evidence = [{ since: NOW - 900 }, { since: loadSince }];
    const incident = { since: NOW - 900, opened: NOW - 880, paged: null, affected: ["llm"], evidence };
    const main = emptyMain();
    put(main, courseOf(/** @type {any} */ (incident), NOW));
    assert.match(main.textContent ?? "", words);
  });
}

for (const [state, name] of /** @type {const} */ ([
  ["recovering", "Incident report (draft)"],
  ["resolved", "Postmortem"],
])) {
  test(`the report of an incident that is ${state} is called "${name}"`, () => {
    assert.equal(reportLink({ id: "20260105T084110Z-llm", state }).textContent, name);
  });
}
