// The forecast of an SLO breach.
import assert from "node:assert/strict";
import { test } from "node:test";
import "./document.js";

const { breachText } = await import("#web/pages/services/service_cells.js");

test("a forecast is never certain", () => {
  const text = (/** @type {number | null} */ probability, /** @type {number | null} */ seconds) =>
    breachText({ breach_probability: probability, breach_seconds: seconds });
  assert.equal(text(1, 20), "> 95%");
  assert.equal(text(0.6, 240), "60%");
  assert.equal(text(0.3, 900), "30%");
  assert.equal(text(0, null), "< 5%");
  assert.equal(text(1, 0), "in breach");
  assert.equal(text(null, null), "–");
});
