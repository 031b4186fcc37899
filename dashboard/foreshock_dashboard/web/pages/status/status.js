// The Status page: whether the data is fresh and complete, and what is missing.
import { clausesText, formatTimestamp, timeElement } from "#web/assets/clock.js";
import {
  byId,
  h,
  headCells,
  put,
  requireId,
  scrollTable,
  setPanel,
  setPanelEmpty,
  setText,
  unbrokenWords,
} from "#web/assets/dom.js";
import {
  formatBytes,
  formatDuration,
  formatSeconds,
  isNumber,
  localName,
  NOT_KNOWN,
  plural,
  truncate,
} from "#web/assets/format.js";
import { live } from "#web/assets/state.js";
import { healthState } from "#web/assets/timeline/signs.js";
import { drawTable } from "#web/assets/widgets/table.js";
import { figure } from "#web/assets/widgets/widgets.js";

/** @typedef {import("#web/assets/dom.js").Content} Content */
/** @typedef {import("#web/pages/status/payload.d.ts").Receiver} Receiver */
/** @typedef {import("#web/pages/status/payload.d.ts").AuditEvent} AuditEvent */
/** @typedef {import("#web/pages/status/payload.d.ts").Signal} Signal */
/** @typedef {import("#web/pages/status/payload.d.ts").StatusData} StatusData */
/** @typedef {import("#web/pages/status/payload.d.ts").Target} Target */
/** @typedef {import("#web/pages/status/payload.d.ts").Unjoined} Unjoined */
/** @typedef {[name: string, value: Content, isBad?: boolean]} Fact */

const MAX_TARGETS = 400;
const NEARLY_FULL_RATIO = 0.9;
/** Larger retentions stand for none. */
const UNBOUNDED_BYTES = 2 ** 49;
const UNBOUNDED_SECONDS = 1e9;
const DEFAULT_OTLP_PORTS = { http: 4318, grpc: 4317 };
/** Names of the hub's counters of spans. @type {Readonly<Record<string, string>>} */
const SPAN_COUNTS = {
  foreshock_spans_late_total: "Too late for span metrics",
  foreshock_spans_early_total: "Start time in the future",
  foreshock_spans_duplicate_total: "Duplicates",
  foreshock_spans_clamped_total: "End before start",
  foreshock_spans_uncounted_total: "Stored, not in span metrics",
  foreshock_service_graph_dropped_spans_total: "Unpaired (buffer full)",
  foreshock_span_metrics_overflow_total: "Over the series limit",
};

/** @param {unknown} value */
const formatCount = (value) => (isNumber(value) ? value.toLocaleString("en", { maximumFractionDigits: 0 }) : NOT_KNOWN);

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
const drawHealth = ({ health: { state, headline, clauses, problems }, simulated, past }) => {
  requireId("status-verdict").dataset.state = state;
  setText(requireId("health"), clausesText(clauses));
  const others = problems.filter((text) => headline !== `Degraded: ${text}.`);
  put(
    byId("problems"),
    simulated ? h("p", null, "Demo data: this is a simulated platform.") : null,
    past ? h("p", null, "Targets and signals are of the selected time. Ingestion and storage are current.") : null,
    others.length
      ? h(
          "ul",
          null,
          others.map((text) => h("li", null, text)),
        )
      : null,
  );
};

/** @param {StatusData} data */
const ageFigure = ({ past, data_time: dataTime, data_age: age, step }) => {
  if (past) return figure("Time", formatTimestamp(dataTime), { note: "in the past" });
  if (!isNumber(age)) return figure("Data age", NOT_KNOWN);
  return figure("Data age", formatDuration(age), { note: step ? `(evaluated every ${formatDuration(step)})` : "" });
};

/** @param {StatusData} data */
const targetsFigure = ({ targets, hidden, error }) => {
  const up = targets.filter(({ stale }) => !stale).length;
  const all = targets.length + hidden;
  if (!all) return figure("Targets up", NOT_KNOWN, { note: error ? "unknown" : "none configured" });
  return figure("Targets up", `${up + hidden}/${all}`, { mark: up < targets.length ? "bad" : "" });
};

/** @param {StatusData} data */
const drawFigures = (data) => {
  const { have, need, done } = data.learning;
  const progress = `${Math.floor(have / 60)} of ${Math.floor(need / 60)} min`;
  put(
    byId("status-figures"),
    ageFigure(data),
    targetsFigure(data),
    figure("Baseline", done ? "ready" : progress),
    figure("Version", data.version),
  );
};

/** @type {import("#web/assets/widgets/table.js").Column<Signal>[]} */
const MISSING_COLUMNS = [
  { key: "name", name: "Missing signal", text: true, cell: ({ name }) => healthState("unknown", name) },
  {
    key: "unknown",
    name: "Unknown without it",
    text: true,
    fixed: true,
    cell: ({ unknown }) => h("span", { class: "wide-cell" }, unknown),
  },
  {
    key: "remedy",
    name: "Setup",
    text: true,
    fixed: true,
    cell: ({ remedy }) => h("span", { class: "wide-cell" }, remedy),
  },
];

/** @param {readonly Signal[]} signals */
const availableSignals = (signals) =>
  h(
    "details",
    { id: "signals-available" },
    h("summary", null, `${plural(signals.length, "signal")} available`),
    scrollTable(
      "Available signals",
      { class: "rows" },
      headCells(["Signal", "Reported by", "Used for"]),
      signals.map(({ name, count, kind, features }) =>
        h(
          "tr",
          null,
          h("th", { scope: "row" }, name),
          h("td", null, plural(count, kind)),
          h("td", { class: "text" }, features),
        ),
      ),
    ),
  );

/** @param {StatusData} data */
const drawSignals = ({ signals, missing, error }) => {
  if (!signals.length) {
    setPanel("signals", error ? "error" : "empty", error || "Waiting for the first evaluation.");
    return;
  }
  const available = signals.filter((signal) => signal.available);
  const rows = signals.filter((signal) => !signal.available);
  const note = missing.length
    ? h("p", { class: "note" }, `No samples of ${plural(missing.length, "metric")}: ${missing.join(", ")}.`)
    : null;
  const below = [available.length ? availableSignals(available) : null, note];
  if (rows.length) {
    drawTable(byId("signals"), {
      id: "signals-table",
      label: "Missing signals",
      columns: MISSING_COLUMNS,
      rows,
      param: "signals",
      by: "",
      note: below,
    });
  } else put(byId("signals"), below);
  setPanel("signals", "ready");
};

/** @param {Target} target */
const targetState = ({ stale, up }) =>
  stale ? healthState("critical", up === false ? "down" : "stale") : healthState("ok", "up");

/** @type {import("#web/assets/widgets/table.js").Column<Target>[]} */
const TARGET_COLUMNS = [
  {
    key: "instance",
    name: "Target",
    text: true,
    cell: (row) => [truncate(localName(row.instance), 46), " ", targetState(row)],
  },
  { key: "job", name: "Job", text: true, minor: true },
  {
    key: "age",
    name: "Last scrape",
    cell: ({ age }) => (isNumber(age) ? `${formatDuration(age)} ago` : "never"),
  },
  {
    key: "scrape_seconds",
    name: "Scrape duration",
    minor: true,
    cell: ({ scrape_seconds: seconds }) => formatSeconds(seconds),
  },
  { key: "samples", name: "Samples", minor: true, cell: ({ samples }) => formatCount(samples) },
  {
    key: "error",
    name: "Last error",
    text: true,
    fixed: true,
    cell: ({ error }) => h("span", { class: "wide-cell" }, error),
  },
];

/**
 * The columns with a value in any row: a Prometheus gives no details of its scrapes.
 * @param {readonly Target[]} targets
 */
const targetColumns = (targets) =>
  TARGET_COLUMNS.filter(
    ({ key }) => key === "age" || targets.some((row) => ![null, ""].includes(/** @type {any} */ (row)[key])),
  );

/** @param {StatusData} data */
const drawTargets = ({ targets, hidden, error }) => {
  if (!targets.length) {
    const none = "No scrape targets. Set --targets or --targets-file, or --prometheus-url for an existing Prometheus.";
    setPanelEmpty("targets", error || none);
    if (error) setPanel("targets", "error", error);
    return;
  }
  const rest = h("p", { class: "note" }, `${hidden} more: `, h("a", { href: "/api/csv/targets" }, "CSV"));
  drawTable(byId("targets"), {
    id: "targets-table",
    label: "Targets",
    columns: targetColumns(targets),
    rows: targets,
    cluster: ({ instance }) => instance,
    param: "targets",
    by: "",
    maxRows: MAX_TARGETS,
    note: hidden ? rest : null,
  });
  setPanel("targets", "ready");
};

/** @type {import("#web/assets/widgets/table.js").Column<Unjoined>[]} */
const UNJOINED_COLUMNS = [
  { key: "server", name: "Model server", text: true, cell: ({ server }) => truncate(localName(server), 46) },
  { key: "job", name: "Job", text: true, minor: true },
  { key: "model", name: "Model", text: true, minor: true },
  { key: "service", name: "Shown as", text: true, cell: ({ service }) => truncate(localName(service), 46) },
  {
    key: "remedy",
    name: "Remedy",
    text: true,
    fixed: true,
    cell: ({ remedy }) => h("span", { class: "wide-cell" }, remedy),
  },
];

/** @param {StatusData} data */
const drawUnjoined = ({ unjoined }) => {
  requireId("unjoined-panel").hidden = !unjoined.length;
  if (!unjoined.length) return;
  const why = "These model servers belong to no service with requests, so their queue is shown apart from its latency.";
  drawTable(byId("unjoined"), {
    id: "unjoined-table",
    label: "Unjoined model servers",
    columns: UNJOINED_COLUMNS,
    rows: unjoined,
    cluster: ({ service }) => service,
    param: "unjoined",
    by: "",
    note: h("p", { class: "note" }, why),
  });
  setPanel("unjoined", "ready");
};

/** @type {import("#web/assets/widgets/table.js").Column<Receiver>[]} */
const RECEIVER_COLUMNS = [
  {
    key: "name",
    name: "Receiver",
    text: true,
    cell: ({ name, error }) => [truncate(name, 46), " ", error ? healthState("critical", "failing") : null],
  },
  { key: "kind", name: "Kind", text: true, minor: true },
  {
    key: "last_success",
    name: "Last success",
    cell: ({ last_success: time }) => (isNumber(time) ? timeElement(time, 0) : "never"),
  },
  { key: "waiting", name: "Waiting", cell: ({ waiting }) => formatCount(waiting) },
  { key: "sent", name: "Sent", cell: ({ sent }) => formatCount(sent) },
  { key: "failed", name: "Failed attempts", minor: true, cell: ({ failed }) => formatCount(failed) },
  { key: "dropped", name: "Dropped", minor: true, cell: ({ dropped }) => formatCount(dropped) },
  {
    key: "error",
    name: "Last error",
    text: true,
    fixed: true,
    cell: ({ error }) => h("span", { class: "wide-cell" }, error),
  },
];

/** @param {StatusData} data */
const drawNotifications = ({ hub: { notifications } }) => {
  const receivers = notifications?.channels ?? [];
  if (!receivers.length) {
    setPanelEmpty(
      "notifications",
      "Notifications are off: no alerts are sent. Set --alertmanager-url or --notify-file.",
    );
    return;
  }
  drawTable(byId("notifications"), {
    id: "notifications-table",
    label: "Notification channels",
    columns: RECEIVER_COLUMNS.filter(({ key }) => key !== "error" || receivers.some(({ error }) => error)),
    rows: receivers,
    param: "notifications",
    by: "",
    note: notifications?.error ? h("p", { class: "note" }, notifications.error) : null,
  });
  setPanel("notifications", "ready");
};

/** @type {Readonly<Record<string, string>>} */
const AUDIT_ACTIONS = {
  sign_in: "Sign-in",
  sign_in_failed: "Failed sign-in",
  sign_out: "Sign-out",
  denied: "Denied",
  rate_limited: "Rate limited",
  download: "Download",
  change: "Change",
};

/** @type {import("#web/assets/widgets/table.js").Column<AuditEvent>[]} */
const AUDIT_COLUMNS = [
  { key: "time", name: "Time", text: true, cell: ({ time }) => timeElement(time, 0) },
  { key: "principal", name: "User", text: true, cell: ({ principal }) => principal || "unknown" },
  { key: "action", name: "Event", text: true, cell: ({ action }) => AUDIT_ACTIONS[action] ?? action },
  { key: "role", name: "Role", text: true, minor: true },
  { key: "method", name: "Method", text: true, minor: true },
  { key: "address", name: "Address", text: true, minor: true },
  {
    key: "request",
    name: "Request",
    text: true,
    minor: true,
    cell: ({ request, status: code }) => [truncate(request, 80), ` (${code})`],
  },
];

/** @param {StatusData} data */
const drawAudit = ({ audit }) => {
  requireId("audit-panel").hidden = !audit;
  if (!audit) return;
  drawTable(byId("audit"), {
    id: "audit-table",
    label: "Audit log",
    columns: AUDIT_COLUMNS,
    rows: audit,
    param: "audit",
    by: "-time",
  });
  setPanel("audit", "ready");
};

const REPLAYED = "replayed from a recording";

/** @param {StatusData["hub"]} hub */
const spanFacts = ({ receiver = {}, spans = {} }) => {
  const refused = Object.entries({ ...receiver.refused_spans, ...receiver.refused_requests }).filter(
    ([, count]) => count,
  );
  const { counts = {}, series, series_limit: limit, warning } = spans;
  const isFull = isNumber(series) && isNumber(limit) && series > NEARLY_FULL_RATIO * limit;
  /** @type {(Fact | false)[]} */
  const facts = [
    ["Accepted spans", `${formatCount(receiver.accepted_spans)} in ${formatCount(receiver.requests)} requests`],
    ...refused.map(
      ([reason, count]) => /** @type {Fact} */ ([`Refused: ${reason.replaceAll("_", " ")}`, formatCount(count), true]),
    ),
    !refused.length && ["Refused spans", "0"],
    ...Object.entries(SPAN_COUNTS)
      .filter(([name]) => counts[name])
      .map(([name, text]) => /** @type {Fact} */ ([text, formatCount(counts[name]), true])),
    isNumber(series) && ["Span metric series", `${formatCount(series)} (limit ${formatCount(limit)})`, isFull],
    Boolean(warning) && ["Warning", warning, true],
  ];
  return facts;
};

/** @param {StatusData} data */
const drawSpans = ({ hub }) => {
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
      shard?.clusters.map((name) => name || "(no cluster)").join(", ") || "no clusters",
      !shard?.clusters.length,
    ],
    Boolean(memory) && [
      "Memory",
      `${formatBytes(memory?.resident_bytes)} (limit ${formatBytes(memory?.limit_bytes)})`,
      (memory?.resident_bytes ?? 0) > NEARLY_FULL_RATIO * (memory?.limit_bytes ?? Infinity),
    ],
    Boolean(memory?.warning) && ["Warning", memory?.warning, true],
    isReplay && ["Storage", REPLAYED],
    !isReplay && ["Disk", `${formatBytes(store.disk_bytes ?? 0)}${limit}`, isNearlyFull],
    !isReplay && [
      "Series",
      `${formatCount(store.series)} (limit ${formatCount(store.series_limit)})`,
      store.series > NEARLY_FULL_RATIO * store.series_limit,
    ],
    !isReplay && ["Spans", formatCount(store.spans)],
    !isReplay && ["Blocks", `${formatCount(store.blocks)} (${formatBytes(store.block_bytes)})`],
    !isReplay && ["WAL rows", formatCount(store.wal_rows)],
    Boolean(journal) && [
      "Journal",
      `${formatCount(entries)} ${entries === 1 ? "entry" : "entries"}${journal?.durable ? "" : ", in memory only"}`,
    ],
    Boolean(shared) && [
      "Shared journal",
      `${shared?.place}, ${shared?.leads ? "this hub notifies" : "another hub notifies"}`,
      Boolean(shared?.problem),
    ],
    isNumber(store.oldest) && ["Oldest data", timeElement(store.oldest, 0)],
    isNumber(retention) && retention < UNBOUNDED_SECONDS && ["Retention", kept],
    store.dropped_samples > 0 && ["Dropped samples (limit reached)", formatCount(store.dropped_samples), true],
    store.dropped_spans > 0 && ["Dropped spans (invalid)", formatCount(store.dropped_spans), true],
    store.corrupt > 0 && ["Corrupt blocks", formatCount(store.corrupt), true],
    Boolean(store.last_error) && ["Last error", store.last_error, true],
  ];
  return facts;
};

/** @param {StatusData} data */
const drawStore = ({ hub }) => {
  const { store } = hub;
  if (!store || !isNumber(store.disk_bytes)) {
    setPanel("store", "empty", "No data about the store.");
    return;
  }
  put(byId("store"), factList(storeFacts(hub, store)));
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
      h("code", null, unbrokenWords(command)),
      " ",
      h(
        "button",
        { type: "button", class: "quiet small", "data-copy": command, "aria-label": `Copy: ${name}` },
        "Copy",
      ),
      h("p", { class: "note" }, unbrokenWords(note)),
    ),
  );

/** @param {StatusData} data */
const drawConnect = ({ hub: { sources = {} } }) => {
  const host = location.hostname.includes(":") ? `[${location.hostname}]` : location.hostname;
  const httpPort = sources.otlp_http_port || DEFAULT_OTLP_PORTS.http;
  const grpcPort = sources.otlp_grpc_port || DEFAULT_OTLP_PORTS.grpc;
  const methods = sources.authentication ?? [];
  const access = methods.length
    ? methods.join(", ")
    : "unauthenticated. Set --auth-basic-file, --auth-token-file, --auth-header, or --oidc-issuer.";
  put(
    byId("connect"),
    h(
      "dl",
      { class: "steps" },
      connectStep(
        "GPU hosts",
        "foreshock-exporter",
        "Then list them: foreshock serve --targets HOST,HOST, or let Prometheus scrape port 10877.",
      ),
      connectStep(
        "Services",
        `OTEL_EXPORTER_OTLP_ENDPOINT=http://${host}:${httpPort}`,
        `Any OpenTelemetry SDK or Collector; gRPC on port ${grpcPort}.`,
      ),
      connectStep(
        "Existing Prometheus",
        "foreshock serve --prometheus-url http://prometheus:9090",
        "Read metrics from Prometheus instead of the embedded store.",
      ),
      connectStep(
        "Existing Tempo or Jaeger",
        "foreshock serve --tempo-url http://tempo:3200",
        "Or --jaeger-url http://jaeger:16686.",
      ),
      connectStep(
        "Prometheus alerts",
        `foreshock generate rules --hub-url ${location.origin} --output-dir rules`,
        "Rules that read this hub's /metrics and link to its pages.",
      ),
      h("div", null, h("dt", null, "Access"), h("dd", null, unbrokenWords(access))),
    ),
  );
  setPanel("connect", "ready");
};

/** @type {import("#web/assets/page.d.ts").Page} */
export const status = {
  update: (/** @type {StatusData} */ data) => {
    drawHealth(data);
    drawFigures(data);
    drawSignals(data);
    drawTargets(data);
    drawUnjoined(data);
    drawNotifications(data);
    drawSpans(data);
    drawStore(data);
    drawAudit(data);
    drawConnect(data);
  },
};
