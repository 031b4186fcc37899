// The state in which the map draws a service.
import assert from "node:assert/strict";
import { test } from "node:test";
import { emptyMain } from "./document.js";

const { put } = await import("#web/assets/dom.js");
const { nodeState, nodeValueText, propagationPath } = await import("#web/pages/cascade/service_map.js");

/** @typedef {import("#web/pages/cascade/payload.d.ts").MapService} MapService */

test("a service is drawn in its state, as on the other pages", () => {
  const node = { id: "llm", kind: "service", color: 0, column: 0, row: 0 };
  const shown = (/** @type {Partial<MapService>} */ values) => {
    const { word, sign, box } = nodeState(node, {
      ...{ id: "llm", stage: "healthy", suspect: true, order: null, health: "ok", condition: "healthy" },
      ...{ word: "Healthy", rate: 1, p95: 1, error_rate: 0 },
      ...values,
    });
    return [word, sign, box];
  };
  assert.deepEqual(shown({}), ["Healthy", "●", "ok"]);
  assert.deepEqual(shown({ health: "warning", condition: "at_risk", word: "At risk" }), [
    "At risk",
    "◇",
    "warning early",
  ]);
  const affected = /** @type {const} */ ({ health: "warning", condition: "affected", word: "Affected" });
  assert.deepEqual(shown(affected), ["Affected", "△", "warning early"]);
  const breached = /** @type {const} */ ({ health: "critical", condition: "slo_breach", word: "SLO breach" });
  assert.deepEqual(shown({ ...breached, stage: "breached" }), ["SLO breach", "■", "critical"]);
  const degraded = /** @type {const} */ ({ health: "warning", condition: "degraded", word: "Degraded" });
  assert.deepEqual(shown({ ...degraded, stage: "degraded" }), ["Degraded", "▼", "warning"]);
  assert.deepEqual(shown({ health: "idle", condition: "low_traffic", word: "Low traffic" })[1], "◔");
  assert.deepEqual(shown({ condition: "recovering", word: "Recovering" }), ["Recovering", "◐", "recovering"]);
  assert.equal(nodeState({ ...node, kind: "database" }, undefined).word, "database");
});

test("the box of every service with requests has its request rate", () => {
  const base = { id: "llm", suspect: false, order: null, health: "ok", condition: "healthy", word: "Healthy" };
  const shown = (/** @type {Partial<MapService>} */ values) =>
    nodeValueText(/** @type {MapService} */ ({ ...base, stage: "healthy", rate: 14, p95: 14.4, ...values }), "Healthy");
  for (const stage of /** @type {const} */ (["healthy", "early_warning", "degraded", "breached"]))
    assert.equal(shown({ stage, error_rate: 0 }), "14 req/s · p95 14.4 s");
  assert.equal(shown({ stage: "breached", error_rate: 0.15 }), "14 req/s · errors 15%");
  assert.equal(shown({ rate: 0 }), "Healthy");
});

test("each list of steps has its heading as its label", () => {
  const step = { incident: "a", from: "llm", to: "front", via: "call", lag_seconds: null };
  const data = {
    propagation: [step],
    forecast_steps: [{ ...step, from: "front", to: "web" }],
    selected: [],
    at_risk: [],
  };
  const main = emptyMain();
  put(main, propagationPath(/** @type {any} */ (data)));
  const labels = [...main.querySelectorAll("ol")].map((list) => list.getAttribute("aria-label"));
  assert.deepEqual(labels, ["Propagation so far (onsets ±1 min)", "Forecast propagation"]);
  assert.deepEqual(
    [...main.querySelectorAll("[aria-hidden]")].map((heading) => heading.textContent),
    labels,
  );
});
