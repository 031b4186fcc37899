// Moments with their day, and the strips of hours of the Capacity page.
import assert from "node:assert/strict";
import { test } from "node:test";
import { emptyMain } from "./document.js";

const { clausesText, formatMoment } = await import("#web/assets/clock.js");
const { live } = await import("#web/assets/state.js");
const { gradient, hourText } = await import("#web/pages/capacity/heat_strip.js");
const { BURN_COLUMNS, capacity } = await import("#web/pages/capacity/capacity.js");

const noon = new Date(2025, 10, 25, 12, 0).getTime() / 1000;
const HOUR = 3600;

test("a moment has the day that people say, in the reader's zone", () => {
  assert.equal(formatMoment(noon + 2 * HOUR, noon), "today at 14:00");
  assert.equal(formatMoment(noon + 13 * HOUR, noon), "tomorrow at 01:00");
  assert.equal(formatMoment(noon + 48 * HOUR, noon), "Thursday at 12:00");
  assert.equal(formatMoment(noon + 7 * 24 * HOUR, noon), "Dec 2 at 12:00");
  assert.equal(formatMoment(noon + 14 * HOUR, noon, noon + 13 * HOUR), "02:00");
});

test("of moments on one day in a sentence, the first alone has it", () => {
  live.time = noon;
  const moment = (/** @type {number} */ at) =>
    /** @type {import("#web/assets/payload.d.ts").Clause} */ ({
      text: "UTC",
      kind: "moment",
      services: [],
      gpus: [],
      at,
    });
  const words = /** @type {import("#web/assets/payload.d.ts").Clause} */ ({
    text: " to ",
    kind: "",
    services: [],
    gpus: [],
    at: null,
  });
  assert.equal(
    clausesText([moment(noon + HOUR), words, moment(noon + 2 * HOUR), words, moment(noon + 24 * HOUR)]),
    "today at 13:00 to 14:00 to tomorrow at 12:00",
  );
});

test("equal hours are one part of a strip, and only a load above the limit is amber", () => {
  assert.equal(
    gradient([5, 6, 100, 101]),
    "linear-gradient(90deg, var(--ramp-0) 0.00% 50.00%, var(--ramp-4) 50.00% 75.00%, var(--warn) 75.00% 100.00%)",
  );
  assert.match(gradient([null]), /--raised/);
});

test("an hour is read with its upper bound, and an unknown one as such", () => {
  const row = /** @type {any} */ ({ median: [92, null], upper: [108, null] });
  assert.equal(hourText(row, 0, noon, noon), "today at 12:00: 92% of hourly safe limit (80% upper bound 108%)");
  assert.equal(hourText(row, 1, noon, noon), "today at 13:00: unknown");
});

test("without a forecast there is no all-clear, only the headroom of now", () => {
  const main = emptyMain();
  const panels = ["strips", "replicas", "capacity-load", "headroom", "slow-burns"];
  for (const id of ["capacity-verdict", "shortage", "shortage-detail", "what-if", "chosen"]) {
    main.append(Object.assign(document.createElement("div"), { id }));
  }
  for (const name of panels) {
    for (const id of [`${name}-panel`, name, `${name}-message`]) {
      main.append(Object.assign(document.createElement("section"), { id }));
    }
  }
  const csv = document.createElement("a");
  csv.dataset.viewed = "/api/csv/forecast";
  document.getElementById("headroom-panel")?.append(csv);
  const shown = () => panels.filter((name) => !document.getElementById(`${name}-panel`)?.hidden);
  const data = { ready: true, state: "learning", clauses: [], slow_burns: [] };
  const draw = (/** @type {object[]} */ current, more = {}) =>
    /** @type {any} */ (capacity).update({ ...data, current, ...more });
  const more = (/** @type {number} */ added) => ({ needed: 4 + added, added, short: Math.max(0, added - 2) });
  const need = { peak: more(1), more_traffic: more(0), host_lost: more(3), is_lower_bound: false };
  const row = { basis: "capacity", status: "warning", spark: [0.5, 0.8], pool: "chat", ready: 4, room: 2, need };
  const headroom = () => document.getElementById("headroom")?.textContent ?? "";
  draw([
    { ...row, service: "ml/chat", load: 0.81, safe: 0.76, headroom: -0.063, status: "critical" },
    { ...row, service: "ml/code", load: 0.4, safe: 0.8, basis: "peak", headroom: 0.5 },
  ]);
  assert.deepEqual(shown(), ["replicas", "headroom"]);
  assert.equal(csv.getAttribute("href"), "/api/csv/headroom");
  assert.match(
    document.getElementById("headroom")?.textContent ?? "",
    /chat81% \(safe limit 76%\)6% over.*code40% \(safe limit 80%, own peak\)50%/,
  );
  assert.equal(main.querySelector("#headroom .bad")?.textContent, "6% over"); // the color of its incident
  assert.equal(main.querySelectorAll("#headroom .spark .limit").length, 2);
  assert.doesNotMatch(main.textContent ?? "", /Nothing fills up/);
  const replicas = () => document.querySelector("#replicas tbody")?.textContent ?? "";
  assert.match(
    replicas(),
    /^ml\/chat4 ready, pool has room for 24\+1 \(5 in total\)enough\+3 \(7 in total, 1 short\)2 more in chat/,
  );
  const none = { needed: null, added: null, short: null };
  const unknown = { peak: none, more_traffic: none, host_lost: none, is_lower_bound: false };
  const rank = { ...row, service: "ml/rank", load: null, safe: null, headroom: null, spark: [], room: null };
  draw([{ ...rank, need: unknown, unlearned: "No samples yet." }]);
  assert.match(headroom(), /ranklimit not learned––$/);
  assert.match(replicas(), /^ml\/rank4 ready, room in pool unknown4(limit not learned){3}unknown$/);
  assert.equal(document.querySelector("#replicas .note")?.textContent, "Limit not learned: ml/rank. No samples yet.");
  draw([{ ...row, service: "ml/chat", load: 0.81, safe: 0.76, need: { ...need, is_lower_bound: true } }], {
    peak_seconds: 2760,
    is_since_start: true,
  });
  assert.match(
    document.getElementById("replicas")?.textContent ?? "",
    /Needed at peak since start of data \(46 min\).*≥ \+1 \(≥ 5 in total\)/,
  );
  draw(
    [
      { ...row, service: "ml/chat", load: 0.81, safe: 0.76, peak_seconds: 300 },
      { ...row, service: "ml/code", load: 0.4, safe: 0.8, peak_seconds: 10_800 },
    ],
    { peak_seconds: 10_800 },
  );
  assert.match(replicas(), /^ml\/chat.*\+1 \(5 in total\), 5 min of data.*ml\/code.*\+1 \(5 in total\)enough/);
  draw([]);
  assert.deepEqual(shown(), []);
  draw([], { unlimited: ["ml/batch"] });
  assert.deepEqual(shown(), ["headroom"]);
  assert.match(
    headroom(),
    /^Not listed: 1 service without a model server \(ml\/batch\)\. Capacity is learned from model servers\.$/,
  );
  draw([{ ...row, service: "ml/chat", load: 0.762, safe: 0.76, headroom: -0.003 }], { hidden: 2 });
  assert.match(headroom(), /chat76% \(safe limit 76%\)at the limit.*2 services with more headroom not shown$/);
});

test("what fills up has its value and growth per day in its unit, and a certificate the time that is left", () => {
  const cells = (/** @type {object} */ burn) =>
    BURN_COLUMNS.slice(1).map(({ cell }) => cell?.(/** @type {any} */ (burn)));
  assert.deepEqual(cells({ unit: "ratio", value: 0.78, growth: 0.05 / 86_400 }), ["78%", "+5.0 pp"]);
  assert.deepEqual(cells({ unit: "count", value: 340, growth: 50 / 3600 }), ["340", "+1,200"]);
  assert.deepEqual(cells({ unit: "s", value: 3.25 * 86_400, growth: -1 }), ["3 d 6 h left", "–"]);
  assert.deepEqual(cells({ unit: "s", value: -60, growth: -1 }), ["expired", "–"]);
});
