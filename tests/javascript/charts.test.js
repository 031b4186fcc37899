// Timeline, matrix, map scale and the tables of charts: what is drawn where.
import assert from "node:assert/strict";
import { test } from "node:test";
import "./document.js";

const { eventLabels, forecastRange, markedIntervals, timelineTicks } = await import(
  "#web/assets/timeline/timeline_picture.js"
);
const { orderServices } = await import("#web/pages/contention/wait_matrix.js");
const { scalePosition } = await import("#web/pages/cascade/cascade.js");
const { chartRows, formatTraceValue, plainText } = await import("#web/shell/chart_table.js");
const { findEntries } = await import("#web/shell/search.js");
const { durationParam } = await import("#web/pages/traces/traces.js");

for (const [what, intervals, marked] of /** @type {const} */ ([
  [
    "each later stage",
    [
      [0, 10, 1],
      [10, 20, 2],
      [20, 30, 3],
      [30, 40, 2],
    ],
    [0, 10, 20],
  ],
  [
    "a relapse into a breach after a pause",
    [
      [0, 10, 3],
      [20, 30, 3],
    ],
    [0, 20],
  ],
  [
    "no breach that goes on",
    [
      [0, 10, 3],
      [10, 30, 3],
    ],
    [0],
  ],
  [
    "only the first of several short anomalies",
    [
      [0, 10, 1],
      [20, 30, 1],
    ],
    [0],
  ],
])) {
  test(`a lane marks ${what}`, () => {
    const lane = /** @type {any} */ ({ intervals });
    assert.deepEqual(
      markedIntervals(lane, /** @type {any} */ ({ start: 0 })).map(([since]) => since),
      marked,
    );
  });
}

test("ticks stand at round distances from now", () => {
  assert.deepEqual(timelineTicks({ start: 0, now: 900, end: 1200 }), [
    [-900, "−15 min"],
    [-600, "−10 min"],
    [-300, "−5 min"],
    [300, "+5 min"],
  ]);
  const day = timelineTicks({ start: -86_400, now: 0, end: 0 }).map(([, text]) => text);
  assert.deepEqual(day.slice(-2), ["−8 h", "−4 h"]);
});

test("a forecast beyond the end of the axis is open, and its median is not drawn there", () => {
  const axis = { now: 1000, end: 1600 };
  assert.deepEqual(forecastRange({ p10: 60, p20: 90, p50: 240, p80: 400, p90: 500 }, axis), {
    low: 1060,
    middle: 1240,
    high: 1500,
    isOpen: false,
  });
  assert.deepEqual(forecastRange({ p10: 60, p20: 90, p50: null, p80: null, p90: null }, axis), {
    low: 1060,
    middle: null,
    high: 1600,
    isOpen: true,
  });
  assert.equal(forecastRange({ p10: 60, p20: 90, p50: 900, p80: 1000, p90: 1200 }, axis).middle, null);
});

test("the matrix is ordered as the hub says, by name, or by a row or column", () => {
  /** @type {any} */
  const data = {
    services: ["c", "a", "b"],
    victims: [2, 0],
    aggressors: [1, 2],
  };
  /** @type {any} */
  const pairs = [
    [0, 1, 0.5, 1, ""],
    [2, 1, 0.1, 1, ""],
    [0, 2, 0.9, 1, ""],
  ];
  assert.deepEqual(orderServices(data, pairs, ""), { victims: [2, 0], aggressors: [1, 2] });
  assert.deepEqual(orderServices(data, pairs, "name").victims, [2, 0]);
  assert.deepEqual(orderServices(data, pairs, "column:a").victims, [0, 2]);
  assert.deepEqual(orderServices(data, pairs, "row:c").aggressors, [2, 1]);
  assert.deepEqual(orderServices(data, pairs, "row:unknown").aggressors, [1, 2]);
});

test("near times have more room on the scale, and the horizon is its end", () => {
  assert.equal(scalePosition(0), 0);
  assert.ok(scalePosition(60) > 112 / 30);
  assert.equal(scalePosition(1800), 112);
  assert.equal(scalePosition(null), 112);
});

test("lines that share their times are one table, the newest first", () => {
  const y = { type: "scatter", mode: "lines", hovertemplate: "%{y:.1%}<extra></extra>" };
  const [head, rows] = chartRows([
    { ...y, name: "a &amp; b", x: ["10:00", "10:01"], y: [0.5, null] },
    { ...y, name: "c", x: ["10:01"], y: [0.25] },
  ]);
  assert.deepEqual(head, ["Time", "a & b", "c"]);
  assert.deepEqual(rows, [
    ["10:01", "–", "25%"],
    ["10:00", "50%", "–"],
  ]);
});

test("other marks have a row each, with the words of their tooltip", () => {
  const [head, rows] = chartRows([
    {
      type: "heatmap",
      x: ["10:00", "10:01"],
      text: [
        ["", "2 traces"],
        ["1 trace", ""],
      ],
    },
    { type: "bar", name: "errors", x: ["10:02"], y: [3] },
  ]);
  assert.deepEqual(head, ["At", "What"]);
  assert.deepEqual(rows, [
    ["10:02", "errors 3"],
    ["10:00", "1 trace"],
    ["10:01", "2 traces"],
  ]);
});

test("a value of a chart has the unit of its tooltip", () => {
  assert.equal(formatTraceValue({ hovertemplate: "%{y:,.3~r} ms" }, 290), "290 ms");
  assert.equal(formatTraceValue({ hovertemplate: "%{y:,.3~r} req/s" }, 14), "14 req/s");
  assert.equal(formatTraceValue({ hovertemplate: "%{y} W" }, 80.12345), "80.12 W");
  assert.equal(formatTraceValue({}, "a &lt; b"), "a < b");
  assert.equal(plainText("a<br>b"), "a, b");
});

test("the search puts exact names first, then beginnings, parts and details", () => {
  const entries = ["prod/chat-api", "prod/chat", "prod/batch-chat", "other"].map((name) => ({
    kind: "service",
    name,
    href: "/",
    detail: name === "other" ? "about chats" : "",
  }));
  assert.deepEqual(
    findEntries(entries, " Chat ").map(({ name }) => name),
    ["prod/chat", "prod/chat-api", "prod/batch-chat", "other"],
  );
  const clusters = ["eu//shop/chat-api", "eu//shop/chat", "us//chat"].map((name) => ({
    kind: "service",
    name,
    href: "/",
  }));
  assert.deepEqual(
    findEntries(clusters, "chat").map(({ name }) => name),
    ["eu//shop/chat", "us//chat", "eu//shop/chat-api"],
  );
  const id = "0af7651916cd43dd8448eb211c80319c";
  assert.deepEqual(
    findEntries([], id).map(({ kind, href }) => [kind, href]),
    [["trace", `/traces?trace=${id}`]],
  );
});

test("a place on the duration axis is a duration for the address", () => {
  assert.equal(durationParam(-1), "100ms");
  assert.equal(durationParam(0.5), "3.16s");
});

test("labels of events do not overlap; that of the page has the first choice", () => {
  const event = (/** @type {number} */ at, /** @type {"warning" | "paged" | "recovering"} */ kind) => ({ at, kind });
  const texts = (/** @type {any[]} */ events, end = 500) =>
    eventLabels(events, (at) => at, end).map(({ left, text }) => `${left} ${text}`);
  assert.deepEqual(texts([event(200, "warning"), event(210, "paged")]), ["214 Paged", "91 Early warning ▸"]);
  assert.deepEqual(texts([event(200, "warning"), event(205, "warning")]), ["91 Early warning ▸"]);
  assert.deepEqual(texts([event(470, "paged")]), ["417 Paged ▸"]); // "Forecast" follows at 500
  assert.deepEqual(texts([event(440, "warning"), event(470, "paged")]), ["417 Paged ▸"]); // across its line
  assert.deepEqual(texts([event(300, "paged"), event(320, "warning")]), ["247 Paged ▸", "324 Early warning"]);
  assert.deepEqual(texts([event(440, "recovering"), event(470, "warning")], 480), []); // across no line
  assert.deepEqual(texts([event(40, "warning"), event(50, "paged")]), ["54 Paged"]); // no room on the left
  assert.deepEqual(texts([event(200, "paged"), event(420, "recovering")]), ["204 Paged", "424 Recovering"]);
  assert.deepEqual(texts([event(200, "paged"), event(480, "recovering")]), ["204 Paged"]); // not in the phase before
});
