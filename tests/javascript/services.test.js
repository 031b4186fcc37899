// The forecast of an SLO breach.
import assert from "node:assert/strict";
import { test } from "node:test";
import { emptyMain } from "./document.js";

const { breachInterval, breachRank, breachText, hasRetries, probabilityText } = await import(
  "#web/pages/services/service_cells.js"
);
const { formatForecast } = await import("#web/assets/format.js");
const { h, put } = await import("#web/assets/dom.js");
const { sortRows } = await import("#web/assets/widgets/table.js");
const { incidentTag, services } = await import("#web/pages/services/services.js");

/**
 * The percentiles of a forecast.
 * @param {number} p50
 */
const seconds = (p50) => ({ p10: p50 / 4, p20: p50 / 2, p50, p80: p50 * 2, p90: p50 * 3 });

test("a forecast is a time with its interval, or none is expected, and its probability is never certain", () => {
  const row = (/** @type {number | null} */ probability, /** @type {number | null} */ median) => ({
    breach_probability: probability,
    breach_seconds: median === null ? null : seconds(median),
  });
  for (const [probability, median, text, interval, title] of /** @type {const} */ ([
    [0.99, 20, "imminent", "80% interval: 10 s to 60 s", "probability within 10 min: > 95%"],
    [0.6, 240, "median < 5 min", "80% interval: 60 s to 12 min", "probability within 10 min: 60%"],
    [0, null, "unlikely", null, "probability within 10 min: < 5%"],
    [null, 240, "median < 5 min", "80% interval: 60 s to 12 min", ""],
    [null, null, "–", null, ""],
  ])) {
    assert.equal(breachText(row(probability, median)), text);
    assert.equal(breachInterval(row(probability, median)), interval);
    assert.equal(probabilityText(row(probability, median)), title);
    if (median) assert.equal(`${text}, ${interval}`, formatForecast(seconds(median)), "as on all other pages");
  }
  assert.equal(breachText(row(1, 0)), "in breach");
  assert.equal(breachInterval(row(1, 0)), null);
  assert.equal(breachText({ ...row(0, null), condition: "low_traffic" }), "–");
});

test("the services at risk come first, and those without a forecast last", () => {
  const slo = { p95: 1, error_rate: 0.01, learned: true };
  const row = (/** @type {string} */ id, /** @type {object} */ values) => ({
    ...{ id, slo, breach_probability: null, breach_seconds: null },
    ...values,
  });
  const rows = [
    row("batch", { slo: null, breach_probability: 0 }),
    row("healthy", { breach_probability: 0.34 }),
    row("later", { breach_seconds: seconds(260) }),
    row("unlikely", { breach_probability: 0 }),
    row("breached", { breach_probability: 1, breach_seconds: seconds(0) }),
    row("sooner", { breach_seconds: seconds(180) }),
    row("unknown", {}),
  ];
  const columns = [{ key: "forecast", name: "SLO breach forecast", value: breachRank }];
  const order = sortRows(rows, columns, "-forecast").map(({ id }) => id);
  assert.deepEqual(order, ["breached", "sooner", "later", "healthy", "unlikely", "batch", "unknown"]);
});

test("a column of retries is shown where there are some", () => {
  assert.equal(hasRetries([{ attempts: 1 }, { attempts: null }]), false);
  assert.equal(hasRetries([{ attempts: 1 }, { attempts: 1.01 }]), true);
});

test("a recovering incident is named beside a state that does not say so", () => {
  const text = (/** @type {object} */ row) => {
    const main = emptyMain();
    put(main, incidentTag(/** @type {any} */ (row)));
    return main.textContent;
  };
  assert.equal(text({ incident_status: "recovering", condition: "slo_breach" }), " ◐ Recovering");
  assert.equal(text({ incident_status: "recovering", condition: "recovering" }), "");
  assert.equal(text({ incident_status: "critical", condition: "at_risk" }), "");
  assert.equal(text({ incident_status: null, condition: "healthy" }), "");
});

test("services on GPUs without any requests have their table, and the panel says what is missing", () => {
  const main = emptyMain();
  for (const name of ["service-list", "jobs"]) {
    main.append(h("section", { id: `${name}-panel` }, h("p", { id: `${name}-message` }), h("div", { id: name })));
  }
  main.append(h("p", { id: "services-summary" }));
  const row = { id: "ml/train", health: "ok", condition: "no_traffic", word: "No requests", gpus: 2, busy: 1, wait: 0 };
  const data = { ready: true, summary: "1 service.", hidden: 3, services: [{ ...row, serving: false }] };
  /** @type {any} */ (services).update(data);
  const text = (/** @type {string} */ id) => document.getElementById(id)?.textContent ?? "";
  assert.match(text("service-list-message"), /^No services with requests:/);
  assert.equal(text("services-summary"), "1 service.");
  assert.match(text("jobs"), /ml\/train|train/);
  assert.match(text("jobs"), /3 more: \/api\/services/);
});
