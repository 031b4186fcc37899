// What a form of the dialog asks of the hub.
import assert from "node:assert/strict";
import { test } from "node:test";
import "./document.js";

const { requestOf } = await import("#web/shell/respond.js");
const { silenceRequest } = await import("#web/shell/silences.js");
const { setZone } = await import("#web/assets/clock.js");

const incident = /** @type {import("#web/assets/payload.d.ts").Incident} */ (
  /** @type {unknown} */ ({ id: "a/b", service: "chat", suspect: { service: "batch" } })
);
const path = "/api/incidents/a%2Fb";

test("each form has its route and the fields that are filled in", () => {
  /** @type {[string, Record<string, string>, [string, string, Record<string, unknown>]][]} */
  const cases = [
    ["acknowledge", {}, ["POST", `${path}/acknowledge`, {}]],
    ["withdraw", {}, ["POST", `${path}/acknowledge`, { acknowledged: false }]],
    ["me", {}, ["POST", `${path}/assign`, {}]],
    ["assign", { assignee: "dana" }, ["POST", `${path}/assign`, { assignee: "dana" }]],
    ["notes", { text: "paused" }, ["POST", `${path}/notes`, { text: "paused" }]],
    ["feedback", { verdict: "correct", cause: "", service: " " }, ["POST", `${path}/feedback`, { verdict: "correct" }]],
    ["silence", { target: "incident", duration: "1h" }, ["POST", `${path}/silence`, { duration: "1h" }]],
    ["silence", { target: "service", duration: "1h" }, ["POST", "/api/silences", { duration: "1h", service: "chat" }]],
    [
      "silence",
      { target: "pair", duration: "1h" },
      ["POST", "/api/silences", { duration: "1h", service: "chat", noisy_neighbor: "batch" }],
    ],
    ["end 12", {}, ["DELETE", "/api/silences/12", {}]],
  ];
  for (const [action, fields, expected] of cases) assert.deepEqual(requestOf(action, fields, incident), expected);
});

test("a time of the form is one of the shown zone, and replaces the duration", () => {
  const end = "2026-11-25T14:00";
  setZone("utc");
  assert.deepEqual(requestOf("silence", { target: "incident", duration: "1h", end, comment: "" }, incident)[2], {
    end: "2026-11-25T14:00:00.000Z",
  });
  setZone("local");
  assert.deepEqual(silenceRequest("maintenance", { service: "", start: end, end: "", duration: "4h" }), [
    "POST",
    "/api/maintenance",
    { start: new Date(end).toISOString(), duration: "4h" },
  ]);
  assert.deepEqual(silenceRequest("silences", { service: "chat", noisy_neighbor: "batch", duration: "7d" }), [
    "POST",
    "/api/silences",
    { service: "chat", noisy_neighbor: "batch", duration: "7d" },
  ]);
  assert.deepEqual(silenceRequest("end 12", {}), ["DELETE", "/api/silences/12", {}]);
});
