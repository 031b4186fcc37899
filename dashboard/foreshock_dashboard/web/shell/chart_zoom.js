// What Dash calls for charts: a drag sets the time range of all charts and the page, a click opens a trace.
import { hrefWith, navigate } from "#web/assets/address.js";
import { utcOffsetMinutes } from "#web/assets/clock.js";
import * as timeRange from "#web/assets/widgets/time_range.js";
import { currentPage } from "#web/shell/feed.js";

const MIN_DRAG_SECONDS = 1;
const MIN_RANGE_SECONDS = 60;

/**
 * Unix seconds of a time on a chart's axis, which is in the reader's zone.
 * @param {string} text
 */
const axisTime = (text) => Date.parse(`${text.replace(" ", "T").slice(0, 23)}Z`) / 1000 - utcOffsetMinutes() * 60;

/**
 * The clientside callback of every chart's `relayoutData`.
 * @param {any} layout what was dragged
 */
export const zoomed = (layout) => {
  const [start, end] = [layout?.["xaxis.range[0]"], layout?.["xaxis.range[1]"]];
  if (typeof start === "string" && typeof end === "string") {
    const [first, last] = [axisTime(start), axisTime(end)];
    if (last - first >= MIN_DRAG_SECONDS) {
      const middle = (first + last) / 2;
      const half = Math.max(last - first, MIN_RANGE_SECONDS) / 2;
      // Of a chart whose other axis can be dragged as well, the page knows what that means.
      const [low, high] = [layout["yaxis.range[0]"], layout["yaxis.range[1]"]];
      const hasY = Number.isFinite(low) && Number.isFinite(high);
      timeRange.setBounds(middle - half, middle + half, hasY ? currentPage()?.yRangeParams?.(low, high) : {});
    }
  }
  return window.dash_clientside?.no_update;
};

/**
 * Open the trace of a mark that was clicked. Dash calls this with what was clicked.
 * @param {any} click
 */
export const openClickedTrace = (click) => {
  /** @type {unknown[]} */
  const data = (click?.points ?? []).map((/** @type {{ customdata: unknown }} */ { customdata }) => customdata);
  const trace = data.find((value) => typeof value === "string");
  if (trace) navigate(hrefWith({ trace, span: null }, "/traces"));
  return null;
};
