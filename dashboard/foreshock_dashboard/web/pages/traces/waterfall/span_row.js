// A row of the waterfall: the name of a span, its bar with GPU wait and gaps, and its length.
import { h } from "#web/assets/dom.js";
import { formatPercent, formatSeconds, inWords, localName } from "#web/assets/format.js";
import { healthState, serviceColor, serviceDot } from "#web/assets/timeline/signs.js";
import { TRACE_TEXTS } from "#web/assets/words.js";
import { joinParts, placeOf } from "#web/pages/traces/waterfall/time_axis.js";

/** @typedef {import("#web/pages/traces/payload.d.ts").SpanGpu} SpanGpu */
/** @typedef {import("#web/pages/traces/waterfall/span_tree.js").TreeRow} TreeRow */
/** @typedef {import("#web/pages/traces/waterfall/span_tree.js").TreeSpan} TreeSpan */
/** @typedef {import("#web/pages/traces/waterfall/waterfall.js").View} View */

const INDENT = 14;
const MAX_INDENTED_LEVELS = 12;
/** A shorter part of the critical path, as a share of the axis, would be a stray tick. */
const MIN_CRITICAL_RATIO = 0.01;
/** A gap between two parts of the critical path, as a share of the axis, that is thinner than a pixel. */
const MAX_JOINED_RATIO = 0.001;
/** A lesser share of a GPU is drawn as this one, so that it is seen. */
const MIN_OPACITY = 0.2;

/**
 * A part of a row's bar; null outside the axis.
 * @param {string} kind
 * @param {number} start in seconds
 * @param {number} seconds
 * @param {View} shown
 * @param {{ title?: string | null, style?: string, minWidth?: number }} [options] minWidth: in pixels
 */
const barPart = (kind, start, seconds, { range }, { title = null, style = "", minWidth = 1 } = {}) => {
  const place = placeOf(start, seconds, range);
  if (!place) return null;
  const position = `left:${place.left}%;width:max(${minWidth}px,${place.width}%)`;
  return h("div", { class: kind, style: `${position};${style}`, title });
};

/**
 * The lane that says when a span waited; undefined where its wait is an upper bound, or of an unknown GPU.
 * @param {SpanGpu} gpu
 * @param {View} shown
 */
export const waitLane = ({ gpus: [name = "", ...others], upper_bound: isBound }, { lanes }) =>
  isBound || others.length ? undefined : lanes.get(name);

/**
 * The GPU wait of a span: where it was if that was measured, else as long as it was from the start of the span.
 * @param {TreeSpan} span
 * @param {View} shown
 */
const waitParts = (span, shown) => {
  const { gpu, offset_seconds: spanStart, duration_seconds: spanSeconds } = span;
  if (!gpu?.waited_seconds) return [];
  const lane = waitLane(gpu, shown);
  if (!lane) {
    const length = `${gpu.upper_bound ? "up to " : ""}${formatSeconds(gpu.waited_seconds)}`;
    const title = `${TRACE_TEXTS.unplaced}: ${length}`;
    return [barPart("wf-wait", spanStart, Math.min(gpu.waited_seconds, spanSeconds), shown, { title })];
  }
  return lane.intervals
    .filter(({ service }) => service !== lane.own)
    .map(({ service, share, offset_seconds: offset, duration_seconds: seconds }) => {
      const start = Math.max(offset, spanStart);
      const end = Math.min(offset + seconds, spanStart + spanSeconds);
      // The wait counts the neighbor's share of this time.
      const title = `${inWords(service)} used ${formatPercent(share)} of ${localName(lane.gpu)}`;
      const style = `opacity:${Math.max(MIN_OPACITY, share)}`;
      return end > start ? barPart("wf-wait", start, end - start, shown, { title, style }) : null;
    });
};

/** @param {TreeSpan} span */
const spanNotes = ({ status, gpu, critical = [] }) => {
  const criticalSeconds = critical.reduce((sum, [, seconds]) => sum + seconds, 0);
  const waited = gpu?.waited_seconds ?? 0;
  return [
    status === "error" ? ", error" : "",
    waited > 0 ? `, GPU wait ${formatSeconds(waited)}` : "",
    criticalSeconds > 0 ? `, ${formatSeconds(criticalSeconds)} on the critical path` : "",
  ].join("");
};

/**
 * @param {TreeRow} row
 * @param {number} i its number among the visible rows
 * @param {View} shown
 */
export const spanRow = (row, i, shown) => {
  const { span, level, childCount } = row;
  const { service, name, members, span_id: id } = span;
  const isFolded = shown.folded.has(id);
  const isSelected = id === shown.selected;
  const times = members ? ` ×${members.length}` : "";
  const kind = `wf-row${i === shown.cursor ? " at" : ""}${isSelected ? " picked" : ""}`;
  const when = `${formatSeconds(span.duration_seconds)}, at ${formatSeconds(span.offset_seconds)}`;
  return h(
    "div",
    {
      id: `wf-${i}`,
      class: kind,
      style: `top:calc(${i} * var(--row))`,
      role: "treeitem",
      "data-row": i,
      "aria-level": level,
      "aria-expanded": childCount ? String(!isFolded) : null,
      "aria-selected": String(isSelected),
      "aria-label": `${inWords(service)} ${name}${times}, ${when}${spanNotes(span)}`,
    },
    spanName(row, times, isFolded, shown),
    spanTrack(span, isFolded, shown),
    spanLength(span, shown),
  );
};

/**
 * @param {TreeRow} row
 * @param {string} times
 * @param {boolean} isFolded
 * @param {View} shown
 */
const spanName = ({ span, level, childCount, isOrphan }, times, isFolded, { label }) => {
  const foldSign = isFolded ? "▸" : "▾";
  const indent = Math.min(level - 1, MAX_INDENTED_LEVELS) * INDENT;
  return h(
    "div",
    { class: "wf-name", style: `padding-left:${indent}px`, title: `${inWords(span.service)} ${span.name}` },
    h(
      "span",
      { class: "wf-fold", "data-fold": childCount ? "yes" : null, "aria-hidden": "true" },
      childCount ? foldSign : "·",
    ),
    serviceDot(span.color),
    h("b", null, label(span.service)),
    ` ${span.name}`,
    times ? h("b", null, times) : null,
    isOrphan ? h("small", { class: "muted" }, ` (${TRACE_TEXTS.parent_missing})`) : null,
  );
};

/**
 * @param {TreeSpan} span
 * @param {boolean} isFolded
 * @param {View} shown
 */
const spanTrack = (span, isFolded, shown) => {
  const bars = (span.members && isFolded ? span.members : [span]).map((each) =>
    barPart(`wf-bar${each.status === "error" ? " failed" : ""}`, each.offset_seconds, each.duration_seconds, shown, {
      style: `background:${serviceColor(span.color)}`,
      minWidth: 2,
    }),
  );
  return h(
    "div",
    { class: "wf-track" },
    bars,
    (span.gaps ?? []).map(([offset, length]) =>
      barPart("wf-gap", offset, length, shown, { title: `${formatSeconds(length)} uninstrumented` }),
    ),
    waitParts(span, shown),
    joinParts(span.critical ?? [], MAX_JOINED_RATIO * shown.range.seconds)
      .filter(([, length]) => length >= MIN_CRITICAL_RATIO * shown.range.seconds)
      .map(([offset, length]) => barPart("wf-critical", offset, length, shown)),
  );
};

/**
 * The length of a span, and where it begins if it lies outside the axis.
 * @param {TreeSpan} span
 * @param {View} shown
 */
const spanLength = ({ offset_seconds: start, duration_seconds: seconds, status, gpu }, { range }) => {
  const length = `${placeOf(start, seconds, range) ? "" : `from ${formatSeconds(start)}: `}${formatSeconds(seconds)}`;
  const wait = gpu?.waited_seconds ? `, GPU wait ${formatSeconds(gpu.waited_seconds)}` : "";
  return h(
    "div",
    { class: "wf-length", title: length + wait },
    status === "error" ? [healthState("critical", "error"), " "] : null,
    length,
    wait ? h("span", { class: "muted" }, wait) : null,
  );
};
