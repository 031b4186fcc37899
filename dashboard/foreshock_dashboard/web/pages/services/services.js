// The table of all services.
import { byId, h, put, setPanel, setPanelEmpty, setPanelsWithoutData } from "#web/assets/dom.js";
import { formatMultiple, formatRate, formatSeconds, isNumber, NOT_KNOWN } from "#web/assets/format.js";
import { healthLegend, healthState } from "#web/assets/timeline/signs.js";
import { drawTable } from "#web/assets/widgets/table.js";
import { sparkline } from "#web/assets/widgets/widgets.js";
import {
  ERROR_RATE_LIMITS,
  loadCell,
  objectiveText,
  RISK_LIMITS,
  retriesCell,
  serviceCell,
  shareCell,
  WAIT_LIMITS,
} from "#web/pages/services/service_cells.js";

/** @typedef {import("#web/pages/services/payload.d.ts").ServiceRow} ServiceRow */
/** @typedef {import("#web/pages/services/payload.d.ts").ServicesData} ServicesData */

const MAX_ROWS = 1000;
const MAX_NAME_LENGTH = 40;
/** An SLO that is used more than this is nearly missed. */
const NEARLY_USED_RATIO = 0.8;

/** @param {number} ratio */
const usedClass = (ratio) => {
  if (ratio > 1) return "bad";
  return ratio > NEARLY_USED_RATIO ? "poor" : "";
};

/**
 * How much of its SLO a service uses, as a bar with its number; above 100 % it misses it.
 * @param {ServiceRow} row
 */
const usedCell = (row) => {
  const { used } = row;
  if (!isNumber(used)) {
    const title = row.promise ? "no request ended lately" : "nothing promised or learned yet";
    return h("span", { class: "muted", title }, NOT_KNOWN);
  }
  const style = `--share:${Math.min(100, used * 100).toFixed(0)}%`;
  return h("span", { class: `used ${usedClass(used)}`, style, title: objectiveText(row) }, formatMultiple(used));
};

/** @param {ServiceRow} row */
const latencyLine = ({ spark, health, id }) => {
  const top = formatSeconds(Math.max(...spark.filter(isNumber)));
  return sparkline(spark, {
    kind: health,
    label: `p95 of ${id} over 15 minutes, at most ${top}`,
    title: `0 to ${top}`,
  });
};

/** @param {ServiceRow} row */
const gpusUsed = ({ busy, gpus }) => (gpus ? `${isNumber(busy) ? busy.toFixed(1) : NOT_KNOWN} of ${gpus}` : null);

/** @type {import("#web/assets/widgets/table.js").Column<ServiceRow>[]} */
const COLUMNS = [
  {
    key: "id",
    name: "Service",
    text: true,
    cell: (row) => [serviceCell(row, MAX_NAME_LENGTH), " ", healthState(row.health, row.word)],
  },
  { key: "rate", name: "Requests", minor: true, cell: ({ rate }) => formatRate(rate) },
  { key: "failed", name: "Errors", minor: true, cell: ({ failed }) => shareCell(failed, ERROR_RATE_LIMITS) },
  { key: "p95", name: "p95", minor: true, cell: ({ p95 }) => formatSeconds(p95) },
  {
    key: "used",
    name: "Of objective",
    hint: "how much of what is promised, or usual, it uses; above 100 % it misses it",
    cell: usedCell,
  },
  { key: "spark", name: "p95, 15 min", fixed: true, minor: true, cell: latencyLine },
  {
    key: "wait",
    name: "Waits for GPUs",
    hint: "share of its GPU time in which others hold them, at most",
    cell: ({ wait }) => shareCell(wait, WAIT_LIMITS),
  },
  {
    key: "busy",
    name: "GPUs used",
    minor: true,
    hint: "GPUs' worth of time that it uses, of those that it is on",
    cell: gpusUsed,
  },
  {
    key: "attempts",
    name: "Retries",
    minor: true,
    hint: "attempts per call beyond the first",
    cell: retriesCell,
  },
  {
    key: "load",
    name: "Load",
    minor: true,
    hint: "what is asked of its model servers over what they can do",
    cell: loadCell,
  },
  {
    key: "risk",
    name: "Risk",
    hint: "chance that it misses its objective within ten minutes",
    cell: ({ risk }) => shareCell(risk, RISK_LIMITS),
  },
];

/**
 * How the services fare, in one sentence.
 * @param {readonly ServiceRow[]} rows
 */
export const summaryText = (rows) => {
  const count = (/** @type {(row: ServiceRow) => boolean} */ test) => rows.filter(test).length;
  const missing = count(({ used }) => (used ?? 0) > 1);
  const judged = count(({ used }) => isNumber(used));
  const waiting = count(({ wait }) => (wait ?? 0) >= WAIT_LIMITS.poor);
  const atRisk = count(({ risk, used }) => (risk ?? 0) >= RISK_LIMITS.bad && (used ?? 0) <= 1);
  const kept = judged
    ? `All ${judged} services with an objective keep it`
    : `${rows.length} services; nothing is promised or learned yet`;
  const parts = [
    missing ? `${missing} of ${rows.length} services miss their objective` : kept,
    waiting ? `${waiting} wait for GPUs more than 10 % of the time` : "none waits long for a GPU",
    atRisk ? `${atRisk} may miss it within ten minutes` : "",
  ];
  return `${parts.filter(Boolean).join("; ")}.`;
};

/** @type {import("#web/assets/page.d.ts").Page} */
export const services = {
  update: (/** @type {ServicesData} */ data) => {
    if (!data.ready) {
      setPanelsWithoutData(["service-list"], data.error);
      return;
    }
    const { services: rows, hidden } = data;
    if (!rows.length) {
      const empty = "No service is known: no spans have arrived and no process was seen on a GPU.";
      setPanelEmpty("service-list", `${empty} Status tells how to send some.`);
      return;
    }
    const rest = h(
      "p",
      { class: "note" },
      `${hidden} more are in `,
      h("a", { href: "/api/services" }, "/api/services"),
    );
    put(byId("services-say"), summaryText(rows));
    drawTable(byId("service-list"), {
      id: "services-table",
      label: "Services",
      columns: COLUMNS,
      rows,
      maxRows: MAX_ROWS,
      by: "-risk",
      health: ({ health }) => health,
      note: [healthLegend(rows.map(({ health }) => health)), hidden ? rest : null],
    });
    setPanel("service-list", "ready");
  },
};
