// Elements: made from values, and brought in line with new ones.
import assert from "node:assert/strict";
import { test } from "node:test";
import { emptyMain } from "./document.js";

const { h, put, s } = await import("#web/assets/dom.js");
const { healthState, stageState } = await import("#web/assets/timeline/signs.js");
const { breakable, figure, linePath, sparkline } = await import("#web/assets/widgets/widgets.js");

test("attributes without a value are left out, and content is text", () => {
  const element = h("p", { id: "a", title: null, hidden: false, disabled: true }, "<b>", [1, [null, false, "x"]]);
  assert.deepEqual([...element.getAttributeNames()].sort(), ["disabled", "id"]);
  assert.equal(element.innerHTML, "&lt;b&gt;1x");
  assert.equal(s("path", { d: "M0 0" }).namespaceURI, "http://www.w3.org/2000/svg");
});

test("elements with the same id stay the same when their order changes", () => {
  const main = emptyMain();
  const items = (/** @type {string[]} */ ids) =>
    h(
      "ul",
      null,
      ids.map((id) => h("li", { id }, id)),
    );
  put(main, items(["a", "b", "c"]));
  const [list, last] = [main.firstChild, main.querySelector("#c")];
  put(main, items(["c", "a", "d"]));
  assert.deepEqual(
    [...main.querySelectorAll("li")].map(({ id }) => id),
    ["c", "a", "d"],
  );
  assert.equal(main.firstChild, list);
  assert.equal(main.querySelector("#c"), last);
});

test("text and attributes follow, and what is no more goes", () => {
  const main = emptyMain();
  put(main, h("p", { class: "old", title: "old" }, "old"), h("p", null, "second"));
  const paragraph = main.firstChild;
  put(main, h("p", { class: "new" }, "new"));
  assert.equal(main.innerHTML, '<p class="new">new</p>');
  assert.equal(main.firstChild, paragraph);
  put(main);
  assert.equal(main.innerHTML, "");
  put(null, "nothing to draw into");
});

test("a state has its sign and its word", () => {
  assert.equal(healthState("critical", "down").textContent, "⬢ down");
  assert.equal(healthState("idle", "over", "⚑").textContent, "⚑ over");
  assert.equal(stageState("early_warning").textContent, "▲ Anomalous");
  assert.equal(stageState(null).textContent, "? No data");
});

test("gaps in a line stay gaps", () => {
  const y = (/** @type {number} */ value) => value;
  assert.equal(linePath([1, 2, null, 3], 30, y), "M0.0 1.0L10.0 2.0M30.0 3.0");
  assert.equal(sparkline([null, 1]), null);
  assert.equal(sparkline([1, 2], { label: "p95" })?.getAttribute("aria-label"), "p95");
  assert.equal(sparkline([1, 2])?.childNodes.length, 1);
  assert.equal(sparkline([1, 2, 3], { judged: [1, 2, null] })?.childNodes.length, 2);
});

test("a figure is a name, a value and a note", () => {
  assert.equal(figure("p95", "29 ms", { note: "of at most 1 s" }).textContent, "p9529 ms of at most 1 s");
});

test("a name breaks at the space after it and at its slashes, not within a word", () => {
  const element = h("p", null, breakable("assistant-feature POST /v1/chat"));
  assert.equal(
    element.innerHTML,
    '<span class="unbroken">assistant-feature</span> POST <span class="unbroken">/v1/<wbr>chat</span>',
  );
});
