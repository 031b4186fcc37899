// The Fleet page: how many GPUs there are in each state, the grid, the GPU that is open, and the inventory.
import { hrefWith, link, navigate, pageHref, pairHref, param, serviceHref, withParams } from "#web/assets/address.js";
import { clausesText, timeElement } from "#web/assets/clock.js";
import { byId, closest, h, put, requireId, setPanel, setPanelsWithoutData } from "#web/assets/dom.js";
import { formatGibibytes, formatPercent, isNumber, NOT_KNOWN, plural, truncate } from "#web/assets/format.js";
import { gpuGrid, NO_GPUS } from "#web/assets/gpu_grid/gpu_grid.js";
import { decodeBytes, formatGridValue } from "#web/assets/gpu_grid/grid_values.js";
import { live } from "#web/assets/state.js";
import { causeText, incidentHref, phaseState } from "#web/assets/timeline/incident.js";
import { healthState, serviceDot } from "#web/assets/timeline/signs.js";
import { updateRangeLinks } from "#web/assets/widgets/range_links.js";
import { drawTable } from "#web/assets/widgets/table.js";

/** @typedef {import("#web/assets/payload.d.ts").Topology} Topology */
/** @typedef {import("#web/pages/fleet/payload.d.ts").FleetData} FleetData */
/** @typedef {import("#web/pages/fleet/payload.d.ts").FleetIncident} FleetIncident */
/** @typedef {import("#web/pages/fleet/payload.d.ts").InventoryRow} InventoryRow */
/** @typedef {import("#web/pages/fleet/payload.d.ts").Metric} Metric */
/** @typedef {import("#web/pages/fleet/payload.d.ts").OpenGpu} OpenGpu */

const FILTER_SETTLE_MS = 300;
const CONTENDED_RATIO = 0.1;
const WAITING_RATIO = 0.05;
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
const METRIC_NAMES = /** @type {Metric[]} */ (Object.keys(METRICS));
const GRID_SUMMARY =
  "Point at a GPU to see who runs on it; click it to open it. The inventory below has the same as a table.";

let filterTimer = 0;

/** @param {string} label */
const openGpu = (label) => navigate(hrefWith({ gpu: label === param("gpu") ? null : label }));

/**
 * @param {number | null} value
 * @param {string} unit
 */
const formatGpuValue = (value, unit) => (isNumber(value) ? formatGridValue(value, unit) : NOT_KNOWN);

/**
 * An incident, which is named here too: a fleet without a mark must not look like a healthy platform.
 * @param {FleetIncident} incident
 */
const incidentFact = (incident) => {
  const { id, phase, of, gpus } = incident;
  return h(
    "span",
    null,
    phaseState(phase),
    " ",
    link(incidentHref(id), `${of}: ${causeText(incident)}`),
    gpus ? ` on ${plural(gpus, "GPU")}, ` : ", no GPU is named, ",
    link(pageHref("/fleet", { q: of }), "its GPUs"),
  );
};

/**
 * A number of GPUs in one state, with a link that shows them first.
 * @param {number | null} count
 * @param {string} text
 * @param {Metric} metric
 * @param {boolean} [isBad]
 */
const countFact = (count, text, metric, isBad = false) => {
  const number = h(
    "b",
    { class: isBad && count ? "bad" : "" },
    count === null ? NOT_KNOWN : count.toLocaleString("en"),
  );
  return h("span", null, link(hrefWith({ metric, sort: `-${metric}`, q: null }), number), ` ${text}`);
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
    countFact(counts.contended, "contended", "contended"),
    countFact(counts.throttled, "held back by heat or power", "throttled", true),
    countFact(counts.errors, "with errors in 15 min", "errors", true),
    h("span", null, h("b", { class: counts.lost ? "bad" : "" }, counts.lost ?? NOT_KNOWN), " lost"),
    h("span", null, h("b", { class: counts.silent ? "poor" : "" }, counts.silent), " without data"),
    incidents.map(incidentFact),
  );

/** @param {FleetData} data */
const metricSwitch = ({ metrics, metric }) =>
  h(
    "p",
    { class: "choices", role: "group", "aria-label": "What the grid shows" },
    metrics.map(({ name, title, known }) =>
      h(
        "button",
        {
          type: "button",
          class: "quiet",
          "data-metric": name,
          "aria-pressed": String(name === metric),
          disabled: !known && name !== metric,
          title: known ? null : "nothing tells of it",
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
    gpuGrid.mount(byId("fleet-grid"), { withTable: false, open: openGpu });
  }
  put(byId("fleet-switch"), metricSwitch(data));
  const view = {
    title: METRICS[data.metric].name,
    unit: data.unit,
    low: data.low,
    high: data.high,
    values: decodeBytes(data.values.bdata),
    contended: data.contended && data.metric !== "contended" ? decodeBytes(data.contended) : null,
    marked: new Set(data.marked),
    lost: new Set(data.lost),
    opened: data.open?.gpu ?? "",
    summary: GRID_SUMMARY,
  };
  gpuGrid.draw(view, topology);
};

/** @param {OpenGpu["memory_errors"]} errors */
const memoryErrorText = ({ corrected, uncorrected }) => {
  if (!isNumber(corrected)) return "";
  const since = "since the driver was loaded";
  if (corrected === 0 && uncorrected === 0) return `no memory error ${since}`;
  const [could, couldNot] = [formatGpuValue(corrected, "count"), formatGpuValue(uncorrected, "count")];
  return `memory errors ${since}: ${could} that could be corrected, ${couldNot} that could not`;
};

/** @param {OpenGpu} gpu */
const hardwareState = ({ sick }) => {
  if (sick) return healthState("critical", "hardware");
  return sick === false ? healthState("ok", "hardware as usual") : healthState("unknown", "not told");
};

/** @param {OpenGpu} gpu */
const hardwareFacts = ({ throttled_by: reasons, memory_errors: errors, nvlinks }) => {
  const throttled = reasons.map(([reason, share]) => `${reason.replaceAll("_", " ")} ${formatPercent(share)}`);
  return [
    throttled.length ? `held back by ${throttled.join(", ")}` : "",
    memoryErrorText(errors),
    isNumber(nvlinks.all) ? `${formatGpuValue(nvlinks.up, "count")} of ${nvlinks.all} NVLinks up` : "",
  ].filter(Boolean);
};

/** @param {OpenGpu} gpu */
const gpuFigures = ({ figures }) =>
  METRIC_NAMES.filter((metric) => metric !== "nvlink").map((metric) => {
    const { name, unit } = METRICS[metric];
    return h("span", null, h("small", null, name), h("b", null, formatGpuValue(figures[metric], unit)));
  });

/** @param {OpenGpu} gpu */
const gpuPairs = ({ pairs }) =>
  pairs.map(({ victim, aggressor, stalled }, i) =>
    h(
      "span",
      null,
      i ? "; " : "",
      link(pairHref(victim, aggressor), `${victim} for ${aggressor}`),
      ` ${formatPercent(stalled)}`,
    ),
  );

/**
 * @param {OpenGpu} gpu
 * @param {number | null} now
 */
const gpuXids = ({ xids }, now) =>
  xids.map(({ xid, means, times, last }) =>
    h(
      "li",
      null,
      h("b", null, `XID ${xid}`),
      ` ${means}, ${times} ×`,
      isNumber(last) ? [", last ", timeElement(last, now)] : null,
    ),
  );

/** @param {OpenGpu} gpu */
const drawGpuServices = ({ services }) => {
  if (!services.length) {
    put(byId("gpu-services"), h("p", null, "No service runs on it."));
    return;
  }
  drawTable(byId("gpu-services"), {
    id: "on",
    label: "Services on it",
    rows: services,
    param: "osort",
    by: "-busy",
    columns: [
      {
        key: "service",
        name: "Service",
        text: true,
        cell: ({ service, colour }) => [serviceDot(colour), link(serviceHref(service), truncate(service, 28))],
      },
      { key: "busy", name: "Busy", cell: ({ busy }) => formatPercent(busy) },
      {
        key: "stalled",
        name: "Waits",
        cell: ({ stalled }) => formatPercent(stalled),
        kind: ({ stalled }) => ((stalled ?? 0) >= WAITING_RATIO ? "poor" : ""),
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
  const details = [gpu.model, gpu.pool ? `pool ${gpu.pool}` : "", gpu.uuid].filter(Boolean);
  requireId("gpu-title").textContent = gpu.gpu || gpu.name;
  requireId("gpu-hint").textContent = gpu.gpu ? details.join(" · ") : "";
  setPanel("gpu", "ready");
  const close = h("button", { type: "button", class: "quiet", id: "gpu-close" }, "Close");
  if (!gpu.gpu) {
    put(byId("gpu"), h("p", null, "No GPU of this name or UUID is known. "), close);
    return;
  }
  const facts = hardwareFacts(gpu);
  const xids = gpuXids(gpu, now);
  put(
    byId("gpu"),
    h("p", { class: "gpu-said", "data-sick": String(gpu.sick) }, hardwareState(gpu), " ", gpu.verdict),
    gpu.incidents.map(({ id, phase, summary }) =>
      h("p", null, phaseState(phase), " ", link(incidentHref(id), clausesText(summary))),
    ),
    h("div", { class: "gpu-figures" }, gpuFigures(gpu)),
    h("div", { id: "gpu-services" }),
    gpu.pairs.length ? h("p", null, "Waiting: ", gpuPairs(gpu), ".") : null,
    xids.length ? h("ul", { class: "xids" }, xids) : null,
    facts.length ? h("p", { class: "muted" }, `${facts.join(" · ")}.`) : null,
    close,
  );
  drawGpuServices(gpu);
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
        placeholder: "GPU, UUID, model, pool or service",
        size: "34",
        autocomplete: "off",
        spellcheck: "false",
      }),
    ),
  );

/** Let the CSV link give what the inventory shows. */
const updateCsvLink = () => {
  const csv = document.querySelector("#inventory-panel [data-viewed]");
  const written = Object.entries({ q: param("q"), sort: param("sort") }).filter(([, value]) => value);
  if (csv instanceof HTMLElement) csv.dataset.viewed = withParams("/api/csv/gpus", new URLSearchParams(written));
  updateRangeLinks();
};

/**
 * @param {Metric} metric
 * @param {InventoryRow} row
 */
const metricClass = (metric, row) => {
  if (metric === "errors" && (row.errors ?? 0) > 0) return "bad";
  return metric === "contended" && (row.contended ?? 0) >= CONTENDED_RATIO ? "poor" : "";
};

/** @param {Metric} metric */
const metricColumn = (metric) => ({
  key: metric,
  name: METRICS[metric].name,
  minor: !["busy", "contended"].includes(metric),
  cell: (/** @type {InventoryRow} */ row) => formatGpuValue(row[metric], METRICS[metric].unit),
  kind: (/** @type {InventoryRow} */ row) => metricClass(metric, row),
});

/** @param {FleetData} data */
const drawInventory = (data) => {
  const { rows, found } = data;
  const filter = param("q");
  if (!byId("inventory-rows")) put(byId("inventory"), inventoryFilter(), h("div", { id: "inventory-rows" }));
  const input = /** @type {HTMLInputElement} */ (requireId("inventory-text"));
  if (document.activeElement !== input && input.value !== filter) input.value = filter;
  const first = found > rows.length ? `, the first ${rows.length} shown; the CSV has all` : "";
  const counts = `${found.toLocaleString("en")} of ${data.counts.gpus.toLocaleString("en")} GPUs`;
  requireId("inventory-hint").textContent = `${counts}${first}`;
  updateCsvLink();
  const hasNvlink = rows.some((row) => isNumber(row.nvlink));
  drawTable(byId("inventory-rows"), {
    id: "inventory-table",
    label: "GPUs",
    rows,
    remote: true,
    by: "-contended",
    current: (row) => row.gpu === data.open?.gpu,
    note: rows.length
      ? null
      : h("p", { class: "note" }, `No GPU has ${filter} in its name, UUID, model, pool or services.`),
    columns: [
      {
        key: "gpu",
        name: "GPU",
        text: true,
        cell: ({ gpu, lost }) => [link(hrefWith({ gpu }), gpu), lost ? h("b", { class: "bad" }, " ✕ lost") : null],
      },
      { key: "pool", name: "Pool", text: true, minor: true },
      { key: "model", name: "Model", text: true, minor: true },
      ...METRIC_NAMES.filter((metric) => metric !== "nvlink" || hasNvlink).map(metricColumn),
      {
        key: "services",
        name: "Services",
        text: true,
        minor: true,
        cell: ({ services }) => h("span", { class: "wide-cell" }, truncate(services.join(", "), 120) || NOT_KNOWN),
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
