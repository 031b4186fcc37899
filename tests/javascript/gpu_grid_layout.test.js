// Where the GPUs of the grid are.
import assert from "node:assert/strict";
import { test } from "node:test";
import { GpuGridLayout, groupByPool } from "#web/assets/gpu_grid/gpu_grid_layout.js";

/**
 * @param {number} hosts
 * @param {number} gpusPerHost
 * @param {{ names: string[], of: number[] }} [pools]
 * @returns {any}
 */
const topology = (hosts, gpusPerHost, pools) => ({
  hosts: Array.from({ length: hosts }, (_, i) => ({
    name: `host-${i}`,
    gpus: Array.from({ length: gpusPerHost }, (_, gpu) => String(gpu)),
  })),
  pools,
});

test("hosts are blocks, by pool", () => {
  const groups = groupByPool(topology(2, 2, { names: ["b", "a"], of: [0, 0, 1, -1] }));
  assert.deepEqual(groups, [
    { pool: "a", blocks: [{ host: "host-1", gpus: [2] }] },
    { pool: "b", blocks: [{ host: "host-0", gpus: [0, 1] }] },
    { pool: "no pool", blocks: [{ host: "host-1", gpus: [3] }] },
  ]);
});

for (const [hosts, gpus, width] of /** @type {const} */ ([
  [1, 1, 300],
  [4, 8, 1200],
  [40, 8, 1200],
  [1250, 8, 1200],
  [12, 4, 320],
])) {
  test(`${hosts} hosts of ${gpus} GPUs fit into ${width} pixels and do not overlap`, () => {
    const layout = new GpuGridLayout(topology(hosts, gpus), width);
    assert.ok(layout.placement.width <= width);
    const cells = new Set(layout.labels.map((_, gpu) => `${layout.rowOf(gpu)} ${layout.columnOf(gpu)}`));
    assert.equal(cells.size, hosts * gpus);
  });
}

test("cells are no smaller than needed", () => {
  const size = (/** @type {number} */ hosts) => new GpuGridLayout(topology(hosts, 8), 1200).placement.cellSize;
  assert.deepEqual([1, 40, 150, 1250].map(size), [44, 26, 12, 6]);
});

test("the GPU at a point is the one whose box is there", () => {
  const layout = new GpuGridLayout(topology(4, 8), 1200);
  layout.labels.forEach((_, gpu) => {
    const [x, y, width, height] = layout.box(gpu);
    assert.ok(width > 0 && height > 0);
    assert.equal(layout.find(x + width / 2, y + height / 2), gpu);
  });
  assert.equal(layout.find(-1, 5), -1);
  assert.equal(layout.find(5, 1e6), -1);
});

test("keys move to the next GPU that way, and along lines as in a text", () => {
  const layout = new GpuGridLayout(topology(2, 2), 1200);
  assert.equal(layout.labels[1], "host-0/gpu-1");
  assert.equal(layout.move(0, "ArrowRight"), 1);
  assert.equal(layout.move(1, "ArrowRight"), 2);
  assert.equal(layout.move(3, "ArrowRight"), 3);
  assert.equal(layout.move(0, "ArrowLeft"), 0);
  assert.equal(layout.move(0, "ArrowDown"), 0);
  assert.deepEqual([layout.move(2, "Home"), layout.move(0, "End"), layout.move(0, "a")], [0, 3, null]);
});
