// What is said of the bars of GPU wait over the GPU grid.
import assert from "node:assert/strict";
import { test } from "node:test";
import "./document.js";

const { waitsText } = await import("#web/assets/gpu_grid/grid_overlay.js");

test("the GPUs in an incident are counted among those with GPU wait, not among all", () => {
  for (const [bytes, marked, text] of /** @type {[number[] | null, number[], string][]} */ ([
    [[250, 250, 25, 24], [0, 3], "3 with at least 10% GPU wait, 1 of them in an open incident"],
    [[250, 250, 0, 0], [0, 1, 2], "2 with at least 10% GPU wait, all of them in an open incident"],
    [[250, 255, 0, 0], [2], "1 with at least 10% GPU wait"],
    [[0, 255], [0], "0 with at least 10% GPU wait"],
    [[255, 255], [0], "no GPU wait data"],
    [null, [], "no GPU wait data"],
  ])) {
    const gpuWait = bytes && Uint8Array.from(bytes);
    assert.equal(waitsText({ gpuWait, marked: new Set(marked) }), text);
  }
});
