// The story of an incident on the Cascade page.
import assert from "node:assert/strict";
import { test } from "node:test";
import { emptyMain } from "./document.js";

const { put } = await import("#web/assets/dom.js");
const { story } = await import("#web/pages/cascade/cascade.js");

test("only a firing incident has a state, and an action, which leads to its own evidence on Now", () => {
  const incident = {
    ...{ id: "abc", service: "llm", cause: "overload", confidence: 0.9, confidence_level: "high", quality: "measured" },
    ...{ later: null, resolved: null, actions: [{ text: "Add 2 replicas", expected: "load 82% → 59%" }] },
  };
  const headline = [{ text: "llm is above its safe limit", kind: "", services: [], gpus: [], at: null }];
  const drawn = (/** @type {string} */ state) => {
    const main = emptyMain();
    put(main, story(/** @type {any} */ ({ ...incident, state }), /** @type {any} */ ({ headline, suspected: [] })));
    return main;
  };
  const link = drawn("firing").querySelector("a");
  assert.equal(link?.textContent, "Add 2 replicas");
  assert.match(link?.getAttribute("href") ?? "", /#incident-abc$/);
  assert.match(drawn("firing").textContent ?? "", /^Statellm is above its safe limit/);
  assert.doesNotMatch(drawn("recovering").textContent ?? "", /safe limit/);
  assert.equal(drawn("recovering").querySelector("a"), null);
  assert.equal(drawn("resolved").querySelector("a"), null);
});
