// The line about the most urgent open incident, and the title of the document.
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { emptyMain, visit } from "./document.js";

const { setZone } = await import("#web/assets/clock.js");
const { live } = await import("#web/assets/state.js");
const { drawConnection } = await import("#web/shell/connection_badge.js");
const { drawIncidentLine, hideIncidentLine } = await import("#web/shell/incident_line.js");

const NOON = Date.UTC(2026, 10, 25, 12) / 1000;
const worst = /** @type {const} */ ({
  id: "a/b",
  severity: "critical",
  state: "firing",
  service: "shop/chat",
  cause: "overload",
  figure: "load 81% (safe limit 76%)",
  action: "Rate-limit shop/front to 7 req/s",
  since: NOON - 120,
  others: 0,
});
const fleet = { page: "fleet", feed: "/api/pages/fleet" };
const byId = (/** @type {string} */ id) => /** @type {HTMLElement} */ (document.getElementById(id));
const hrefs = () => [...byId("incident-line").querySelectorAll("a")].map((link) => link.getAttribute("href"));

/**
 * What the line says of an incident.
 * @param {Partial<import("#web/assets/payload.d.ts").LivePayload>} [data]
 * @param {{ page?: string, feed?: string }} [page]
 */
const draw = (data = {}, page = fleet) => {
  const known = {
    seq: 1,
    ready: true,
    error: null,
    simulated: false,
    data_time: NOON - 60,
    bounds: null,
    topology: "",
  };
  live.data = { ...known, worst_incident: worst, ...data };
  drawIncidentLine(page);
  return byId("incident-line").textContent?.replaceAll("\u00a0", " ");
};

beforeEach(() => {
  emptyMain().innerHTML = '<p id="incident-line"></p><p id="incident-status"></p><p id="live"></p><p id="lost"></p>';
  hideIncidentLine();
  visit("/fleet");
  setZone("utc");
  live.time = NOON;
});

test("the line leads to the incident, and to the others", () => {
  assert.equal(
    draw(),
    "⬢ Critical incident shop/chat: overload, load 81% (safe limit 76%), first anomaly 11:58:00 UTC (2 min ago) · Action: rate-limit shop/front to 7 req/s",
  );
  assert.deepEqual([hrefs(), byId("incident-line").dataset.severity], [["/cascade?incident=a%2Fb"], "critical"]);
  const recovering = { ...worst, state: /** @type {const} */ ("recovering"), figure: "", action: "", others: 2 };
  assert.equal(
    draw({ worst_incident: recovering }),
    "◐ Critical incident, recovering shop/chat: overload, first anomaly 11:58:00 UTC (2 min ago) · 2 more incidents",
  );
  assert.deepEqual([hrefs(), byId("incident-line").dataset.severity], [["/cascade?incident=a%2Fb", "/"], "recovering"]);
});

test("where the past is shown, the age is that at its time", () => {
  assert.match(draw({ bounds: [NOON - 3600, NOON] }) ?? "", /\(1 min ago\)/);
  visit(`/fleet?to=${(NOON - 60) * 1000}`);
  assert.match(draw() ?? "", /\(1 min ago\)/);
});

test("pages with the incident, addresses without values, and hubs without an incident have no line", () => {
  for (const [data, page] of /** @type {[object, object][]} */ ([
    [{}, { page: "now", feed: "/api/pages/now" }],
    [{}, { page: "cascade", feed: "/api/pages/cascade" }],
    [{}, { page: "missing" }],
    [{ worst_incident: undefined }, fleet],
  ])) {
    draw();
    assert.equal(byId("incident-line").hidden, false);
    draw(data, page);
    assert.deepEqual([byId("incident-line").hidden, byId("incident-status").textContent], [true, ""]);
  }
});

test("an incident is announced once, and again where its severity or state changes", () => {
  const said = () => byId("incident-status").textContent;
  draw();
  assert.equal(said(), "⬢ Critical incident shop/chat: overload");
  byId("incident-status").textContent = "";
  live.time = NOON + 60;
  draw();
  draw({}, { page: "now", feed: "/api/pages/now" });
  draw();
  assert.equal(said(), "");
  draw({ worst_incident: { ...worst, severity: "warning" } });
  assert.equal(said(), "◆ Early warning shop/chat: overload");
});

test("the title of every page counts the incidents", () => {
  const page = document.createElement("div");
  Object.assign(page.dataset, { ...fleet, title: "GPUs" });
  const connection = { page, changedAt: 0, nextRequestAt: 0, failures: 0, reason: "", isComplete: true };
  const title = (/** @type {object} */ values = {}) => {
    drawConnection({ ...connection, receivedAt: performance.now(), isRefused: false, ...values });
    return document.title;
  };
  draw({ worst_incident: { ...worst, others: 1 } });
  assert.equal(title(), "⬢ 2 incidents · GPUs · foreshock");
  assert.equal(title({ isRefused: true }), "GPUs · foreshock");
  draw({ worst_incident: undefined });
  assert.equal(title(), "GPUs · foreshock");
});
