// What lies over the heat map of the GPU grid: names, numbers in large cells, contention bars, marks, and the cursor.
import { put, s } from "#web/assets/dom.js";
import { decodeRatio, FULL_BYTE, gridValue, hasData } from "#web/assets/gpu_grid/grid_values.js";

/** @typedef {import("#web/assets/gpu_grid/gpu_grid_layout.js").GpuGridLayout} GpuGridLayout */
/** @typedef {import("#web/assets/gpu_grid/grid_values.js").GridView} GridView */

const MAX_CONTENDED_BARS = 1500;
export const MIN_CONTENDED_RATIO = 0.1;
const MIN_FIGURE_CELL = 30;

/**
 * @param {number | undefined} byte
 * @param {GridView} view
 */
const cellText = (byte, view) => {
  const value = gridValue(byte, view);
  if (value === null || byte === undefined) return "?";
  if (view.unit === "ratio") return String(Math.round(byte / 2.5));
  return view.unit === "B/s" ? (value / 1e9).toFixed(view.high < 1e10 ? 1 : 0) : value.toFixed(0);
};

/**
 * @param {number} gpu
 * @param {GpuGridLayout} layout
 * @param {GridView} view
 */
const cellFigure = (gpu, layout, view) => {
  const [x, y, width, height] = layout.box(gpu);
  const byte = view.values[gpu];
  const isDark = !hasData(byte) || byte / FULL_BYTE > 0.55;
  const text = cellText(byte, view);
  return s("text", { x: x + width / 2, y: y + height / 2 + 4, class: isDark ? "on-dark" : "on-light" }, text);
};

/**
 * @param {Uint8Array} contended
 * @param {GpuGridLayout} layout
 */
const contendedBars = (contended, layout) =>
  layout.labels.map((_, gpu) => {
    const ratio = decodeRatio(contended[gpu]);
    if (ratio === null || ratio < MIN_CONTENDED_RATIO) return null;
    const [x, y, width, height] = layout.box(gpu);
    const thickness = Math.max(2, height / 6);
    return s("rect", { class: "contended", x, y: y + height - thickness, width: width * ratio, height: thickness });
  });

/**
 * @param {Element} svg
 * @param {GpuGridLayout} layout
 * @param {GridView} view
 * @param {{ outlined: Set<string>, cursor: number | null }} selection labels of outlined GPUs; the GPU at the cursor
 */
export const drawOverlay = (svg, layout, view, { outlined, cursor }) => {
  const { headings, cellSize, width, height } = layout.placement;
  const outlineOf = (/** @type {number} */ gpu, /** @type {string} */ kind, margin = 0) => {
    const [x, y, cellWidth, cellHeight] = layout.box(gpu);
    const size = { width: cellWidth + 2 * margin, height: cellHeight + 2 * margin };
    return s("rect", { class: kind, x: x - margin, y: y - margin, ...size, rx: 2 });
  };
  const opened = view.opened ? layout.labels.indexOf(view.opened) : -1;
  const hasBars = cellSize >= 10 && layout.labels.length <= MAX_CONTENDED_BARS;
  put(
    svg,
    headings.map(({ text, x, y, kind }) => s("text", { x, y, class: kind }, text)),
    cellSize >= MIN_FIGURE_CELL ? layout.labels.map((_, gpu) => cellFigure(gpu, layout, view)) : null,
    view.contended && hasBars ? contendedBars(view.contended, layout) : null,
    [...view.marked].map((gpu) => outlineOf(gpu, "marked")),
    [...(view.lost ?? [])].map((gpu) => {
      const [x, y, w, tall] = layout.box(gpu);
      return s("path", { class: "lost-gpu", d: `M${x} ${y}l${w} ${tall}m0 ${-tall}l${-w} ${tall}` });
    }),
    layout.labels.map((label, gpu) => (outlined.has(label) ? outlineOf(gpu, "shown", 1) : null)),
    opened >= 0 ? outlineOf(opened, "opened", 2) : null,
    cursor === null ? null : outlineOf(cursor, "cursor", 2),
  );
  svg.setAttribute("width", String(width));
  svg.setAttribute("height", String(height));
};
