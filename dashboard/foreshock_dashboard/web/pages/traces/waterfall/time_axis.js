// The time axis of a trace: the root span, or all spans where some lie outside it.

/** @typedef {import("#web/pages/traces/payload.d.ts").Trace} Trace */
/**
 * Seconds since the trace began.
 * @typedef {{ start: number, seconds: number }} AxisRange
 */

/** A length that stands for none. */
const MIN_SECONDS = 1e-9;
/** Spans that lie outside the root span by less than this share of its duration need no longer axis. */
const MIN_OTHER_RATIO = 0.02;

/**
 * The range of the axis.
 * @param {Trace} trace
 * @param {boolean} isWhole of all spans, not of the root span
 * @returns {AxisRange}
 */
export const axisRange = (trace, isWhole) => {
  const { root_offset_seconds: rootStart, duration_seconds: seconds, extent_seconds: extent } = trace;
  const isAll = isWhole || !hasOtherWork(trace);
  const range = isAll ? { start: 0, seconds: extent } : { start: rootStart, seconds };
  return { ...range, seconds: Math.max(MIN_SECONDS, range.seconds) };
};

/**
 * Whether spans lie outside the root span: work that goes on after a caller timed out, or clocks that differ.
 * @param {Trace} trace
 */
export const hasOtherWork = ({ duration_seconds: seconds, extent_seconds: extent }) =>
  extent > (1 + MIN_OTHER_RATIO) * seconds && seconds > 0;

/**
 * The place of a stretch of time on the axis, in percent; null outside it.
 * @param {number} start
 * @param {number} seconds
 * @param {AxisRange} range
 */
export const placeOf = (start, seconds, range) => {
  const end = range.start + range.seconds;
  if (start > end || start + seconds < range.start) return null;
  const left = Math.max(start, range.start);
  const width = Math.min(start + seconds, end) - left;
  return { left: ((left - range.start) / range.seconds) * 100, width: (width / range.seconds) * 100 };
};

/**
 * Parts of time in order, those joined that are no further apart than a gap.
 * @param {readonly (readonly [offset: number, seconds: number])[]} parts
 * @param {number} gap in seconds
 */
export const joinParts = (parts, gap) => {
  /** @type {[offset: number, seconds: number][]} */
  const joined = [];
  for (const [offset, seconds] of [...parts].sort(([a], [b]) => a - b)) {
    const last = joined.at(-1);
    if (last && offset <= last[0] + last[1] + gap) last[1] = Math.max(last[1], offset + seconds - last[0]);
    else joined.push([offset, seconds]);
  }
  return joined;
};
