// The Traces page: filters that live in the address, the list, and which trace is open.
"use strict";
(() => {
  const F = (window.foreshock = window.foreshock || {});
  F.pages = F.pages || {};
  const { h, put, known } = F;
  const AGAIN = 5000;
  const SETTLE = 8000;
  const SETTLED = 20; // seconds, as in gpu_time.py
  const FILTERS = [
    "service",
    "operation",
    "attribute",
    "min_duration",
    "max_duration",
    "min_gpu_wait",
    "status",
    "errors",
    "order",
  ];
  let asked = 0;
  let listed = 0;
  let opened = null;
  let settling = 0;
  let unread = Infinity;
  let reading = 0;

  const search = () => new URLSearchParams(location.search);
  const filters = (extra = []) =>
    new URLSearchParams([
      ...[...search()].filter(([name, value]) => FILTERS.includes(name) && value),
      ["start", F.range.from()],
      ["end", F.range.to()],
      ...extra,
    ]);
  const href = (changes) => F.href(changes, "/traces");

  const form = () => {
    const now = search();
    const input = (name, label, hint, list = null) =>
      h(
        "label",
        null,
        h("span", null, label),
        h("input", {
          name,
          type: "text",
          value: now.get(name) || "",
          placeholder: hint,
          autocomplete: "off",
          spellcheck: "false",
          list,
        }),
      );
    const select = (name, label, options, chosen = now.get(name) || options[0][0]) =>
      h(
        "label",
        null,
        h("span", null, label),
        h(
          "select",
          { name },
          options.map(([value, text]) => h("option", { value, selected: chosen === value }, text)),
        ),
      );
    // Addresses that were sent on before there was a status ask for errors.
    const status = ["true", "1"].includes((now.get("errors") || "").toLowerCase())
      ? "error"
      : (now.get("status") || "").toLowerCase();
    const more = ["operation", "attribute", "max_duration", "min_gpu_wait"].some((name) => now.get(name));
    const kept = F.byId("more-filters")?.open;
    const element = h(
      "form",
      { id: "trace-filters", class: "filters", role: "search", "aria-label": "Filter traces" },
      input("service", "Service", "any service", "service-names"),
      input("min_duration", "At least", "such as 250ms"),
      select(
        "status",
        "Status",
        [
          ["", "any"],
          ["error", "with errors"],
          ["ok", "a span says ok"],
          ["unset", "a span says nothing"],
        ],
        status,
      ),
      select("order", "Order", [
        ["", "newest first"],
        ["slowest", "slowest first"],
        ["gpu_wait", "longest GPU wait first"],
      ]),
      h("button", { type: "submit" }, "Search"),
      h("a", { href: F.to("/traces"), "data-go": true }, "Clear"),
      h(
        "details",
        { id: "more-filters", open: more || kept },
        h("summary", null, "More filters"),
        h(
          "div",
          { class: "filters" },
          input("operation", "Operation", "any operation"),
          input("attribute", "Attribute", "such as http.route=/ask"),
          input("max_duration", "At most", "such as 2s"),
          input("min_gpu_wait", "Waited for a GPU", "at least, such as 100ms"),
        ),
      ),
      h("datalist", { id: "service-names" }),
    );
    element.addEventListener("submit", (event) => {
      event.preventDefault();
      apply(element);
    });
    element.addEventListener("change", (event) => {
      if (event.target.tagName === "SELECT") apply(element);
    });
    F.byId("filters").replaceChildren(element);
    for (const name of ["trace-durations", "trace-requests"]) {
      const panel = F.byId(`${name}-panel`);
      if (panel) panel.hidden = !now.get("service");
    }
    names();
  };
  const apply = (element) =>
    F.go(href({ ...Object.fromEntries(new FormData(element)), errors: null, trace: null, span: null }));
  const names = async () => {
    try {
      const { body } = await F.fetchJson("/api/services");
      const options = body.services.map((service) => h("option", { value: service.service }));
      F.byId("service-names")?.replaceChildren(...options);
    } catch {
      // Suggestions only: the field takes any name.
    }
  };
  // A drag on the picture also says which durations are looked at; its axis is of powers of ten.
  F.dragged = (low, high) => {
    const text = (power) => {
      const seconds = 10 ** power;
      return seconds < 1 ? `${Number((seconds * 1e3).toPrecision(3))}ms` : `${Number(seconds.toPrecision(3))}s`;
    };
    return { min_duration: text(Math.min(low, high)), max_duration: text(Math.max(low, high)) };
  };

  const SAID = { error: "with errors", ok: "with a span of status ok", unset: "with a span of status unset" };
  const said = (query) => {
    const parts = [
      query.service && `service ${query.service}`,
      query.operation && `operation ${query.operation}`,
      ...Object.entries(query.attributes || {}).map(([key, value]) => `${key}=${value}`),
      query.min_duration && `at least ${F.seconds(query.min_duration)}`,
      query.max_duration && `at most ${F.seconds(query.max_duration)}`,
      query.min_gpu_wait && `waited ${F.seconds(query.min_gpu_wait)} or longer for a GPU`,
      SAID[query.status],
    ].filter(Boolean);
    return `${parts.length ? `${parts.join(", ")}, ` : ""}in ${F.span(query.end - query.start)} before ${F.time(query.end).textContent}`;
  };
  const load = async () => {
    const mine = ++asked;
    listed = performance.now();
    clearTimeout(reading);
    const address = `/api/traces?${filters([["waits", "true"]])}`;
    try {
      const { body } = await F.fetchJson(address);
      if (mine === asked && F.byId("list")) list(body);
    } catch (error) {
      if (mine !== asked) return;
      if (error.status) F.panel("list", "error", `${error.message}`);
      else if (F.byId("list-panel")?.dataset.state === "loading")
        F.panel("list", "error", "The hub does not answer; this page tries again.");
    }
  };
  const ORDERS = { newest: "newest", slowest: "slowest", gpu_wait: "longest waiting" };
  const list = (body) => {
    const { traces, query } = body;
    const order = ORDERS[query.order];
    F.byId("list-hint").textContent = `${order} first, ${said(query)}`;
    if (!traces.length) {
      put(F.byId("list"));
      return F.panel("list", "empty", `No traces: ${said(query)}. Widen the range or clear the filters.`);
    }
    const top = Math.max(...traces.map((trace) => trace.duration_seconds || 0), 1e-9);
    const wait = ({ gpu_wait_seconds: waited, duration_seconds: whole }) => {
      if (waited === undefined)
        return h(
          "span",
          { class: "muted", title: "not read yet, or too young: what ran on its GPU may still be on its way" },
          "…",
        );
      if (!known(waited)) return h("span", { class: "muted", title: "not known to have run on a shared GPU" }, "–");
      const share = whole > 0 ? Math.min(1, waited / whole) : 0;
      const after = waited > whole ? "; its work went on after its caller had an answer or gave up" : "";
      return h(
        "span",
        {
          class: share >= 0.5 ? "bad" : share >= 0.2 ? "poor" : "",
          title: `${F.seconds(waited)} in which others held its GPU, at most${after}`,
        },
        `${F.percent(share)}`,
        h("small", { class: "muted minor" }, ` ${F.seconds(waited)}`),
      );
    };
    // Of the newest nothing is known yet where many arrive: an empty column would only look broken.
    const left = traces.filter((trace) => trace.gpu_wait_seconds === undefined).length;
    const waits = left < traces.length;
    if (!F.range.live() && left && left < unread) reading = setTimeout(load, AGAIN); // a past list is read once, and on as long as that helps
    unread = left;
    const label = F.labels([...new Set(traces.map((trace) => trace.service))]);
    const row = (trace) =>
      h(
        "tr",
        { "aria-current": trace.trace_id === search().get("trace") ? "true" : null },
        h(
          "td",
          { class: "minor" },
          F.time(trace.start, body.time),
          F.range.live() ? h("small", { class: "muted minor" }, ` ${F.span(body.time - trace.start)} ago`) : null,
        ),
        h(
          "th",
          { scope: "row" },
          F.dot(trace.colour),
          h(
            "a",
            {
              href: href({ trace: trace.trace_id, span: null }),
              "data-go": true,
              title: `${trace.service} ${trace.operation}`,
            },
            F.name(`${F.short(label(trace.service), 30)} ${F.short(trace.operation, 60)}`),
          ),
          trace.root ? null : h("small", { class: "muted" }, " (root not seen)"),
        ),
        h(
          "td",
          { class: "measure", style: `--share:${((trace.duration_seconds / top) * 100).toFixed(1)}%` },
          F.seconds(trace.duration_seconds),
        ),
        waits ? h("td", null, wait(trace)) : null,
        h("td", { class: "minor" }, trace.spans),
        h("td", null, trace.errors ? F.state("critical", `${trace.errors}`) : "0"),
        h("td", { class: "minor" }, trace.services.length),
      );
    const bounded = body.candidates?.bound_reached
      ? ` It looked at the ${body.candidates.looked_at} slowest that match; there are more: narrow the range.`
      : "";
    put(
      F.byId("list"),
      h(
        "div",
        { class: "scroll", tabindex: "0", role: "region", "aria-label": "Traces, table" },
        h(
          "table",
          { class: "traces" },
          h(
            "thead",
            null,
            h(
              "tr",
              null,
              [
                ["Started", "minor"],
                ["Request"],
                ["Duration"],
                waits ? ["Waited for a GPU"] : null,
                ["Spans", "minor"],
                ["Errors"],
                ["Services", "minor"],
              ]
                .filter(Boolean)
                .map(([name, kind]) => h("th", { scope: "col", class: kind }, name)),
            ),
          ),
          h("tbody", null, traces.map(row)),
        ),
      ),
      h(
        "p",
        { class: "note" },
        `${traces.length >= query.limit ? `The ${query.limit} ${order} of all traces that match` : `${traces.length} trace${traces.length > 1 ? "s match" : " matches"}`}.${bounded} `,
        waits
          ? null
          : [
              `How long they waited for a GPU is known about ${SETTLED} s after they ended: `,
              h("a", { href: href({ order: "gpu_wait" }), "data-go": true }, "the longest waits"),
              ". ",
            ],
        h("a", { href: `/api/traces?${filters()}` }, "as JSON"),
        " ",
        h("a", { href: `/api/csv/traces?${filters([["waits", "true"]])}`, download: "" }, "as CSV"),
      ),
      body.note ? h("p", { class: "note" }, `${body.note}.`) : null,
    );
    F.panel("list", "ready");
  };

  const open = async (again = false) => {
    const wanted = search().get("trace") || "";
    const panel = F.byId("trace-panel");
    if (!panel) return;
    panel.hidden = !wanted;
    if (wanted === opened && !again) return F.waterfall.select(search().get("span") || "");
    clearTimeout(settling);
    const same = wanted === opened;
    opened = wanted;
    if (!wanted) return;
    if (!same) {
      put(F.byId("trace"));
      F.byId("trace-hint").textContent = "";
      F.panel("trace", "loading");
    }
    try {
      const { body } = await F.fetchJson(`/api/traces/${encodeURIComponent(wanted)}`);
      if (wanted !== opened || !F.byId("trace")) return;
      F.panel("trace", "ready");
      F.waterfall.show(F.byId("trace"), body, search().get("span") || "", same);
      // What ran on its GPUs in its last seconds may still be on its way.
      if (body.lanes_settled === false && F.range.live())
        settling = setTimeout(() => {
          if (wanted === opened && F.byId("trace")) open(true);
        }, SETTLE);
    } catch (error) {
      if (wanted === opened && !same)
        F.panel(
          "trace",
          "error",
          error.status ? error.message : "The hub does not answer; load the page again once it does.",
        );
    }
  };
  F.closeTrace = () => F.go(href({ trace: null, span: null }));
  F.spanHref = (span) => href({ span });

  const follow = () => {
    if (!document.querySelector('[data-page="traces"]')) return;
    form();
    unread = Infinity;
    load();
    open();
  };
  window.addEventListener("foreshock:url", follow);
  window.addEventListener("popstate", follow);

  // A click on a mark of the figure; Dash calls this with what was clicked.
  window.dash_clientside = window.dash_clientside || {};
  window.dash_clientside.foreshock = Object.assign(window.dash_clientside.foreshock || {}, {
    open_point: (click) => {
      const id = click?.points?.map((point) => point.customdata).find((one) => typeof one === "string");
      if (id) F.go(href({ trace: id, span: null }));
      return null;
    },
  });

  F.pages.traces = {
    mount: () => {
      opened = null;
      follow();
    },
    update: (data, live, same) => {
      if (same || performance.now() - listed < AGAIN || !F.range.live()) return;
      load();
    },
  };
})();
