// The panel of the open GPU: its health, the services on it, and their waits.
import { link, pageHref, pairHref, serviceHref } from "#web/assets/address.js";
import { clausesText, timeElement } from "#web/assets/clock.js";
import { byId, h, put, requireId, setPanel } from "#web/assets/dom.js";
import {
  filled,
  formatGibibytes,
  formatPercent,
  inWords,
  isNumber,
  localName,
  plural,
  truncate,
} from "#web/assets/format.js";
import { incidentHref, incidentState } from "#web/assets/timeline/incident.js";
import { HEALTH_SIGNS, hiddenSign } from "#web/assets/timeline/signs.js";
import { allocatedText } from "#web/assets/widgets/allocated.js";
import { drawTable } from "#web/assets/widgets/table.js";
import { EMPTY, GPU_SHARING, GPU_TEXTS } from "#web/assets/words.js";
import { formatGpuValue, METRIC_NAMES, METRICS } from "#web/pages/fleet/gpu_metrics.js";

/** @typedef {import("#web/pages/fleet/payload.d.ts").FleetData} FleetData */
/** @typedef {import("#web/pages/fleet/payload.d.ts").OpenGpu} OpenGpu */

/** @type {[keyof OpenGpu["activity"], string][]} */
const ACTIVITY = [
  ["sm", "SMs active"],
  ["tensor", "Tensor pipe"],
  ["dram", "DRAM bandwidth"],
];
/** The health of each state of MPS, as `faulty` of the hardware has it. */
const MPS_FAULTY = { running: false, server_ended: true, control_daemon_gone: true, unknown: null };

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
    put(byId("gpu-services"), allocated.length ? null : h("p", null, EMPTY.tenants));
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
export const drawOpenGpu = ({ open: gpu }, now) => {
  requireId("gpu-panel").hidden = !gpu;
  requireId("gpu-charts").hidden = !gpu?.gpu;
  requireId("fleet-panels").classList.toggle("with-gpu", Boolean(gpu));
  if (!gpu) return;
  const hasVendor = gpu.vendor && !gpu.model?.toLowerCase().includes(gpu.vendor.toLowerCase());
  const model = hasVendor ? `${gpu.vendor} ${gpu.model ?? ""}` : gpu.model;
  const sharing = GPU_SHARING[/** @type {keyof typeof GPU_SHARING} */ (gpu.sharing)] ?? "";
  const details = [model, sharing, gpu.pool ? `pool ${gpu.pool}` : "", gpu.uuid].filter(Boolean);
  requireId("gpu-title").textContent = gpu.gpu || gpu.name;
  requireId("gpu-hint").textContent = gpu.gpu ? details.join(" · ") : "";
  setPanel("gpu", "ready");
  const close = h("button", { type: "button", class: "quiet", id: "gpu-close" }, "Close");
  if (!gpu.gpu) {
    put(byId("gpu"), h("p", null, `${filled(GPU_TEXTS.unknown_gpu, { name: inWords(gpu.name) })} `), close);
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
