// What lies over the heat map of the GPU grid: names, numbers in large cells, bars of GPU wait, faults, and the cursor.
import { cssToken, put, s } from "#web/assets/dom.js";
import { filled } from "#web/assets/format.js";
import { needsDarkInk, parseColor, rampColors, rampScale } from "#web/assets/gpu_grid/color_ramp.js";
import { decodeRatio, FAULT_SIGNS, gridValue, hasData } from "#web/assets/gpu_grid/grid_values.js";
import { GPU_FAULTS, GRID_TEXTS } from "#web/assets/words.js";

/** @typedef {import("#web/assets/gpu_grid/gpu_grid_layout.js").GpuGridLayout} GpuGridLayout */
/** @typedef {import("#web/assets/gpu_grid/grid_values.js").GridView} GridView */

const MAX_WAIT_BARS = 1500;
const MIN_WAIT_RATIO = 0.1;
const MIN_FIGURE_CELL = 30;
const MIN_BAR_CELL = 10;
const FAULT_SIZE = 7;
const LOST_TEXT = `${FAULT_SIGNS.lost} ${GPU_FAULTS.lost}`;

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

/** A function that gives the class of the text on the color of a byte. */
const inkScale = () => {
  const [colorOf, noData] = [rampScale(rampColors()), parseColor(cssToken("unknown"))];
  return (/** @type {number | undefined} */ byte) =>
    needsDarkInk(hasData(byte) ? colorOf(byte) : noData) ? "dark-ink" : "light-ink";
};

/**
 * The value of each GPU; a GPU that is lost has none, and the word instead.
 * @param {GpuGridLayout} layout
 * @param {GridView} view
 */
const cellFigures = (layout, view) => {
  const inkOf = inkScale();
  return layout.labels.map((_, gpu) => {
    const [x, y, width, height] = layout.box(gpu);
    const byte = view.values[gpu];
    const text = view.faults?.get(gpu) === "lost" ? LOST_TEXT : cellText(byte, view);
    return s("text", { x: x + width / 2, y: y + height / 2 + 4, class: inkOf(byte) }, text);
  });
};

/**
 * A shape on each GPU with a fault, at its corner where its value is shown.
 * @param {GpuGridLayout} layout
 * @param {GridView} view
 */
const faultMarks = (layout, view) => {
  const isNumbered = layout.placement.cellSize >= MIN_FIGURE_CELL;
  return [...(view.faults ?? [])].map(([gpu, fault]) => {
    if (isNumbered && fault === "lost") return null; // its text has the shape
    const [x, y, width, height] = layout.box(gpu);
    const size = isNumbered ? FAULT_SIZE : Math.min(width, height) * 0.8;
    const [left, top] = isNumbered ? [x + 3, y + 3] : [x + (width - size) / 2, y + (height - size) / 2];
    return s("path", { class: `fault ${fault}`, d: faultPath(fault, left, top, size) });
  });
};

/**
 * @param {import("#web/assets/gpu_grid/grid_values.js").GpuFault} fault
 * @param {number} x
 * @param {number} y
 * @param {number} size
 */
const faultPath = (fault, x, y, size) => {
  if (fault === "lost") return `M${x} ${y}l${size} ${size}m0 ${-size}l${-size} ${size}`;
  if (fault === "failing") return exclamationMarkPath(x + size / 3, y, size);
  return `M${x} ${y}h${size}l${-size / 2} ${size}z`;
};

/**
 * @param {number} x
 * @param {number} y
 * @param {number} size its height
 */
const exclamationMarkPath = (x, y, size) => {
  const width = size / 3;
  const bar = (/** @type {number} */ height) => `h${width}v${height}h${-width}z`;
  return `M${x} ${y}${bar(size * 0.6)}M${x} ${y + size * 0.75}${bar(size / 4)}`;
};

/**
 * Whether the GPU wait on each GPU is drawn as a bar.
 * @param {GpuGridLayout} layout
 */
const hasBars = ({ placement, labels }) => placement.cellSize >= MIN_BAR_CELL && labels.length <= MAX_WAIT_BARS;

/**
 * Whether a picture has a bar of GPU wait.
 * @param {GpuGridLayout} layout
 * @param {GridView} view
 */
export const showsWaits = (layout, view) =>
  hasBars(layout) && (view.gpuWait ?? []).some((byte) => (decodeRatio(byte) ?? 0) >= MIN_WAIT_RATIO);

/**
 * How many GPUs have a bar of GPU wait, and how many of these are in an open incident.
 * @param {Pick<GridView, "gpuWait" | "marked">} view
 */
export const waitsText = ({ gpuWait, marked }) => {
  const ratios = [...(gpuWait ?? [])].map(decodeRatio);
  if (ratios.every((ratio) => ratio === null)) return GRID_TEXTS.no_waits;
  const waiting = ratios.flatMap((ratio, gpu) => ((ratio ?? 0) >= MIN_WAIT_RATIO ? gpu : []));
  const gpus = waiting.filter((gpu) => marked.has(gpu)).length;
  const isAll = gpus === waiting.length;
  const ofThem = isAll ? GRID_TEXTS.all_in_incident : filled(GRID_TEXTS.some_in_incident, { gpus });
  return `${waiting.length} ${GRID_TEXTS.waiting}${gpus ? `, ${ofThem}` : ""}`;
};

/**
 * @param {Uint8Array} waits
 * @param {GpuGridLayout} layout
 */
const waitBars = (waits, layout) =>
  layout.labels.map((_, gpu) => {
    const ratio = decodeRatio(waits[gpu]);
    if (ratio === null || ratio < MIN_WAIT_RATIO) return null;
    const [x, y, width, height] = layout.box(gpu);
    const thickness = Math.max(2, height / 6);
    return s("rect", { class: "waits", x, y: y + height - thickness, width: width * ratio, height: thickness });
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
  put(
    svg,
    headings.map(({ text, x, y, kind }) => s("text", { x, y, class: kind }, text)),
    cellSize >= MIN_FIGURE_CELL ? cellFigures(layout, view) : null,
    view.gpuWait && hasBars(layout) ? waitBars(view.gpuWait, layout) : null,
    [...view.marked].map((gpu) => outlineOf(gpu, `marked ${view.markStatus}`)),
    faultMarks(layout, view),
    layout.labels.map((label, gpu) => (outlined.has(label) ? outlineOf(gpu, "shown", 1) : null)),
    opened >= 0 ? outlineOf(opened, "opened", 2) : null,
    cursor === null ? null : outlineOf(cursor, "cursor", 2),
  );
  svg.setAttribute("width", String(width));
  svg.setAttribute("height", String(height));
};
