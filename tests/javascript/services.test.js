// The forecast of an SLO breach.
import assert from "node:assert/strict";
import { test } from "node:test";
import "./document.js";

const { breachRank, breachText, hasRetries } = await import("#web/pages/services/service_cells.js");
const { sortRows } = await import("#web/assets/widgets/table.js");

test("a forecast is never certain", () => {
  const text = (/** @type {number | null} */ probability, /** @type {number | null} */ seconds) =>
    breachText({ breach_probability: probability, breach_seconds: seconds });
  assert.equal(text(0.99, null), "> 95%");
  assert.equal(text(0.3, 900), "30%");
  assert.equal(text(0, null), "< 5%");
  assert.equal(text(1, 0), "in breach");
  assert.equal(text(null, null), "–");
});

test("a service at risk shows when its SLO breach is expected, with or without a probability", () => {
  assert.equal(breachText({ breach_probability: null, breach_seconds: 240 }), "in about 4 min");
  assert.equal(breachText({ breach_probability: 0.6, breach_seconds: 240 }), "in about 4 min");
  assert.equal(breachText({ breach_probability: 1, breach_seconds: 20 }), "imminent");
});

test("the services at risk come first, and those without a forecast last", () => {
  const slo = { p95: 1, error_rate: 0.01, learned: true };
  const row = (/** @type {string} */ id, /** @type {object} */ values) => ({
    ...{ id, slo, breach_probability: null, breach_seconds: null },
    ...values,
  });
  const rows = [
    row("batch", { slo: null, breach_probability: 0 }),
    row("healthy", { breach_probability: 0.34, breach_seconds: 900 }),
    row("later", { breach_seconds: 260 }),
    row("unlikely", { breach_probability: 0 }),
    row("breached", { breach_probability: 1, breach_seconds: 0 }),
    row("sooner", { breach_seconds: 180 }),
    row("unknown", {}),
  ];
  const columns = [{ key: "forecast", name: "SLO breach forecast", value: breachRank }];
  const order = sortRows(rows, columns, "-forecast").map(({ id }) => id);
  assert.deepEqual(order, ["breached", "sooner", "later", "healthy", "unlikely", "batch", "unknown"]);
});

test("a column of retries is shown where there are some", () => {
  assert.equal(hasRetries([{ attempts: 1 }, { attempts: null }]), false);
  assert.equal(hasRetries([{ attempts: 1 }, { attempts: 1.01 }]), true);
});
