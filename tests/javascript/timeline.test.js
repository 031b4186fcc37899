// The lanes of a cascade: their list, for phones, and the legend of their picture.
import assert from "node:assert/strict";
import { test } from "node:test";
import { emptyMain } from "./document.js";

const { put } = await import("#web/assets/dom.js");
const { laneList, legend } = await import("#web/assets/timeline/timeline.js");
const { picture } = await import("#web/assets/timeline/timeline_picture.js");
const { STAGE_SIGNS } = await import("#web/assets/timeline/signs.js");
const { CONDITIONS } = await import("#web/assets/words.js");

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

/**
 * The signs in the picture of a lane: before it, and those of its stages.
 * @param {Timeline} data
 */
const drawnSigns = (data) => {
  const main = emptyMain();
  put(main, picture(data, 800));
  const before = [...main.querySelectorAll(".lane-role")].map((mark) => mark.textContent ?? "");
  const stages = STAGES.filter((stage) => main.querySelector(`.lane-mark.${stage}`)).map((stage) => STAGE_SIGNS[stage]);
  return new Set([...before, ...stages]);
};

test("the legend of a timeline has exactly the signs that are drawn, each once", () => {
  const lane = {
    service: "a/b",
    order: 1,
    first: NOW - 120,
    until: null,
    why: "",
    slo: "",
    sign: null,
    forecast: null,
  };
  const axis = { start: NOW - 900, now: NOW, end: NOW, stages: STAGES, hidden: 0, changes: [], events: [] };
  const others = ["suspect", "affected"].map((part) => ({ ...lane, part, state: null, intervals: [] }));
  for (const [condition, word] of Object.entries(CONDITIONS)) {
    for (const health of [null, "warning", "critical"]) {
      for (const intervals of [[], [[NOW - 60, NOW, 1]], [[NOW - 960, NOW - 930, 1]], [[NOW - 120, NOW - 60, 3]]]) {
        const state = health && { health, condition, word, stage: null };
        const lanes = [...others, { ...lane, part: "at_risk", state, intervals }];
        const data = /** @type {Timeline} */ (/** @type {unknown} */ ({ ...axis, lanes }));
        const main = emptyMain();
        put(main, legend(data));
        const named = [...(main.textContent ?? "").matchAll(/[^\p{L}\p{N}\p{P}\s]/gu)].map(([sign]) => sign);
        assert.deepEqual(named.sort(), [...drawnSigns(data)].sort(), `${condition} ${health} ${intervals}`);
      }
    }
  }
});
