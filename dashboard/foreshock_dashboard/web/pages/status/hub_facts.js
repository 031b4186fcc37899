// What the hub received and stores, as facts of the Status page.
import { timeElement } from "#web/assets/clock.js";
import { byId, h, put, requireId, setPanel } from "#web/assets/dom.js";
import { formatBytes, formatDuration, formatWhole, isNumber, NOT_KNOWN } from "#web/assets/format.js";
import { live } from "#web/assets/state.js";
import { ABSENT, EMPTY, SPAN_COUNTS, STATUS_TEXTS } from "#web/assets/words.js";

/** @typedef {import("#web/assets/dom.js").Content} Content */
/** @typedef {import("#web/pages/status/payload.d.ts").StatusData} StatusData */
/** @typedef {[name: string, value: Content, isBad?: boolean]} Fact */

const NEARLY_FULL_RATIO = 0.9;
/** Larger retentions stand for none. */
const UNBOUNDED_BYTES = 2 ** 49;
const UNBOUNDED_SECONDS = 1e9;

/** @param {readonly (Fact | false)[]} facts */
const factList = (facts) =>
  h(
    "dl",
    null,
    facts
      .filter((fact) => fact !== false)
      .map(([name, value, isBad]) =>
        h("div", null, h("dt", null, name), h("dd", { class: isBad ? "poor" : null }, value)),
      ),
  );

/** @param {StatusData["hub"]} hub */
const spanFacts = ({ receiver = {}, spans = {} }) => {
  const refused = Object.entries({ ...receiver.refused_spans, ...receiver.refused_requests }).filter(
    ([, count]) => count,
  );
  const { counts = {}, series, series_limit: limit, warning } = spans;
  const isFull = isNumber(series) && isNumber(limit) && series > NEARLY_FULL_RATIO * limit;
  /** @type {(Fact | false)[]} */
  const facts = [
    ["Accepted spans", `${formatWhole(receiver.accepted_spans)} in ${formatWhole(receiver.requests)} requests`],
    ...refused.map(
      ([reason, count]) => /** @type {Fact} */ ([`Refused: ${reason.replaceAll("_", " ")}`, formatWhole(count), true]),
    ),
    !refused.length && ["Refused spans", "0"],
    ...Object.entries(SPAN_COUNTS)
      .filter(([name]) => counts[name])
      .map(([name, text]) => /** @type {Fact} */ ([text, formatWhole(counts[name]), true])),
    isNumber(series) && ["Span metric series", `${formatWhole(series)} (limit ${formatWhole(limit)})`, isFull],
    Boolean(warning) && ["Warning", warning, true],
  ];
  return facts;
};

/** @param {StatusData} data */
export const drawSpans = ({ hub }) => {
  // A replay receives no spans: its storage says so.
  requireId("spans-panel").hidden = Boolean(live.data?.bounds && !hub.receiver?.requests);
  put(byId("spans"), factList(spanFacts(hub)));
  setPanel("spans", "ready");
};

/** @param {number[]} counts */
const sum = (counts) => counts.reduce((total, count) => total + count, 0);

/**
 * A source, with the name of a recording in quotes: it may be a word such as "outage".
 * @param {string | undefined} source
 */
const quotedName = (source) => source?.replace(/^recording (.+)/, 'recording "$1"') || NOT_KNOWN;

/**
 * What is stored, and where from. A replay stores nothing: the figures of its store would be zero.
 * @param {StatusData["hub"]} hub
 * @param {NonNullable<StatusData["hub"]["store"]>} store
 */
export const storeFacts = ({ journal, memory, shard, shared, sources = {} }, store) => {
  const entries = sum(Object.values(journal?.rows ?? {}));
  const { retention_metrics: retention, retention_size: maxBytes, retention_traces: traceRetention } = sources;
  const isBounded = isNumber(maxBytes) && maxBytes < UNBOUNDED_BYTES;
  const limit = isBounded ? ` (limit ${formatBytes(maxBytes)})` : "";
  const isNearlyFull = isNumber(maxBytes) && (store.disk_bytes ?? 0) > NEARLY_FULL_RATIO * maxBytes;
  const isReplay = Boolean(sources.metrics?.startsWith("recording "));
  const kept = `metrics ${formatDuration(retention ?? 0)}, traces ${formatDuration(traceRetention ?? 0)}`;
  /** @type {(Fact | false)[]} */
  const facts = [
    ["Metrics source", quotedName(sources.metrics)],
    ["Trace source", quotedName(sources.traces)],
    Boolean(shard) && [
      `Shard ${shard?.part}`,
      shard?.clusters.map((name) => name || `(${ABSENT.cluster})`).join(", ") || ABSENT.cluster,
      !shard?.clusters.length,
    ],
    Boolean(memory) && [
      "Memory",
      `${formatBytes(memory?.resident_bytes)} (limit ${formatBytes(memory?.limit_bytes)})`,
      (memory?.resident_bytes ?? 0) > NEARLY_FULL_RATIO * (memory?.limit_bytes ?? Infinity),
    ],
    Boolean(memory?.warning) && ["Warning", memory?.warning, true],
    isReplay && ["Storage", STATUS_TEXTS.replayed],
    !isReplay && ["Disk", `${formatBytes(store.disk_bytes ?? 0)}${limit}`, isNearlyFull],
    !isReplay && [
      "Series",
      `${formatWhole(store.series)} (limit ${formatWhole(store.series_limit)})`,
      store.series > NEARLY_FULL_RATIO * store.series_limit,
    ],
    !isReplay && ["Spans", formatWhole(store.spans)],
    !isReplay && ["Blocks", `${formatWhole(store.blocks)} (${formatBytes(store.block_bytes)})`],
    !isReplay && ["WAL rows", formatWhole(store.wal_rows)],
    Boolean(journal) && [
      "Journal (responses, changes)",
      `${formatWhole(entries)} ${entries === 1 ? "entry" : "entries"}${journal?.durable ? "" : ", in memory only"}`,
    ],
    Boolean(shared) && [
      "Shared journal",
      `${shared?.place}, ${shared?.leads ? "this hub notifies" : "another hub notifies"}`,
      Boolean(shared?.problem),
    ],
    isNumber(store.oldest) && ["Oldest data", timeElement(store.oldest, 0)],
    isNumber(retention) && retention < UNBOUNDED_SECONDS && ["Retention", kept],
    store.dropped_samples > 0 && ["Dropped samples (limit reached)", formatWhole(store.dropped_samples), true],
    store.dropped_spans > 0 && ["Dropped spans (invalid)", formatWhole(store.dropped_spans), true],
    store.corrupt > 0 && ["Corrupt blocks", formatWhole(store.corrupt), true],
    Boolean(store.last_error) && ["Last error", store.last_error, true],
  ];
  return facts;
};

/** @param {StatusData} data */
export const drawStore = ({ hub }) => {
  const { store } = hub;
  if (!store || !isNumber(store.disk_bytes)) {
    setPanel("store", "empty", EMPTY.store);
    return;
  }
  put(byId("store"), factList(storeFacts(hub, store)));
  setPanel("store", "ready");
};
