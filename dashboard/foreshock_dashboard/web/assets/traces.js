// The Traces page: filters that live in the address, the list, and which trace is open.
"use strict";
(() => {
  const F = (window.foreshock = window.foreshock || {});
  F.pages = F.pages || {};
  const { h, put } = F;
  const AGAIN = 5000;
  const FILTERS = ["service", "operation", "attribute", "min_duration", "max_duration", "min_gpu_wait", "errors", "order"];
  let asked = 0;
  let listed = 0;
  let opened = null;

  const search = () => new URLSearchParams(location.search);
  const filters = () => new URLSearchParams([...[...search()].filter(([name, value]) => FILTERS.includes(name) && value), ["start", F.range.from()], ["end", F.range.to()]]);
  const href = (changes) => F.href(changes, "/traces");

  const form = () => {
    const now = search();
    const input = (name, label, hint) =>
      h("label", null, h("span", null, label), h("input", { name, type: "text", value: now.get(name) || "", placeholder: hint, autocomplete: "off", spellcheck: "false", list: name === "service" ? "service-names" : null }));
    const select = (name, label, options) =>
      h("label", null, h("span", null, label), h("select", { name }, options.map(([value, text]) => h("option", { value, selected: (now.get(name) || options[0][0]) === value }, text))));
    const element = h("form", { id: "trace-filters", class: "filters", role: "search", "aria-label": "Filter traces" },
      input("service", "Service", "any service"), input("operation", "Operation", "any operation"), input("min_duration", "At least", "such as 250ms"),
      select("errors", "Errors", [["", "any"], ["true", "only with errors"]]), select("order", "Order", [["", "newest first"], ["slowest", "slowest first"]]),
      h("datalist", { id: "service-names" }),
      h("button", { type: "submit" }, "Search"), h("a", { href: F.to("/traces"), "data-go": true }, "Clear"));
    element.addEventListener("submit", (event) => { event.preventDefault(); apply(element); });
    element.addEventListener("change", (event) => { if (event.target.tagName === "SELECT") apply(element); });
    F.byId("filters").replaceChildren(element);
    names();
  };
  const apply = (element) => F.go(href({ ...Object.fromEntries(new FormData(element)), trace: null, span: null }));
  const names = async () => {
    try {
      const { body } = await F.fetchJson("/api/services");
      const options = body.services.map((service) => h("option", { value: service.service }));
      F.byId("service-names")?.replaceChildren(...options);
    } catch {
      // Suggestions only: the field takes any name.
    }
  };

  const said = (query) => {
    const parts = [query.service && `service ${query.service}`, query.operation && `operation ${query.operation}`, query.min_duration && `at least ${F.seconds(query.min_duration)}`, query.errors && "with errors"].filter(Boolean);
    return `${parts.length ? `${parts.join(", ")}, ` : ""}in ${F.span(query.end - query.start)} before ${F.time(query.end).textContent}`;
  };
  const load = async () => {
    const mine = ++asked;
    listed = performance.now();
    try {
      const { body } = await F.fetchJson(`/api/traces?${filters()}`);
      if (mine === asked && F.byId("list")) list(body);
    } catch (error) {
      if (mine !== asked) return;
      if (error.status) F.panel("list", "error", `${error.message}`);
      else if (F.byId("list-panel")?.dataset.state === "loading") F.panel("list", "error", "The hub does not answer; this page tries again.");
    }
  };
  const list = (body) => {
    const { traces, query } = body;
    F.byId("list-hint").textContent = `${query.order} first, ${said(query)}`;
    if (!traces.length) {
      put(F.byId("list"));
      return F.panel("list", "empty", `No traces: ${said(query)}. Widen the range or clear the filters.`);
    }
    const top = Math.max(...traces.map((trace) => trace.duration_seconds || 0), 1e-9);
    const row = (trace) =>
      h("tr", { "aria-current": trace.trace_id === search().get("trace") ? "true" : null },
        h("td", null, F.time(trace.start, body.time), h("small", { class: "muted minor" }, ` ${F.span(body.time - trace.start)} ago`)),
        h("th", { scope: "row" }, F.dot(trace.colour), h("a", { href: href({ trace: trace.trace_id, span: null }), "data-go": true }, `${F.short(trace.service, 30)} ${F.short(trace.operation, 60)}`), trace.root ? null : h("small", { class: "muted" }, " (root not seen)")),
        h("td", { class: "measure", style: `--share:${((trace.duration_seconds / top) * 100).toFixed(1)}%` }, F.seconds(trace.duration_seconds)),
        h("td", { class: "minor" }, trace.spans), h("td", null, trace.errors ? F.state("critical", `${trace.errors}`) : "0"), h("td", { class: "minor" }, trace.services.length));
    put(F.byId("list"),
      h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Traces, table" },
        h("table", { class: "traces" },
          h("thead", null, h("tr", null, [["Started"], ["Request"], ["Duration"], ["Spans", "minor"], ["Errors"], ["Services", "minor"]].map(([name, kind]) => h("th", { scope: "col", class: kind }, name)))),
          h("tbody", null, traces.map(row)))),
      h("p", { class: "note" }, `${traces.length >= query.limit ? `The ${query.limit} ${query.order} of all traces that match` : `${traces.length} trace${traces.length > 1 ? "s match" : " matches"}`}. `, h("a", { href: `/api/traces?${filters()}` }, "as JSON")),
      body.note ? h("p", { class: "note" }, `${body.note}.`) : null);
    F.panel("list", "ready");
  };

  const open = async () => {
    const wanted = search().get("trace") || "";
    const panel = F.byId("trace-panel");
    if (!panel) return;
    panel.hidden = !wanted;
    if (wanted === opened) return F.waterfall.select(search().get("span") || "");
    opened = wanted;
    if (!wanted) return;
    put(F.byId("trace"));
    F.byId("trace-hint").textContent = "";
    F.panel("trace", "loading");
    try {
      const { body } = await F.fetchJson(`/api/traces/${encodeURIComponent(wanted)}`);
      if (wanted !== opened || !F.byId("trace")) return;
      F.panel("trace", "ready");
      F.waterfall.show(F.byId("trace"), body, search().get("span") || "");
    } catch (error) {
      if (wanted === opened) F.panel("trace", "error", error.status ? error.message : "The hub does not answer; load the page again once it does.");
    }
  };
  F.closeTrace = () => F.go(href({ trace: null, span: null }));
  F.spanHref = (span) => href({ span });

  const follow = () => {
    if (!document.querySelector('[data-page="traces"]')) return;
    form();
    load();
    open();
  };
  window.addEventListener("foreshock:url", follow);
  window.addEventListener("popstate", follow);

  // A click on a mark of the figure; Dash calls this with what was clicked.
  window.dash_clientside = window.dash_clientside || {};
  window.dash_clientside.foreshock = Object.assign(window.dash_clientside.foreshock || {}, {
    open_point: (click) => {
      const id = click?.points?.[0]?.customdata;
      if (typeof id === "string") F.go(href({ trace: id, span: null }));
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
