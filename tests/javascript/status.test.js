// Facts of the Status page.
import assert from "node:assert/strict";
import { test } from "node:test";
import "./document.js";

const { storeFacts } = await import("#web/pages/status/hub_facts.js");

test("a replay has no figures of a store, which would be zero", () => {
  const store = /** @type {any} */ ({ disk_bytes: 0, series: 0, series_limit: 9, spans: 0, blocks: 0, wal_rows: 0 });
  const names = (/** @type {string} */ metrics) =>
    storeFacts({ sources: { metrics } }, store).flatMap((fact) => (fact ? [fact[0]] : []));
  const [source] = storeFacts({ sources: { metrics: "recording outage" } }, store);
  assert.deepEqual(source, ["Metrics source", 'recording "outage"']);
  assert.deepEqual(names("recording noisy-neighbor"), ["Metrics source", "Trace source", "Storage"]);
  assert.ok(names("embedded store").includes("Series"));
});
