// One trace as a tree of bars over time. Only the rows in sight are in the document, so thousands of spans stay quick.
import { hrefWith, navigate } from "#web/assets/address.js";
import { timeElement } from "#web/assets/clock.js";
import { byId, closest, h, put, requireId } from "#web/assets/dom.js";
import { formatDuration, formatSeconds, plural, shortLabels } from "#web/assets/format.js";
import { live } from "#web/assets/state.js";
import { healthState, serviceDot } from "#web/assets/timeline/signs.js";
import { ABSENT, TRACE_TEXTS } from "#web/assets/words.js";
import { gpuLanes } from "#web/pages/traces/waterfall/gpu_lanes.js";
import { drawSpanDetail } from "#web/pages/traces/waterfall/span_detail.js";
import { spanRow, waitLane } from "#web/pages/traces/waterfall/span_row.js";
import { treeRows, visibleRows } from "#web/pages/traces/waterfall/span_tree.js";
import { axisRange, hasOtherWork } from "#web/pages/traces/waterfall/time_axis.js";
import { breakdownBar, traceSentence } from "#web/pages/traces/waterfall/time_breakdown.js";

/** @typedef {import("#web/pages/traces/payload.d.ts").GpuLane} GpuLane */
/** @typedef {import("#web/pages/traces/payload.d.ts").Trace} Trace */
/** @typedef {import("#web/pages/traces/waterfall/time_axis.js").AxisRange} AxisRange */
/** @typedef {import("#web/pages/traces/waterfall/span_tree.js").TreeRow} TreeRow */
/**
 * The trace that is shown.
 * @typedef {object} View
 * @property {Trace} trace
 * @property {TreeRow[]} rows
 * @property {(service: string) => string} label short names of the services
 * @property {Map<string, GpuLane>} lanes by GPU
 * @property {Set<string>} folded ids of spans
 * @property {string} selected id of the span whose detail is shown
 * @property {number} cursor row at which the keys are
 * @property {number} rowHeight in pixels, 0 before the first drawing
 * @property {boolean} isWhole the axis covers all spans, not only the root span
 * @property {AxisRange} range of the axis
 */

const ROWS_AROUND = 20;
const MAX_HEIGHT = 560;

/** @type {View | null} */
let view = null;
/** Elements whose events are followed. @type {WeakSet<Element>} */
const followed = new WeakSet();

/**
 * The height of a row as the style has it: on a phone a span's name stands above its bar.
 * @param {Element} field
 */
const rowHeightOf = (field) => Number.parseFloat(getComputedStyle(field).getPropertyValue("--row"));

/**
 * The services of a trace and of its GPUs.
 * @param {Trace} trace
 */
const servicesOf = ({ spans, lanes = [] }) => [
  ...new Set([
    ...spans.map(({ service }) => service),
    ...lanes.flatMap(({ intervals }) => intervals.map(({ service }) => service)),
  ]),
];

/**
 * Show a trace.
 * @param {HTMLElement} body
 * @param {Trace} trace
 * @param {string} selected id of the span whose detail is shown, "" for none
 * @param {boolean} isSame the trace is shown already: what is folded stays so
 */
export const showTrace = (body, trace, selected, isSame) => {
  const rows = treeRows(trace.spans);
  const groups = rows.flatMap(({ span: { span_id: id, members } }) =>
    members && !members.some((member) => member.span_id === selected) ? [id] : [],
  );
  const previous = isSame ? view : null;
  const folded = previous?.folded ?? new Set(groups);
  const selectedRow = visibleRows(rows, folded).findIndex(({ span }) => span.span_id === selected);
  const lanes = new Map((trace.lanes ?? []).map((lane) => [lane.gpu, lane]));
  const isWhole = previous?.isWhole ?? false;
  const range = axisRange(trace, isWhole);
  const label = shortLabels(servicesOf(trace));
  view = {
    trace,
    rows,
    label,
    lanes,
    folded,
    selected,
    cursor: Math.max(0, selectedRow),
    rowHeight: 0,
    isWhole,
    range,
  };
  requireId("trace-hint").textContent = trace.trace_id;
  drawTrace(body, view);
  follow(body);
  if (selected) drawSelected(view);
};

/**
 * @param {HTMLElement} body
 * @param {View} shown
 */
const drawTrace = (body, shown) => {
  const { trace, range, isWhole, label } = shown;
  put(
    body,
    traceSentence(trace),
    breakdownBar(trace, label),
    facts(trace),
    legend(shown),
    hasOtherWork(trace)
      ? h(
          "p",
          { class: "note" },
          h("button", { type: "button", class: "quiet small", id: "trace-range", "aria-pressed": String(isWhole) }, [
            isWhole
              ? "Hide spans outside the root span"
              : `Show spans outside the root span (until ${formatSeconds(trace.extent_seconds)})`,
          ]),
        )
      : null,
    axis(range),
    h(
      "div",
      {
        class: "wf",
        id: "wf",
        tabindex: "0",
        role: "tree",
        "aria-label": "Spans; arrow keys move, left and right fold, Enter shows a span",
      },
      h("div", { class: "wf-space", role: "none" }),
    ),
    gpuLanes(trace, range, label),
    h("div", { id: "span-detail", class: "span-detail", "aria-live": "polite" }),
  );
  draw();
};

/**
 * Select a span of the shown trace.
 * @param {string} id "" for none
 */
export const selectSpan = (id) => {
  if (!view || !byId("wf")) return;
  view.selected = id;
  draw();
  drawSelected(view);
};

/** @param {View} shown */
const drawSelected = ({ trace, selected }) => drawSpanDetail(trace.spans.find(({ span_id: id }) => id === selected));

/** @param {Trace} trace */
const facts = (trace) => {
  const errors = trace.spans.filter(({ status }) => status === "error").length;
  const now = live.time;
  return h(
    "p",
    { class: "facts" },
    h("span", null, h("b", null, formatSeconds(trace.duration_seconds))),
    h("span", null, plural(trace.total ?? trace.spans.length, "span")),
    h("span", null, errors ? healthState("critical", plural(errors, "error")) : ABSENT.errors),
    h(
      "span",
      null,
      "started ",
      timeElement(trace.start, now),
      now ? ` (${formatDuration(now - trace.start)} ago)` : "",
    ),
    trace.left_out ? h("span", null, `${plural(trace.left_out, "span")} not shown`) : null,
    trace.note ? h("span", null, trace.note) : null,
    trace.clock_note ? h("span", null, trace.clock_note) : null,
    h("button", { type: "button", class: "quiet", id: "trace-close" }, "Close trace"),
  );
};

/** @param {View} shown */
const legend = (shown) => {
  const { trace, label } = shown;
  const { spans } = trace;
  const services = new Map(spans.map(({ service, color }) => [service, color]));
  const hasGaps = spans.some(({ gaps }) => gaps?.length);
  const waits = spans.flatMap(({ gpu }) => (gpu?.waited_seconds ? [gpu] : []));
  return h(
    "p",
    { class: "legend" },
    [...services].map(([service, color]) => h("span", null, serviceDot(color), label(service))),
    h("span", { class: "key critical-path" }, "critical path"),
    waits.some((gpu) => waitLane(gpu, shown)) ? h("span", { class: "key wait" }, "GPU wait") : null,
    waits.some((gpu) => !waitLane(gpu, shown)) ? h("span", { class: "key wait" }, TRACE_TEXTS.unplaced) : null,
    hasGaps ? h("span", { class: "key gap" }, "uninstrumented gap") : null,
  );
};

/** @param {AxisRange} range */
const axis = ({ start, seconds }) =>
  h(
    "div",
    { class: "wf-axis", "aria-hidden": "true" },
    h("span"),
    h(
      "div",
      null,
      [0, 0.25, 0.5, 0.75, 1].map((part) =>
        h("span", { style: `left:${part * 100}%` }, formatSeconds(start + part * seconds)),
      ),
    ),
    h("span", { class: "wf-length" }, "Span duration"),
  );

/** Draw the rows in sight. */
const draw = () => {
  const field = byId("wf");
  const space = field?.firstElementChild;
  if (!field || !(space instanceof HTMLElement) || !view) return;
  const rows = visibleRows(view.rows, view.folded);
  const rowHeight = rowHeightOf(field);
  const { scrollTop } = field;
  view.cursor = Math.min(view.cursor, rows.length - 1);
  field.style.height = `${Math.min(rows.length * rowHeight + 2, MAX_HEIGHT)}px`;
  space.style.height = `${rows.length * rowHeight}px`;
  // The same span stays at the top where the height of rows changes.
  if (view.rowHeight && view.rowHeight !== rowHeight) field.scrollTop = (scrollTop * rowHeight) / view.rowHeight;
  view.rowHeight = rowHeight;
  const first = Math.max(0, Math.floor(field.scrollTop / rowHeight) - ROWS_AROUND);
  const last = Math.min(rows.length, Math.ceil((field.scrollTop + MAX_HEIGHT) / rowHeight) + ROWS_AROUND);
  const shown = view;
  put(
    space,
    rows.slice(first, last).map((row, i) => spanRow(row, first + i, shown)),
  );
  field.setAttribute("aria-activedescendant", `wf-${view.cursor}`);
};

/**
 * Fold or unfold a row.
 * @param {number} i
 * @param {View} shown
 * @param {boolean} [isFolded] it is toggled by default
 */
const fold = (i, shown, isFolded) => {
  const row = visibleRows(shown.rows, shown.folded)[i];
  if (!row) return;
  const { span_id: id } = row.span;
  if (row.childCount && (isFolded ?? !shown.folded.has(id))) shown.folded.add(id);
  else if (row.childCount) shown.folded.delete(id);
  draw();
};

/**
 * Select a row's span, or unfold it where it stands for several.
 * @param {number} i
 * @param {View} shown
 */
const openRow = (i, shown) => {
  const span = visibleRows(shown.rows, shown.folded)[i]?.span;
  if (!span) return;
  shown.cursor = i;
  if (span.members) fold(i, shown);
  else navigate(hrefWith({ span: shown.selected === span.span_id ? null : span.span_id }, "/traces"), true);
};

/**
 * Follow events on an element that stays while its children come and go.
 * @param {HTMLElement} body
 */
const follow = (body) => {
  if (followed.has(body)) return;
  followed.add(body);
  const isInTree = (/** @type {Event} */ event) => closest(event, "#wf") !== null;
  // A scroll event does not bubble.
  body.addEventListener("scroll", (event) => isInTree(event) && requestAnimationFrame(draw), true);
  body.addEventListener("keydown", (event) => {
    if (view && isInTree(event)) onKey(event, view);
  });
  body.addEventListener("click", (event) => {
    if (closest(event, "#trace-close")) navigate(hrefWith({ trace: null, span: null }, "/traces"));
    if (view && closest(event, "#trace-range")) {
      view.isWhole = !view.isWhole;
      view.range = axisRange(view.trace, view.isWhole);
      drawTrace(body, view);
      drawSelected(view);
    }
    const row = closest(event, "#wf [data-row]");
    if (!row || !view) return;
    const i = Number(row.dataset.row);
    if (event.target instanceof HTMLElement && event.target.dataset.fold) fold(i, view);
    else openRow(i, view);
  });
};

/**
 * @param {number} cursor
 * @param {View} shown
 */
const moveCursor = (cursor, shown) => {
  const rows = visibleRows(shown.rows, shown.folded).length;
  shown.cursor = Math.max(0, Math.min(rows - 1, cursor));
  const field = requireId("wf");
  const rowHeight = rowHeightOf(field);
  const top = shown.cursor * rowHeight;
  if (top < field.scrollTop) field.scrollTop = top;
  if (top + rowHeight > field.scrollTop + field.clientHeight) field.scrollTop = top + rowHeight - field.clientHeight;
  draw();
};

/**
 * @param {KeyboardEvent} event
 * @param {View} shown
 */
const onKey = (event, shown) => {
  const { cursor } = shown;
  /** @type {Record<string, () => void>} */
  const actions = {
    ArrowDown: () => moveCursor(cursor + 1, shown),
    ArrowUp: () => moveCursor(cursor - 1, shown),
    Home: () => moveCursor(0, shown),
    End: () => moveCursor(Number.POSITIVE_INFINITY, shown),
    ArrowLeft: () => fold(cursor, shown, true),
    ArrowRight: () => fold(cursor, shown, false),
    Enter: () => openRow(cursor, shown),
    " ": () => openRow(cursor, shown),
  };
  const action = actions[event.key];
  if (!action) return;
  event.preventDefault();
  action();
};

matchMedia("(max-width: 600px)").addEventListener("change", draw);
