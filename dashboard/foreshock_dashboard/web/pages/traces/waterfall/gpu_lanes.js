// What ran on the GPUs of a trace, on the same axis as its spans, and what that means for it.
import { gpuHref, link, pageHref, pairHref } from "#web/assets/address.js";
import { h, headCells, scrollTable } from "#web/assets/dom.js";
import { formatPercent, formatSeconds } from "#web/assets/format.js";
import { serviceColor, serviceDot } from "#web/assets/timeline/signs.js";

/** @typedef {import("#web/pages/traces/payload.d.ts").GpuLane} GpuLane */
/** @typedef {import("#web/pages/traces/payload.d.ts").Span} Span */
/** @typedef {import("#web/pages/traces/payload.d.ts").Trace} Trace */

const MAX_SERVICES = 6;
const MAX_TABLE_INTERVALS = 200;
const GRAVE_WAIT_RATIO = 0.2;
const MIN_SHARE = 0.2;
/** An extent that stands for none. */
export const MIN_EXTENT_SECONDS = 1e-9;

/**
 * Whether a trace waited for a GPU, or why that is not known.
 * @param {Trace} trace
 */
export const waitSentence = (trace) => {
  const { sentence, lanes_error: error, lanes_note: note, lanes_settled: isSettled, lanes } = trace;
  if (sentence) {
    const isGrave = trace.gpu_wait_seconds > GRAVE_WAIT_RATIO * trace.duration_seconds;
    return h("p", { class: `wait-sentence ${isGrave ? "grave" : ""}` }, sentence);
  }
  if (error) return h("p", { class: "wait-sentence" }, `What ran on its GPUs cannot be read: ${error}`);
  if (isSettled === false) {
    return h("p", { class: "wait-sentence" }, "What ran on its GPUs in its last seconds is still on its way.");
  }
  if (note) {
    const missing = link(pageHref("/status"), "What is missing");
    return h("p", { class: "note" }, `Nothing is known of its GPUs: ${note}. `, missing);
  }
  const text = lanes?.length ? "It did not wait for a GPU." : "None of its spans is known to have run on a shared GPU.";
  return h("p", { class: "note" }, text);
};

/**
 * The services on a GPU: the trace's own, those that held it, and the others that had a share of it.
 * @param {GpuLane} lane
 */
export const laneServices = ({ own, by, intervals }) => {
  const present = new Set(intervals.map(({ service }) => service));
  return [...new Set([own, ...Object.keys(by), ...present])].filter((service) => present.has(service));
};

/**
 * How long a service other than the trace's own held the GPU.
 * @param {GpuLane} lane
 * @param {string} service
 */
const holdText = ({ own, by }, service) => {
  if (service === own) return " its own";
  return by[service] ? ` ${formatSeconds(by[service])}` : "";
};

/**
 * @param {GpuLane} lane
 * @param {string} service
 * @param {number} extent seconds of the axis
 */
const laneTrack = (lane, service, extent) => {
  const intervals = lane.intervals.filter((interval) => interval.service === service);
  const bars = intervals.map(({ share, quality, colour, offset_seconds: offset, duration_seconds: seconds }) => {
    const start = Math.max(0, offset);
    const place = `left:${(start / extent) * 100}%;width:max(1px,${(seconds / extent) * 100}%)`;
    const part = Math.round(Math.max(MIN_SHARE, share) * 100);
    const when = `from ${formatSeconds(start)} for ${formatSeconds(seconds)}`;
    return h("div", {
      class: `lane-bar ${quality === "inferred" ? "inferred" : ""}`,
      title: `${service} had ${formatPercent(share)} of ${lane.gpu} ${when}, ${quality}`,
      style: `${place};--part:${part}%;--ink:${serviceColor(colour)}`,
    });
  });
  return h(
    "div",
    { class: "lane-row" },
    h(
      "div",
      { class: "lane-name", title: service },
      serviceDot(intervals.at(-1)?.colour),
      service === lane.own ? h("b", null, service) : service,
      h("small", { class: "muted" }, holdText(lane, service)),
    ),
    h("div", { class: "lane-track" }, bars),
  );
};

/** @param {GpuLane} lane */
const laneText = (lane) => {
  const { waited_seconds: waited, own_seconds: own, idle_seconds: idle, unshared_seconds: unshared } = lane;
  if (waited <= 0) return "nobody else held it";
  return `others held it ${formatSeconds(waited)} of ${formatSeconds(waited + own + idle + unshared)}, at most`;
};

/**
 * @param {GpuLane} lane
 * @param {number} extent seconds of the axis
 */
const drawLane = (lane, extent) => {
  const services = laneServices(lane);
  const text = laneText(lane);
  const hidden = services.length - MAX_SERVICES;
  const [aggressor] = Object.keys(lane.by);
  return h(
    "div",
    { class: "lane", role: "group", "aria-label": `${lane.gpu}: ${text}` },
    h(
      "p",
      { class: "lane-head" },
      link(gpuHref(lane.gpu), lane.gpu),
      h("span", { class: "muted" }, ` ${text}, ${lane.quality}`),
      aggressor === undefined ? null : link(pairHref(lane.own, aggressor), `${lane.own} and ${aggressor}`),
    ),
    services.slice(0, MAX_SERVICES).map((service) => laneTrack(lane, service, extent)),
    hidden > 0 ? h("p", { class: "note" }, `${hidden} more services with less`) : null,
  );
};

/** @param {readonly GpuLane[]} lanes */
const laneTable = (lanes) =>
  scrollTable(
    "GPUs of the trace",
    { class: "rows" },
    headCells(["GPU", "Service", "Share", "From", "For", "Quality"]),
    lanes.flatMap(({ gpu, intervals }) =>
      intervals
        .slice(0, MAX_TABLE_INTERVALS)
        .map(({ service, share, quality, offset_seconds: offset, duration_seconds: seconds }) =>
          h(
            "tr",
            null,
            h("th", { scope: "row" }, gpu),
            [service, formatPercent(share), formatSeconds(Math.max(0, offset)), formatSeconds(seconds), quality].map(
              (text) => h("td", null, text),
            ),
          ),
        ),
    ),
  );

/**
 * The GPUs of a trace; null where it has none.
 * @param {Trace} trace
 */
export const gpuLanes = (trace) => {
  const { lanes = [], lanes_left_out: leftOut, lanes_settled: isSettled } = trace;
  if (!lanes.length) return null;
  const isInferred = lanes.some(({ intervals }) => intervals.some(({ quality }) => quality === "inferred"));
  const inferredNote =
    " Hatched: inferred from counters that are read every few seconds, so shares are means over that time.";
  return h(
    "div",
    { class: "lanes" },
    h("h3", null, "GPUs it ran on, and who was on them meanwhile"),
    lanes.map((lane) => drawLane(lane, trace.extent_seconds || MIN_EXTENT_SECONDS)),
    h(
      "p",
      { class: "note" },
      "Taller where it had more of the GPU.",
      isInferred ? inferredNote : "",
      leftOut ? ` ${leftOut} minutes of GPUs were too many to read.` : "",
      isSettled === false ? " The last seconds may still change." : "",
    ),
    h("details", { id: "lanes-twin" }, h("summary", null, "as a table"), laneTable(lanes)),
  );
};

/**
 * What a span had of its GPUs, as facts.
 * @param {NonNullable<Span["gpu"]>} gpu
 * @returns {[name: string, value: unknown][]}
 */
export const spanGpuFacts = (gpu) => [
  ["on", gpu.gpus.join(" or ")],
  ["waited", `${gpu.upper_bound ? "at most " : ""}${formatSeconds(gpu.waited_seconds)}`],
  ...Object.entries(gpu.by).map(
    ([service, seconds]) => /** @type {[string, unknown]} */ ([`held by ${service}`, formatSeconds(seconds)]),
  ),
  ["its own", formatSeconds(gpu.own_seconds)],
  ["nobody's", formatSeconds(gpu.idle_seconds)],
  ["not shared", formatSeconds(gpu.unshared_seconds)],
  ["quality", gpu.quality],
  ["found by", gpu.found_by],
  ["resolution", formatSeconds(gpu.resolution_seconds)],
];
