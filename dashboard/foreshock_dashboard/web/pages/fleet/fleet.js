// The Fleet page: the number of GPUs in each state, the grid, the open GPU, and the inventory.
import { hrefWith, link, navigate, pageHref, pairHref, param, serviceHref, withParams } from "#web/assets/address.js";
import { clausesText, timeElement } from "#web/assets/clock.js";
import { byId, closest, h, put, requireId, setPanel, setPanelsWithoutData } from "#web/assets/dom.js";
import {
  formatGibibytes,
  formatPercent,
  inWords,
  isNumber,
  localName,
  NOT_KNOWN,
  plural,
  truncate,
} from "#web/assets/format.js";
import { gpuGrid, NO_GPUS } from "#web/assets/gpu_grid/gpu_grid.js";
import { decodeBytes, FAULTS, formatGridValue } from "#web/assets/gpu_grid/grid_values.js";
import { live } from "#web/assets/state.js";
import { incidentHref, incidentState } from "#web/assets/timeline/incident.js";
import { HEALTH_SIGNS, hiddenSign } from "#web/assets/timeline/signs.js";
import { allocatedText } from "#web/assets/widgets/allocated.js";
import { updateRangeLinks } from "#web/assets/widgets/range_links.js";
import { drawTable } from "#web/assets/widgets/table.js";

/** @typedef {import("#web/assets/payload.d.ts").Topology} Topology */
/** @typedef {import("#web/pages/fleet/payload.d.ts").FleetData} FleetData */
/** @typedef {import("#web/pages/fleet/payload.d.ts").FleetIncident} FleetIncident */
/** @typedef {import("#web/pages/fleet/payload.d.ts").InventoryRow} InventoryRow */
/** @typedef {import("#web/pages/fleet/payload.d.ts").Metric} Metric */
/** @typedef {import("#web/pages/fleet/payload.d.ts").OpenGpu} OpenGpu */

/** Services of a GPU that the inventory names. */
const MAX_USERS = 6;
const FILTER_SETTLE_MS = 300;
/** @type {Record<Metric, { name: string, unit: string }>} */
const METRICS = {
  busy: { name: "Busy", unit: "ratio" },
  contended: { name: "Contended", unit: "ratio" },
  memory: { name: "Memory", unit: "ratio" },
  power: { name: "Power", unit: "W" },
  temperature: { name: "Temperature", unit: "°C" },
  throttled: { name: "Throttled", unit: "ratio" },
  nvlink: { name: "NVLink", unit: "B/s" },
  errors: { name: "Errors, 15 min", unit: "count" },
};
/** @type {[keyof OpenGpu["activity"], string][]} */
const ACTIVITY = [
  ["sm", "SMs active"],
  ["tensor", "Tensor pipe"],
  ["dram", "DRAM bandwidth"],
];
/** @type {Record<string, string>} */
const SHARING = {
  "time-slicing": "shared by time-slicing",
  mps: "shared by MPS",
  mig: "divided by MIG",
  concurrent: "shared concurrently",
  partitioned: "partitioned",
};
/** The health of each state of MPS, as `faulty` of the hardware has it. */
const MPS_FAULTY = { running: false, server_ended: true, control_daemon_gone: true, unknown: null };
const METRIC_NAMES = /** @type {Metric[]} */ (Object.keys(METRICS));

let filterTimer = 0;

/** @param {string} label */
const openGpu = (label) => navigate(hrefWith({ gpu: label === param("gpu") ? null : label }));

/**
 * @param {number | null} value
 * @param {string} unit
 */
const formatGpuValue = (value, unit) => (isNumber(value) ? formatGridValue(value, unit) : NOT_KNOWN);

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
    countFact(counts.contended, "contended", { metric: "contended" }),
    countFact(counts.throttled, "throttled (thermal, power)", { metric: "throttled", kind: "poor" }),
    countFact(counts.errors, "with errors (15 min)", { metric: "errors", kind: "bad" }),
    countFact(counts.lost, "lost (off the bus)", { kind: "bad" }),
    countFact(counts.no_data, "without data", { kind: "poor" }),
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
          title: available ? null : "No data",
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
    gpuWait: data.gpu_wait ? decodeBytes(data.gpu_wait) : null,
    marked: new Set(data.incident_gpus),
    markStatus: data.mark_status,
    faults: new Map(data.faults),
    opened: data.open?.gpu ?? "",
  };
  gpuGrid.draw(view, topology);
};

/** @param {OpenGpu["memory_errors"]} errors */
const memoryErrorText = ({ corrected, uncorrected }) =>
  isNumber(corrected)
    ? `ECC errors since driver load: ${formatGpuValue(corrected, "count")} corrected, ` +
      `${formatGpuValue(uncorrected, "count")} uncorrected`
    : "";

/**
 * The health of a part of the GPU in a sentence.
 * @param {boolean | null} faulty null where unknown
 * @param {string} text
 */
const healthLine = (faulty, text) => {
  const known = faulty ? HEALTH_SIGNS.critical : HEALTH_SIGNS.ok;
  const sign = faulty === null ? HEALTH_SIGNS.unknown : known;
  return h("p", { class: "gpu-health", "data-faulty": String(faulty) }, hiddenSign(sign), " ", text);
};

/** @param {OpenGpu} gpu */
const hardwareFacts = ({ throttled_by: reasons, memory_errors: errors, nvlinks }) => {
  const throttled = reasons.map(([reason, share]) => `${reason.replaceAll("_", " ")} ${formatPercent(share)}`);
  return [
    throttled.length ? `Throttled (share of time): ${throttled.join(", ")}` : "",
    memoryErrorText(errors),
    isNumber(nvlinks.total) ? `NVLinks up: ${formatGpuValue(nvlinks.up, "count")} of ${nvlinks.total}` : "",
  ].filter(Boolean);
};

/**
 * @param {string} name
 * @param {number | null} value
 * @param {string} unit
 */
const gpuValue = (name, value, unit) =>
  h("span", null, h("small", null, name), h("b", null, formatGpuValue(value, unit)));

/** @param {OpenGpu} gpu */
const gpuValues = ({ values, activity }) => [
  ...METRIC_NAMES.filter((metric) => metric !== "nvlink").map((metric) =>
    gpuValue(METRICS[metric].name, values[metric], METRICS[metric].unit),
  ),
  ...ACTIVITY.filter(([key]) => isNumber(activity[key])).map(([key, name]) => gpuValue(name, activity[key], "ratio")),
];

/** @param {OpenGpu} gpu */
const gpuPairs = ({ pairs }) =>
  pairs.map(({ victim, aggressor, wait }, i) =>
    h(
      "span",
      null,
      i ? "; " : "",
      link(pairHref(victim, aggressor), inWords(`${victim} waits on ${aggressor}`)),
      ` ≤\u00a0${formatPercent(wait)} of the time`,
    ),
  );

/**
 * @param {OpenGpu} gpu
 * @param {number | null} now
 */
const gpuXids = ({ xids }, now) =>
  xids.map(({ xid, description, events, last, services }) =>
    h(
      "li",
      null,
      h("b", null, `XID ${xid}`),
      ` ${description}, ${plural(events, "event")}`,
      isNumber(last) ? [", last ", timeElement(last, now)] : null,
      services.map((service, i) => [i ? ", " : "; in ", link(serviceHref(service), localName(service))]),
    ),
  );

/**
 * The MPS clients of each service with their limits.
 * @param {OpenGpu} gpu
 */
const mpsClients = ({ services }) =>
  services.flatMap(({ service, mps }) => {
    if (!mps) return [];
    const { clients, sm_limit_ratio: sm, memory_limit_bytes: memory } = mps;
    const limits = [
      isNumber(sm) ? `SMs ≤\u00a0${formatPercent(sm)}` : "",
      isNumber(memory) ? `memory ≤\u00a0${formatGibibytes(memory)}` : "",
    ].filter(Boolean);
    return `${localName(service)} ${clients}${limits.length ? ` (${limits.join(", ")})` : ""}`;
  });

/** @param {OpenGpu} gpu */
const drawGpuServices = ({ services, allocated }) => {
  if (!services.length) {
    put(byId("gpu-services"), allocated.length ? null : h("p", null, "No services on this GPU."));
    return;
  }
  drawTable(byId("gpu-services"), {
    id: "on",
    label: "Services",
    rows: services,
    param: "osort",
    by: "-busy",
    columns: [
      {
        key: "service",
        name: "Service",
        text: true,
        cell: ({ service }) => link(serviceHref(service), truncate(localName(service), 28), service),
      },
      { key: "busy", name: "Busy", cell: ({ busy }) => formatPercent(busy) },
      {
        key: "wait",
        name: "GPU wait",
        hint: "Share of time waiting for this GPU (upper bound)",
        cell: ({ wait }) => formatPercent(wait),
      },
      { key: "memory", name: "Memory", minor: true, cell: ({ memory }) => formatGibibytes(memory) },
      {
        key: "traces",
        name: "Traces",
        fixed: true,
        cell: ({ service }) => link(pageHref("/traces", { service, order: "gpu_wait" }), "by GPU wait"),
      },
    ],
  });
};

/**
 * @param {FleetData} data
 * @param {number | null} now
 */
const drawOpenGpu = ({ open: gpu }, now) => {
  requireId("gpu-panel").hidden = !gpu;
  requireId("gpu-charts").hidden = !gpu?.gpu;
  requireId("fleet-panels").classList.toggle("with-gpu", Boolean(gpu));
  if (!gpu) return;
  const hasVendor = gpu.vendor && !gpu.model?.toLowerCase().includes(gpu.vendor.toLowerCase());
  const model = hasVendor ? `${gpu.vendor} ${gpu.model ?? ""}` : gpu.model;
  const sharing = SHARING[gpu.sharing ?? ""] ?? "";
  const details = [model, sharing, gpu.pool ? `pool ${gpu.pool}` : "", gpu.uuid].filter(Boolean);
  requireId("gpu-title").textContent = gpu.gpu || gpu.name;
  requireId("gpu-hint").textContent = gpu.gpu ? details.join(" · ") : "";
  setPanel("gpu", "ready");
  const close = h("button", { type: "button", class: "quiet", id: "gpu-close" }, "Close");
  if (!gpu.gpu) {
    put(byId("gpu"), h("p", null, `No GPU ${inWords(gpu.name)}. `), close);
    return;
  }
  const facts = hardwareFacts(gpu);
  const xids = gpuXids(gpu, now);
  const clients = mpsClients(gpu);
  put(
    byId("gpu"),
    healthLine(gpu.faulty, gpu.health),
    gpu.incidents.map((incident) =>
      h(
        "p",
        null,
        incidentState(incident),
        " ",
        clausesText(incident.summary_clauses),
        " ",
        link(incidentHref(incident.id), "Cascade"),
      ),
    ),
    h("div", { class: "gpu-values" }, gpuValues(gpu)),
    gpu.idle_sms ? h("p", { class: "idle-sms" }, gpu.idle_sms) : null,
    gpu.mps ? healthLine(MPS_FAULTY[gpu.mps.state], gpu.mps.text) : null,
    h("div", { id: "gpu-services" }),
    clients.length ? h("p", { class: "mps-clients" }, `MPS clients: ${clients.join("; ")}`) : null,
    gpu.far_cpus.map((text) => h("p", { class: "far-cpus" }, text)),
    gpu.allocated.map((item) => h("p", null, allocatedText(item, true))),
    gpu.pairs.length ? h("p", null, "GPU wait: ", gpuPairs(gpu)) : null,
    xids.length ? h("ul", { class: "xids" }, xids) : null,
    facts.length ? h("p", { class: "muted" }, facts.join(" · ")) : null,
    close,
  );
  drawGpuServices(gpu);
};

/**
 * Services, and pods without a process.
 * @param {readonly string[]} services
 * @param {readonly string[]} allocated
 */
const users = (services, allocated) => {
  const shown = [
    ...services.map((service) => link(serviceHref(service), localName(service))),
    ...allocated.map((pod) => `${pod} (no process seen)`),
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
const updateCsvLink = () => {
  const csv = document.querySelector("#inventory-panel [data-viewed]");
  const selection = Object.entries({ q: param("q"), sort: param("sort") }).filter(([, value]) => value);
  if (csv instanceof HTMLElement) csv.dataset.viewed = withParams("/api/csv/gpus", new URLSearchParams(selection));
  updateRangeLinks();
};

/** @param {Metric} metric */
const metricColumn = (metric) => ({
  key: metric,
  name: METRICS[metric].name,
  minor: !["busy", "contended"].includes(metric),
  cell: (/** @type {InventoryRow} */ row) => formatGpuValue(row[metric], METRICS[metric].unit),
  kind: (/** @type {InventoryRow} */ row) => (metric === "errors" && (row.errors ?? 0) > 0 ? "bad" : ""),
});

/** @param {InventoryRow} row */
const faultMark = ({ fault }) =>
  fault
    ? h("span", { class: fault === "throttled" ? "poor" : "bad" }, ` ${FAULTS[fault].sign} ${FAULTS[fault].word}`)
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
    matches > rows.length ? `first ${rows.length} shown, the CSV has all` : "",
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
  const hasNvlink = rows.some((row) => isNumber(row.nvlink));
  drawTable(byId("inventory-rows"), {
    id: "inventory-table",
    label: "GPUs",
    rows,
    cluster: ({ gpu }) => gpu,
    remote: true,
    by: "-contended",
    current: (row) => row.gpu === data.open?.gpu,
    note: rows.length ? null : h("p", { class: "note" }, `No GPU matches ${filter}.`),
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
      ...METRIC_NAMES.filter((metric) => metric !== "nvlink" || hasNvlink).map(metricColumn),
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
  else setPanel("inventory", "empty", NO_GPUS);
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
