// Costs of unused GPUs.
import assert from "node:assert/strict";
import { test } from "node:test";
import { emptyMain } from "./document.js";

const { h, put } = await import("#web/assets/dom.js");
const { costCell, drawIdleGpus, idleCell } = await import("#web/pages/cost/idle_gpus.js");

test("below a currency a number of hours has its unit", () => {
  const item = { gpu_hours: 6, gpu_hours_per_day: 48, cost: 12, cost_per_day: 96 };
  for (const [currency, values, text] of /** @type {[string, object, string][]} */ ([
    ["USD", {}, "96.00 per day48 GPU-hours"],
    ["USD", { cost: null, cost_per_day: null }, "48 GPU-hours per day"],
    ["USD", { cost: null, gpu_hours_per_day: null }, "6 GPU-hours so far"],
    ["", {}, "48 per day"],
    ["USD", { idle_ratio: 0.4, gpu_hours_per_day: null, priced_ratio: 1 }, "12.00 in 6 h6 GPU-hours"],
    ["USD", { idle_ratio: 0.4, gpu_hours_per_day: null, priced_ratio: 0.5 }, "≥ 12.00 in 6 h6 GPU-hours"],
  ])) {
    const main = emptyMain();
    put(main, costCell(/** @type {any} */ ({ ...item, ...values }), currency, "6 h"));
    assert.equal(main.textContent, text);
  }
});

test("idle time is a share of GPU time, or how long GPUs are unused at least", () => {
  const text = (/** @type {object} */ item) => idleCell(/** @type {any} */ (item));
  assert.equal(text({ idle_ratio: 0.4 }), "40% of its GPU time");
  assert.equal(text({ seconds: 7200, at_least: false }), "unused for 2 h");
  assert.equal(text({ seconds: 7200, at_least: true }), "unused for ≥ 2 h");
  assert.equal(text({ seconds: null }), null);
});

test("each button says which command it copies", () => {
  const main = emptyMain();
  put(main, h("div", { id: "unused-panel" }, h("p", { id: "unused-message" }), h("div", { id: "unused" })));
  const commands = ["ml/notebook", "shop/front"].map((name) => `kubectl scale deployment/${name} --replicas=0`);
  const unused = commands.map((command) => ({ service: null, gpus: 1, action: "Scale it to 0 replicas", command }));
  drawIdleGpus(/** @type {any} */ ({ unused }));
  assert.deepEqual(
    [...main.querySelectorAll("button[data-copy]")].map((button) => button.getAttribute("aria-label")),
    commands.map((command) => `Copy: ${command}`),
  );
});
