// Tables that are sorted by a click on a head.
import assert from "node:assert/strict";
import { test } from "node:test";
import { emptyMain, visit } from "./document.js";

const format = await import("#web/assets/format.js");
const { drawTable, nextOrder, sortRows } = await import("#web/assets/widgets/table.js");

const ROWS = [
  { name: "gpu-10", load: 0.5 },
  { name: "gpu-9", load: null },
  { name: "gpu-1", load: 0.9 },
];
const COLUMNS = [
  { key: "name", name: "Name", text: true },
  { key: "load", name: "Load", cell: (/** @type {{ load: number | null }} */ { load }) => load?.toFixed(1) },
];
const names = (/** @type {readonly { name: string }[]} */ rows) => rows.map(({ name }) => name);

/** @type {[order: string, sorted: string[]][]} */
const ORDERS = [
  ["name", ["gpu-1", "gpu-9", "gpu-10"]],
  ["-name", ["gpu-10", "gpu-9", "gpu-1"]],
  ["load", ["gpu-10", "gpu-1", "gpu-9"]],
  ["-load", ["gpu-1", "gpu-10", "gpu-9"]],
  ["", ["gpu-10", "gpu-9", "gpu-1"]],
  ["unknown", ["gpu-10", "gpu-9", "gpu-1"]],
];
for (const [order, sorted] of ORDERS) {
  test(`rows by ${JSON.stringify(order)}; what is missing comes last`, () =>
    assert.deepEqual(names(sortRows(ROWS, COLUMNS, order)), sorted));
}

test("a column's own value decides its order", () => {
  const columns = [{ key: "length", name: "Length", value: (/** @type {{ name: string }} */ row) => row.name.length }];
  assert.deepEqual(names(sortRows(ROWS, columns, "-length")), ["gpu-10", "gpu-9", "gpu-1"]);
});

test("the first click gives the largest numbers, or names from A; the second turns that round", () => {
  assert.equal(nextOrder({ key: "load" }, ""), "-load");
  assert.equal(nextOrder({ key: "load" }, "-load"), "load");
  assert.equal(nextOrder({ key: "name", text: true }, "-load"), "name");
  assert.equal(nextOrder({ key: "name", text: true }, "name"), "-name");
});

test("a table shows rows in the order of the address, a dash for what is missing, and how many are left out", () => {
  const body = emptyMain();
  visit("/fleet?sort=load");
  drawTable(body, { id: "gpus", label: "GPUs", columns: COLUMNS, rows: ROWS, by: "-load", maxRows: 2 });
  const cells = [...body.querySelectorAll("tbody tr")].map((row) => [...row.children].map((cell) => cell.textContent));
  assert.deepEqual(cells, [
    ["gpu-10", "0.5"],
    ["gpu-1", "0.9"],
  ]);
  assert.equal(body.querySelector('[aria-sort="ascending"]')?.textContent, "Load ▴");
  assert.equal(body.querySelector(".note")?.textContent, "Showing the first 2 of 3.");
  visit("/fleet");
  drawTable(body, { id: "gpus", label: "GPUs", columns: COLUMNS, rows: ROWS, by: "-load" });
  assert.deepEqual(
    [...body.querySelectorAll("tbody tr")].map((row) => row.textContent),
    ["gpu-10.9", "gpu-100.5", "gpu-9–"],
  );
});

test("clusters are in a separate column, unless the address names the only one", () => {
  const body = emptyMain();
  const { localName } = format;
  const rows = [{ name: "eu//shop/cart" }, { name: "us//shop/cart" }];
  const columns = [{ key: "name", name: "Name", cell: (/** @type {{ name: string }} */ { name }) => localName(name) }];
  const spec = {
    id: "services",
    label: "Services",
    columns,
    cluster: (/** @type {{ name: string }} */ row) => row.name,
  };
  const texts = () => [...body.querySelectorAll("tr")].map((row) => [...row.children].map((cell) => cell.textContent));
  visit("/services?sort=-cluster");
  drawTable(body, { ...spec, rows });
  assert.deepEqual(texts(), [
    ["Name", "Cluster ▾"],
    ["shop/cart", "us"],
    ["shop/cart", "eu"],
  ]);
  visit("/services?cluster=eu");
  drawTable(body, { ...spec, rows: rows.slice(0, 1) });
  assert.deepEqual(texts(), [["Name"], ["shop/cart"]]);
});
