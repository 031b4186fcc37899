// The Fleet page: how many GPUs there are of each kind, the grid, the GPU that is open, and the inventory.
"use strict";
(() => {
  const F = (window.foreshock = window.foreshock || {});
  F.pages = F.pages || {};
  const { h, put } = F;
  const SETTLE = 300;
  let typing = 0;

  const given = (name) => new URLSearchParams(location.search).get(name) || "";
  const link = (href, text, title) => h("a", { href, "data-go": true, title }, text);
  const open = (label) => F.go(F.href({ gpu: label === given("gpu") ? null : label }));
  const gigabytes = (bytes) => (F.known(bytes) ? `${(bytes / 2 ** 30).toFixed(1)} GiB` : "–");
  const told = (value, unit) => (F.known(value) ? F.grid.told(value, unit) : "–");
  const UNITS = {
    busy: "ratio",
    contended: "ratio",
    memory: "ratio",
    power: "W",
    temperature: "°C",
    throttled: "ratio",
    nvlink: "B/s",
    errors: "count",
  };
  const NAMES = {
    busy: "Busy",
    contended: "Contended",
    memory: "Memory",
    power: "Power",
    temperature: "Temperature",
    throttled: "Throttled",
    nvlink: "NVLink",
    errors: "Errors, 15 min",
  };

  // What is wrong elsewhere is told here as well: a fleet without a mark must not look like a calm platform.
  const trouble = ({ id, phase, of, gpus, ...incident }) =>
    h(
      "span",
      null,
      F.state(phase === "advisory" ? "warning" : "critical", phase),
      " ",
      link(F.to("/cascade", { incident: id }), `${of}: ${F.cause(incident)}`),
      gpus ? ` on ${gpus} GPU${gpus === 1 ? "" : "s"}, ` : ", no GPU is named, ",
      link(F.to("/fleet", { q: of }), "its GPUs"),
    );
  const counts = ({ counts: many, incidents }) => {
    const item = (value, words, metric, bad) =>
      h(
        "span",
        null,
        link(
          F.href({ metric, sort: `-${metric}`, q: null }),
          h("b", { class: bad && value ? "bad" : "" }, value === null ? "–" : value.toLocaleString("en")),
        ),
        ` ${words}`,
      );
    put(
      F.byId("counts"),
      h(
        "span",
        null,
        h("b", null, many.gpus.toLocaleString("en")),
        ` GPUs on ${many.hosts.toLocaleString("en")} hosts`,
      ),
      item(many.contended, "contended", "contended"),
      item(many.throttled, "held back by heat or power", "throttled", true),
      item(many.errors, "with errors in 15 min", "errors", true),
      h("span", null, h("b", { class: many.lost ? "bad" : "" }, many.lost ?? "–"), " lost"),
      h("span", null, h("b", { class: many.silent ? "poor" : "" }, many.silent), " without data"),
      incidents.map(trouble),
    );
  };

  const switches = (data) =>
    h(
      "p",
      { class: "choices", role: "group", "aria-label": "What the grid shows" },
      data.metrics.map(({ name, title, known }) =>
        h(
          "button",
          {
            type: "button",
            class: "quiet",
            "data-metric": name,
            "aria-pressed": String(name === data.metric),
            disabled: !known && name !== data.metric,
            title: known ? null : "nothing tells of it",
          },
          title,
        ),
      ),
    );
  const grid = (data, topology) => {
    const body = F.byId("grid");
    if (!F.byId("fleet-grid")) {
      put(body, h("div", { id: "fleet-switch" }), h("div", { id: "fleet-grid" }));
      F.grid.mount(F.byId("fleet-grid"), { twin: false, open });
    }
    put(F.byId("fleet-switch"), switches(data));
    const { title, unit } = { title: NAMES[data.metric], unit: data.unit };
    F.grid.paint(
      {
        title,
        unit,
        low: data.low,
        high: data.high,
        values: F.grid.bytes(data.values.bdata),
        contended: data.contended && data.metric !== "contended" ? F.grid.bytes(data.contended) : null,
        marked: new Set(data.marked),
        lost: new Set(data.lost),
        opened: data.open?.gpu || "",
        summary:
          "Point at a GPU to see who runs on it; click it to open it. The inventory below has the same as a table.",
      },
      topology,
    );
  };

  const memory = ({ corrected, uncorrected }) => {
    if (!F.known(corrected)) return "";
    const since = "since the driver was loaded";
    return corrected === 0 && uncorrected === 0
      ? `no memory error ${since}`
      : `memory errors ${since}: ${told(corrected, "count")} that could be corrected, ${told(uncorrected, "count")} that could not`;
  };
  const side = ({ open: gpu }, now) => {
    F.byId("gpu-panel").hidden = !gpu;
    F.byId("gpu-charts").hidden = !gpu?.gpu;
    F.byId("fleet-panels").classList.toggle("with-gpu", Boolean(gpu));
    if (!gpu) return;
    const close = h("button", { type: "button", class: "quiet", id: "gpu-close" }, "Close");
    F.byId("gpu-title").textContent = gpu.gpu || gpu.name;
    F.byId("gpu-hint").textContent = gpu.gpu
      ? [gpu.model, gpu.pool ? `pool ${gpu.pool}` : "", gpu.uuid].filter(Boolean).join(" · ")
      : "";
    F.panel("gpu", "ready");
    if (!gpu.gpu) return put(F.byId("gpu"), h("p", null, "No GPU of this name or UUID is known. "), close);
    const figure = (name) =>
      h("span", null, h("small", null, NAMES[name]), h("b", null, told(gpu.figures[name], UNITS[name])));
    const facts = [
      gpu.throttled_by.length
        ? `held back by ${gpu.throttled_by.map(([why, share]) => `${why.replaceAll("_", " ")} ${F.percent(share)}`).join(", ")}`
        : "",
      memory(gpu.memory_errors),
      F.known(gpu.nvlinks.all) ? `${told(gpu.nvlinks.up, "count")} of ${gpu.nvlinks.all} NVLinks up` : "",
    ].filter(Boolean);
    put(
      F.byId("gpu"),
      h(
        "p",
        { class: "gpu-said", "data-sick": String(gpu.sick) },
        gpu.sick
          ? F.state("critical", "hardware")
          : gpu.sick === false
            ? F.state("ok", "hardware as usual")
            : F.state("unknown", "not told"),
        " ",
        gpu.verdict,
      ),
      gpu.incidents.map((one) =>
        h(
          "p",
          null,
          F.state(one.phase === "advisory" ? "warning" : "critical", one.phase),
          " ",
          link(F.to("/cascade", { incident: one.id }), F.sentence(one.summary)),
        ),
      ),
      h(
        "div",
        { class: "gpu-figures" },
        ["busy", "contended", "memory", "power", "temperature", "throttled", "errors"].map(figure),
      ),
      h("div", { id: "gpu-services" }),
      gpu.pairs.length
        ? h(
            "p",
            null,
            "Waiting: ",
            gpu.pairs.map((pair, i) =>
              h(
                "span",
                null,
                i ? "; " : "",
                link(F.pairOf(pair.victim, pair.aggressor), `${pair.victim} for ${pair.aggressor}`),
                ` ${F.percent(pair.stalled)}`,
              ),
            ),
            ".",
          )
        : null,
      gpu.xids.length
        ? h(
            "ul",
            { class: "xids" },
            gpu.xids.map((one) =>
              h(
                "li",
                null,
                h("b", null, `XID ${one.xid}`),
                ` ${one.means}, ${one.times} ×`,
                F.known(one.last) ? [", last ", F.time(one.last, now)] : null,
              ),
            ),
          )
        : null,
      facts.length ? h("p", { class: "muted" }, `${facts.join(" · ")}.`) : null,
      close,
    );
    if (!gpu.services.length) return put(F.byId("gpu-services"), h("p", null, "No service runs on it."));
    F.table(F.byId("gpu-services"), {
      id: "on",
      label: "Services on it",
      rows: gpu.services,
      param: "osort",
      by: "-busy",
      columns: [
        {
          key: "service",
          name: "Service",
          text: true,
          cell: (row) => [F.dot(row.colour), link(F.serviceOf(row.service), F.short(row.service, 28))],
        },
        { key: "busy", name: "Busy", cell: (row) => F.percent(row.busy) },
        {
          key: "stalled",
          name: "Waits",
          cell: (row) => F.percent(row.stalled),
          kind: (row) => (row.stalled >= 0.05 ? "poor" : ""),
        },
        { key: "memory", name: "Memory", minor: true, cell: (row) => gigabytes(row.memory) },
        {
          key: "traces",
          name: "Traces",
          fixed: true,
          cell: (row) => link(F.to("/traces", { service: row.service, order: "gpu_wait" }), "by GPU wait"),
        },
      ],
    });
  };

  const inventory = (data) => {
    if (!F.byId("inventory-rows"))
      put(
        F.byId("inventory"),
        h(
          "form",
          { class: "choices", id: "inventory-filter", role: "search" },
          h(
            "label",
            null,
            "Filter",
            h("input", {
              type: "search",
              id: "inventory-text",
              value: given("q"),
              placeholder: "GPU, UUID, model, pool or service",
              size: "34",
              autocomplete: "off",
              spellcheck: "false",
            }),
          ),
        ),
        h("div", { id: "inventory-rows" }),
      );
    const text = F.byId("inventory-text");
    if (document.activeElement !== text && text.value !== given("q")) text.value = given("q");
    F.byId("inventory-hint").textContent =
      `${data.found.toLocaleString("en")} of ${data.counts.gpus.toLocaleString("en")} GPUs${data.found > data.rows.length ? `, the first ${data.rows.length} shown; the CSV has all` : ""}`;
    const csv = document.querySelector("#inventory-panel [data-viewed]");
    const asked = new URLSearchParams(
      Object.entries({ q: given("q"), sort: given("sort") }).filter(([, value]) => value),
    ).toString();
    csv.dataset.viewed = `/api/csv/gpus${asked ? `?${asked}` : ""}`;
    F.range.draw();
    const cells = Object.keys(UNITS).map((key) => ({
      key,
      name: NAMES[key],
      minor: !["busy", "contended"].includes(key),
      cell: (row) => told(row[key], UNITS[key]),
      kind: (row) =>
        key === "errors" && row.errors > 0 ? "bad" : key === "contended" && row.contended >= 0.1 ? "poor" : "",
    }));
    F.table(F.byId("inventory-rows"), {
      id: "inventory-table",
      label: "GPUs",
      rows: data.rows,
      remote: true,
      by: "-contended",
      current: (row) => row.gpu === data.open?.gpu,
      note: data.rows.length
        ? null
        : h("p", { class: "note" }, `No GPU has ${given("q")} in its name, UUID, model, pool or services.`),
      columns: [
        {
          key: "gpu",
          name: "GPU",
          text: true,
          cell: (row) => [
            link(F.href({ gpu: row.gpu }), row.gpu),
            row.lost ? h("b", { class: "bad" }, " ✕ lost") : null,
          ],
        },
        { key: "pool", name: "Pool", text: true, minor: true },
        { key: "model", name: "Model", text: true, minor: true },
        ...cells.filter(({ key }) => key !== "nvlink" || data.rows.some((row) => F.known(row.nvlink))),
        {
          key: "services",
          name: "Services",
          text: true,
          minor: true,
          cell: (row) => h("span", { class: "wide-cell" }, F.short(row.services.join(", "), 120) || "–"),
        },
      ],
    });
    if (data.rows.length || given("q")) return F.panel("inventory", "ready");
    F.panel(
      "inventory",
      "empty",
      "No GPU is known: no target gives gpu_info. Start foreshock-exporter on the GPU hosts and name them with --targets.",
    );
  };

  document.addEventListener("click", (event) => {
    const { metric } = event.target.closest?.("[data-metric]")?.dataset || {};
    if (metric) F.go(F.href({ metric: metric === "busy" ? null : metric }), true);
    if (event.target.id === "gpu-close") F.go(F.href({ gpu: null }));
  });
  const filter = () => F.go(F.href({ q: F.byId("inventory-text")?.value.trim() || null }), true);
  document.addEventListener("input", (event) => {
    if (event.target.id !== "inventory-text") return;
    clearTimeout(typing);
    typing = setTimeout(filter, SETTLE);
  });
  document.addEventListener("submit", (event) => {
    if (event.target.id !== "inventory-filter") return;
    event.preventDefault();
    clearTimeout(typing);
    filter();
  });

  F.pages.fleet = {
    update: (data, live) => {
      if (!data.ready) {
        for (const name of ["grid", "inventory"])
          F.panel(name, data.error ? "error" : "loading", data.error ? `Cannot be read: ${data.error}` : "");
        F.byId("gpu-panel").hidden = true;
        return;
      }
      counts(data);
      side(data, live.time);
      if (live.topology?.id === data.topology) grid(data, live.topology);
      inventory(data);
    },
  };
})();
