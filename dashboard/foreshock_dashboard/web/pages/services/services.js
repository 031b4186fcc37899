// The table of all services.
import { byId, h, put, requireId, setPanel, setPanelEmpty, setPanelsWithoutData } from "#web/assets/dom.js";
import { formatRate, formatSeconds, inWords, isNumber } from "#web/assets/format.js";
import { healthState, serviceState, stateOf, suspectTag } from "#web/assets/timeline/signs.js";
import { drawTable } from "#web/assets/widgets/table.js";
import { sparkline } from "#web/assets/widgets/widgets.js";
import { CONDITIONS, EMPTY, SERVICE_HINTS, SLO_NAMES, TILE_TEXTS } from "#web/assets/words.js";
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
const latencyLine = ({ spark, judged, slo, id }) => {
  const top = `up to ${formatSeconds(Math.max(...spark.filter(isNumber)))}`;
  const isJudged = spark.every((value, i) => value === judged[i]);
  const title = [top, slo && `SLO ${formatSeconds(slo.p95)}`, isJudged ? null : SERVICE_HINTS.not_judged].filter(
    Boolean,
  );
  return sparkline(spark, {
    judged: isJudged ? spark : judged,
    limit: slo?.p95 ?? null,
    label: `p95 of ${inWords(id)}, last 30 min, ${title.join(", ")}`,
    title: title.join("; "),
  });
};

/**
 * That the incident of a service recovers, beside a state that does not say so. Its severity is no state of a service.
 * @param {ServiceRow} row
 */
export const incidentTag = ({ incident_status: status, condition }) => {
  if (status !== "recovering" || status === condition) return null;
  return [" ", h("span", { class: "level" }, healthState(status, CONDITIONS.recovering))];
};

/** @typedef {import("#web/assets/widgets/table.js").Column<ServiceRow>} ServiceColumn */

/** @type {ServiceColumn} */
const NAME_COLUMN = { key: "id", name: "Service", text: true, cell: (row) => serviceCell(row, MAX_NAME_LENGTH) };

/** @type {ServiceColumn} */
const GPU_WAIT_COLUMN = {
  key: "wait",
  name: "GPU wait (GPUs)",
  minor: true,
  hint: SERVICE_HINTS.gpu_wait,
  cell: gpuWaitOnGpusCell,
};

/**
 * The columns of services with requests.
 * @param {string} slo what SLOs are called: "SLO", or "learned SLO" where all are
 * @returns {ServiceColumn[]}
 */
const servingColumns = (slo) => [
  NAME_COLUMN,
  {
    key: "word",
    name: "State",
    text: true,
    cell: (row) => [
      serviceState(row),
      suspectTag(row),
      row.reason ? h("small", { class: "reference" }, ` ${row.reason}`) : null,
      incidentTag(row),
    ],
  },
  {
    key: "breach_probability",
    name: "SLO breach forecast",
    hint: "time to the next SLO breach (unlikely: probability below 50% within 10 min)",
    value: breachRank,
    cell: breachCell,
  },
  { key: "p95", name: `p95 (${slo})`, cell: p95Cell },
  { key: "spark", name: "p95, 30 min", fixed: true, minor: true, cell: latencyLine },
  { key: "error_rate", name: `Error rate (${slo})`, minor: true, cell: errorRateCell },
  { key: "rate", name: "Requests", minor: true, cell: ({ rate }) => formatRate(rate) },
  {
    key: "load",
    name: "Load (safe limit)",
    minor: true,
    hint: SERVICE_HINTS.load,
    cell: loadCell,
  },
  GPU_WAIT_COLUMN,
  {
    key: "attempts",
    name: "Retries/call",
    minor: true,
    hint: SERVICE_HINTS.retries,
    cell: retriesCell,
  },
];

/** @type {ServiceColumn[]} */
const JOB_COLUMNS = [
  NAME_COLUMN,
  {
    key: "word",
    name: "State",
    text: true,
    cell: (row) => [serviceState({ ...row, word: row.word.split("; ")[0] ?? "" }), suspectTag(row)],
  },
  { key: "gpus", name: "GPUs" },
  {
    key: "busy",
    name: "Busy GPUs",
    minor: true,
    hint: "sum of the shares of time",
    cell: ({ busy }) => (isNumber(busy) ? busy.toFixed(1) : null),
  },
  { ...GPU_WAIT_COLUMN, minor: false },
];

/**
 * That SLOs are learned, where they are.
 * @param {number} learned
 * @param {number} all
 */
const learnedNote = (learned, all) => {
  const text = learned === all ? TILE_TEXTS.set_slos : `${learned} ${TILE_TEXTS.some_learned}`;
  return learned ? h("p", { class: "note" }, text) : null;
};

/**
 * Services without requests, such as batch jobs: only their GPUs are known.
 * @param {readonly ServiceRow[]} rows
 * @param {HTMLElement | null} note below the table
 */
const drawJobs = (rows, note) => {
  requireId("jobs-panel").hidden = !rows.length;
  if (!rows.length) return;
  drawTable(byId("jobs"), {
    id: "jobs-table",
    label: "Services without requests",
    columns: JOB_COLUMNS,
    rows,
    cluster: ({ id }) => id,
    maxRows: MAX_ROWS,
    param: "jsort",
    by: "-gpus",
    health: (row) => stateOf(row).state,
    note,
  });
  setPanel("jobs", "ready");
};

/** @type {import("#web/assets/page.d.ts").Page} */
export const services = {
  update: (/** @type {ServicesData} */ data) => {
    if (!data.ready) {
      setPanelsWithoutData(["service-list"], data.error);
      drawJobs([], null);
      return;
    }
    const { services: all, hidden, summary } = data;
    const rows = all.filter(({ serving }) => serving);
    const note = hidden
      ? h("p", { class: "note" }, `${hidden} more: `, h("a", { href: "/api/services" }, "/api/services"))
      : null;
    put(byId("services-summary"), all.length ? summary : null);
    drawJobs(
      all.filter(({ serving }) => !serving),
      rows.length ? null : note,
    );
    if (!rows.length) {
      setPanelEmpty("service-list", all.length ? EMPTY.requests : EMPTY.services);
      return;
    }
    const slos = rows.flatMap(({ slo }) => slo ?? []);
    const learned = slos.filter((slo) => slo.learned).length;
    const columns = servingColumns(SLO_NAMES[learned && learned === slos.length ? "learned" : "set"]);
    drawTable(byId("service-list"), {
      id: "services-table",
      label: "Services",
      columns: hasRetries(rows) ? columns : columns.filter(({ key }) => key !== "attempts"),
      rows,
      cluster: ({ id }) => id,
      maxRows: MAX_ROWS,
      by: "-breach_probability",
      health: (row) => stateOf(row).state,
      note: [note, learnedNote(learned, slos.length)],
    });
    setPanel("service-list", "ready");
  },
};
