// The time axis of a trace.
import assert from "node:assert/strict";
import { test } from "node:test";
import "./document.js";

const { axisRange, hasOtherWork, joinParts, placeOf } = await import("#web/pages/traces/waterfall/time_axis.js");

/**
 * @param {number} start of the root span
 * @param {number} duration
 * @param {number} extent
 * @returns {any}
 */
const trace = (start, duration, extent) => ({
  root_offset_seconds: start,
  duration_seconds: duration,
  extent_seconds: extent,
});

test("the axis covers the root span, and all spans on request", () => {
  const late = trace(0, 64, 74);
  assert.equal(hasOtherWork(late), true);
  assert.deepEqual(axisRange(late, false), { start: 0, seconds: 64 });
  assert.deepEqual(axisRange(late, true), { start: 0, seconds: 74 });
});

test("the axis starts where the root span starts by its own clock", () => {
  assert.deepEqual(axisRange(trace(10, 5, 30), false), { start: 10, seconds: 5 });
});

test("spans that end barely after the root span are on the axis", () => {
  const tight = trace(0, 1, 1.01);
  assert.equal(hasOtherWork(tight), false);
  assert.deepEqual(axisRange(tight, false), { start: 0, seconds: 1.01 });
});

test("a trace of 0 s has an axis", () => {
  assert.ok(axisRange(trace(0, 0, 0), false).seconds > 0);
});

test("a stretch is clipped to the axis, and has no place outside it", () => {
  const range = { start: 10, seconds: 20 };
  assert.deepEqual(placeOf(15, 5, range), { left: 25, width: 25 });
  assert.deepEqual(placeOf(0, 20, range), { left: 0, width: 50 });
  assert.deepEqual(placeOf(25, 100, range), { left: 75, width: 25 });
  assert.equal(placeOf(31, 5, range), null);
  assert.equal(placeOf(0, 5, range), null);
});

test("adjacent parts of the critical path are one, and those apart stay apart", () => {
  const parts = /** @type {[number, number][]} */ ([
    [1, 0.5],
    [0, 1],
    [1.75, 0.25],
    [4, 1],
  ]);
  assert.deepEqual(joinParts(parts, 0.25), [
    [0, 2],
    [4, 1],
  ]);
  assert.deepEqual(joinParts([], 1), []);
});
