// The heat map of the GPU grid: Plotly draws it; a canvas shows the same cells until Plotly is loaded.
import { cssToken, h } from "#web/assets/dom.js";
import { rampColors, rampScale } from "#web/assets/gpu_grid/color_ramp.js";
import { FULL_BYTE, hasData, NO_DATA_BYTE } from "#web/assets/gpu_grid/grid_values.js";

/** @typedef {import("#web/assets/gpu_grid/gpu_grid_layout.js").GpuGridLayout} GpuGridLayout */
/** @typedef {import("#web/assets/gpu_grid/grid_values.js").GridView} GridView */

const EMPTY_BYTE = 252;

/** Plotly's color scale over bytes: the ramp, nothing for empty places, and the color for no data. */
const colorScale = () => {
  const ramp = rampColors();
  const [clear, noData] = ["rgba(0,0,0,0)", cssToken("unknown")];
  const ofByte = (/** @type {number} */ byte) => byte / 255;
  return [
    ...ramp.map((color, i) => [ofByte((i * FULL_BYTE) / 4), color]),
    [ofByte(251), ramp[4]],
    [ofByte(251), clear],
    [ofByte(254), clear],
    [ofByte(254), noData],
    [1, noData],
  ];
};

/**
 * The cells while Plotly is still being loaded.
 * @param {HTMLElement} plot
 * @param {GpuGridLayout} layout
 * @param {GridView} view
 */
export const drawCells = (plot, layout, view) => {
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
  const [colorOf, noData] = [rampScale(rampColors()), cssToken("unknown")];
  layout.labels.forEach((_, gpu) => {
    const byte = view.values[gpu];
    pen.fillStyle = hasData(byte) ? `rgb(${colorOf(byte).join()})` : noData;
    pen.fillRect(...layout.box(gpu));
  });
  plot.replaceChildren(canvas);
  plot.dataset.drawn = plot.dataset.drawn || "0";
};

/**
 * The bytes of all places, row by row.
 * @param {GpuGridLayout} layout
 * @param {GridView} view
 */
const byteRows = ({ labels, placement }, { values }) => {
  const { xs, ys, row, column } = placement;
  const [rows, columns] = [ys.length - 1, xs.length - 1];
  const bytes = new Uint8Array(rows * columns).fill(EMPTY_BYTE);
  labels.forEach((_, gpu) => {
    bytes[(row[gpu] ?? 0) * columns + (column[gpu] ?? 0)] = values[gpu] ?? NO_DATA_BYTE;
  });
  return Array.from({ length: rows }, (_, i) => bytes.subarray(i * columns, (i + 1) * columns));
};

/** Draws with Plotly: whole after a change of layout or colors, otherwise only the values. */
export class HeatMap {
  /** What the last whole drawing was for. @type {{ plot: Element, layout: GpuGridLayout, colors: string } | null} */
  #drawn = null;
  /** Milliseconds that Plotly's last drawing took. */
  drawMs = 0;

  /**
   * @param {import("#web/assets/browser.d.ts").Plotly} plotly
   * @param {HTMLElement} plot
   * @param {GpuGridLayout} layout
   * @param {GridView} view
   */
  draw(plotly, plot, layout, view) {
    const begun = performance.now();
    const z = byteRows(layout, view);
    const colors = cssToken("ramp-0") + cssToken("unknown");
    const { plot: plotBefore, layout: layoutBefore, colors: colorsBefore } = this.#drawn ?? {};
    if (plotBefore === plot && layoutBefore === layout && colorsBefore === colors)
      plotly.restyle(plot, { z: [z] }, [0]);
    else {
      const { xs, ys, cellSize, width, height } = layout.placement;
      const axis = { visible: false, fixedrange: true };
      const gap = cellSize >= 12 ? 2 : Number(cellSize >= 8);
      const trace = {
        type: "heatmap",
        z,
        x: xs,
        y: ys,
        zmin: 0,
        zmax: 255,
        colorscale: colorScale(),
        showscale: false,
        hoverinfo: "skip",
        xgap: gap,
        ygap: gap,
      };
      const figure = {
        width,
        height,
        margin: { l: 0, r: 0, t: 0, b: 0 },
        paper_bgcolor: "rgba(0,0,0,0)",
        plot_bgcolor: "rgba(0,0,0,0)",
        xaxis: { ...axis, range: [0, width] },
        yaxis: { ...axis, range: [height, 0] },
      };
      plotly.react(plot, [trace], figure, { staticPlot: true, displayModeBar: false });
      plot.querySelector(":scope > canvas")?.remove();
      this.#drawn = { plot, layout, colors };
    }
    this.drawMs = performance.now() - begun;
    plot.dataset.drawn = String(Number(plot.dataset.drawn || 0) + 1);
  }
}
