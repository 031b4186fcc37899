// The Now page: verdict, figures, matrix, warnings and the table of services.
"use strict";
(() => {
  const F = (window.foreshock = window.foreshock || {});
  F.pages = F.pages || {};
  const { h, put } = F;

  const verdict = (data, now) => {
    const { state, headline, detail, since, incident } = data.verdict;
    F.byId("verdict").dataset.state = state;
    const line = F.byId("headline");
    if (line.textContent !== headline) line.textContent = headline;
    const parts = [];
    if (since && incident) parts.push(h("span", null, "since ", F.time(since, now), ` (${F.span(now - since)})`));
    if (since && state === "blind") parts.push(h("span", null, "last data ", F.time(since, now), ` (${F.span(now - since)} ago)`));
    else if (since && !incident) parts.push(h("span", null, "last warning ended ", F.time(since, now), ` (${F.span(now - since)} ago)`));
    for (const item of incident?.evidence || []) parts.push(evidence(item));
    if (incident) parts.push(h("span", { title: "share of the victim's added waiting that this aggressor explains" }, `confidence ${F.percent(incident.confidence)}, ${incident.quality}`));
    put(F.byId("verdict-detail"), parts.length ? h("p", { class: "facts" }, parts) : null, detail.map((text) => h("p", null, text)));
  };
  const evidence = (item) =>
    h("span", null, `${item.name} `, h("b", null, F.figure(item.value, item.unit)), item.baseline === null ? "" : ` (usually ${F.figure(item.baseline, item.unit)})`);

  const figures = (data) =>
    put(
      F.byId("figures"),
      (data.figures || []).map((item) => {
        const grave = item.name === "Services starved" && item.value > 0;
        const unit = item.value === null || item.of === 0 ? "–" : item.unit === "ratio" ? F.percent(item.value) : item.unit === "count" ? String(item.value) : item.value.toFixed(2);
        const of = unit === "–" ? "" : item.of !== undefined ? ` of ${item.of}` : item.unit === "per call" ? " per call" : "";
        return h("div", { class: grave ? "figure grave" : "figure" }, h("span", { class: "figure-name" }, item.name), h("span", null, h("b", null, unit), of));
      }),
    );

  const matrix = (data) => {
    const { victims, aggressors, cells, hidden } = data.matrix;
    if (!victims.length) {
      const why = data.missing.length ? ` No samples of ${data.missing.slice(0, 3).join(", ")}.` : "";
      put(F.byId("matrix"));
      return F.panel("matrix", "empty", `No two services share a GPU, so none can starve another.${why}`);
    }
    const label = F.labels([...new Set([...victims, ...aggressors])]);
    const starved = new Set(data.warnings.map((w) => `${w.victim}\n${w.aggressor}`));
    const cell = (row, column, item) => {
      if (!item) return h("td", { class: "none", title: "they share no GPU" }, "–");
      const ratio = item.ratio ?? 0;
      const warned = starved.has(`${row}\n${column}`);
      const share = F.known(item.ratio) ? `${F.percent(item.ratio)} of the time` : "(no data)";
      const name = `${row} waits for ${column} ${share} on ${item.gpus.join(", ")}`;
      return h("td", { class: warned ? "warned" : ratio < 0.05 ? "low" : "", style: `--heat:${Math.round(Math.min(ratio / 0.5, 1) * 60)}%` },
        h("button", { type: "button", title: name, "aria-label": name, "data-gpus": JSON.stringify(item.gpus) },
          F.known(item.ratio) ? F.percent(item.ratio) : "no data", h("small", null, `${item.gpus.length} GPU${item.gpus.length > 1 ? "s" : ""}`)));
    };
    put(F.byId("matrix"),
      h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Who starves whom, table" },
        h("table", { class: "matrix" },
          h("thead", null, h("tr", null, h("th", { scope: "col" }, "waits ↓ runs →"), aggressors.map((name) => h("th", { scope: "col", title: name }, F.short(label(name), 16))))),
          h("tbody", null, victims.map((row, r) => h("tr", null, h("th", { scope: "row", title: row }, F.short(label(row), 18)), aggressors.map((column, c) => cell(row, column, cells[r][c]))))))),
      hidden ? h("p", { class: "note" }, `${hidden} more rows or columns with shorter waits: `, h("a", { href: "/api/contention" }, "/api/contention")) : null);
    F.panel("matrix", "ready");
  };

  const warnings = (data, now) => {
    const list = data.warnings;
    const over = data.over.map((w) => h("li", { class: "over" }, F.state("idle", "over"), " ", w.aggressor && w.gpus.length ? `${w.aggressor} starved ${w.victim} on ${w.gpus.length} GPU${w.gpus.length > 1 ? "s" : ""}, ended ` : `${w.victim}: ${w.cause.replaceAll("_", " ")}, ended `, F.time(w.until, now), ` (${F.span(now - w.until)} ago)`));
    if (!list.length && !over.length) {
      put(F.byId("warnings"));
      const learning = data.learning.done ? "" : " None can be given while the hub is learning what is usual.";
      const blind = data.verdict.state === "blind" ? " None can be given while no fresh data comes." : "";
      return F.panel("warnings", "empty", `No warnings are open and none ended in the last hour.${learning}${blind}`);
    }
    put(F.byId("warnings"), h("ul", { class: "warnings" }, list.map((w) => warning(w, now)), over));
    F.panel("warnings", "ready");
  };
  const warning = (w, now) => {
    const word = { advisory: "advisory", page: "page", cascading: "cascading" }[w.phase];
    return h("li", { "data-phase": w.phase },
      h("p", { class: "warning-head" }, F.state(w.phase === "advisory" ? "warning" : "critical", word), " ", h("b", null, w.aggressor ? `${w.aggressor} → ${w.victim}` : w.victim),
        h("span", { class: "muted" }, ` ${w.cause.replaceAll("_", " ")}, since `, F.time(w.since, now), ` (${F.span(now - w.since)})`)),
      h("p", null, w.sentence),
      h("table", { class: "evidence" },
        h("thead", null, h("tr", null, ["evidence", "now", "usually", "since"].map((name) => h("th", { scope: "col" }, name)))),
        h("tbody", null, w.evidence.map((e) => h("tr", null, h("th", { scope: "row" }, e.name), h("td", null, F.figure(e.value, e.unit)), h("td", null, F.figure(e.baseline, e.unit)), h("td", null, F.time(e.since, now)))))),
      h("p", { class: "muted" }, `on ${w.gpus.join(", ")} · confidence ${F.percent(w.confidence)} · ${w.quality} · `,
        h("a", { href: F.tracesOf(w.victim), "data-go": true }, `slowest traces of ${w.victim}`)));
  };

  const COLUMNS = [
    ["id", "Service"], ["rate", "Requests"], ["failed", "Errors"], ["p50", "p50", "minor"], ["p95", "p95"], ["p99", "p99", "minor"],
    ["attempts", "Retries per call", "minor"], ["spark", "p95, 15 min", "minor"],
  ];
  const order = { by: "", down: true };
  const sorted = (rows) => {
    if (!order.by) return rows;
    const value = (row) => (order.by === "id" ? row.id : row[order.by] ?? -1);
    const sign = order.down ? -1 : 1;
    return [...rows].sort((a, b) => sign * (value(a) < value(b) ? -1 : value(a) > value(b) ? 1 : 0));
  };
  const services = (data, live) => {
    const colours = Object.fromEntries((live.topology?.services || []).map((s) => [s.id, s.colour]));
    if (!data.services.length) {
      put(F.byId("services"));
      return F.panel("services", "empty", "No service is known: no spans have arrived and no process was seen on a GPU.");
    }
    const head = COLUMNS.map(([key, name, kind]) =>
      h("th", { scope: "col", class: kind, "aria-sort": order.by === key ? (order.down ? "descending" : "ascending") : null },
        key === "spark" ? name : h("button", { type: "button", "data-sort": key }, name, order.by === key ? (order.down ? " ▾" : " ▴") : "")));
    const row = (s) =>
      h("tr", { "data-health": s.health },
        h("th", { scope: "row" }, F.dot(colours[s.id] ?? 0), h("a", { href: F.tracesOf(s.id), "data-go": true, title: `${s.id}: its slowest traces` }, F.short(s.id, 40)), " ", F.state(s.health, s.word)),
        h("td", null, F.rate(s.rate)), h("td", { class: s.failed >= 0.05 ? "bad" : s.failed >= 0.01 ? "poor" : "" }, F.percent(s.failed)),
        h("td", { class: "minor" }, F.seconds(s.p50)), h("td", null, F.seconds(s.p95)), h("td", { class: "minor" }, F.seconds(s.p99)),
        h("td", { class: "minor" + (s.attempts >= 1.2 ? " poor" : "") }, s.attempts === null ? "–" : (s.attempts - 1).toFixed(2)),
        h("td", { class: "minor" }, spark(s)));
    put(F.byId("services"),
      h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Services, table" },
        h("table", { class: "services" }, h("thead", null, h("tr", null, head)), h("tbody", null, sorted(data.services).map(row)))),
      data.hidden ? h("p", { class: "note" }, `${data.hidden} more services are in `, h("a", { href: "/api/services" }, "/api/services")) : null);
    F.panel("services", "ready");
  };
  const spark = ({ spark: values, health, id }) => {
    const known = values.filter((v) => v !== null);
    if (known.length < 2) return "–";
    const top = Math.max(...known) || 1;
    const [w, height] = [96, 24];
    let pen = "M";
    const path = values.map((v, i) => {
      if (v === null) { pen = "M"; return ""; }
      const step = `${pen}${((i / Math.max(1, values.length - 1)) * w).toFixed(1)} ${(height - 2 - (v / top) * (height - 4)).toFixed(1)}`;
      pen = "L";
      return step;
    }).join("");
    return F.s("svg", { width: w, height, class: `spark ${health}`, role: "img", "aria-label": `p95 of ${id} over 15 minutes, at most ${F.seconds(top)}` },
      F.s("title", null, `0 to ${F.seconds(top)}`), F.s("path", { d: path }));
  };

  document.addEventListener("click", (event) => {
    const sort = event.target.closest?.("[data-sort]");
    if (sort) {
      if (order.by === sort.dataset.sort && !order.down) order.by = "";
      else if (order.by === sort.dataset.sort) order.down = false;
      else [order.by, order.down] = [sort.dataset.sort, true];
      F.redraw();
    }
    const cell = event.target.closest?.("[data-gpus]");
    if (cell) F.grid.show(JSON.parse(cell.dataset.gpus), cell.getAttribute("aria-label"));
  });

  F.pages.now = {
    mount: () => F.grid.mount(F.byId("grid")),
    update: (data, live) => {
      verdict(data, live.time);
      if (!data.ready) {
        for (const name of ["matrix", "grid", "map", "warnings", "services"])
          F.panel(name, data.error ? "error" : "loading", data.error ? `Cannot be read: ${data.error}` : "");
        return;
      }
      figures(data);
      matrix(data);
      warnings(data, live.time);
      services(data, live);
      if (live.topology?.id === data.topology) {
        F.grid.draw(data, live.topology);
        F.map.draw(data, live.topology);
      }
    },
  };
})();
