// The open pair: the GPUs that its two services share, and the traces with the longest GPU wait.
import { gpuHref, link, pageHref } from "#web/assets/address.js";
import { formatTimestamp } from "#web/assets/clock.js";
import { byId, h, put, setPanel, setPanelEmpty } from "#web/assets/dom.js";
import { errorMessage, fetchJson } from "#web/assets/fetch_json.js";
import {
  filled,
  formatPercent,
  formatSeconds,
  inWords,
  isNumber,
  shortLabels,
  splitService,
  truncate,
} from "#web/assets/format.js";
import { live } from "#web/assets/state.js";
import { changeList } from "#web/assets/timeline/changes.js";
import { drawTable } from "#web/assets/widgets/table.js";
import * as timeRange from "#web/assets/widgets/time_range.js";
import { CONNECTION_TEXTS, EMPTY, TRACE_TEXTS } from "#web/assets/words.js";

/** @typedef {import("#web/pages/contention/payload.d.ts").OpenPair} OpenPair */
/** @typedef {import("#web/pages/contention/payload.d.ts").WaitingTrace} WaitingTrace */

const TRACES_EVERY_MS = 30_000;
const MAX_GPUS = 16;
const MAX_TRACES = 6;
/** GPU work this much longer than its trace continued after the client had an answer or timed out. */
const OUTLASTING_RATIO = 1.01;

/** The pair and range whose traces were requested last, and when. */
let requested = { key: "", at: 0 };

/** Forget the pair. */
export const closePair = () => {
  requested = { key: "", at: 0 };
};

/**
 * Draw the GPUs that the two services share.
 * @param {OpenPair | null} pair
 */
export const drawPairGpus = (pair) => {
  if (!pair) return;
  if (!pair.gpus.length) {
    setPanelEmpty("pair-gpus", pair.summary);
    return;
  }
  const label = shortLabels([pair.victim, pair.aggressor]);
  drawTable(byId("pair-gpus"), {
    id: "shared",
    label: "Shared GPUs",
    rows: pair.gpus,
    maxRows: MAX_GPUS,
    param: "hsort",
    by: "-wait",
    columns: [
      {
        key: "gpu",
        name: "GPU",
        text: true,
        cell: ({ gpu }) => h("span", { class: "unbroken" }, link(gpuHref(gpu), gpu)),
      },
      { key: "wait", name: "GPU wait", cell: ({ wait }) => formatPercent(wait) },
      {
        key: "victim_busy",
        name: `${truncate(label(pair.victim), 22)} busy`,
        hint: pair.victim,
        cell: (row) => formatPercent(row.victim_busy),
      },
      {
        key: "aggressor_busy",
        name: `${truncate(label(pair.aggressor), 22)} busy`,
        hint: pair.aggressor,
        cell: (row) => formatPercent(row.aggressor_busy),
      },
    ],
  });
  setPanel("pair-gpus", "ready");
};

/**
 * Draw the changes of the two services.
 * @param {OpenPair | null} pair
 */
export const drawPairChanges = (pair) => {
  if (!pair) return;
  if (!pair.changes.length) {
    setPanelEmpty("pair-changes", `${pair.no_changes}.`);
    return;
  }
  put(byId("pair-changes"), changeList(pair.changes, live.time));
  setPanel("pair-changes", "ready");
};

/**
 * Request and draw the traces of the one service that waited longest for the other; once in a while, while live.
 * @param {OpenPair | null} pair
 */
export const drawPairTraces = async (pair) => {
  if (!pair) {
    closePair();
    return;
  }
  const { victim, aggressor } = pair;
  const key = `${victim} ${aggressor} ${timeRange.from()} ${timeRange.to()}`;
  const isPast = !timeRange.isLive() || live.data?.bounds;
  if (key === requested.key && (isPast || performance.now() - requested.at < TRACES_EVERY_MS)) return;
  if (key !== requested.key) {
    put(byId("pair-traces"));
    setPanel("pair-traces", "loading");
  }
  requested = { key, at: performance.now() };
  const [start, end] = timeRange.bounds();
  const query = new URLSearchParams({ victim, aggressor, start: start.toFixed(0), end: end.toFixed(0) });
  try {
    const body = await fetchJson(`/api/pages/contention/traces?${query}`);
    if (key === requested.key) drawTraces(body.traces, body.examined, pair);
  } catch (error) {
    const message = errorMessage(error, CONNECTION_TEXTS.timed_out);
    if (key === requested.key) setPanel("pair-traces", "error", message);
  }
};

/** @param {WaitingTrace} trace */
const isOutlasted = ({ duration_seconds: seconds, gpu_seconds: gpuSeconds }) =>
  isNumber(seconds) && gpuSeconds > seconds * OUTLASTING_RATIO;

/**
 * The wait with its denominator: "5 min 45 s of 8 min 1 s (72%)".
 * @param {WaitingTrace} trace
 */
const waitText = ({ aggressor_wait_seconds: wait, gpu_seconds: gpuSeconds }) => [
  h("b", null, formatSeconds(wait)),
  ` of ${formatSeconds(gpuSeconds)} (${formatPercent(gpuSeconds > 0 ? wait / gpuSeconds : null)})`,
];

/** @param {WaitingTrace} trace */
const durationCell = (trace) => [
  formatSeconds(trace.duration_seconds),
  isOutlasted(trace) ? h("small", { class: "muted minor", title: TRACE_TEXTS.outlasting }, " *") : null,
];

/**
 * @param {readonly WaitingTrace[]} traces
 * @param {number} examined number of the slowest traces whose wait is known
 * @param {OpenPair} pair
 */
const drawTraces = (traces, examined, { victim, aggressor }) => {
  if (!byId("pair-traces")) return;
  if (!traces.length) {
    const service = inWords(victim);
    const none = examined
      ? filled(EMPTY.shared_traces, { count: examined, service })
      : filled(EMPTY.service_traces, { service });
    setPanelEmpty("pair-traces", none);
    return;
  }
  const shown = traces.slice(0, MAX_TRACES);
  drawTable(byId("pair-traces"), {
    id: "waited",
    label: "Traces with the longest GPU wait",
    rows: shown,
    param: "tsort",
    by: "-aggressor_wait_seconds",
    columns: [
      {
        key: "start",
        name: "Start",
        cell: ({ trace_id: trace, start, service, operation, sentence }) =>
          link(pageHref("/traces", { trace }), formatTimestamp(start), sentence || `${inWords(service)} ${operation}`),
      },
      {
        key: "operation",
        name: "Request",
        text: true,
        minor: true,
        cell: ({ service, operation }) => truncate(`${splitService(service).name} ${operation}`, 34),
      },
      {
        key: "aggressor_wait_seconds",
        name: "GPU wait",
        hint: `Wait on ${inWords(aggressor)} as a share of the time with GPU work (upper bound)`,
        cell: waitText,
      },
      {
        key: "duration_seconds",
        name: "Duration",
        hint: "Until the client received a response or timed out",
        cell: durationCell,
      },
    ],
    note: h(
      "p",
      { class: "note" },
      `${filled(TRACE_TEXTS.examined, { count: examined })} `,
      shown.some(isOutlasted) ? `* ${TRACE_TEXTS.outlasting_counts} ` : null,
      link(pageHref("/traces", { service: victim, order: "gpu_wait" }), "All by GPU wait"),
    ),
  });
  setPanel("pair-traces", "ready");
};
