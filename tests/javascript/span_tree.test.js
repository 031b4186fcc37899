// The spans of a trace as a tree of rows.
import assert from "node:assert/strict";
import { test } from "node:test";
import "./document.js";

const { treeRows, visibleRows } = await import("#web/pages/traces/waterfall/span_tree.js");
const { laneServices } = await import("#web/pages/traces/waterfall/gpu_lanes.js");

/**
 * @param {string} id
 * @param {string} parent
 * @param {number} offset
 * @param {string} [name]
 * @returns {any}
 */
const span = (id, parent, offset, name = id) => ({
  span_id: id,
  parent_id: parent,
  service: "s",
  name,
  kind: "server",
  status: "unset",
  offset_seconds: offset,
  duration_seconds: 1,
});
const shape = (/** @type {import("#web/pages/traces/waterfall/span_tree.js").TreeRow[]} */ rows) =>
  rows.map(({ span: { span_id: id }, level }) => `${"  ".repeat(level - 1)}${id}`);

test("children are under their parents, by start", () => {
  const rows = treeRows([
    span("root", "", 0),
    span("late", "root", 2),
    span("early", "root", 1),
    span("leaf", "late", 3),
  ]);
  assert.deepEqual(shape(rows), ["root", "  early", "  late", "    leaf"]);
  assert.deepEqual(
    rows.map(({ childCount }) => childCount),
    [2, 0, 1, 0],
  );
});

test("a span whose parent is not there is a root, and so is one of a circle", () => {
  const rows = treeRows([span("orphan", "gone", 0), span("a", "b", 1), span("b", "a", 2), span("self", "self", 3)]);
  assert.deepEqual(shape(rows), ["orphan", "self", "a", "  b"]);
  assert.deepEqual(
    rows.map(({ isOrphan }) => isOrphan),
    [true, true, true, false],
  );
});

test("five leaves of one name are one row, which holds them", () => {
  const queries = Array.from({ length: 5 }, (_, i) => span(`q${i}`, "root", 5 - i, "query"));
  const rows = treeRows([span("root", "", 0), ...queries, span("other", "root", 9)]);
  assert.deepEqual(shape(rows).slice(0, 3), ["root", "  group-q0", "    q4"]);
  const group = rows[1]?.span;
  assert.deepEqual([group?.offset_seconds, group?.duration_seconds, group?.members?.length], [1, 5, 5]);
  assert.deepEqual(shape(visibleRows(rows, new Set(["group-q0"]))), ["root", "  group-q0", "  other"]);
  assert.deepEqual(shape(visibleRows(rows, new Set(["root"]))), ["root"]);
});

test("a lane has its own service first, then those that held the GPU, and only who was there", () => {
  /** @type {any} */
  const lane = {
    own: "chat",
    by: { batch: 2, gone: 1 },
    intervals: [{ service: "other" }, { service: "batch" }, { service: "chat" }],
  };
  assert.deepEqual(laneServices(lane), ["chat", "batch", "other"]);
});
