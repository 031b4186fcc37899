// Numbers and durations as text.
import assert from "node:assert/strict";
import { test } from "node:test";
import * as format from "#web/assets/format.js";

/**
 * @param {string} name
 * @param {(value: any) => string} function_
 * @param {[value: unknown, text: string][]} cases
 */
const table = (name, function_, cases) => {
  for (const [value, text] of cases) {
    test(`${name}: ${value} is ${JSON.stringify(text)}`, () => assert.equal(function_(value), text));
  }
};

table("seconds have three digits and the unit that fits", format.formatSeconds, [
  [0, "0 s"],
  [2.5e-5, "25.0 µs"],
  [0.0123, "12 ms"],
  [0.29, "290 ms"],
  [1.234, "1.23 s"],
  [14.56, "14.6 s"],
  [119, "119 s"],
  [151, "151 s"],
  [594, "594 s"],
  [999, "999 s"],
  [1020, "17 min"],
  [null, "–"],
  [undefined, "–"],
  [Number.NaN, "–"],
]);
table("a duration has at most two units, rounded to the nearest", format.formatDuration, [
  [-3, "0 s"],
  [59.4, "59 s"],
  [60, "1 min"],
  [570, "9 min 30 s"],
  [599.6, "10 min"],
  [601, "10 min"],
  [950, "16 min"],
  [3571, "1 h"],
  [3600, "1 h"],
  [7529, "2 h 5 min"],
  [86_390, "1 d"],
  [90_000, "1 d 1 h"],
  [91_900, "1 d 2 h"],
]);
table("a ratio is a percentage", format.formatPercent, [
  [0, "0%"],
  [0.0004, "<0.1%"],
  [0.0006, "0.1%"],
  [0.046, "4.6%"],
  [0.46, "46%"],
  [1.2, "120%"],
  [null, "–"],
]);
table("a request rate has three digits", format.formatRate, [
  [0, "0 req/s"],
  [0.123, "0.123 req/s"],
  [14, "14 req/s"],
  [250.4, "250 req/s"],
  [null, "–"],
]);
table("a load above capacity is no figure: it depends on the queue", format.formatLoad, [
  [0.82, "82%"],
  [1.4, "> 100%"],
  [14.4, "> 100%"],
  [null, "–"],
]);
table("the median of a forecast is shown", format.formatMedian, [
  [20, "imminent"],
  [60, "median < 5 min"],
  [299, "median < 5 min"],
  [300, "median < 15 min"],
  [null, "median > 30 min"],
]);
table("bytes have the largest unit of which there is one", format.formatBytes, [
  [0, "0 B"],
  [1023, "1023 B"],
  [1024, "1.0 KiB"],
  [3 * 2 ** 40, "3.0 TiB"],
  [2 ** 52, "4096.0 TiB"],
  [null, "–"],
]);
table("a forecast is rounded, and has a horizon", format.formatTimeToEvent, [
  [3, "10 s"],
  [84, "80 s"],
  [90, "2 min"],
  [1000, "17 min"],
  [null, "> 30 min"],
]);

test("a value has the unit of its metric", () => {
  assert.equal(format.formatValue(0.29, "s"), "290 ms");
  assert.equal(format.formatValue(0.5, "ratio"), "50%");
  assert.equal(format.formatValue(7.6, "count"), "8");
  assert.equal(format.formatValue(7), "7");
  assert.equal(format.formatValue(2168, "count"), "2,168");
  assert.equal(format.formatValue(0.5), "0.50");
  assert.equal(format.formatValue(3, "1/s"), "3/s");
  assert.equal(format.formatValue(80, "W"), "80.0 W");
  assert.equal(format.formatValue(null, "W"), "–");
});

test("a forecast is its median with the 80% interval, where that is known", () => {
  const seconds = { p10: 30, p20: 60, p50: 140, p80: null, p90: null };
  assert.equal(format.formatForecast(seconds), "median < 5 min, 80% interval: 30 s to > 30 min");
  assert.equal(format.formatForecast(/** @type {any} */ ({ ...seconds, p10: null })), "median < 5 min");
});

test("an interval names its unit once where both ends have it", () => {
  assert.equal(format.formatInterval(120, 540), "2 to 9 min");
  assert.equal(format.formatInterval(40, 360), "40 s to 6 min");
  assert.equal(format.formatInterval(120, 121), "about 2 min");
  assert.equal(format.formatInterval(120, null), "2 min to > 30 min");
});

test("text that is too long ends in an ellipsis", () => {
  assert.equal(format.truncate("embedder", 8), "embedder");
  assert.equal(format.truncate("embedder", 5), "embe…");
  assert.equal(format.truncate("embedder", 0), "e…");
});

test("a service is named without its namespace where no other has that name", () => {
  const label = format.shortLabels(["prod/chat", "prod/embedder", "test/chat"]);
  assert.deepEqual(["prod/chat", "prod/embedder", "test/chat"].map(label), ["prod/chat", "embedder", "test/chat"]);
  const names = ["eu//prod/chat", "eu//prod/embedder", "us//vllm", "us//prod/chat"];
  const short = ["prod/chat in eu", "embedder", "vllm", "prod/chat in us"];
  assert.deepEqual(names.map(format.shortLabels(names)), short);
  assert.deepEqual(names.map(format.clusterOf), ["eu", "eu", "us", "us"]);
});

test("names in a text say their cluster where the name before them has another one", () => {
  const texts = {
    "eu//shop/chat": "shop/chat in eu",
    "eu//a waits on eu//b": "a in eu waits on b",
    "eu//a waits on ml/b": "a in eu waits on ml/b (no cluster)",
    "ml/b / eu//a": "ml/b / a in eu",
    "my cluster//shop/a -> shop/b": "shop/a in my cluster -> shop/b (no cluster)",
    "eu//shop/a on eu//h/gpu-0": "shop/a in eu on h/gpu-0",
    "us//host-1:9000": "host-1:9000 in us",
    "arn:aws:eks:eu:1:cluster/prod//a → us//b, eu//c": "a in arn:aws:eks:eu:1:cluster/prod → b in us, c in eu",
  };
  for (const [text, words] of Object.entries(texts)) assert.equal(format.inWords(text), words);
});

test("the name of a service in a cluster begins with the cluster", () => {
  const ids = ["eu//shop/chat", "us//chat", "shop/chat", "chat", "eu//shop/org/model"];
  assert.deepEqual(ids.map(format.splitService), [
    { cluster: "eu", namespace: "shop", name: "chat" },
    { cluster: "us", namespace: "", name: "chat" },
    { cluster: "", namespace: "shop", name: "chat" },
    { cluster: "", namespace: "", name: "chat" },
    { cluster: "eu", namespace: "shop", name: "org/model" },
  ]);
  const among = ["eu//shop/chat", "us//shop/chat", "us//embedder"];
  assert.deepEqual(among.map(format.shortLabels(among)), ["shop/chat in eu", "shop/chat in us", "embedder"]);
});

test("the PromQL of a service has its name, namespace, and cluster", () => {
  assert.equal(format.serviceMatchers("eu//shop/chat"), 'service_name="chat",service_namespace="shop",cluster="eu"');
  assert.equal(format.serviceMatchers('a"b'), 'service_name="a\\"b",service_namespace=""');
});

test("a value and its reference have one more decimal where they would print alike", () => {
  const { formatApart } = format;
  assert.deepEqual(formatApart(0.0504, 0.0499, "s"), ["50.4 ms", "49.9 ms"]);
  assert.deepEqual(formatApart(0.0504, 0.0404, "s"), ["50 ms", "40 ms"]);
  assert.deepEqual(formatApart(12.34, 12.31, "s"), ["12.34 s", "12.31 s"]);
  assert.deepEqual(formatApart(0.1602, 0.1599, "ratio"), ["16.0%", "16.0%"]);
  assert.deepEqual(formatApart(0.16, 0.16, "ratio"), ["16%", "16%"]);
});

test("the numbers of a column have as many decimals as its largest needs", () => {
  for (const [values, texts] of /** @type {const} */ ([
    [
      [7, 1.1, 0.037, 0.003, 0, null],
      ["7.00", "1.10", "0.04", "<0.01", "0", null],
    ],
    [
      [12, 2.5, 0.01],
      ["12.0", "2.5", "<0.1"],
    ],
    [
      [1250.4, 3],
      ["1,250", "3"],
    ],
  ])) {
    assert.deepEqual(values.map(format.columnFormat(values)), texts);
  }
});
