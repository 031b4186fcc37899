// All GPUs by pool and host: a heat map that Plotly draws, with names, marks and a cursor laid over it.
import { gpuHref, link, navigate, pageHref } from "#web/assets/address.js";
import { loadedPlotly, loadPlotly } from "#web/assets/chart_library.js";
import { byId, cssToken, h, headCells, put, requireId, s, scrollTable, setPanel, setText } from "#web/assets/dom.js";
import { formatPercent, isNumber, NOT_KNOWN, plural } from "#web/assets/format.js";
import { GpuGridLayout } from "#web/assets/gpu_grid_layout.js";

/** @typedef {import("#web/assets/dom.js").Content} Content */
/** @typedef {import("#web/assets/payload.d.ts").Topology} Topology */
/**
 * What the grid shows. Arrays and sets are by index of a GPU.
 * @typedef {object} GridView
 * @property {string} title of the quantity
 * @property {string} unit
 * @property {number} low value of byte 0
 * @property {number} high value of byte 250
 * @property {Uint8Array} values one byte each, 255 for no data
 * @property {Uint8Array | null} contended share of time, one byte each
 * @property {Set<number>} marked GPUs in a warning
 * @property {Set<number>} [lost]
 * @property {string} [opened] label of the GPU that is open
 * @property {string} [summary] text while no GPU is pointed at
 * @property {(service: string, tenant: number) => string} [describeTenant] a service on a GPU; its index among tenants
 */

const NO_DATA_BYTE = 255;
const EMPTY_BYTE = 252;
const FULL_BYTE = 250;
const MAX_TABLE_ROWS = 500;
const MAX_CONTENDED_BARS = 1500;
const MIN_CONTENDED_RATIO = 0.1;
const MIN_FIGURE_CELL = 30;
export const NO_GPUS =
  "No GPU is known: no target gives gpu_info. Start foreshock-exporter on the GPU hosts and name them with --targets.";

/**
 * Bytes that JSON has as base64.
 * @param {string | null | undefined} text
 */
export const decodeBytes = (text) => Uint8Array.from(atob(text || ""), (character) => character.charCodeAt(0));

/**
 * @param {number | undefined} byte
 * @returns {byte is number}
 */
const hasData = (byte) => byte !== undefined && byte !== NO_DATA_BYTE;
/** @param {number | undefined} byte */
export const decodeRatio = (byte) => (hasData(byte) ? byte / FULL_BYTE : null);

/**
 * A value of the grid with its unit.
 * @param {number | null} value
 * @param {string} unit
 */
export const formatGridValue = (value, unit) => {
  if (value === null) return "no data";
  if (unit === "ratio") return formatPercent(value);
  if (unit === "B/s") return `${(value / 1e9).toFixed(1)} GB/s`;
  return unit === "count" ? value.toFixed(0) : `${value.toFixed(0)} ${unit}`;
};

/** The grid of the page that is shown; one at a time. */
class GpuGrid {
  /** @type {GridView | null} */ #view = null;
  /** @type {Topology | null} */ #topology = null;
  /** @type {GpuGridLayout | null} */ #layout = null;
  /** @type {Map<number, { service: string, tenant: number }[]> | null} */ #tenants = null;
  /** The topology and width that the layout is for. */
  #layoutKey = "";
  /** The element and the colors that Plotly drew. @type {{ plot: Element | null, colors: string }} */
  #drawn = { plot: null, colors: "" };
  #cursor = 0;
  #isPointedAt = false;
  #isLoadingPlotly = false;
  #isSeen = false;
  /** GPUs that are outlined, and what they have in common. @type {{ labels: Set<string>, reason: string }} */
  #outlined = { labels: new Set(), reason: "" };
  /** @type {(label: string) => void} */ #open = () => {};
  /** Milliseconds that Plotly's last drawing took. */
  drawMs = 0;

  // Plotly is not loaded for a grid out of sight: its cells are drawn without it.
  #visibility = new IntersectionObserver((entries) => {
    if (!entries.some((entry) => entry.isIntersecting)) return;
    this.#visibility.disconnect();
    this.#isSeen = true;
    this.#drawHeatMap();
  });

  /**
   * Put an empty grid into an element.
   * @param {Element | null} body
   * @param {object} [options]
   * @param {boolean} [options.withTable] below the grid
   * @param {(label: string) => void} [options.open] what Enter and a click do
   */
  mount(body, { withTable = true, open = (label) => navigate(gpuHref(label)) } = {}) {
    if (!body) return;
    const label = "All GPUs by host; arrow keys move from one to the next, Enter opens it";
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
          "aria-label": label,
        },
        h("div", { id: "grid-plot", "aria-hidden": "true" }),
        s("svg", { id: "grid-over", "aria-hidden": "true" }),
      ),
      h("p", { id: "grid-reading", class: "reading", role: "status" }),
      h("p", { id: "grid-legend", class: "legend" }),
      withTable
        ? h("details", { id: "grid-twin" }, h("summary", null, "GPUs as a table"), h("div", { id: "grid-table" }))
        : null,
    );
    const field = requireId("grid-field");
    field.addEventListener("keydown", (event) => this.#onKey(event));
    for (const name of /** @type {const} */ (["pointermove", "pointerdown"])) {
      field.addEventListener(name, (event) => this.#onPointer(event));
    }
    for (const name of ["focus", "blur"]) field.addEventListener(name, () => this.#drawCursor());
    field.addEventListener("click", () => {
      if (this.#isPointedAt) this.#openCursor();
    });
    field.addEventListener("pointerleave", () => {
      this.#isPointedAt = false;
      this.#drawReading();
    });
    byId("grid-twin")?.addEventListener("toggle", () => this.#drawTable());
    this.#view = null;
    this.#layout = null;
    this.#layoutKey = "";
    this.#drawn = { plot: null, colors: "" };
    this.#cursor = 0;
    this.#isSeen = false;
    this.#outlined = { labels: new Set(), reason: "" };
    this.#open = open;
    this.#visibility.disconnect();
    this.#visibility.observe(field);
  }

  /**
   * Outline GPUs; the same reason again takes the outlines away.
   * @param {readonly string[]} labels
   * @param {string} reason what they have in common
   */
  outline(labels, reason) {
    const isShown = this.#outlined.reason === reason;
    this.#outlined = isShown ? { labels: new Set(), reason: "" } : { labels: new Set(labels), reason };
    const first = this.#layout?.labels.findIndex((label) => this.#outlined.labels.has(label)) ?? -1;
    if (first >= 0) this.#cursor = first;
    this.#drawCursor();
  }

  /**
   * Show values.
   * @param {GridView} view
   * @param {Topology} topology
   */
  draw(view, topology) {
    const field = byId("grid-field");
    if (!field) return;
    if (!topology.hosts.length) {
      setPanel("grid", "empty", NO_GPUS);
      return;
    }
    setPanel("grid", "ready");
    const width = field.clientWidth;
    const key = `${topology.id} ${width}`;
    if (this.#layoutKey !== key || !this.#layout) {
      this.#layoutKey = key;
      this.#layout = new GpuGridLayout(topology, width);
      this.#drawn = { plot: null, colors: "" };
    }
    if (this.#topology !== topology) this.#tenants = null;
    this.#topology = topology;
    this.#view = view;
    this.#cursor = Math.min(this.#cursor, this.#layout.labels.length - 1);
    this.#drawLegend(view);
    this.#drawHeatMap();
    this.#drawCursor();
    this.#drawTable();
  }

  #openCursor() {
    const label = this.#layout?.labels[this.#cursor];
    if (label !== undefined && this.#view) this.#open(label);
  }

  #rampColors() {
    return [0, 1, 2, 3, 4].map((i) => cssToken(`ramp-${i}`));
  }

  /** Plotly's color scale over bytes: the ramp, nothing for empty places, and the color for no data. */
  #colorScale() {
    const ramp = this.#rampColors();
    const [clear, noData] = ["rgba(0,0,0,0)", cssToken("blind")];
    const ofByte = (/** @type {number} */ byte) => byte / 255;
    return [
      ...ramp.map((color, i) => [ofByte((i * FULL_BYTE) / 4), color]),
      [ofByte(251), ramp[4]],
      [ofByte(251), clear],
      [ofByte(254), clear],
      [ofByte(254), noData],
      [1, noData],
    ];
  }

  /**
   * The cells while Plotly is still being loaded.
   * @param {HTMLElement} plot
   * @param {GpuGridLayout} layout
   * @param {GridView} view
   */
  #drawWithoutPlotly(plot, layout, view) {
    const { width, height } = layout.placement;
    const sharpness = window.devicePixelRatio || 1;
    const canvas = h("canvas", {
      width: Math.ceil(width * sharpness),
      height: Math.ceil(height * sharpness),
      style: `width:${width}px;height:${height}px`,
    });
    const pen = canvas.getContext("2d");
    if (!pen) return;
    pen.scale(sharpness, sharpness);
    const ramp = this.#rampColors().map((color) => [1, 3, 5].map((i) => Number.parseInt(color.slice(i, i + 2), 16)));
    const noData = cssToken("blind");
    const colorOf = (/** @type {number} */ byte) => {
      const step = Math.min(3, Math.floor((byte * 4) / FULL_BYTE));
      const share = (byte * 4) / FULL_BYTE - step;
      const [from, to] = [ramp[step] ?? [], ramp[step + 1] ?? []];
      return `rgb(${from.map((part, i) => Math.round(part + ((to[i] ?? 0) - part) * share)).join()})`;
    };
    layout.labels.forEach((_, gpu) => {
      const byte = view.values[gpu];
      pen.fillStyle = hasData(byte) ? colorOf(byte) : noData;
      pen.fillRect(...layout.box(gpu));
    });
    plot.replaceChildren(canvas);
    plot.dataset.drawn = plot.dataset.drawn || "0";
  }

  async #drawHeatMap() {
    const plot = byId("grid-plot");
    if (!plot || !this.#layout || !this.#view) return;
    if (!loadedPlotly()) this.#drawWithoutPlotly(plot, this.#layout, this.#view);
    if (this.#isLoadingPlotly || !(this.#isSeen || loadedPlotly())) return;
    this.#isLoadingPlotly = true;
    const plotly = await loadPlotly().catch(() => null);
    this.#isLoadingPlotly = false;
    // The newest values by now are drawn; without Plotly the canvas stays, and the next values try again.
    if (plotly) this.#drawWithPlotly(plotly);
  }

  /** @param {import("#web/assets/browser.d.ts").Plotly} plotly */
  #drawWithPlotly(plotly) {
    const plot = byId("grid-plot");
    if (!plot || !this.#layout || !this.#view) return;
    const begun = performance.now();
    const { xs, ys, row, column, cellSize, width, height } = this.#layout.placement;
    const [rows, columns] = [ys.length - 1, xs.length - 1];
    const bytes = new Uint8Array(rows * columns).fill(EMPTY_BYTE);
    for (let gpu = 0; gpu < this.#layout.labels.length; gpu += 1) {
      bytes[(row[gpu] ?? 0) * columns + (column[gpu] ?? 0)] = this.#view.values[gpu] ?? NO_DATA_BYTE;
    }
    const z = Array.from({ length: rows }, (_, i) => bytes.subarray(i * columns, (i + 1) * columns));
    const colors = cssToken("ramp-0") + cssToken("blind");
    if (this.#drawn.plot === plot && this.#drawn.colors === colors) plotly.restyle(plot, { z: [z] }, [0]);
    else {
      const axis = { visible: false, fixedrange: true };
      const gap = cellSize >= 12 ? 2 : Number(cellSize >= 8);
      const trace = {
        type: "heatmap",
        z,
        x: xs,
        y: ys,
        zmin: 0,
        zmax: 255,
        colorscale: this.#colorScale(),
        showscale: false,
        hoverinfo: "skip",
        xgap: gap,
        ygap: gap,
      };
      const layout = {
        width,
        height,
        margin: { l: 0, r: 0, t: 0, b: 0 },
        paper_bgcolor: "rgba(0,0,0,0)",
        plot_bgcolor: "rgba(0,0,0,0)",
        xaxis: { ...axis, range: [0, width] },
        yaxis: { ...axis, range: [height, 0] },
      };
      plotly.react(plot, [trace], layout, { staticPlot: true, displayModeBar: false });
      plot.querySelector(":scope > canvas")?.remove();
      this.#drawn = { plot, colors };
    }
    this.drawMs = performance.now() - begun;
    plot.dataset.drawn = String(Number(plot.dataset.drawn || 0) + 1);
  }

  #drawCursor() {
    this.#drawOverlay();
    this.#drawReading();
  }

  /** Draw names, numbers in cells that are large enough, marks and the cursor. */
  #drawOverlay() {
    const [svg, layout, view] = [byId("grid-over"), this.#layout, this.#view];
    if (!svg || !layout || !view) return;
    const { headings, cellSize, width, height } = layout.placement;
    const outlineOf = (/** @type {number} */ gpu, /** @type {string} */ kind, margin = 0) => {
      const [x, y, cellWidth, cellHeight] = layout.box(gpu);
      return s("rect", {
        class: kind,
        x: x - margin,
        y: y - margin,
        width: cellWidth + 2 * margin,
        height: cellHeight + 2 * margin,
        rx: 2,
      });
    };
    const isFocused = document.activeElement?.id === "grid-field";
    const opened = view.opened ? layout.labels.indexOf(view.opened) : -1;
    const hasBars = cellSize >= 10 && layout.labels.length <= MAX_CONTENDED_BARS;
    put(
      svg,
      headings.map(({ text, x, y, kind }) => s("text", { x, y, class: kind }, text)),
      cellSize >= MIN_FIGURE_CELL ? layout.labels.map((_, gpu) => this.#cellFigure(gpu, layout, view)) : null,
      view.contended && hasBars ? this.#contendedBars(view.contended, layout) : null,
      [...view.marked].map((gpu) => outlineOf(gpu, "marked")),
      [...(view.lost ?? [])].map((gpu) => {
        const [x, y, w, tall] = layout.box(gpu);
        return s("path", { class: "lost-gpu", d: `M${x} ${y}l${w} ${tall}m0 ${-tall}l${-w} ${tall}` });
      }),
      layout.labels.map((label, gpu) => (this.#outlined.labels.has(label) ? outlineOf(gpu, "shown", 1) : null)),
      opened >= 0 ? outlineOf(opened, "opened", 2) : null,
      isFocused ? outlineOf(this.#cursor, "cursor", 2) : null,
    );
    svg.setAttribute("width", String(width));
    svg.setAttribute("height", String(height));
  }

  /**
   * @param {number} gpu
   * @param {GpuGridLayout} layout
   * @param {GridView} view
   */
  #cellFigure(gpu, layout, view) {
    const [x, y, width, height] = layout.box(gpu);
    const byte = view.values[gpu];
    const isDark = !hasData(byte) || byte / FULL_BYTE > 0.55;
    return s(
      "text",
      { x: x + width / 2, y: y + height / 2 + 4, class: isDark ? "on-dark" : "on-light" },
      this.#cellText(byte, view),
    );
  }

  /**
   * @param {number | undefined} byte
   * @param {GridView} view
   */
  #cellText(byte, view) {
    const value = this.#valueOf(byte, view);
    if (value === null || byte === undefined) return "?";
    if (view.unit === "ratio") return String(Math.round(byte / 2.5));
    return view.unit === "B/s" ? (value / 1e9).toFixed(view.high < 1e10 ? 1 : 0) : value.toFixed(0);
  }

  /**
   * @param {number | undefined} byte
   * @param {GridView} view
   */
  #valueOf(byte, { low, high }) {
    return hasData(byte) ? low + (byte / FULL_BYTE) * (high - low) : null;
  }

  /**
   * @param {Uint8Array} contended
   * @param {GpuGridLayout} layout
   */
  #contendedBars(contended, layout) {
    return layout.labels.map((_, gpu) => {
      const ratio = decodeRatio(contended[gpu]);
      if (ratio === null || ratio < MIN_CONTENDED_RATIO) return null;
      const [x, y, width, height] = layout.box(gpu);
      const thickness = Math.max(2, height / 6);
      return s("rect", { class: "contended", x, y: y + height - thickness, width: width * ratio, height: thickness });
    });
  }

  /** @param {GridView} view */
  #drawLegend(view) {
    const { title, low, high, unit } = view;
    put(
      byId("grid-legend"),
      h("span", null, `${title} ${formatGridValue(low, unit)}`),
      h("span", { class: "ramp" }),
      h("span", null, formatGridValue(high, unit)),
      view.contended ? h("span", { class: "key contended" }, "contended") : null,
      h("span", { class: "key marked" }, "in a warning"),
      view.lost?.size ? h("span", { class: "key gone" }, "lost") : null,
      h("span", { class: "key absent" }, "no data"),
    );
  }

  /**
   * The services on a GPU.
   * @param {number} gpu
   */
  #tenantTexts(gpu) {
    const topology = this.#topology;
    if (!topology) return [];
    if (!this.#tenants) {
      const tenants = new Map();
      topology.tenants.forEach(([on, service], tenant) => {
        if (!tenants.has(on)) tenants.set(on, []);
        tenants.get(on).push({ service: topology.services[service]?.id ?? "", tenant });
      });
      this.#tenants = tenants;
    }
    const describe = this.#view?.describeTenant ?? ((/** @type {string} */ service) => service);
    return (this.#tenants?.get(gpu) ?? []).map(({ service, tenant }) => describe(service, tenant));
  }

  /**
   * @param {number} gpu
   * @param {GpuGridLayout} layout
   * @param {GridView} view
   */
  #describe(gpu, layout, view) {
    const title = view.title.toLowerCase();
    const value = this.#valueOf(view.values[gpu], view);
    const contended = decodeRatio(view.contended?.[gpu]);
    const services = this.#tenantTexts(gpu);
    const notes = [
      this.#valueText(value, title, view.unit),
      isNumber(contended) && contended >= 0.01 ? `contended ${formatPercent(contended)} of the time` : "",
      view.lost?.has(gpu) ? "lost" : "",
    ];
    const tenants = services.length ? services.join(", ") : "no service";
    return `${layout.labels[gpu]}: ${notes.filter(Boolean).join(", ")} · ${tenants}`;
  }

  /**
   * @param {number | null} value
   * @param {string} title
   * @param {string} unit
   */
  #valueText(value, title, unit) {
    if (value === null) return "no data";
    return unit === "ratio" ? `${formatPercent(value)} ${title}` : `${title} ${formatGridValue(value, unit)}`;
  }

  #drawReading() {
    const [line, layout, view] = [byId("grid-reading"), this.#layout, this.#view];
    if (!line || !layout || !view) return;
    const hasCursor = document.activeElement?.id === "grid-field" || this.#isPointedAt;
    const reason = this.#outlined.reason ? `${this.#outlined.reason}.` : "";
    const text = hasCursor ? this.#describe(this.#cursor, layout, view) : reason || view.summary;
    setText(line, text || this.#summary(layout, view));
  }

  /**
   * @param {GpuGridLayout} layout
   * @param {GridView} view
   */
  #summary({ labels }, view) {
    const ratios = labels.map((_, gpu) => decodeRatio(view.contended?.[gpu]));
    const contended = ratios.filter((ratio) => ratio !== null && ratio >= MIN_CONTENDED_RATIO).length;
    const contention = ratios.some(isNumber) ? `${contended} contended` : "contention unknown";
    const withoutData = labels.filter((_, gpu) => !hasData(view.values[gpu])).length;
    const hosts = plural(this.#topology?.hosts.length ?? 0, "host");
    const missing = withoutData ? `, ${withoutData} without data` : "";
    return `${labels.length} GPUs on ${hosts}, ${contention}${missing}. Point at one to see who runs on it.`;
  }

  /** @param {KeyboardEvent} event */
  #onKey(event) {
    if (!this.#layout) return;
    if (event.key === "Enter") {
      event.preventDefault();
      this.#openCursor();
      return;
    }
    const next = this.#layout.move(this.#cursor, event.key);
    if (next === null) return;
    event.preventDefault();
    this.#cursor = next;
    this.#drawCursor();
  }

  /** @param {PointerEvent} event */
  #onPointer(event) {
    if (!this.#layout) return;
    const frame = requireId("grid-field").getBoundingClientRect();
    const gpu = this.#layout.find(event.clientX - frame.left, event.clientY - frame.top);
    this.#isPointedAt = gpu >= 0;
    if (this.#isPointedAt) this.#cursor = gpu;
    this.#drawReading();
  }

  #drawTable() {
    const [section, layout, view] = [byId("grid-twin"), this.#layout, this.#view];
    if (!(section instanceof HTMLDetailsElement) || !section.open || !layout || !view) return;
    const { labels } = layout;
    const rows = labels
      .slice(0, MAX_TABLE_ROWS)
      .map((label, gpu) =>
        h(
          "tr",
          null,
          h("th", { scope: "row" }, label),
          h("td", null, formatGridValue(this.#valueOf(view.values[gpu], view), view.unit)),
          h("td", null, formatGridValue(decodeRatio(view.contended?.[gpu]), "ratio")),
          h("td", { class: "wide-cell" }, this.#tenantTexts(gpu).join("; ") || NOT_KNOWN),
        ),
      );
    const rest = `The first ${MAX_TABLE_ROWS} of ${labels.length}; all are on the page `;
    put(
      byId("grid-table"),
      scrollTable("GPUs", null, headCells(["GPU", view.title, "Contended", "Services"]), rows),
      labels.length > MAX_TABLE_ROWS ? h("p", { class: "note" }, rest, link(pageHref("/fleet"), "Fleet")) : null,
    );
  }
}

export const gpuGrid = new GpuGrid();
