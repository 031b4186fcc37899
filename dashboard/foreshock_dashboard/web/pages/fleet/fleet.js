// The Fleet page: the number of GPUs in each state, the grid, the open GPU, and the inventory.
import { hrefWith, link, navigate, pageHref, param, serviceHref } from "#web/assets/address.js";
import { byId, closest, h, put, requireId, setPanel, setPanelsWithoutData } from "#web/assets/dom.js";
import { capitalized, filled, inWords, isNumber, localName, NOT_KNOWN, plural } from "#web/assets/format.js";
import { gpuGrid } from "#web/assets/gpu_grid/gpu_grid.js";
import { decodeBytes, FAULT_SIGNS } from "#web/assets/gpu_grid/grid_values.js";
import { live } from "#web/assets/state.js";
import { setCsvLink } from "#web/assets/widgets/range_links.js";
import { drawTable } from "#web/assets/widgets/table.js";
import { ABSENT, EMPTY, GPU_COUNTS, GPU_FAULTS, GPU_TEXTS } from "#web/assets/words.js";
import { formatGpuValue, METRIC_NAMES, METRICS } from "#web/pages/fleet/gpu_metrics.js";
import { drawOpenGpu } from "#web/pages/fleet/open_gpu.js";

/** @typedef {import("#web/assets/payload.d.ts").Topology} Topology */
/** @typedef {import("#web/pages/fleet/payload.d.ts").FleetData} FleetData */
/** @typedef {import("#web/pages/fleet/payload.d.ts").FleetIncident} FleetIncident */
/** @typedef {import("#web/pages/fleet/payload.d.ts").InventoryRow} InventoryRow */
/** @typedef {import("#web/pages/fleet/payload.d.ts").Metric} Metric */

/** Services of a GPU that the inventory names. */
const MAX_USERS = 6;
/** Metrics that the inventory shows in any case, on a phone only these. @type {readonly Metric[]} */
const SHOWN_METRICS = ["busy", "contended"];
const FILTER_SETTLE_MS = 300;
let filterTimer = 0;

/** @param {string} label */
const openGpu = (label) => navigate(hrefWith({ gpu: label === param("gpu") ? null : label }));

/**
 * The GPUs of the service of an open incident.
 * @param {FleetIncident} incident
 */
const incidentFact = ({ service, gpus }) =>
  h(
    "span",
    null,
    link(pageHref("/fleet", { q: service }), `GPUs used by ${inWords(service)}`),
    gpus ? ` (${plural(gpus, "GPU")} in the incident)` : "",
  );

/**
 * A number of GPUs in one state, with a link that shows them first.
 * @param {number | null} count
 * @param {string} text
 * @param {{ metric?: Metric, kind?: string }} [options] kind: the class of a number above 0
 */
const countFact = (count, text, { metric, kind = "" } = {}) => {
  const number = h("b", { class: count ? kind : "" }, count === null ? NOT_KNOWN : count.toLocaleString("en"));
  const value = metric && count ? link(hrefWith({ metric, sort: `-${metric}`, q: null }), number) : number;
  return h("span", { class: count ? "" : "muted" }, value, ` ${text}`);
};

/** @param {FleetData} data */
const drawCounts = ({ counts, incidents }) =>
  put(
    byId("counts"),
    h(
      "span",
      null,
      h("b", null, counts.gpus.toLocaleString("en")),
      ` GPUs on ${counts.hosts.toLocaleString("en")} hosts`,
    ),
    countFact(counts.contended, GPU_COUNTS.contended, { metric: "contended" }),
    countFact(counts.throttled, GPU_COUNTS.throttled, { metric: "throttled", kind: "poor" }),
    countFact(counts.errors, GPU_COUNTS.errors, { metric: "errors", kind: "bad" }),
    countFact(counts.lost, GPU_COUNTS.lost, { kind: "bad" }),
    countFact(counts.no_data, GPU_COUNTS.no_data, { kind: "poor" }),
    incidents.map(incidentFact),
  );

/** @param {FleetData} data */
const metricSwitch = ({ metrics, metric }) =>
  h(
    "p",
    { class: "choices", role: "group", "aria-label": "Metric of the grid" },
    metrics.map(({ name, title, available }) =>
      h(
        "button",
        {
          type: "button",
          class: "quiet",
          "data-metric": name,
          "aria-pressed": String(name === metric),
          disabled: !available && name !== metric,
          title: available ? null : capitalized(ABSENT.data),
        },
        title,
      ),
    ),
  );

/**
 * @param {FleetData} data
 * @param {Topology} topology
 */
const drawGrid = (data, topology) => {
  if (!byId("fleet-grid")) {
    put(byId("grid"), h("div", { id: "fleet-switch" }), h("div", { id: "fleet-grid" }));
    gpuGrid.mount(byId("fleet-grid"), { withTable: false, withSummary: false, open: openGpu });
  }
  put(byId("fleet-switch"), metricSwitch(data));
  const view = {
    title: METRICS[data.metric].name,
    unit: data.unit,
    low: data.low,
    high: data.high,
    values: decodeBytes(data.values.bdata),
    gpuWait: null,
    marked: new Set(data.incident_gpus),
    markStatus: data.mark_status,
    faults: new Map(data.faults),
    opened: data.open?.gpu ?? "",
  };
  gpuGrid.draw(view, topology);
};

/**
 * Services, and pods without a process.
 * @param {readonly string[]} services
 * @param {readonly string[]} allocated
 */
const users = (services, allocated) => {
  const shown = [
    ...services.map((service) => link(serviceHref(service), localName(service))),
    ...allocated.map((pod) => `${pod} (${GPU_TEXTS.no_process})`),
  ];
  const rest = shown.length - MAX_USERS;
  return [shown.slice(0, MAX_USERS).map((user, i) => [i ? ", " : "", user]), rest > 0 ? ` and ${rest} more` : null];
};

const inventoryFilter = () =>
  h(
    "form",
    { class: "choices", id: "inventory-filter", role: "search" },
    h(
      "label",
      null,
      "Filter",
      h("input", {
        type: "search",
        id: "inventory-text",
        value: param("q"),
        placeholder: "GPU, UUID, vendor, model, pool or service",
        size: "34",
        autocomplete: "off",
        spellcheck: "false",
      }),
    ),
  );

/** Let the CSV link have the filter and order of the inventory. */
const updateCsvLink = () => setCsvLink("inventory", "/api/csv/gpus", { q: param("q"), sort: param("sort") });

/** @param {Metric} metric */
const metricColumn = (metric) => ({
  key: metric,
  name: METRICS[metric].name,
  minor: !SHOWN_METRICS.includes(metric),
  cell: (/** @type {InventoryRow} */ row) => formatGpuValue(row[metric], METRICS[metric].unit),
  kind: (/** @type {InventoryRow} */ row) => (metric === "errors" && (row.errors ?? 0) > 0 ? "bad" : ""),
});

/** @param {InventoryRow} row */
const faultMark = ({ fault }) =>
  fault
    ? h("span", { class: fault === "throttled" ? "poor" : "bad" }, ` ${FAULT_SIGNS[fault]} ${GPU_FAULTS[fault]}`)
    : null;

/**
 * A column of names, left out where no row has one, and where all rows have the same.
 * @param {"pool" | "vendor" | "model"} key
 * @param {string} name
 * @param {readonly InventoryRow[]} rows
 */
const nameColumn = (key, name, rows) =>
  new Set(rows.map((row) => localName(row[key] ?? ""))).size > 1
    ? [{ key, name, text: true, minor: true, value: (/** @type {InventoryRow} */ row) => localName(row[key] ?? "") }]
    : [];

/** @param {FleetData} data */
const inventoryHint = ({ rows, matches, counts }) => {
  const models = new Set(rows.map(({ model }) => model));
  const [model] = models;
  return [
    `${matches.toLocaleString("en")} of ${counts.gpus.toLocaleString("en")} GPUs`,
    matches > rows.length ? `first ${rows.length} shown; all in the CSV` : "",
    models.size === 1 && model ? model : "",
  ]
    .filter(Boolean)
    .join(" · ");
};

/** @param {FleetData} data */
const drawInventory = (data) => {
  const { rows } = data;
  const filter = param("q");
  if (!byId("inventory-rows")) put(byId("inventory"), inventoryFilter(), h("div", { id: "inventory-rows" }));
  const input = /** @type {HTMLInputElement} */ (requireId("inventory-text"));
  if (document.activeElement !== input && input.value !== filter) input.value = filter;
  requireId("inventory-hint").textContent = inventoryHint(data);
  updateCsvLink();
  // Zeros stay: a column without them would look like missing data.
  const shown = METRIC_NAMES.filter((name) => SHOWN_METRICS.includes(name) || rows.some((row) => isNumber(row[name])));
  drawTable(byId("inventory-rows"), {
    id: "inventory-table",
    label: "GPUs",
    rows,
    cluster: ({ gpu }) => gpu,
    remote: true,
    by: "-contended",
    current: (row) => row.gpu === data.open?.gpu,
    note: h("p", { class: "note" }, rows.length ? GPU_TEXTS.averages : filled(GPU_TEXTS.no_match, { filter })),
    columns: [
      {
        key: "gpu",
        name: "GPU",
        text: true,
        cell: (row) => [link(hrefWith({ gpu: row.gpu }), localName(row.gpu), row.gpu), faultMark(row)],
      },
      ...nameColumn("pool", "Pool", rows),
      ...nameColumn("vendor", "Vendor", rows),
      ...nameColumn("model", "Model", rows),
      ...shown.map(metricColumn),
      {
        key: "services",
        name: "Services",
        text: true,
        minor: true,
        cell: ({ services, allocated }) =>
          services.length || allocated.length ? h("span", { class: "wide-cell" }, users(services, allocated)) : null,
      },
    ],
  });
  if (rows.length || filter) setPanel("inventory", "ready");
  else setPanel("inventory", "empty", EMPTY.gpus);
};

document.addEventListener("click", (event) => {
  const metric = closest(event, "[data-metric]")?.dataset.metric;
  if (metric) navigate(hrefWith({ metric: metric === "busy" ? null : metric }), true);
  if (closest(event, "#gpu-close")) navigate(hrefWith({ gpu: null }));
});

const applyFilter = () => {
  clearTimeout(filterTimer);
  const input = /** @type {HTMLInputElement | null} */ (byId("inventory-text"));
  navigate(hrefWith({ q: input?.value.trim() || null }), true);
};
document.addEventListener("input", ({ target }) => {
  if (!(target instanceof HTMLElement) || target.id !== "inventory-text") return;
  clearTimeout(filterTimer);
  filterTimer = window.setTimeout(applyFilter, FILTER_SETTLE_MS);
});
document.addEventListener("submit", (event) => {
  if (!(event.target instanceof HTMLElement) || event.target.id !== "inventory-filter") return;
  event.preventDefault();
  applyFilter();
});

/** @type {import("#web/assets/page.d.ts").Page} */
export const fleet = {
  update: (/** @type {FleetData} */ data) => {
    if (!data.ready) {
      setPanelsWithoutData(["grid", "inventory"], data.error);
      requireId("gpu-panel").hidden = true;
      return;
    }
    drawCounts(data);
    drawOpenGpu(data, live.time);
    if (live.topology?.id === data.topology) drawGrid(data, live.topology);
    drawInventory(data);
  },
};
