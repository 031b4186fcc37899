// The Status page: whether the other pages can be trusted, and why not.
import { clausesText, formatTimestamp, timeElement } from "#web/assets/clock.js";
import { byId, h, put, requireId, setPanel, setPanelEmpty, setText } from "#web/assets/dom.js";
import { formatBytes, formatDuration, formatSeconds, isNumber, NOT_KNOWN, truncate } from "#web/assets/format.js";
import { healthState } from "#web/assets/timeline/signs.js";
import { drawTable } from "#web/assets/widgets/table.js";
import { figure } from "#web/assets/widgets/widgets.js";

/** @typedef {import("#web/assets/dom.js").Content} Content */
/** @typedef {import("#web/pages/status/payload.d.ts").Reads} Reads */
/** @typedef {import("#web/pages/status/payload.d.ts").Signal} Signal */
/** @typedef {import("#web/pages/status/payload.d.ts").StatusData} StatusData */
/** @typedef {import("#web/pages/status/payload.d.ts").Target} Target */
/** @typedef {[name: string, value: Content, isBad?: boolean]} Fact */

const OWN_STORE = "embedded store";
const MAX_TARGETS = 400;
const NEARLY_FULL_RATIO = 0.9;
/** Larger retentions stand for none. */
const UNBOUNDED_BYTES = 2 ** 49;
const UNBOUNDED_SECONDS = 1e9;
const DEFAULT_OTLP_PORTS = { http: 4318, grpc: 4317 };
/** What counts of spans mean. @type {Readonly<Record<string, string>>} */
const SPAN_COUNTS = {
  foreshock_spans_late_total: "Spans that came too late to be counted",
  foreshock_spans_early_total: "Spans that lie in the future",
  foreshock_spans_duplicate_total: "Spans that came twice, counted once",
  foreshock_spans_clamped_total: "Spans that ended before they began",
  foreshock_spans_uncounted_total: "Kept but not counted",
  foreshock_service_graph_dropped_spans_total: "Not paired, for want of room",
  foreshock_span_metrics_overflow_total: "Counted as (other), for want of series",
};

/** @param {unknown} value */
const formatCount = (value) =>
  isNumber(value) ? value.toLocaleString("en", { maximumFractionDigits: 0 }).replaceAll(",", " ") : NOT_KNOWN;

/** @param {string | undefined} source */
const sourceText = (source) => (source === OWN_STORE ? "this hub's own store" : source || NOT_KNOWN);

/**
 * A source without its address, which is in the tooltip.
 * @param {string | undefined} source
 */
const shortSource = (source) => (source === OWN_STORE ? "own store" : source?.split(" ")[0] || NOT_KNOWN);

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

/** @param {StatusData} data */
const drawTrust = ({ trust, simulated, past }) => {
  requireId("status-verdict").dataset.state = trust.state;
  setText(requireId("trust"), clausesText(trust.clauses));
  const doubts = trust.doubts.filter((text) => trust.headline !== `Mostly: ${text}.`); // the headline has that one
  put(
    byId("doubts"),
    simulated ? h("p", null, "The data is simulated: nothing of it is a real platform.") : null,
    past ? h("p", null, "Signals and targets are of then; what the hub dropped and keeps is of now.") : null,
    doubts.length
      ? h(
          "ul",
          null,
          doubts.map((text) => h("li", null, text)),
        )
      : null,
  );
};

/** @param {StatusData} data */
const ageFigure = ({ past, data_time: dataTime, lag, step }) => {
  if (past) return figure("Looked at", formatTimestamp(dataTime), { note: "in the past" });
  if (!isNumber(lag)) return figure("Newest figures", NOT_KNOWN);
  const every = step ? `, read every ${formatDuration(step).replaceAll(" ", "\u00a0")}` : "";
  return figure("Newest figures", formatDuration(lag), { note: `old${every}` });
};

/** @param {StatusData} data */
const targetsFigure = ({ targets, hidden, error }) => {
  const answering = targets.filter(({ silent }) => !silent).length;
  const none = error ? "not known" : "none is named";
  return figure("Targets answering", targets.length ? String(answering + hidden) : NOT_KNOWN, {
    note: targets.length ? `of ${targets.length + hidden}` : none,
    isGrave: answering < targets.length,
  });
};

/** @param {StatusData} data */
const drawFigures = (data) => {
  const { reads = {} } = data.hub;
  const { have, need, done } = data.learning;
  const learned = `${Math.floor(have / 60)} of ${Math.floor(need / 60)} min`;
  put(
    byId("status-figures"),
    figure("Version", data.version, { note: data.simulated ? "simulated" : "" }),
    ageFigure(data),
    targetsFigure(data),
    figure("What is usual", done ? "learned" : "learning", { note: done ? "" : learned }),
    figure("Metrics from", shortSource(reads.metrics), { title: reads.metrics ?? null }),
    figure("Traces from", shortSource(reads.traces), { title: reads.traces ?? null }),
  );
};

/** @type {import("#web/assets/widgets/table.js").Column<Signal>[]} */
const SIGNAL_COLUMNS = [
  {
    key: "name",
    name: "Signal",
    text: true,
    cell: ({ name, there }) => [name, " ", there ? healthState("ok", "there") : healthState("unknown", "missing")],
  },
  { key: "count", name: "Told by", cell: ({ there, count, of }) => (there ? `${formatCount(count)} ${of}` : null) },
  {
    key: "lost",
    name: "Gives",
    text: true,
    fixed: true,
    cell: ({ there, lost }) => h("span", { class: "wide-cell" }, there ? lost : [h("b", null, "lost: "), lost]),
  },
  {
    key: "remedy",
    name: "How to get it",
    text: true,
    fixed: true,
    minor: true,
    cell: ({ there, remedy }) => (there ? h("span", { class: "muted" }, "") : remedy),
  },
];

/** @param {StatusData} data */
const drawSignals = ({ signals, missing, error }) => {
  if (!signals.length) {
    setPanel("signals", error ? "error" : "empty", error || "The hub has not finished its first look.");
    return;
  }
  const isComplete = signals.every(({ there }) => there);
  const text = `No sample of: ${missing.join(", ")}. docs/reference/collected-metrics.md lists all that is read.`;
  drawTable(byId("signals"), {
    id: "signals-table",
    label: "Signals",
    columns: SIGNAL_COLUMNS.filter(({ key }) => key !== "remedy" || !isComplete),
    rows: signals,
    param: "signals",
    by: "",
    note: missing.length ? h("p", { class: "note" }, text) : null,
  });
  setPanel("signals", "ready");
};

/** @param {Target} target */
const targetState = ({ silent, up }) =>
  silent ? healthState("critical", up === false ? "down" : "silent") : healthState("ok", "answers");

/** @type {import("#web/assets/widgets/table.js").Column<Target>[]} */
const TARGET_COLUMNS = [
  {
    key: "instance",
    name: "Target",
    text: true,
    cell: (row) => [truncate(row.instance, 46), " ", targetState(row)],
  },
  { key: "job", name: "Job", text: true, minor: true },
  {
    key: "age",
    name: "Last scrape",
    cell: ({ age }) => (isNumber(age) ? `${formatDuration(age)} ago` : "never"),
  },
  { key: "took", name: "Took", minor: true, cell: ({ took }) => formatSeconds(took) },
  { key: "samples", name: "Samples", minor: true, cell: ({ samples }) => formatCount(samples) },
  {
    key: "error",
    name: "Trouble",
    text: true,
    fixed: true,
    cell: ({ error }) => h("span", { class: error ? "wide-cell" : "muted" }, error || "none"),
  },
];

/** @param {StatusData} data */
const drawTargets = ({ targets, hidden, error }) => {
  if (!targets.length) {
    const none = "No target is scraped: name exporters with --targets, or a Prometheus with --prometheus-url.";
    setPanelEmpty("targets", error || none);
    if (error) setPanel("targets", "error", error);
    return;
  }
  const rest = h("p", { class: "note" }, `${hidden} more are in `, h("a", { href: "/api/status" }, "/api/status"));
  drawTable(byId("targets"), {
    id: "targets-table",
    label: "Targets",
    columns: TARGET_COLUMNS,
    rows: targets,
    param: "targets",
    by: "",
    maxRows: MAX_TARGETS,
    note: hidden ? rest : null,
  });
  setPanel("targets", "ready");
};

/** @param {StatusData["hub"]} hub */
const spanFacts = ({ receiver = {}, spans = {} }) => {
  const refused = Object.entries({ ...receiver.rejected, ...receiver.refused }).filter(([, count]) => count);
  const { counts = {}, series, series_limit: limit, warning } = spans;
  const isFull = isNumber(series) && isNumber(limit) && series > NEARLY_FULL_RATIO * limit;
  /** @type {(Fact | false)[]} */
  const facts = [
    ["Spans kept", `${formatCount(receiver.spans)} in ${formatCount(receiver.requests)} requests`],
    ...refused.map(
      ([reason, count]) => /** @type {Fact} */ ([`Refused: ${reason.replaceAll("_", " ")}`, formatCount(count), true]),
    ),
    !refused.length && ["Refused", "none"],
    ...Object.entries(SPAN_COUNTS)
      .filter(([name]) => counts[name])
      .map(([name, text]) => /** @type {Fact} */ ([text, formatCount(counts[name]), true])),
    isNumber(series) && ["Series made of spans", `${formatCount(series)} of at most ${formatCount(limit)}`, isFull],
    Boolean(warning) && ["Trouble", warning, true],
  ];
  return facts;
};

/** @param {StatusData} data */
const drawSpans = ({ hub }) => {
  put(byId("spans"), factList(spanFacts(hub)));
  setPanel("spans", "ready");
};

/** @param {StatusData} data */
const drawStore = ({ hub: { store, reads = {} } }) => {
  if (!store || !isNumber(store.disk_bytes)) {
    setPanel("store", "empty", "Nothing is told of the store.");
    return;
  }
  const { retention, retention_size: maxBytes, trace_retention: traceRetention } = reads;
  const isBounded = isNumber(maxBytes) && maxBytes < UNBOUNDED_BYTES;
  const limit = isBounded ? ` of at most ${formatBytes(maxBytes)}` : "";
  const isNearlyFull = isNumber(maxBytes) && store.disk_bytes > NEARLY_FULL_RATIO * maxBytes;
  const kept = `metrics ${formatDuration(retention ?? 0)}, traces ${formatDuration(traceRetention ?? 0)}`;
  /** @type {(Fact | false)[]} */
  const facts = [
    ["Metrics are read from", sourceText(reads.metrics)],
    ["Traces are read from", sourceText(reads.traces)],
    ["Disk", `${formatBytes(store.disk_bytes)}${limit}`, isNearlyFull],
    ["Series", formatCount(store.series)],
    ["Spans", formatCount(store.spans)],
    ["Segments", `${formatCount(store.segments)}, ${formatBytes(store.segment_bytes)}`],
    ["Not yet in a segment", `${formatCount(store.inbox_rows)} rows`],
    isNumber(store.oldest) && ["Oldest", timeElement(store.oldest, 0)],
    isNumber(retention) && retention < UNBOUNDED_SECONDS && ["Kept for", kept],
    ["Dropped past a bound", formatCount(store.dropped), store.dropped > 0],
    ["Damaged and set aside", formatCount(store.corrupt), store.corrupt > 0],
    Boolean(store.last_error) && ["Trouble", store.last_error, true],
  ];
  put(byId("store"), factList(facts));
  setPanel("store", "ready");
};

/**
 * A way to connect something: a command to copy, and what it does.
 * @param {string} name
 * @param {string} command
 * @param {string} note
 */
const connectStep = (name, command, note) =>
  h(
    "div",
    null,
    h("dt", null, name),
    h(
      "dd",
      null,
      h("code", null, command),
      " ",
      h(
        "button",
        { type: "button", class: "quiet small", "data-copy": command, "aria-label": `Copy: ${name}` },
        "Copy",
      ),
      h("p", { class: "note" }, note),
    ),
  );

/** @param {StatusData} data */
const drawConnect = ({ hub: { reads = {} } }) => {
  const host = location.hostname.includes(":") ? `[${location.hostname}]` : location.hostname;
  const httpPort = reads.otlp_http_port || DEFAULT_OTLP_PORTS.http;
  const grpcPort = reads.otlp_grpc_port || DEFAULT_OTLP_PORTS.grpc;
  const access = reads.asks?.length
    ? `asks for ${reads.asks.join(", ")}`
    : "anyone who reaches this address: --auth-basic-file, --auth-token-file or a proxy change that";
  put(
    byId("connect"),
    h(
      "dl",
      { class: "steps" },
      connectStep(
        "GPU hosts",
        "foreshock-exporter",
        "then name them here: foreshock serve --targets HOST,HOST (or let Prometheus scrape port 10877)",
      ),
      connectStep(
        "Services",
        `OTEL_EXPORTER_OTLP_ENDPOINT=http://${host}:${httpPort}`,
        `any OpenTelemetry SDK or Collector; gRPC on port ${grpcPort}`,
      ),
      connectStep(
        "A Prometheus that you have",
        "foreshock serve --prometheus-url http://prometheus:9090",
        "reads its samples in place of the store; let it scrape this hub's /metrics as well",
      ),
      connectStep(
        "A Tempo or Jaeger that you have",
        "foreshock serve --tempo-url http://tempo:3200",
        "or --jaeger-url http://jaeger:16686",
      ),
      connectStep(
        "Prometheus alerts",
        `foreshock alerts --hub ${location.origin} --out rules`,
        "writes rules that read this hub's /metrics, with links to it",
      ),
      h("div", null, h("dt", null, "Who may look"), h("dd", null, access)),
    ),
  );
  setPanel("connect", "ready");
};

/** @type {import("#web/assets/page.d.ts").Page} */
export const status = {
  update: (/** @type {StatusData} */ data) => {
    drawTrust(data);
    drawFigures(data);
    drawSignals(data);
    drawTargets(data);
    drawSpans(data);
    drawStore(data);
    drawConnect(data);
  },
};
