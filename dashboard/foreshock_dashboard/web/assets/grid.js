// The GPUs on a canvas of our own: thousands of cells in a few milliseconds, with a cursor for the keyboard.
"use strict";
(() => {
  const F = (window.foreshock = window.foreshock || {});
  const { h, put } = F;
  const ABSENT = 255;
  const UNIT = 250;
  const SIZES = [[64, 42], [40, 34], [32, 26], [22, 18], [14, 12], [9, 9], [6, 6], [4, 4], [3, 3]];
  const TALLEST = 430;
  const MOST_ROWS = 500;
  const grid = (F.grid = {});
  let at = 0;
  let state = null;
  let shown = { gpus: new Set(), why: "" };

  const bytes = (text) => Uint8Array.from(atob(text || ""), (c) => c.charCodeAt(0));
  const ratio = (byte) => (byte === undefined || byte === ABSENT ? null : byte / UNIT);

  grid.mount = (body) => {
    if (!body) return;
    put(body,
      h("div", { id: "grid-field", class: "grid-field", tabindex: "0", role: "img", "aria-describedby": "grid-reading", "aria-label": "All GPUs by host; arrow keys move from one to the next" }, h("canvas", { id: "grid-canvas", "aria-hidden": "true" })),
      h("p", { id: "grid-reading", class: "reading", role: "status" }),
      h("p", { class: "legend" },
        h("span", null, "idle 0 %"), h("span", { class: "ramp" }), h("span", null, "busy 100 %"),
        h("span", { class: "key contended" }, "contended"), h("span", { class: "key marked" }, "in a warning"), h("span", { class: "key absent" }, "no data")),
      h("details", { id: "grid-twin" }, h("summary", null, "GPUs as a table"), h("div", { id: "grid-table" })));
    const field = F.byId("grid-field");
    field.addEventListener("keydown", key);
    field.addEventListener("pointermove", point);
    field.addEventListener("pointerdown", point);
    field.addEventListener("focus", paint);
    field.addEventListener("blur", paint);
    F.byId("grid-twin").addEventListener("toggle", twin);
    at = 0;
    shown = { gpus: new Set(), why: "" };
  };

  grid.show = (labels, why) => {
    shown = shown.why === why ? { gpus: new Set(), why: "" } : { gpus: new Set(labels), why };
    if (!state) return;
    const first = state.labels.findIndex((label) => shown.gpus.has(label));
    if (first >= 0) at = first;
    paint();
    read();
  };

  grid.draw = (data, topology) => {
    if (!F.byId("grid-canvas")) return;
    const labels = topology.hosts.flatMap((host) => host.gpus.map(([index]) => `${host.name}/gpu-${index}`));
    if (!labels.length) return F.panel("grid", "empty", "No GPU is known: no target gives gpu_info. Start foreshock-exporter on the GPU hosts and name them with --targets.");
    F.panel("grid", "ready");
    const on = labels.map(() => []);
    const [busy, stalled] = [bytes(data.tenants.busy), bytes(data.tenants.stalled)];
    topology.tenants.forEach(([gpu, service], i) => on[gpu].push([topology.services[service].id, ratio(busy[i]), ratio(stalled[i])]));
    state = { labels, on, hosts: topology.hosts, busy: bytes(data.gpus.busy), contended: bytes(data.gpus.contended), marked: new Set(data.marked) };
    at = Math.min(at, labels.length - 1);
    place();
    paint();
    read();
    if (F.byId("grid-twin").open) twin();
  };

  // Blocks of one host each, side by side as far as they fit, in the largest cells that keep the whole in sight.
  const place = () => {
    const width = F.byId("grid-field").clientWidth;
    for (const [w, tall] of SIZES) {
      const gap = w > 20 ? 4 : w > 8 ? 2 : 1;
      const head = w > 8 ? 18 : 2;
      const across = Math.min(w > 4 ? 8 : 4, Math.max(...state.hosts.map((host) => host.gpus.length)));
      const between = w > 8 ? 10 : 3;
      const blockWidth = across * (w + gap) + between;
      const perRow = Math.max(1, Math.floor((width + between) / blockWidth));
      let [x, y, column, rowHeight, index] = [0, 0, 0, 0, 0];
      const cells = [];
      const heads = [];
      for (const host of state.hosts) {
        if (column === perRow) [x, y, column, rowHeight] = [0, y + rowHeight + (w > 8 ? 6 : 0), 0, 0];
        heads.push([host.name, x, y + 12, blockWidth - 12]);
        host.gpus.forEach(([name], i) => {
          cells[index++] = { x: x + (i % across) * (w + gap), y: y + head + Math.floor(i / across) * (tall + gap), name };
        });
        rowHeight = Math.max(rowHeight, head + Math.ceil(host.gpus.length / across) * (tall + gap));
        [x, column] = [x + blockWidth, column + 1];
      }
      state.layout = { cells, heads: head > 10 ? heads : [], w, tall, width, height: y + rowHeight, across };
      if (state.layout.height <= TALLEST && blockWidth <= width + between) return;
    }
  };

  const rgb = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
  const ramp = () => {
    const stops = [0, 1, 2, 3, 4].map((i) => rgb(F.token(`ramp-${i}`)));
    return (share) => {
      const spot = Math.min(share, 0.9999) * 4;
      const [low, high, part] = [stops[Math.floor(spot)], stops[Math.floor(spot) + 1], spot % 1];
      return low.map((v, i) => Math.round(v + (high[i] - v) * part));
    };
  };

  const paint = () => {
    const canvas = F.byId("grid-canvas");
    if (!canvas || !state) return;
    const { cells, heads, w, tall, width, height } = state.layout;
    const scale = window.devicePixelRatio || 1;
    if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
      canvas.width = Math.round(width * scale);
      canvas.height = Math.round(height * scale);
      canvas.style.width = `${width}px`;
      canvas.style.height = `${height}px`;
    }
    const pen = canvas.getContext("2d");
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.clearRect(0, 0, width, height);
    const colour = ramp();
    const [muted, idle, warn, crit, text] = ["muted", "idle", "warn", "crit", "text"].map(F.token);
    pen.font = "12px system-ui, sans-serif";
    pen.fillStyle = muted;
    pen.textAlign = "left";
    for (const [name, x, y, most] of heads) pen.fillText(F.short(name, Math.floor(most / 6.5)), x, y);
    pen.textAlign = "center";
    cells.forEach((cell, i) => {
      const share = ratio(state.busy[i]);
      if (share === null) {
        pen.strokeStyle = idle;
        pen.lineWidth = 1;
        pen.strokeRect(cell.x + 0.5, cell.y + 0.5, w - 1, tall - 1);
        pen.beginPath();
        pen.moveTo(cell.x + 2, cell.y + tall - 2);
        pen.lineTo(cell.x + w - 2, cell.y + 2);
        pen.stroke();
      } else {
        const [r, g, b] = colour(share);
        pen.fillStyle = `rgb(${r},${g},${b})`;
        pen.fillRect(cell.x, cell.y, w, tall);
        if (w >= 32) {
          pen.fillStyle = r * 0.299 + g * 0.587 + b * 0.114 > 140 ? "#0A0F17" : "#FFFFFF";
          pen.fillText(Math.round(share * 100), cell.x + w / 2, cell.y + tall / 2 + 3);
        }
      }
      const contended = ratio(state.contended[i]);
      if (contended >= 0.1) {
        pen.fillStyle = warn;
        pen.fillRect(cell.x, cell.y + tall - Math.max(2, tall / 6), w * contended, Math.max(2, tall / 6));
      }
      if (state.marked.has(i)) outline(pen, cell, crit, 3, w, tall);
      if (shown.gpus.has(state.labels[i])) outline(pen, cell, text, 2, w, tall);
    });
    if (document.activeElement?.id === "grid-field" && cells[at]) outline(pen, cells[at], F.token("focus"), 3, w, tall);
  };
  const outline = (pen, cell, style, thick, w, tall) => {
    pen.strokeStyle = style;
    pen.lineWidth = Math.min(thick, w > 12 ? thick : 2);
    pen.strokeRect(cell.x, cell.y, w, tall);
  };

  const share = (value) => (value === null ? "no data" : F.percent(value));
  const describe = (i) => {
    const who = state.on[i].map(([name, busy, stalled]) => `${name} ${share(busy)}${stalled >= 0.01 ? ` (stalled ${F.percent(stalled)})` : ""}`);
    const [busy, contended] = [ratio(state.busy[i]), ratio(state.contended[i])];
    return `${state.labels[i]}: ${busy === null ? "no data" : `${F.percent(busy)} busy`}${contended >= 0.01 ? `, contended ${F.percent(contended)} of the time` : ""}${who.length ? ` · ${who.join(", ")}` : " · no service"}`;
  };
  let pointed = false;
  const read = () => {
    const line = F.byId("grid-reading");
    if (!line || !state) return;
    const focused = document.activeElement?.id === "grid-field";
    const text = focused || pointed ? describe(at) : shown.why ? `${shown.why}.` : summary();
    if (line.textContent !== text) line.textContent = text;
  };
  const summary = () => {
    const tight = state.labels.filter((_, i) => ratio(state.contended[i]) >= 0.1).length;
    const judged = state.labels.some((_, i) => ratio(state.contended[i]) !== null);
    const silent = state.labels.filter((_, i) => ratio(state.busy[i]) === null).length;
    return `${state.labels.length} GPUs on ${state.hosts.length} host${state.hosts.length > 1 ? "s" : ""}, ${judged ? `${tight} contended` : "contention unknown"}${silent ? `, ${silent} without data` : ""}. Point at one to see who runs on it.`;
  };

  const key = (event) => {
    if (!state) return;
    const { cells, across } = state.layout;
    const moves = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: across, ArrowUp: -across, Home: -at, End: cells.length - 1 - at };
    if (!(event.key in moves)) return;
    event.preventDefault();
    at = Math.max(0, Math.min(cells.length - 1, at + moves[event.key]));
    paint();
    read();
  };
  const point = (event) => {
    if (!state) return;
    const box = F.byId("grid-canvas").getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    const { cells, w, tall } = state.layout;
    const found = cells.findIndex((cell) => x >= cell.x && x < cell.x + w && y >= cell.y && y < cell.y + tall);
    pointed = found >= 0;
    if (pointed) at = found;
    read();
  };
  document.addEventListener("pointerout", (event) => {
    if (event.target.id === "grid-canvas") { pointed = false; read(); }
  });

  const twin = () => {
    if (!state || !F.byId("grid-twin")?.open) return;
    const rows = state.labels.slice(0, MOST_ROWS).map((label, i) =>
      h("tr", null, h("th", { scope: "row" }, label), h("td", null, share(ratio(state.busy[i]))), h("td", null, share(ratio(state.contended[i]))),
        h("td", { class: "wide-cell" }, state.on[i].map(([name, busy, stalled]) => `${name} ${share(busy)}, stalled ${share(stalled)}`).join("; ") || "–")));
    put(F.byId("grid-table"),
      h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "GPUs, table" },
        h("table", null, h("thead", null, h("tr", null, ["GPU", "Busy", "Contended", "Services"].map((name) => h("th", { scope: "col" }, name)))), h("tbody", null, rows))),
      state.labels.length > MOST_ROWS ? h("p", { class: "note" }, `The first ${MOST_ROWS} of ${state.labels.length}; all are in `, h("a", { href: "/api/gpus" }, "/api/gpus")) : null);
  };
})();
