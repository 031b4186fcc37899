// The table of every chart that Plotly draws: the same values, for readers who cannot see or point at the picture.
import { byId, h, headCells, put } from "#web/assets/dom.js";
import { filled, formatPercent, formatRate, formatSeconds, NOT_KNOWN } from "#web/assets/format.js";
import { EMPTY, SHELL_TEXTS } from "#web/assets/words.js";

const MAX_ROWS = 120;
const PLOTLY_POLL_MS = 300;

/** @typedef {{ readonly length: number, readonly [index: number]: any }} Values */
/**
 * A trace of Plotly.
 * @typedef {object} Trace
 * @property {string} [type]
 * @property {string} [mode]
 * @property {string} [name]
 * @property {string} [hovertemplate]
 * @property {Values} [x]
 * @property {Values} [y]
 * @property {Values} [text]
 */
/**
 * The element in which Plotly has drawn.
 * @typedef {HTMLElement & {
 *   data?: Trace[],
 *   layout?: { annotations?: { text?: string }[] },
 *   on(event: string, listener: () => void): void,
 * }} Graph
 */

/** Charts whose table follows them. @type {WeakSet<Graph>} */
const followed = new WeakSet();

/**
 * A name of Plotly, which reads tags, as text.
 * @param {unknown} text
 */
export const plainText = (text) =>
  String(text ?? "")
    .replaceAll(/<br ?\/?>/g, ", ")
    .replaceAll("&lt;", "<")
    .replaceAll("&gt;", ">")
    .replaceAll("&amp;", "&");

/**
 * A value as the tooltip has it, with the format and unit of the trace's own template.
 * @param {Trace} trace
 * @param {unknown} value
 */
export const formatTraceValue = (trace, value) => {
  if (value === null || value === undefined) return NOT_KNOWN;
  if (typeof value !== "number") return plainText(value);
  const [, format = "", unit = ""] = /%\{y:?([^}]*)\}([^<]*)/.exec(trace.hovertemplate || "") ?? [];
  if (format.includes("%")) return formatPercent(value);
  if (unit === " s") return formatSeconds(value);
  if (unit === " ms") return formatSeconds(value / 1000);
  if (unit === " req/s") return formatRate(value);
  return `${Number(value.toPrecision(4))}${plainText(unit)}`;
};

/** @param {Trace} trace */
const isLine = ({ type, mode, text, name }) =>
  type === "scatter" && (mode ?? "").includes("lines") && !text?.length && Boolean(name);

/**
 * Lines that share their times: one row per time, the newest first.
 * @param {readonly Trace[]} lines
 * @returns {[head: string[], rows: string[][]]}
 */
const lineRows = (lines) => {
  /** @type {Map<string, unknown[]>} */
  const byTime = new Map();
  lines.forEach((line, i) => {
    Array.from(line.x ?? []).forEach((x, j) => {
      const values = byTime.get(x) ?? Array(lines.length).fill(null);
      values[i] = line.y?.[j];
      byTime.set(x, values);
    });
  });
  const rows = [...byTime]
    .sort(([a], [b]) => (a < b ? 1 : -1))
    .map(([time, values]) => [plainText(time), ...lines.map((line, i) => formatTraceValue(line, values[i]))]);
  return [["Time", ...lines.map(({ name }) => plainText(name))], rows];
};

/**
 * A row for each mark of a trace, with the words of its tooltip.
 * @param {Trace} trace
 * @returns {string[][]}
 */
const markRows = (trace) => {
  const { type, x, y, text } = trace;
  if (type === "heatmap") {
    return Array.from(text ?? []).flatMap((row) =>
      Array.from(/** @type {Values} */ (row)).flatMap((cell, column) =>
        cell ? [[plainText(x?.[column]), plainText(cell)]] : [],
      ),
    );
  }
  return Array.from(x ?? []).map((at, i) => [
    plainText(at),
    plainText(text?.[i] ?? `${trace.name || ""} ${formatTraceValue(trace, y?.[i])}`),
  ]);
};

/**
 * The head and rows of a chart's table.
 * @param {readonly Trace[]} traces
 * @returns {[head: string[], rows: string[][]]}
 */
export const chartRows = (traces) => {
  const lines = traces.filter(isLine);
  return lines.length ? lineRows(lines) : [["At", "What"], traces.flatMap(markRows).reverse()];
};

/** @param {HTMLDetailsElement} section */
const drawChartTable = (section) => {
  const name = section.dataset.twin ?? "";
  if (!section.open || !section.isConnected) return;
  const graph = /** @type {Graph | null | undefined} */ (byId(name)?.querySelector(".js-plotly-plot"));
  if (!graph?.data) {
    setTimeout(() => drawChartTable(section), PLOTLY_POLL_MS);
    return;
  }
  const [head, rows] = chartRows(graph.data);
  const title = byId(`${name}-title`)?.textContent || "Chart";
  const shown = rows.slice(0, MAX_ROWS).map(([first, ...rest]) =>
    h(
      "tr",
      null,
      h("th", { scope: "row" }, first),
      rest.map((value) => h("td", null, value)),
    ),
  );
  const table = () =>
    h(
      "div",
      { class: "scroll twin-scroll", tabindex: "0", role: "region", "aria-label": `${title}, table` },
      h("table", { class: "rows" }, h("thead", null, h("tr", null, headCells(head))), h("tbody", null, shown)),
      rows.length > MAX_ROWS
        ? h("p", { class: "note" }, filled(SHELL_TEXTS.shorter_range, { shown: MAX_ROWS, count: rows.length }))
        : null,
    );
  const reason = plainText(graph.layout?.annotations?.[0]?.text || EMPTY.chart);
  put(section.querySelector(".twin-body"), rows.length ? table() : h("p", { class: "note" }, reason));
  if (!followed.has(graph)) {
    followed.add(graph);
    graph.on("plotly_afterplot", () => drawChartTable(section));
  }
};

/** Draw the table of a chart where it is unfolded. */
export const startChartTables = () => {
  const onToggle = (/** @type {Event} */ { target }) => {
    if (target instanceof HTMLDetailsElement && target.classList.contains("twin")) drawChartTable(target);
  };
  document.addEventListener("toggle", onToggle, true);
};
