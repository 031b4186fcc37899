// Plotly, and the polyfills before it.
import assert from "node:assert/strict";
import { test } from "node:test";
import { emptyMain } from "./document.js";

/** @type {string[]} */
const started = [];
/** @type {Set<string>} Addresses of the scripts that cannot be loaded. */
const broken = new Set();
Object.assign(globalThis, {
  HTMLScriptElement: window.HTMLElement,
  requestAnimationFrame: (/** @type {() => void} */ run) => setTimeout(run),
  fetch: async () => new Response(""),
});
Object.assign(window, { _dashPlotlyJSURL: "plotly.js" });
document.head.append = (/** @type {any} */ script) => {
  const src = script.getAttribute("src");
  started.push(src);
  setTimeout(() => script.dispatchEvent(new window.Event(broken.has(src) ? "error" : "load")));
};
const { allowPlotly, loadPlotly } = await import("#web/assets/chart_library.js");

test("after a failure, only the scripts that did not run are run again", async () => {
  const polyfills = Object.assign(document.createElement("script"), { id: "polyfills", src: "polyfills.js" });
  emptyMain().append(polyfills);
  allowPlotly();
  broken.add("plotly.js");
  await assert.rejects(loadPlotly(), /Plotly cannot be loaded/);
  assert.deepEqual(started, ["polyfills.js", "plotly.js"]);
  broken.clear();
  await loadPlotly();
  assert.deepEqual(started, ["polyfills.js", "plotly.js", "plotly.js"]);
});
