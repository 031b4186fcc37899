// Costs of unused GPUs.
import assert from "node:assert/strict";
import { test } from "node:test";
import { emptyMain } from "./document.js";

const { put } = await import("#web/assets/dom.js");
const { costCell } = await import("#web/pages/cost/idle_gpus.js");

test("below a currency a number of hours has its unit", () => {
  const item = { gpu_hours: 6, gpu_hours_per_day: 48, cost: 12, cost_per_day: 96 };
  for (const [currency, values, text] of /** @type {[string, object, string][]} */ ([
    ["USD", {}, "96.00 per day48 GPU-hours"],
    ["USD", { cost: null, cost_per_day: null }, "48 GPU-hours per day"],
    ["USD", { cost: null, gpu_hours_per_day: null }, "6 GPU-hours so far"],
    ["", {}, "48 per day"],
  ])) {
    const main = emptyMain();
    put(main, costCell(/** @type {any} */ ({ ...item, ...values }), currency));
    assert.equal(main.textContent, text);
  }
});
