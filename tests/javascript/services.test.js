// The summary of all services, and the forecast of an SLO breach.
import assert from "node:assert/strict";
import { test } from "node:test";
import "./document.js";

const { summaryText } = await import("#web/pages/services/services.js");
const { breachText } = await import("#web/pages/services/service_cells.js");

/**
 * @param {Partial<import("#web/pages/services/payload.d.ts").ServiceRow>} values
 * @returns {any}
 */
const row = (values) => ({ slo_usage: null, breach_probability: null, wait: null, ...values });

test("the summary counts SLO breaches, services at risk, and GPU wait", () => {
  const healthy = row({ slo_usage: 0.5 });
  assert.equal(summaryText([healthy, healthy, row({})]), "All 2 services with traffic within SLO.");
  assert.equal(
    summaryText([healthy, row({ slo_usage: 1.2, breach_probability: 1 }), row({ wait: 0.4 })]),
    "1 of 2 services in SLO breach, 1 with GPU wait ≥ 10%.",
  );
  assert.equal(
    summaryText([healthy, row({ slo_usage: 0.9, breach_probability: 0.7 })]),
    "All 2 services with traffic within SLO, 1 at risk.",
  );
  assert.equal(summaryText([row({})]), "1 service, no SLO yet.");
});

test("a forecast is a bucket and never certain", () => {
  const text = (/** @type {number | null} */ probability, /** @type {number | null} */ seconds) =>
    breachText({ breach_probability: probability, breach_seconds: seconds });
  assert.equal(text(1, 20), "> 95%, imminent");
  assert.equal(text(0.6, 240), "60%, < 5 min");
  assert.equal(text(0.3, 900), "30%");
  assert.equal(text(0, null), "< 5%");
  assert.equal(text(1, 0), "in breach");
  assert.equal(text(null, null), "–");
});
