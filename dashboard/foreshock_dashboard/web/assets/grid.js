// All GPUs by pool and host: a heat map of one byte each that Plotly draws, with names, marks and a cursor laid over it.
"use strict";
(() => {
  const F = (window.foreshock = window.foreshock || {});
  const { h, s, put } = F;
  const [ABSENT, HOLE, UNIT] = [255, 252, 250];
  const MOST_ROWS = 500;
  const MOST_BARS = 1500;
  const grid = (F.grid = { took: 0 });
  let [at, state, pointed, pending, seen] = [0, null, false, false, false];
  // Plotly is not loaded for a grid that nobody scrolls to: its cells are drawn without it.
  const sight = new IntersectionObserver((entries) => {
    if (!entries.some((entry) => entry.isIntersecting)) return;
    sight.disconnect();
    seen = true;
    if (state) heat();
  });
  let shown = { gpus: new Set(), why: "" };
  let drawn = { key: "", place: null, scheme: "" };

  grid.bytes = (text) => Uint8Array.from(atob(text || ""), (c) => c.charCodeAt(0));
  const known = (byte) => byte !== undefined && byte !== ABSENT;
  const amount = (byte, view = state.view) => (known(byte) ? view.low + (byte / UNIT) * (view.high - view.low) : null);
  const ratio = (byte) => (known(byte) ? byte / UNIT : null);
  const told = (value, unit) =>
    value === null
      ? "no data"
      : unit === "ratio"
        ? F.percent(value)
        : unit === "B/s"
          ? `${(value / 1e9).toFixed(1)} GB/s`
          : unit === "count"
            ? value.toFixed(0)
            : `${value.toFixed(0)} ${unit}`;
  grid.told = told;

  // twin: with a table below it. open(label): what Enter and a click do.
  grid.mount = (body, { twin: table = true, open = (label) => F.go(F.to("/fleet", { gpu: label })) } = {}) => {
    if (!body) return;
    put(
      body,
      h(
        "div",
        {
          id: "grid-field",
          class: "grid-field",
          tabindex: "0",
          role: "application",
          "aria-describedby": "grid-reading",
          "aria-label": "All GPUs by host; arrow keys move from one to the next, Enter opens it",
        },
        h("div", { id: "grid-plot", "aria-hidden": "true" }),
        s("svg", { id: "grid-over", "aria-hidden": "true" }),
      ),
      h("p", { id: "grid-reading", class: "reading", role: "status" }),
      h("p", { id: "grid-legend", class: "legend" }),
      table
        ? h("details", { id: "grid-twin" }, h("summary", null, "GPUs as a table"), h("div", { id: "grid-table" }))
        : null,
    );
    const field = F.byId("grid-field");
    field.addEventListener("keydown", key);
    for (const name of ["pointermove", "pointerdown"]) field.addEventListener(name, point);
    for (const name of ["focus", "blur"])
      field.addEventListener(name, () => {
        over();
        read();
      });
    field.addEventListener("click", () => {
      if (pointed && state) state.view.open(state.place.labels[at]);
    });
    field.addEventListener("pointerleave", () => {
      pointed = false;
      read();
    });
    F.byId("grid-twin")?.addEventListener("toggle", twin);
    [at, state, drawn, seen] = [0, null, { key: "", place: null, scheme: "" }, false];
    sight.disconnect();
    sight.observe(field);
    shown = { gpus: new Set(), why: "" };
    grid.open = open;
  };

  grid.show = (labels, why) => {
    shown = shown.why === why ? { gpus: new Set(), why: "" } : { gpus: new Set(labels), why };
    if (!state) return;
    const first = state.place.labels.findIndex((label) => shown.gpus.has(label));
    if (first >= 0) at = first;
    over();
    read();
  };

  // What Now has of the GPUs: busy, contended, and what each service has.
  grid.draw = (data, topology) => {
    const [busy, stalled] = [grid.bytes(data.tenants.busy), grid.bytes(data.tenants.stalled)];
    grid.paint(
      {
        title: "busy",
        unit: "ratio",
        low: 0,
        high: 1,
        values: grid.bytes(data.gpus.busy),
        contended: grid.bytes(data.gpus.contended),
        marked: new Set(data.marked),
        who: (name, i) =>
          !busy.length
            ? name
            : `${name} ${told(ratio(busy[i]), "ratio")}${ratio(stalled[i]) >= 0.01 ? ` (stalled ${F.percent(ratio(stalled[i]))})` : ""}`,
      },
      topology,
    );
  };

  // view: {title, unit, low, high, values: bytes; contended: bytes or null; marked, lost: sets of rows; opened: a label;
  //   who(name, i): a service on a GPU as words, i its number among tenants}
  grid.paint = (view, topology) => {
    const field = F.byId("grid-field");
    if (!field) return;
    if (!topology.hosts.length)
      return F.panel(
        "grid",
        "empty",
        "No GPU is known: no target gives gpu_info. Start foreshock-exporter on the GPU hosts and name them with --targets.",
      );
    F.panel("grid", "ready");
    const width = field.clientWidth;
    if (drawn.key !== `${topology.id} ${width}`)
      drawn = { key: `${topology.id} ${width}`, place: F.gridPlace(topology, width), scheme: "" };
    state = {
      view: {
        open: grid.open,
        marked: new Set(),
        lost: new Set(),
        opened: "",
        contended: null,
        who: (name) => name,
        ...view,
      },
      place: drawn.place,
      topology,
    };
    at = Math.min(at, state.place.labels.length - 1);
    legend();
    heat();
    over();
    read();
    if (F.byId("grid-twin")?.open) twin();
  };

  const stops = () => [0, 1, 2, 3, 4].map((i) => F.token(`ramp-${i}`));
  const scale = () => {
    const [clear, blind] = ["rgba(0,0,0,0)", F.token("blind")];
    const byte = (value) => value / 255;
    return [
      ...stops().map((colour, i) => [byte((i * UNIT) / 4), colour]),
      [byte(251), stops()[4]],
      [byte(251), clear],
      [byte(254), clear],
      [byte(254), blind],
      [1, blind],
    ];
  };
  const rows = () => {
    const { place, view } = state;
    const [down, across] = [place.ys.length - 1, place.xs.length - 1];
    const flat = new Uint8Array(down * across).fill(HOLE);
    for (let i = 0; i < place.labels.length; i += 1)
      flat[place.row[i] * across + place.column[i]] = view.values[i] ?? ABSENT;
    return Array.from({ length: down }, (_, i) => flat.subarray(i * across, (i + 1) * across));
  };
  // The same cells while Plotly is still being loaded.
  const sketch = () => {
    const plot = F.byId("grid-plot");
    const { place, view } = state;
    const sharp = window.devicePixelRatio || 1;
    const canvas = h("canvas", {
      width: Math.ceil(place.width * sharp),
      height: Math.ceil(place.height * sharp),
      style: `width:${place.width}px;height:${place.height}px`,
    });
    const pen = canvas.getContext("2d");
    pen.scale(sharp, sharp);
    const ramp = stops().map((colour) => [1, 3, 5].map((i) => parseInt(colour.slice(i, i + 2), 16)));
    const blind = F.token("blind");
    const colour = (byte) => {
      const [i, share] = [Math.min(3, Math.floor((byte * 4) / UNIT)), (byte * 4) / UNIT];
      return `rgb(${ramp[i].map((one, n) => Math.round(one + (ramp[i + 1][n] - one) * (share - i))).join()})`;
    };
    place.labels.forEach((_, i) => {
      pen.fillStyle = known(view.values[i]) ? colour(view.values[i]) : blind;
      pen.fillRect(...place.box(i));
    });
    plot.replaceChildren(canvas);
    plot.dataset.drawn = plot.dataset.drawn || "0";
  };
  const heat = async () => {
    if (!F.plotly.ready()) sketch();
    if (pending || !(seen || F.plotly.ready())) return; // the values that are newest by then are drawn
    pending = true;
    const Plotly = await F.plotly()
      .catch(() => null)
      .finally(() => {
        pending = false;
      });
    if (!Plotly) return; // the sketch stays, and the next values try again
    const plot = F.byId("grid-plot");
    if (!plot || !state) return;
    const { place } = state;
    const begun = performance.now();
    const z = rows();
    const scheme = F.token("ramp-0") + F.token("blind");
    if (drawn.plot === plot && drawn.scheme === scheme) Plotly.restyle(plot, { z: [z] }, [0]);
    else {
      const axis = { visible: false, fixedrange: true };
      const gap = place.size >= 12 ? 2 : place.size >= 8 ? 1 : 0;
      const trace = {
        type: "heatmap",
        z,
        x: place.xs,
        y: place.ys,
        zmin: 0,
        zmax: 255,
        colorscale: scale(),
        showscale: false,
        hoverinfo: "skip",
        xgap: gap,
        ygap: gap,
      };
      const layout = {
        width: place.width,
        height: place.height,
        margin: { l: 0, r: 0, t: 0, b: 0 },
        paper_bgcolor: "rgba(0,0,0,0)",
        plot_bgcolor: "rgba(0,0,0,0)",
        xaxis: { ...axis, range: [0, place.width] },
        yaxis: { ...axis, range: [place.height, 0] },
      };
      Plotly.react(plot, [trace], layout, { staticPlot: true, displayModeBar: false });
      plot.querySelector(":scope > canvas")?.remove();
      Object.assign(drawn, { plot, scheme });
    }
    grid.took = performance.now() - begun;
    plot.dataset.drawn = String(Number(plot.dataset.drawn || 0) + 1);
  };

  // Names, figures in cells that are large enough, marks and the cursor.
  const over = () => {
    const svg = F.byId("grid-over");
    if (!svg || !state) return;
    const { place, view } = state;
    const box = (i, kind, out = 0) => {
      const [x, y, w, tall] = place.box(i);
      return s("rect", { class: kind, x: x - out, y: y - out, width: w + 2 * out, height: tall + 2 * out, rx: 2 });
    };
    const figures = () =>
      place.labels.map((_, i) => {
        const [x, y, w, tall] = place.box(i);
        const byte = view.values[i];
        const words = known(byte)
          ? view.unit === "ratio"
            ? String(Math.round(byte / 2.5))
            : view.unit === "B/s"
              ? (amount(byte) / 1e9).toFixed(view.high < 1e10 ? 1 : 0)
              : amount(byte).toFixed(0)
          : "?";
        return s(
          "text",
          { x: x + w / 2, y: y + tall / 2 + 4, class: !known(byte) || byte / UNIT > 0.55 ? "on-dark" : "on-light" },
          words,
        );
      });
    const bars = () =>
      place.labels.map((_, i) => {
        const share = ratio(view.contended[i]);
        if (!(share >= 0.1)) return null;
        const [x, y, w, tall] = place.box(i);
        const thick = Math.max(2, tall / 6);
        return s("rect", { class: "contended", x, y: y + tall - thick, width: w * share, height: thick });
      });
    const at_ = document.activeElement?.id === "grid-field" ? at : -1;
    const opened = view.opened ? place.labels.indexOf(view.opened) : -1;
    put(
      svg,
      place.heads.map(([text, x, y, kind]) => s("text", { x, y, class: kind }, text)),
      place.size >= 30 ? figures() : null,
      view.contended && place.size >= 10 && place.labels.length <= MOST_BARS ? bars() : null,
      [...view.marked].map((i) => box(i, "marked")),
      [...view.lost].map((i) => {
        const [x, y, w, tall] = place.box(i);
        return s("path", { class: "lost-gpu", d: `M${x} ${y}l${w} ${tall}m0 ${-tall}l${-w} ${tall}` });
      }),
      place.labels.map((label, i) => (shown.gpus.has(label) ? box(i, "shown", 1) : null)),
      opened >= 0 ? box(opened, "opened", 2) : null,
      at_ >= 0 ? box(at_, "cursor", 2) : null,
    );
    for (const [name, value] of [
      ["width", place.width],
      ["height", place.height],
    ])
      if (svg.getAttribute(name) !== String(value)) svg.setAttribute(name, value);
  };
  const legend = () => {
    const { view } = state;
    put(
      F.byId("grid-legend"),
      h("span", null, `${view.title} ${told(view.low, view.unit)}`),
      h("span", { class: "ramp" }),
      h("span", null, told(view.high, view.unit)),
      view.contended ? h("span", { class: "key contended" }, "contended") : null,
      h("span", { class: "key marked" }, "in a warning"),
      view.lost.size ? h("span", { class: "key gone" }, "lost") : null,
      h("span", { class: "key absent" }, "no data"),
    );
  };

  const services = (i) => {
    const { topology, view } = state;
    if (topology.on === undefined) {
      topology.on = new Map();
      topology.tenants.forEach(([gpu, service], n) =>
        topology.on.set(gpu, [...(topology.on.get(gpu) || []), [topology.services[service].id, n]]),
      );
    }
    return (topology.on.get(i) || []).map(([name, n]) => view.who(name, n));
  };
  const describe = (i) => {
    const { view, place } = state;
    const contended = view.contended ? ratio(view.contended[i]) : null;
    const value = amount(view.values[i]);
    const who = services(i);
    return `${place.labels[i]}: ${value === null ? "no data" : view.unit === "ratio" ? `${F.percent(value)} ${view.title.toLowerCase()}` : `${view.title.toLowerCase()} ${told(value, view.unit)}`}${contended >= 0.01 ? `, contended ${F.percent(contended)} of the time` : ""}${view.lost.has(i) ? ", lost" : ""}${who.length ? ` · ${who.join(", ")}` : " · no service"}`;
  };
  const read = () => {
    const line = F.byId("grid-reading");
    if (!line || !state) return;
    const text =
      document.activeElement?.id === "grid-field" || pointed
        ? describe(at)
        : shown.why
          ? `${shown.why}.`
          : state.view.summary || summary();
    if (line.textContent !== text) line.textContent = text;
  };
  const summary = () => {
    const { view, place, topology } = state;
    const tight = place.labels.filter((_, i) => ratio(view.contended?.[i]) >= 0.1).length;
    const judged = place.labels.some((_, i) => known(view.contended?.[i]));
    const silent = place.labels.filter((_, i) => !known(view.values[i])).length;
    return `${place.labels.length} GPUs on ${topology.hosts.length} host${topology.hosts.length > 1 ? "s" : ""}, ${judged ? `${tight} contended` : "contention unknown"}${silent ? `, ${silent} without data` : ""}. Point at one to see who runs on it.`;
  };

  const key = (event) => {
    if (!state) return;
    if (event.key === "Enter") {
      event.preventDefault();
      return state.view.open(state.place.labels[at]);
    }
    const next = state.place.move(at, event.key);
    if (next === null) return;
    event.preventDefault();
    at = next;
    over();
    read();
  };
  const point = (event) => {
    if (!state) return;
    const frame = F.byId("grid-field").getBoundingClientRect();
    const found = state.place.find(event.clientX - frame.left, event.clientY - frame.top);
    pointed = found >= 0;
    if (pointed) at = found;
    read();
  };

  const twin = () => {
    if (!state || !F.byId("grid-twin")?.open) return;
    const { place, view } = state;
    const words = (i, bytes) => told(ratio(bytes?.[i]), "ratio");
    const line = (label, i) =>
      h(
        "tr",
        null,
        h("th", { scope: "row" }, label),
        h("td", null, told(amount(view.values[i]), view.unit)),
        h("td", null, words(i, view.contended)),
        h("td", { class: "wide-cell" }, services(i).join("; ") || "–"),
      );
    put(
      F.byId("grid-table"),
      h(
        "div",
        { class: "scroll", tabindex: "0", role: "region", "aria-label": "GPUs, table" },
        h(
          "table",
          null,
          h(
            "thead",
            null,
            h(
              "tr",
              null,
              ["GPU", view.title, "Contended", "Services"].map((name) => h("th", { scope: "col" }, name)),
            ),
          ),
          h("tbody", null, place.labels.slice(0, MOST_ROWS).map(line)),
        ),
      ),
      place.labels.length > MOST_ROWS
        ? h(
            "p",
            { class: "note" },
            `The first ${MOST_ROWS} of ${place.labels.length}; all are on the page `,
            h("a", { href: F.to("/fleet"), "data-go": true }, "Fleet"),
          )
        : null,
    );
  };
})();
