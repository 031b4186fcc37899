// The state in which the map draws a service.
import assert from "node:assert/strict";
import { test } from "node:test";
import "./document.js";

const { nodeState } = await import("#web/pages/cascade/service_map.js");

/** @typedef {import("#web/pages/cascade/payload.d.ts").MapService} MapService */

test("a service is drawn by its stage, else by its role, also where it is the suspected cause", () => {
  const node = { id: "llm", kind: "service", color: 0, column: 0, row: 0 };
  const word = (/** @type {Partial<MapService>} */ values) =>
    nodeState(node, {
      ...{ id: "llm", stage: "healthy", role: "", suspect: true, order: null, condition: "healthy" },
      ...{ rate: 1, p95: 1, error_rate: 0 },
      ...values,
    }).word;
  assert.equal(word({}), "Healthy");
  assert.equal(word({ role: "at_risk" }), "At risk");
  assert.equal(word({ role: "affected" }), "Anomalous");
  assert.equal(word({ stage: "breached", role: "at_risk" }), "SLO breach");
});
