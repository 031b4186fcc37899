// The Status page: whether the others can be trusted, and why not.
"use strict";
(() => {
  const F = (window.foreshock = window.foreshock || {});
  F.pages = F.pages || {};
  const { h, put, known } = F;

  const count = (value) =>
    known(value) ? value.toLocaleString("en", { maximumFractionDigits: 0 }).replaceAll(",", " ") : "–";
  const bytes = (value) => {
    if (!known(value)) return "–";
    const power = Math.min(4, Math.max(0, Math.floor(Math.log2(Math.max(1, value)) / 10)));
    return `${(value / 1024 ** power).toFixed(power ? 1 : 0)} ${["B", "KiB", "MiB", "GiB", "TiB"][power]}`;
  };
  const facts = (rows) =>
    h(
      "dl",
      null,
      rows
        .filter(Boolean)
        .map(([name, value, bad]) =>
          h("div", null, h("dt", null, name), h("dd", { class: bad ? "poor" : null }, value)),
        ),
    );
  const figure = (name, value, of, grave = false, title = null) =>
    h(
      "div",
      { class: grave ? "figure grave" : "figure", title },
      h("span", { class: "figure-name" }, name),
      h("span", null, h("b", null, value), of ? ` ${of}` : ""),
    );

  const OWN = "embedded store";
  const source = (text) => (text === OWN ? "this hub's own store" : text || "–");
  const brief = (text) => (text === OWN ? "own store" : (text || "–").split(" ")[0]); // its address is in the tooltip

  const trust = (data) => {
    const { state, doubts } = data.trust;
    const headline = F.sentence(data.trust.clauses);
    F.byId("status-verdict").dataset.state = state;
    if (F.byId("trust").textContent !== headline) F.byId("trust").textContent = headline;
    const more = doubts.filter((text) => data.trust.headline !== `Mostly: ${text}.`); // what the headline says in full
    put(
      F.byId("doubts"),
      data.simulated ? h("p", null, "The data is simulated: nothing of it is a real platform.") : null,
      data.past ? h("p", null, "Signals and targets are of then; what the hub dropped and keeps is of now.") : null,
      more.length
        ? h(
            "ul",
            null,
            more.map((text) => h("li", null, text)),
          )
        : null,
    );
  };
  const figures = (data) => {
    const { reads = {}, store = {}, spans = {} } = data.hub;
    const answering = data.targets.filter((row) => !row.silent).length;
    const { have, need, done } = data.learning;
    put(
      F.byId("status-figures"),
      figure("Version", data.version, data.simulated ? "simulated" : ""),
      data.past
        ? figure("Looked at", F.stamp(data.data_time), "in the past")
        : figure(
            "Newest figures",
            known(data.lag) ? F.span(data.lag) : "–",
            known(data.lag)
              ? `old${data.step ? `, read every ${F.span(data.step).replaceAll(" ", "\u00a0")}` : ""}`
              : "",
          ),
      figure(
        "Targets answering",
        data.targets.length ? String(answering + data.hidden) : "–",
        data.targets.length ? `of ${data.targets.length + data.hidden}` : data.error ? "not known" : "none is named",
        answering < data.targets.length,
      ),
      figure(
        "What is usual",
        done ? "learned" : "learning",
        done ? "" : `${Math.floor(have / 60)} of ${Math.floor(need / 60)} min`,
      ),
      figure("Metrics from", brief(reads.metrics), "", false, reads.metrics),
      figure("Traces from", brief(reads.traces), "", false, reads.traces),
    );
  };
  const signals = (data) => {
    const columns = [
      {
        key: "name",
        name: "Signal",
        text: true,
        cell: (row) => [row.name, " ", row.there ? F.state("ok", "there") : F.state("unknown", "missing")],
      },
      { key: "count", name: "Told by", cell: (row) => (row.there ? `${count(row.count)} ${row.of}` : null) },
      {
        key: "lost",
        name: "Gives",
        text: true,
        fixed: true,
        cell: (row) => h("span", { class: "wide-cell" }, row.there ? row.lost : [h("b", null, "lost: "), row.lost]),
      },
      {
        key: "remedy",
        name: "How to get it",
        text: true,
        fixed: true,
        minor: true,
        cell: (row) => (row.there ? h("span", { class: "muted" }, "") : row.remedy),
      },
    ];
    if (data.signals.every((row) => row.there)) columns.pop();
    if (!data.signals.length)
      return F.panel(
        "signals",
        data.error ? "error" : "empty",
        data.error || "The hub has not finished its first look.",
      );
    const absent = data.missing.length
      ? h("p", { class: "note" }, `No sample of: ${data.missing.join(", ")}. docs/reads.md lists all that is read.`)
      : null;
    F.table(F.byId("signals"), {
      id: "signals-table",
      label: "Signals",
      columns,
      rows: data.signals,
      param: "signals",
      by: "",
      note: absent,
    });
    F.panel("signals", "ready");
  };
  const targets = (data) => {
    if (!data.targets.length) {
      put(F.byId("targets"));
      return F.panel(
        "targets",
        data.error ? "error" : "empty",
        data.error || "No target is scraped: name exporters with --targets, or a Prometheus with --prometheus.",
      );
    }
    const columns = [
      {
        key: "instance",
        name: "Target",
        text: true,
        cell: (row) => [
          F.short(row.instance, 46),
          " ",
          row.silent ? F.state("critical", row.up === false ? "down" : "silent") : F.state("ok", "answers"),
        ],
      },
      { key: "job", name: "Job", text: true, minor: true },
      { key: "age", name: "Last scrape", cell: (row) => (known(row.age) ? `${F.span(row.age)} ago` : "never") },
      { key: "took", name: "Took", minor: true, cell: (row) => F.seconds(row.took) },
      { key: "samples", name: "Samples", minor: true, cell: (row) => count(row.samples) },
      {
        key: "error",
        name: "Trouble",
        text: true,
        fixed: true,
        cell: (row) =>
          row.error ? h("span", { class: "wide-cell" }, row.error) : h("span", { class: "muted" }, "none"),
      },
    ];
    F.table(F.byId("targets"), {
      id: "targets-table",
      label: "Targets",
      columns,
      rows: data.targets,
      param: "targets",
      by: "",
      most: 400,
      note: data.hidden
        ? h("p", { class: "note" }, `${data.hidden} more are in `, h("a", { href: "/api/status" }, "/api/status"))
        : null,
    });
    F.panel("targets", "ready");
  };
  const COUNTS = {
    foreshock_spans_late_total: "came too late to be counted",
    foreshock_spans_early_total: "lie in the future",
    foreshock_spans_duplicate_total: "came twice, counted once",
    foreshock_spans_clamped_total: "ended before they began",
    foreshock_spans_uncounted_total: "kept but not counted",
    foreshock_service_graph_dropped_spans_total: "not paired, for want of room",
    foreshock_span_metrics_overflow_total: "counted as (other), for want of series",
  };
  const spans = (data) => {
    const { receiver = {}, spans: made = {} } = data.hub;
    const reasons = Object.entries({ ...receiver.rejected, ...receiver.refused }).filter(([, n]) => n);
    put(
      F.byId("spans"),
      facts([
        ["Spans kept", `${count(receiver.spans)} in ${count(receiver.requests)} requests`],
        ...reasons.map(([reason, n]) => [`Refused: ${reason.replaceAll("_", " ")}`, count(n), true]),
        !reasons.length && ["Refused", "none"],
        ...Object.entries(COUNTS)
          .filter(([name]) => made.counts?.[name])
          .map(([name, text]) => [
            `Spans that ${text}`
              .replace("Spans that counted", "Counted")
              .replace("Spans that kept", "Kept")
              .replace("Spans that not", "Not"),
            count(made.counts[name]),
            true,
          ]),
        known(made.series) && [
          "Series made of spans",
          `${count(made.series)} of at most ${count(made.series_limit)}`,
          made.series > 0.9 * made.series_limit,
        ],
        made.warning && ["Trouble", made.warning, true],
      ]),
    );
    F.panel("spans", "ready");
  };
  const store = (data) => {
    const { store: kept, reads = {} } = data.hub;
    if (!kept || !known(kept.disk_bytes)) return F.panel("store", "empty", "Nothing is told of the store.");
    put(
      F.byId("store"),
      facts([
        ["Metrics are read from", source(reads.metrics)],
        ["Traces are read from", source(reads.traces)],
        [
          "Disk",
          `${bytes(kept.disk_bytes)}${known(reads.retention_size) && reads.retention_size < 2 ** 49 ? ` of at most ${bytes(reads.retention_size)}` : ""}`,
          kept.disk_bytes > 0.9 * reads.retention_size,
        ],
        ["Series", count(kept.series)],
        ["Spans", count(kept.spans)],
        ["Segments", `${count(kept.segments)}, ${bytes(kept.segment_bytes)}`],
        ["Not yet in a segment", `${count(kept.inbox_rows)} rows`],
        known(kept.oldest) && ["Oldest", F.time(kept.oldest, 0)],
        known(reads.retention) &&
          reads.retention < 1e9 && [
            "Kept for",
            `metrics ${F.span(reads.retention)}, traces ${F.span(reads.trace_retention)}`,
          ],
        ["Dropped past a bound", count(kept.dropped), kept.dropped > 0],
        ["Damaged and set aside", count(kept.corrupt), kept.corrupt > 0],
        kept.last_error && ["Trouble", kept.last_error, true],
      ]),
    );
    F.panel("store", "ready");
  };
  const connect = (data) => {
    const { reads = {} } = data.hub;
    const host = location.hostname.includes(":") ? `[${location.hostname}]` : location.hostname;
    const step = (what, command, more) =>
      h(
        "div",
        null,
        h("dt", null, what),
        h(
          "dd",
          null,
          h("code", null, command),
          " ",
          h(
            "button",
            { type: "button", class: "quiet small", "data-copy": command, "aria-label": `Copy: ${what}` },
            "Copy",
          ),
          more ? h("p", { class: "note" }, more) : null,
        ),
      );
    put(
      F.byId("connect"),
      h(
        "dl",
        { class: "steps" },
        step(
          "GPU hosts",
          "foreshock-exporter",
          `then name them here: foreshock serve --targets HOST,HOST (or let Prometheus scrape port 10877)`,
        ),
        step(
          "Services",
          `OTEL_EXPORTER_OTLP_ENDPOINT=http://${host}:${reads.otlp_http_port || 4318}`,
          `any OpenTelemetry SDK or Collector; gRPC on port ${reads.otlp_grpc_port || 4317}`,
        ),
        step(
          "A Prometheus that you have",
          "foreshock serve --prometheus http://prometheus:9090",
          "reads its samples in place of the store; let it scrape this hub's /metrics as well",
        ),
        step(
          "A Tempo or Jaeger that you have",
          "foreshock serve --tempo http://tempo:3200",
          "or --jaeger http://jaeger:16686",
        ),
        step(
          "Prometheus alerts",
          `foreshock alerts --hub ${location.origin} --out rules`,
          "writes rules that read this hub's /metrics, with links to it",
        ),
        h(
          "div",
          null,
          h("dt", null, "Who may look"),
          h(
            "dd",
            null,
            reads.asks?.length
              ? `asks for ${reads.asks.join(", ")}`
              : "anyone who reaches this address: --auth-basic-file, --auth-token-file or a proxy change that",
          ),
        ),
      ),
    );
    F.panel("connect", "ready");
  };

  F.pages.status = {
    mount: () => {},
    update: (data) => {
      trust(data);
      figures(data);
      signals(data);
      targets(data);
      spans(data);
      store(data);
      connect(data);
    },
  };
})();
