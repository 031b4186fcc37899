// What ran on the GPUs of a trace, on the same axis as its spans, and what that means for it.
import { gpuHref, link, pairHref } from "#web/assets/address.js";
import { h, headCells, scrollTable } from "#web/assets/dom.js";
import { filled, formatPercent, formatSeconds, inWords, localName, plural } from "#web/assets/format.js";
import { serviceColor, serviceDot } from "#web/assets/timeline/signs.js";
import { ABSENT, TRACE_TEXTS } from "#web/assets/words.js";
import { placeOf } from "#web/pages/traces/waterfall/time_axis.js";

/** @typedef {import("#web/pages/traces/payload.d.ts").GpuLane} GpuLane */
/** @typedef {import("#web/pages/traces/payload.d.ts").Span} Span */
/** @typedef {import("#web/pages/traces/payload.d.ts").Trace} Trace */
/** @typedef {import("#web/pages/traces/waterfall/time_axis.js").AxisRange} AxisRange */

const MAX_SERVICES = 6;
const MAX_TABLE_INTERVALS = 200;
const MIN_SHARE = 0.2;

/**
 * The services on a GPU: the trace's own, the noisy neighbors, and others with a share of it.
 * @param {GpuLane} lane
 */
export const laneServices = ({ own, by, intervals }) => {
  const present = new Set(intervals.map(({ service }) => service));
  return [...new Set([own, ...Object.keys(by), ...present])].filter((service) => present.has(service));
};

/**
 * How long a service used the GPU while the trace's own had work on it.
 * @param {GpuLane} lane
 * @param {string} service
 */
const holdText = ({ own, by }, service) => {
  if (service === own) return " this trace";
  return by[service] ? ` ${formatSeconds(by[service])}` : "";
};

/**
 * @param {GpuLane} lane
 * @param {string} service
 * @param {AxisRange} range
 * @param {(service: string) => string} label
 */
const laneTrack = (lane, service, range, label) => {
  const intervals = lane.intervals.filter((interval) => interval.service === service);
  const bars = intervals.map(({ share, quality, color, offset_seconds: offset, duration_seconds: seconds }) => {
    const place = placeOf(offset, seconds, range);
    if (!place) return null;
    const part = Math.round(Math.max(MIN_SHARE, share) * 100);
    const when = `from ${formatSeconds(Math.max(0, offset))} for ${formatSeconds(seconds)}`;
    return h("div", {
      class: `lane-bar ${quality === "inferred" ? "inferred" : ""}`,
      title: `${inWords(service)} used ${formatPercent(share)} of ${localName(lane.gpu)} ${when} (${quality})`,
      style: `left:${place.left}%;width:max(1px,${place.width}%);--part:${part}%;--ink:${serviceColor(color)}`,
    });
  });
  return h(
    "div",
    { class: "lane-row" },
    h(
      "div",
      { class: "lane-name", title: inWords(service) },
      serviceDot(intervals.at(-1)?.color),
      service === lane.own ? h("b", null, label(service)) : label(service),
      h("small", { class: "muted" }, holdText(lane, service)),
    ),
    h("div", { class: "lane-track" }, bars),
  );
};

/** @param {GpuLane} lane */
const laneText = (lane) => {
  const { waited_seconds: waited, own_seconds: own, idle_seconds: idle, unshared_seconds: unshared } = lane;
  if (waited <= 0) return ABSENT.gpu_wait;
  const total = formatSeconds(waited + own + idle + unshared);
  return filled(TRACE_TEXTS.wait_of, { wait: formatSeconds(waited), total });
};

/**
 * @param {GpuLane} lane
 * @param {AxisRange} range
 * @param {(service: string) => string} label
 */
const drawLane = (lane, range, label) => {
  const services = laneServices(lane);
  const text = laneText(lane);
  const hidden = services.length - MAX_SERVICES;
  const [aggressor] = Object.keys(lane.by);
  return h(
    "div",
    { class: "lane", role: "group", "aria-label": `${inWords(lane.gpu)}: ${text}` },
    h(
      "p",
      { class: "lane-head" },
      link(gpuHref(lane.gpu), inWords(lane.gpu)),
      h("span", { class: "muted" }, ` ${text} (GPU use ${lane.quality})`),
      aggressor === undefined ? null : link(pairHref(lane.own, aggressor), `GPU contention with ${label(aggressor)}`),
    ),
    services.slice(0, MAX_SERVICES).map((service) => laneTrack(lane, service, range, label)),
    hidden > 0 ? h("p", { class: "note" }, `${plural(hidden, "more service")} with less GPU time`) : null,
  );
};

/** @param {readonly GpuLane[]} lanes */
const laneTable = (lanes) =>
  scrollTable(
    "GPUs of the trace",
    { class: "rows" },
    headCells(["GPU", "Service", "GPU share", "Start", "Duration", "Quality"]),
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
 * @param {AxisRange} range
 * @param {(service: string) => string} label
 */
export const gpuLanes = (trace, range, label) => {
  const { lanes = [], lanes_left_out: leftOut, lanes_settled: isSettled } = trace;
  if (!lanes.length) return null;
  const isInferred = lanes.some(({ intervals }) => intervals.some(({ quality }) => quality === "inferred"));
  return h(
    "div",
    { class: "lanes" },
    h("h3", null, "GPUs"),
    lanes.map((lane) => drawLane(lane, range, label)),
    h(
      "p",
      { class: "note" },
      [
        TRACE_TEXTS.bar_height,
        isInferred ? TRACE_TEXTS.inferred : "",
        leftOut ? filled(TRACE_TEXTS.samples_not_read, { minutes: plural(leftOut, "minute") }) : "",
        isSettled === false ? TRACE_TEXTS.not_final : "",
      ]
        .filter(Boolean)
        .join(" "),
    ),
    h("details", { id: "lanes-twin", class: "quiet-fold" }, h("summary", null, "Table"), laneTable(lanes)),
  );
};

/**
 * What a span had of its GPUs, as facts.
 * @param {NonNullable<Span["gpu"]>} gpu
 * @returns {[name: string, value: unknown][]}
 */
export const spanGpuFacts = (gpu) => [
  ["GPU", gpu.gpus.join(" or ")],
  ["GPU wait", `${gpu.upper_bound ? "up to " : ""}${formatSeconds(gpu.waited_seconds)}`],
  ...Object.entries(gpu.by).map(
    ([service, seconds]) => /** @type {[string, unknown]} */ ([`used by ${inWords(service)}`, formatSeconds(seconds)]),
  ),
  ["own use", formatSeconds(gpu.own_seconds)],
  ["idle", formatSeconds(gpu.idle_seconds)],
  ["unshared", formatSeconds(gpu.unshared_seconds)],
  ["quality", gpu.quality],
  ["matched by", gpu.matched_by],
  ["resolution", formatSeconds(gpu.resolution_seconds)],
];
