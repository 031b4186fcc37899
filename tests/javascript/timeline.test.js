// The lanes of a cascade as a list, for phones.
import assert from "node:assert/strict";
import { test } from "node:test";
import { emptyMain } from "./document.js";

const { put } = await import("#web/assets/dom.js");
const { laneList } = await import("#web/assets/timeline/timeline.js");

/** @typedef {import("#web/assets/payload.d.ts").Timeline} Timeline */

/** @type {Timeline["stages"]} */
const STAGES = ["healthy", "early_warning", "degraded", "breached"];
const NOW = 1_000_000;

/**
 * The text of the lane of a service.
 * @param {Partial<import("#web/assets/payload.d.ts").Lane>} lane
 */
const laneText = (lane) => {
  const whole = { service: "serving/llm", part: "affected", order: 1, first: NOW, until: null, why: "", slo: "" };
  const rest = { sign: null, forecast: null, state: null, intervals: [], ...lane };
  const axis = { start: NOW - 900, now: NOW, end: NOW, stages: STAGES, hidden: 0, changes: [], events: [] };
  const main = emptyMain();
  put(main, laneList(/** @type {Timeline} */ ({ ...axis, lanes: [{ ...whole, ...rest }] })));
  return main.textContent?.replace(/\s+/g, " ").trim();
};

test("a state has its own age, and the first anomaly another", () => {
  /** @type {import("#web/assets/payload.d.ts").Lane["state"]} */
  const state = { health: "critical", condition: "slo_breach", word: "SLO breach", stage: "breached" };
  const slo = "p95 82.7 s (SLO 17.3 s)";
  const first = NOW - 560;
  const text = laneText({
    state,
    slo,
    first,
    intervals: [
      [first, NOW - 360, 1],
      [NOW - 360, NOW, 3],
    ],
  });
  assert.equal(text, `serving/llm ■ SLO breach for 6 min${slo}; first anomaly 9 min 20 s ago`);
});

test("a state that is no stage, or not the one of the last interval, has no age", () => {
  /** @type {import("#web/assets/payload.d.ts").Lane["state"]} */
  const risk = { health: "warning", condition: "at_risk", word: "At risk", stage: "early_warning" };
  assert.equal(laneText({ state: risk, part: "at_risk", intervals: [] }), "serving/llm ◇ At risk");
  const intervals = /** @type {[number, number, number][]} */ ([[NOW - 120, NOW, 1]]);
  assert.equal(laneText({ state: risk, first: NOW - 120, intervals }), "serving/llm ◇ At riskfirst anomaly 2 min ago");
  const breached = { ...risk, condition: "slo_breach", stage: /** @type {const} */ ("breached") };
  assert.doesNotMatch(laneText({ state: breached, first: NOW - 120, intervals }) ?? "", / for /);
});

test("a service that breached its SLO and has low traffic now is both", () => {
  /** @type {import("#web/assets/payload.d.ts").Lane["state"]} */
  const state = { health: "idle", condition: "low_traffic", word: "Low traffic", stage: "healthy" };
  const text = laneText({ state, first: NOW - 560, intervals: [[NOW - 560, NOW - 360, 3]] });
  assert.match(text ?? "", /Low traffic.*had breached SLO/);
});
