// The table of all services.
import { byId, h, put, setPanel, setPanelEmpty, setPanelsWithoutData } from "#web/assets/dom.js";
import { formatRate, formatSeconds, inWords, isNumber } from "#web/assets/format.js";
import { healthState, serviceState, stateOf, suspectTag } from "#web/assets/timeline/signs.js";
import { drawTable } from "#web/assets/widgets/table.js";
import { sparkline } from "#web/assets/widgets/widgets.js";
import { CONDITIONS, EMPTY, SEVERITIES, TILE_TEXTS } from "#web/assets/words.js";
import {
  breachCell,
  breachRank,
  errorRateCell,
  gpuWaitOnGpusCell,
  hasRetries,
  loadCell,
  p95Cell,
  retriesCell,
  serviceCell,
} from "#web/pages/services/service_cells.js";

/** @typedef {import("#web/pages/services/payload.d.ts").ServiceRow} ServiceRow */
/** @typedef {import("#web/pages/services/payload.d.ts").ServicesData} ServicesData */

const MAX_ROWS = 1000;
const MAX_NAME_LENGTH = 40;

/** @param {ServiceRow} row */
const latencyLine = ({ spark, slo, id }) => {
  const top = formatSeconds(Math.max(...spark.filter(isNumber)));
  return sparkline(spark, {
    limit: slo?.p95 ?? null,
    label: `p95 of ${inWords(id)}, last 30 min, up to ${top}${slo ? `, SLO ${formatSeconds(slo.p95)}` : ""}`,
    title: `up to ${top}${slo ? `; SLO ${formatSeconds(slo.p95)}` : ""}`,
  });
};

/**
 * The status of a service's own open incident, beside a state that does not say it; null for none.
 * @param {ServiceRow} row
 */
export const incidentTag = ({ incident_status: status, condition }) => {
  if (!status || status === condition) return null;
  const word = status === "recovering" ? CONDITIONS.recovering : SEVERITIES[status];
  return [" ", h("span", { class: "level" }, healthState(status, word))];
};

/** @type {import("#web/assets/widgets/table.js").Column<ServiceRow>[]} */
const COLUMNS = [
  {
    key: "id",
    name: "Service",
    text: true,
    cell: (row) => serviceCell(row, MAX_NAME_LENGTH),
  },
  {
    key: "word",
    name: "State",
    text: true,
    cell: (row) => [
      serviceState(row),
      suspectTag(row),
      row.reason ? h("span", { class: "minor" }, h("small", { class: "reference" }, ` ${row.reason}`)) : null,
      incidentTag(row),
    ],
  },
  {
    key: "breach_probability",
    name: "SLO breach forecast",
    hint: "when the next SLO breach is forecast, by its median",
    value: breachRank,
    cell: breachCell,
  },
  { key: "p95", name: "p95", cell: p95Cell },
  { key: "spark", name: "p95, 30 min", fixed: true, minor: true, cell: latencyLine },
  { key: "error_rate", name: "Error rate", minor: true, cell: errorRateCell },
  { key: "rate", name: "Requests", minor: true, cell: ({ rate }) => formatRate(rate) },
  {
    key: "load",
    name: "Load",
    minor: true,
    hint: "offered load of its model servers over their capacity",
    cell: loadCell,
  },
  {
    key: "wait",
    name: "GPU wait",
    minor: true,
    hint: "share of time that it waits on other services, mean of its GPUs, upper bound",
    cell: gpuWaitOnGpusCell,
  },
  {
    key: "attempts",
    name: "Retries/call",
    minor: true,
    hint: "attempts per call beyond the first",
    cell: retriesCell,
  },
];

/**
 * That SLOs are learned, where they are.
 * @param {readonly ServiceRow[]} rows
 */
const learnedNote = (rows) => {
  const slos = rows.flatMap(({ slo }) => slo ?? []);
  const learned = slos.filter((slo) => slo.learned).length;
  const text = learned === slos.length ? TILE_TEXTS.set_slos : `${learned} ${TILE_TEXTS.some_learned}`;
  return learned ? h("p", { class: "note" }, text) : null;
};

/** @type {import("#web/assets/page.d.ts").Page} */
export const services = {
  update: (/** @type {ServicesData} */ data) => {
    if (!data.ready) {
      setPanelsWithoutData(["service-list"], data.error);
      return;
    }
    const { services: rows, hidden, summary } = data;
    if (!rows.length) {
      setPanelEmpty("service-list", EMPTY.services);
      return;
    }
    const rest = h("p", { class: "note" }, `${hidden} more: `, h("a", { href: "/api/services" }, "/api/services"));
    put(byId("services-summary"), summary);
    drawTable(byId("service-list"), {
      id: "services-table",
      label: "Services",
      columns: hasRetries(rows) ? COLUMNS : COLUMNS.filter(({ key }) => key !== "attempts"),
      rows,
      cluster: ({ id }) => id,
      maxRows: MAX_ROWS,
      by: "-breach_probability",
      health: (row) => stateOf(row).state,
      note: [hidden ? rest : null, learnedNote(rows)],
    });
    setPanel("service-list", "ready");
  },
};
