// The Now page: the healthy verdict, the tiles, and the services closest to their limits.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { emptyMain, visit } from "./document.js";

const { live } = await import("#web/assets/state.js");
const { drawServices } = await import("#web/pages/now/services_panel.js");
const { drawTiles } = await import("#web/pages/now/tiles.js");
const { drawVerdict } = await import("#web/pages/now/verdict.js");

const NOW = 1_000_000;
const { verdict: contended } = JSON.parse(readFileSync("tests/golden/web-now-contended.json", "utf8"));
const HEALTHY = { ...contended, state: "healthy", situation: null };
const P95 = { service: "llm", metric: "p95", value: 0.0504, limit: 0.0499, limit_kind: "SLO", unit: "s", usage: 1.01 };
const SERVICE = {
  id: "llm",
  health: "ok",
  stage: "healthy",
  condition: "healthy",
  word: "Healthy",
  rate: 4,
  error_rate: 0,
};
const ROW = {
  ...SERVICE,
  p95: 0.05,
  slo: 0.0499,
  learned: false,
  closest: { ...P95, status: "ok" },
  note: "",
  past_breach: [],
  spark: [],
};

/** @param {Element | null} element */
const textOf = (element) => element?.textContent?.replaceAll("\u00a0", " ");

/**
 * The table of services.
 * @param {object[]} services
 */
const table = (services) => {
  emptyMain().innerHTML =
    '<section class="panel" id="services-panel"><h2 id="services-title"></h2><p id="services-message"></p><div id="services"></div></section>';
  drawServices(
    /** @type {any} */ ({ services, hidden: 0, verdict: { ...HEALTHY, closest: [P95] }, spark_seconds: 1800 }),
  );
  const cells = (/** @type {string} */ selector) => [...document.querySelectorAll(selector)].map(textOf);
  return {
    head: cells("#services th[scope=col]"),
    body: cells("#services tbody tr > *"),
    note: textOf(document.querySelector("tbody small")),
  };
};

test("a healthy platform has a table of the used share of limits, with what is no breach beside the service", () => {
  const note = "p95 was above its SLO for 40 s, with too few requests (up to 15 per minute, 30 needed)";
  const { head, body } = table([{ ...ROW, note }]);
  assert.deepEqual(head?.slice(0, 4), ["Service", "Used", "Value", "Limit"]);
  assert.deepEqual(body.slice(0, 4), [`llm ${note}`, "101%", "p95 50.4 ms", "SLO 49.9 ms"]);
});

test("a service without a reading has no meter: absent is no zero", () => {
  assert.deepEqual(table([{ ...ROW, closest: null }]).body.slice(1, 4), ["–", "–", "–"]);
  assert.equal(document.querySelectorAll(".used").length, 0);
  table([ROW]);
  assert.equal(document.querySelectorAll(".used").length, 1);
});

for (const state of [
  { stage: "degraded", health: "warning", condition: "degraded", word: "Degraded" },
  { health: "unknown", condition: "no_data", word: "No data" },
]) {
  test(`a service with the state ${state.word} shows it, also on a healthy platform`, () => {
    const { head, body } = table([ROW, { ...ROW, ...state }]);
    assert.equal(head?.[1], "State");
    assert.ok(body.some((cell) => cell?.includes(state.word)));
  });
}

const SLO = { breached: 0, degraded: 0, at_risk: 0, within: 4, without: 0, few: 0, unknown: 0, learned: 0 };
for (const [slo, state, isShown] of /** @type {const} */ ([
  [SLO, "healthy", false],
  [{ ...SLO, within: 3, without: 1, few: 1 }, "healthy", false],
  [{ ...SLO, degraded: 1 }, "healthy", true],
  [{ ...SLO, at_risk: 1 }, "healthy", true],
  [SLO, "critical", true],
])) {
  test(`the tile of SLOs is ${isShown ? "shown" : "left out"} beside a ${state} verdict with ${JSON.stringify(slo)}`, () => {
    emptyMain().innerHTML = '<div id="figures"></div>';
    const tile = { name: "SLO status", unit: "services", value: 0, slo, who: "llm", href: "/services", limit: null };
    const tiles = [{ ...tile, limit_kind: "", status: "ok", spark: [], usage: null, peak: null }];
    const data = { tiles, spark_seconds: 1800, learning: { done: true }, verdict: { state } };
    drawTiles(/** @type {any} */ (data));
    assert.equal(document.querySelectorAll(".figure").length, isShown ? 1 : 0);
  });
}

const COVERAGE = [{ text: "SLOs: configured.", kind: "", services: [], gpus: [], at: null }];
for (const [address, bounds, words] of /** @type {const} */ ([
  ["http://hub.example/", null, "Newest data 4 s ago. SLOs: configured."],
  ["http://hub.example/", [NOW - 900, NOW], "SLOs: configured."],
  ["http://hub.example/?to=999000000", null, "SLOs: configured."],
])) {
  test(`the age of the data follows the hub's clock, and the past has none: ${address} ${bounds ? "replay" : ""}`, () => {
    visit(address);
    live.time = NOW;
    const ids = ["verdict", "verdict-alert", "verdict-state", "headline", "verdict-detail"];
    emptyMain().innerHTML = ids.map((id) => `<div id="${id}"></div>`).join("");
    const data = { verdict: { ...HEALTHY, coverage: COVERAGE }, data_time: NOW - 4, bounds };
    drawVerdict(/** @type {any} */ (data), NOW);
    assert.equal(textOf(document.querySelector(".coverage")), words);
    visit("http://hub.example/");
  });
}

test("what reduces a latent risk stands directly below it", () => {
  const ids = ["verdict", "verdict-alert", "verdict-state", "headline", "verdict-detail"];
  emptyMain().innerHTML = ids.map((id) => `<div id="${id}"></div>`).join("");
  const verdict = { ...HEALTHY, risks: [COVERAGE], remedy: COVERAGE };
  drawVerdict(/** @type {any} */ ({ verdict, data_time: NOW, bounds: null }), NOW);
  const names = [...document.querySelectorAll("dt")].map(textOf);
  assert.equal(names[names.indexOf("Latent risk") + 1], "Hardening (not urgent)");
});
