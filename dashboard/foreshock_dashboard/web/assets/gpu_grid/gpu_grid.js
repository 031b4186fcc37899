// All GPUs by pool and host: a heat map that Plotly draws, with names, marks, and a cursor over it.
import { gpuHref, link, navigate, pageHref } from "#web/assets/address.js";
import { loadedPlotly, loadPlotly } from "#web/assets/chart_library.js";
import { byId, h, headCells, put, requireId, s, scrollTable, setPanel, setText } from "#web/assets/dom.js";
import { formatPercent, isNumber, NOT_KNOWN, plural } from "#web/assets/format.js";
import { GpuGridLayout } from "#web/assets/gpu_grid/gpu_grid_layout.js";
import { drawOverlay, showsWaits, waitsText } from "#web/assets/gpu_grid/grid_overlay.js";
import { decodeRatio, FAULT_SIGNS, formatGridValue, gridValue, hasData } from "#web/assets/gpu_grid/grid_values.js";
import { drawCells, HeatMap } from "#web/assets/gpu_grid/heat_map.js";
import { ABSENT, EMPTY, GPU_COUNTS, GPU_FAULTS, GRID_TEXTS } from "#web/assets/words.js";

/** @typedef {import("#web/assets/dom.js").Content} Content */
/** @typedef {import("#web/assets/payload.d.ts").Topology} Topology */
/** @typedef {import("#web/assets/gpu_grid/grid_values.js").GpuFault} GpuFault */
/** @typedef {import("#web/assets/gpu_grid/grid_values.js").GridView} GridView */

const MAX_TABLE_ROWS = 500;

/** The grid of the page that is shown; one at a time. */
class GpuGrid {
  /** @type {GridView | null} */ #view = null;
  /** @type {Topology | null} */ #topology = null;
  /** @type {GpuGridLayout | null} */ #layout = null;
  /** @type {Map<number, { service: string, tenant: number }[]> | null} */ #tenants = null;
  /** The topology and width that the layout is for. */
  #layoutKey = "";
  #heatMap = new HeatMap();
  #cursor = 0;
  #isPointedAt = false;
  #isLoadingPlotly = false;
  #isSeen = false;
  #withSummary = true;
  /** GPUs that are outlined, and what they have in common. @type {{ labels: Set<string>, reason: string }} */
  #outlined = { labels: new Set(), reason: "" };
  /** @type {(label: string) => void} */ #open = () => {};

  /** Milliseconds that Plotly's last drawing took. */
  get drawMs() {
    return this.#heatMap.drawMs;
  }

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
   * @param {boolean} [options.withSummary] a line of counts while no GPU is pointed at
   * @param {(label: string) => void} [options.open] what Enter and a click do
   */
  mount(body, { withTable = true, withSummary = true, open = (label) => navigate(gpuHref(label)) } = {}) {
    if (!body) return;
    const label = GRID_TEXTS.keys;
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
      h(
        "div",
        { class: "grid-foot" },
        h("p", { id: "grid-legend", class: "legend" }),
        h("p", { id: "grid-reading", class: "reading", role: "status" }),
      ),
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
    this.#cursor = 0;
    this.#isSeen = false;
    this.#outlined = { labels: new Set(), reason: "" };
    this.#open = open;
    this.#withSummary = withSummary;
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
      setPanel("grid", "empty", EMPTY.gpus);
      return;
    }
    setPanel("grid", "ready");
    const width = field.clientWidth;
    const key = `${topology.id} ${width}`;
    if (this.#layoutKey !== key || !this.#layout) {
      this.#layoutKey = key;
      this.#layout = new GpuGridLayout(topology, width);
    }
    if (this.#topology !== topology) this.#tenants = null;
    this.#topology = topology;
    this.#view = view;
    this.#cursor = Math.min(this.#cursor, this.#layout.labels.length - 1);
    this.#drawLegend(this.#layout, view);
    this.#drawHeatMap();
    this.#drawCursor();
    this.#drawTable();
  }

  #openCursor() {
    const label = this.#layout?.labels[this.#cursor];
    if (label !== undefined && this.#view) this.#open(label);
  }

  async #drawHeatMap() {
    const plot = byId("grid-plot");
    if (!plot || !this.#layout || !this.#view) return;
    if (!loadedPlotly()) drawCells(plot, this.#layout, this.#view);
    if (this.#isLoadingPlotly || !(this.#isSeen || loadedPlotly())) return;
    this.#isLoadingPlotly = true;
    const plotly = await loadPlotly().catch(() => null);
    this.#isLoadingPlotly = false;
    // The newest values by now are drawn; without Plotly the canvas stays, and the next values try again.
    // Where the page was left and opened again meanwhile, there are none yet.
    const [newestPlot, layout, view] = [byId("grid-plot"), this.#layout, this.#view];
    if (plotly && newestPlot && layout && view) this.#heatMap.draw(plotly, newestPlot, layout, view);
  }

  #drawCursor() {
    const svg = byId("grid-over");
    if (!svg || !this.#layout || !this.#view) return;
    const isFocused = document.activeElement?.id === "grid-field";
    const selection = { outlined: this.#outlined.labels, cursor: isFocused ? this.#cursor : null };
    drawOverlay(svg, this.#layout, this.#view, selection);
    this.#drawReading();
  }

  /**
   * The scale, and an entry for each kind of mark in the picture.
   * @param {GpuGridLayout} layout
   * @param {GridView} view
   */
  #drawLegend(layout, view) {
    const { title, low, high, unit } = view;
    const entry = (/** @type {string} */ kind, /** @type {string} */ text) => h("span", { class: `key ${kind}` }, text);
    const faults = new Set(view.faults?.values());
    put(
      byId("grid-legend"),
      h("span", null, `${title} ${formatGridValue(low, unit)}`),
      h("span", { class: "ramp" }),
      h("span", null, formatGridValue(high, unit)),
      showsWaits(layout, view) ? entry("waits", GRID_TEXTS.waits) : null,
      view.marked.size ? entry(`marked ${view.markStatus}`, GRID_TEXTS.in_incident) : null,
      /** @type {GpuFault[]} */ (Object.keys(FAULT_SIGNS))
        .filter((fault) => faults.has(fault))
        .map((fault) =>
          h(
            "span",
            null,
            h("span", { class: `fault-sign ${fault}-sign`, "aria-hidden": "true" }, FAULT_SIGNS[fault]),
            ` ${GPU_FAULTS[fault]}`,
          ),
        ),
      layout.labels.some((_, gpu) => !hasData(view.values[gpu])) ? entry("absent", ABSENT.data) : null,
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
      let on = 0;
      topology.tenants.forEach(([step, service], tenant) => {
        on += step;
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
    const value = gridValue(view.values[gpu], view);
    const wait = decodeRatio(view.gpuWait?.[gpu]);
    const services = this.#tenantTexts(gpu);
    const fault = view.faults?.get(gpu);
    const notes = [
      this.#valueText(value, title, view.unit),
      isNumber(wait) && wait >= 0.01 ? `${GRID_TEXTS.wait} ${formatPercent(wait)}` : "",
      fault ? GPU_FAULTS[fault] : "",
    ];
    const tenants = services.length ? services.join(", ") : ABSENT.services;
    return `${layout.labels[gpu]}: ${notes.filter(Boolean).join(", ")} · ${tenants}`;
  }

  /**
   * @param {number | null} value
   * @param {string} title
   * @param {string} unit
   */
  #valueText(value, title, unit) {
    if (value === null) return ABSENT.data;
    return unit === "ratio" ? `${formatPercent(value)} ${title}` : `${title} ${formatGridValue(value, unit)}`;
  }

  #drawReading() {
    const [line, layout, view] = [byId("grid-reading"), this.#layout, this.#view];
    if (!line || !layout || !view) return;
    const hasCursor = document.activeElement?.id === "grid-field" || this.#isPointedAt;
    const reason = this.#outlined.reason ? `${this.#outlined.reason}.` : "";
    const summary = () => (this.#withSummary ? this.#summary(layout, view) : "");
    setText(line, hasCursor ? this.#describe(this.#cursor, layout, view) : reason || summary());
  }

  /**
   * @param {GpuGridLayout} layout
   * @param {GridView} view
   */
  #summary({ labels }, view) {
    const withoutData = labels.filter((_, gpu) => !hasData(view.values[gpu])).length;
    const hosts = plural(this.#topology?.hosts.length ?? 0, "host");
    const missing = withoutData ? `, ${withoutData} ${GPU_COUNTS.no_data}` : "";
    return `${plural(labels.length, "GPU")} on ${hosts}, ${waitsText(view)}${missing}.`;
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
          h("td", null, formatGridValue(gridValue(view.values[gpu], view), view.unit)),
          h("td", null, formatGridValue(decodeRatio(view.gpuWait?.[gpu]), "ratio")),
          h("td", { class: "wide-cell" }, this.#tenantTexts(gpu).join("; ") || NOT_KNOWN),
        ),
      );
    const rest = `${MAX_TABLE_ROWS} of ${labels.length} GPUs, all: `;
    put(
      byId("grid-table"),
      scrollTable("GPUs", null, headCells(["GPU", view.title, "GPU wait", "Services"]), rows),
      labels.length > MAX_TABLE_ROWS ? h("p", { class: "note" }, rest, link(pageHref("/fleet"), "Fleet")) : null,
    );
  }
}

export const gpuGrid = new GpuGrid();
