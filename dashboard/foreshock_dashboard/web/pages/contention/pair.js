// The pair that is open: the GPUs that its two services share, and the traces that waited longest.
import { gpuHref, link, pageHref } from "#web/assets/address.js";
import { formatTimestamp } from "#web/assets/clock.js";
import { byId, h, put, setPanel, setPanelEmpty } from "#web/assets/dom.js";
import { errorMessage, fetchJson } from "#web/assets/fetch_json.js";
import { formatPercent, formatSeconds, isNumber, shortLabels, truncate } from "#web/assets/format.js";
import { live } from "#web/assets/state.js";
import { drawTable } from "#web/assets/widgets/table.js";
import * as timeRange from "#web/assets/widgets/time_range.js";

/** @typedef {import("#web/pages/contention/payload.d.ts").OpenPair} OpenPair */
/** @typedef {import("#web/pages/contention/payload.d.ts").WaitingTrace} WaitingTrace */

const TRACES_EVERY_MS = 30_000;
const MAX_GPUS = 16;
/** Work that goes on this much longer than its trace did so after the caller had an answer. */
const OUTLASTING_RATIO = 1.01;

const OUTLASTING_NOTE =
  "Work goes on when its caller has an answer or gave up: " + "part of such a wait came after what the request took. ";

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
    setPanelEmpty("pair-gpus", pair.sentence);
    return;
  }
  const label = shortLabels([pair.victim, pair.aggressor]);
  drawTable(byId("pair-gpus"), {
    id: "shared",
    label: "Shared GPUs",
    rows: pair.gpus,
    maxRows: MAX_GPUS,
    param: "hsort",
    by: "-stalled",
    columns: [
      { key: "gpu", name: "GPU", text: true, cell: ({ gpu }) => link(gpuHref(gpu), gpu) },
      { key: "stalled", name: "Waits", cell: ({ stalled }) => formatPercent(stalled) },
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
    if (key === requested.key) drawTraces(body.traces, body.looked_at, pair);
  } catch (error) {
    const message = errorMessage(error, "The list takes too long: choose a shorter range.");
    if (key === requested.key) setPanel("pair-traces", "error", message);
  }
};

/** @param {WaitingTrace} trace */
const isOutlasted = ({ duration_seconds: seconds, gpu_seconds: gpuSeconds }) =>
  isNumber(seconds) && gpuSeconds > seconds * OUTLASTING_RATIO;

/** @param {WaitingTrace} trace */
const durationCell = (trace) => {
  const title =
    "Its caller had an answer or gave up by then; what it had begun went on, on the GPU and waiting for it.";
  return [
    formatSeconds(trace.duration_seconds),
    isOutlasted(trace) ? h("small", { class: "poor", title }, " then went on") : null,
  ];
};

/** @param {WaitingTrace} trace */
const waitCell = ({ for_aggressor_seconds: waited, gpu_seconds: gpuSeconds }) => [
  h("b", null, formatSeconds(waited)),
  h("small", { class: "muted minor", title: "how long it had work on that GPU" }, ` of ${formatSeconds(gpuSeconds)}`),
];

/**
 * @param {readonly WaitingTrace[]} traces
 * @param {number} candidates the slowest traces among which these were looked for
 * @param {OpenPair} pair
 */
const drawTraces = (traces, candidates, { victim }) => {
  if (!byId("pair-traces")) return;
  if (!traces.length) {
    const none = `None of the ${candidates} slowest traces of ${victim} is known to have run on a shared GPU.`;
    setPanelEmpty("pair-traces", candidates ? none : `${victim} has no traces in this range.`);
    return;
  }
  drawTable(byId("pair-traces"), {
    id: "waited",
    label: "Traces that waited longest",
    rows: traces,
    param: "tsort",
    by: "-for_aggressor_seconds",
    columns: [
      {
        key: "start",
        name: "Started",
        cell: ({ trace_id: trace, start, service, operation, sentence }) =>
          link(pageHref("/traces", { trace }), formatTimestamp(start), sentence || `${service} ${operation}`),
      },
      {
        key: "operation",
        name: "Request",
        text: true,
        minor: true,
        cell: ({ service, operation }) => truncate(`${service.slice(service.indexOf("/") + 1)} ${operation}`, 34),
      },
      {
        key: "for_aggressor_seconds",
        name: "Waited for it",
        hint: "until the last of its work on a GPU ended",
        cell: waitCell,
      },
      {
        key: "duration_seconds",
        name: "Took",
        hint: "until its caller had an answer or gave up",
        cell: durationCell,
      },
    ],
    note: h(
      "p",
      { class: "note" },
      `Among the ${candidates} slowest; an upper bound. `,
      traces.some(isOutlasted) ? OUTLASTING_NOTE : null,
      link(pageHref("/traces", { service: victim, order: "gpu_wait" }), "All by GPU wait"),
    ),
  });
  setPanel("pair-traces", "ready");
};
