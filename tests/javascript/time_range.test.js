// The grammar of the time range in the address.
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { visit } from "./document.js";

const { live } = await import("#web/assets/state.js");
const timeRange = await import("#web/assets/widgets/time_range.js");

const NOW = 1_764_064_650;

beforeEach(() => {
  live.time = NOW;
  live.data = null;
  visit("/");
});

/** @type {[text: string, unix: number][]} */
const TIMES = [
  ["now", NOW],
  ["now-30s", NOW - 30],
  ["now-1.5h", NOW - 5400],
  ["now-2d", NOW - 172_800],
  ["1764064000000", 1_764_064_000],
  ["1764064000", 1_764_064_000],
  ["2025-11-25T09:46:40Z", 1_764_064_000],
];
for (const [text, unix] of TIMES) {
  test(`${text} is a time`, () => assert.equal(timeRange.parseTime(text, NOW), unix));
}
for (const text of ["now/d", "now-1w", "yesterday", ""]) {
  test(`${JSON.stringify(text)} is a time that only the hub may read`, () =>
    assert.ok(Number.isNaN(timeRange.parseTime(text, NOW))));
}

/** @type {[from: string, to: string, reason: RegExp | null][]} */
const RANGES = [
  ["", "", null],
  ["now-6h", "", null],
  ["now-6h", "now-1h", null],
  ["now/d", "", null],
  ["2025-11-25T08:00:00+09:00", "", null],
  ["yesterday", "", /^is not a valid time/],
  ["", "tomorrow", /^is not a valid time/],
  ["now-59s", "", /^is less than a minute before the end time/],
  ["now-1h", "now-2h", /^is less than a minute before the end time/],
  ["now-361d", "", /^is more than 360 days before the end time/],
];
for (const [from, to, reason] of RANGES) {
  test(`the range from ${from || "the default"} to ${to || "now"} is ${reason ? "refused" : "taken"}`, () => {
    const fault = timeRange.rangeFault(from, to, NOW);
    if (reason) assert.match(fault?.[1] ?? "", reason);
    else assert.equal(fault, null);
  });
}

/** @type {[refresh: string, seconds: number][]} */
const INTERVALS = [
  ["", 1],
  ["off", 0],
  ["5s", 5],
  ["0s", 1],
  ["2m", 120],
  ["999m", 3600],
  ["fast", 1],
];
for (const [refresh, seconds] of INTERVALS) {
  test(`refresh=${refresh} means every ${seconds} s`, () => assert.equal(timeRange.parseRefresh(refresh), seconds));
}

test("an interval that cannot be read is named", () => {
  assert.equal(timeRange.refreshFault("off"), null);
  assert.deepEqual(timeRange.refreshFault("fast"), ["refresh", "is not a valid interval. Use 5s, 1m, or off"]);
});

test("the last half hour is shown where the address says nothing, or what cannot be used", () => {
  assert.deepEqual(timeRange.bounds(), [NOW - 1800, NOW]);
  visit("/?from=yesterday");
  assert.deepEqual([timeRange.from(), timeRange.to()], ["now-30m", "now"]);
  assert.deepEqual(timeRange.bounds(), [NOW - 1800, NOW]);
});

test("a range that ends now is live", () => {
  visit("/?from=now-6h");
  assert.deepEqual([timeRange.isLive(), timeRange.bounds()], [true, [NOW - 21_600, NOW]]);
  visit("/?from=now-6h&to=now-1h");
  assert.deepEqual([timeRange.isLive(), timeRange.bounds()], [false, [NOW - 21_600, NOW - 3600]]);
});

test("the API is queried at the range's end where it is past", () => {
  assert.equal(timeRange.atRangeEnd("/api/gpus"), "/api/gpus");
  visit("/?to=now-1h");
  assert.equal(timeRange.atRangeEnd("/api/gpus"), "/api/gpus?at=now-1h");
  assert.equal(timeRange.atRangeEnd("/api/csv/gpus?q=a"), "/api/csv/gpus?q=a&at=now-1h");
});
