// The time range that is looked at: the parameters from, to and refresh of the address, in Grafana's grammar.
import { hrefWith, navigate, ofCluster, searchParams } from "#web/assets/address.js";
import { hubTime, live } from "#web/assets/state.js";
import { RANGE_FAULTS } from "#web/assets/words.js";

export const DEFAULT_FROM = "now-30m";
const DEFAULT_SECONDS = 1800;
const MIN_SECONDS = 60;
const MAX_SECONDS = 360 * 86400;
const MAX_REFRESH_SECONDS = 3600;
/** A range that ends within these of now goes on with it. */
const LIVE_WITHIN_SECONDS = 2;

/** @type {Record<string, number>} */
const UNIT_SECONDS = { s: 1, m: 60, h: 3600, d: 86400 };
const REFRESH_INTERVAL = /^(\d+)([sm])$/;
const RELATIVE_TIME = /^now(-\d+(\.\d+)?(ms|s|m|h|d))?(\/[mhd])?$/;
const DATE_TIME = /^\d{4}-\d\d-\d\d[T ]\d\d(:?\d\d(:?\d\d([.,]\d+)?)?)?(Z|[+-]\d\d(:?\d\d)?)$/i;
const UNIX_TIME = /^\d+(\.\d+)?$/;

/** A parameter of the address and why it cannot be used. @typedef {[name: string, reason: string]} Fault */

/**
 * Unix seconds of a time in the address; NaN where only the hub can read it.
 * @param {string} text
 * @param {number} now Unix seconds
 */
export const parseTime = (text, now) => {
  if (text === "now") return now;
  const relative = /^now-(\d+(?:\.\d+)?)([smhd])$/.exec(text);
  if (relative) return now - Number(relative[1]) * (UNIT_SECONDS[relative[2] ?? ""] ?? Number.NaN);
  if (/^\d{12,14}$/.test(text)) return Number(text) / 1000;
  if (/^\d{9,11}(\.\d+)?$/.test(text)) return Number(text);
  return Date.parse(text) / 1000;
};

/**
 * Why a time range cannot be used; null where it can. The hub has the same rules (web/http/time_range.py).
 * @param {string} from "" for the default
 * @param {string} to "" for now
 * @param {number | null} now Unix seconds of the hub, null while unknown
 * @returns {Fault | null}
 */
export const rangeFault = (from, to, now) => {
  for (const [name, text] of /** @type {Fault[]} */ ([
    ["from", from],
    ["to", to],
  ])) {
    if (text && !RELATIVE_TIME.test(text) && !DATE_TIME.test(text) && !UNIX_TIME.test(text)) {
      return [name, RANGE_FAULTS.time];
    }
  }
  if (!from || !now) return null;
  const seconds = Math.min(parseTime(to || "now", now), now) - parseTime(from, now);
  if (seconds < MIN_SECONDS) return ["from", RANGE_FAULTS.short];
  return seconds > MAX_SECONDS ? ["from", RANGE_FAULTS.long] : null;
};

/**
 * Why a refresh interval cannot be used; null where it can.
 * @param {string} refresh
 * @returns {Fault | null}
 */
export const refreshFault = (refresh) =>
  refresh && refresh !== "off" && !REFRESH_INTERVAL.test(refresh) ? ["refresh", RANGE_FAULTS.interval] : null;

/**
 * Seconds between two requests for values; 0 for none. Every second where the text gives nothing else.
 * @param {string} refresh
 */
export const parseRefresh = (refresh) => {
  if (refresh === "off") return 0;
  const match = REFRESH_INTERVAL.exec(refresh);
  if (!match) return 1;
  return Math.max(1, Math.min(MAX_REFRESH_SECONDS, Number(match[1]) * (UNIT_SECONDS[match[2] ?? ""] ?? 1)));
};

/** @param {string} name */
const written = (name) => (searchParams().get(name) ?? "").trim();
const currentFault = () => rangeFault(written("from"), written("to"), live.time);

/** What of the address cannot be used. The default is shown in its place, as in the charts. */
export const faults = () => [currentFault(), refreshFault(written("refresh"))].filter((fault) => fault !== null);
/** The range's start as the address has it. */
export const from = () => (currentFault() ? DEFAULT_FROM : written("from") || DEFAULT_FROM);
/** The range's end as the address has it. */
export const to = () => (currentFault() ? "now" : written("to") || "now");
/** Whether the range ends now. */
export const isLive = () => to() === "now";
/**
 * Unix seconds from which a page counts ages: the hub's clock, or the time of the values where these are of the past.
 * @param {Pick<import("#web/assets/payload.d.ts").LivePayload, "bounds" | "data_time">} data
 */
export const shownTime = ({ bounds, data_time: time }) => (isLive() && !bounds ? live.time : (time ?? live.time)) ?? 0;
/** Seconds between two requests for values; 0 for none. */
export const refreshSeconds = () => parseRefresh(written("refresh"));

/**
 * Unix seconds of the range's end, or NaN.
 */
export const endTime = () => parseTime(to(), hubTime());

/**
 * The range in Unix seconds; the last half hour where only the hub can read it.
 * @returns {[start: number, end: number]}
 */
export const bounds = () => {
  const end = endTime();
  const start = written("from") ? parseTime(from(), hubTime()) : end - DEFAULT_SECONDS;
  const readable = Number.isFinite(start) && Number.isFinite(end) && end > start;
  return readable ? [start, end] : [hubTime() - DEFAULT_SECONDS, hubTime()];
};

/**
 * `&at=` of the hub's API: the range's end where it is past, else nothing.
 * @param {string} path
 */
export const atRangeEnd = (path) =>
  ofCluster(isLive() ? path : `${path}${path.includes("?") ? "&" : "?"}at=${encodeURIComponent(to())}`);

/**
 * Unix milliseconds as the address has them.
 * @param {number} unix seconds
 */
export const formatUnix = (unix) => String(Math.round(unix * 1000));

/**
 * Look at a time range.
 * @param {string} start
 * @param {string} end
 * @param {boolean} [replace] the current entry of the history
 * @param {Record<string, string | null>} [params] other parameters to change
 */
export const setRange = (start, end, replace = false, params = {}) =>
  navigate(
    hrefWith({ from: start === DEFAULT_FROM ? null : start, to: end === "now" ? null : end, ...params }),
    replace,
  );

/**
 * Look at a time range in Unix seconds. One that ends now stays live.
 * @param {number} start
 * @param {number} end
 * @param {Record<string, string | null>} [params] other parameters to change
 */
export const setBounds = (start, end, params = {}) => {
  const endsNow = end >= hubTime() - LIVE_WITHIN_SECONDS && !live.data?.bounds;
  setRange(formatUnix(start), endsNow ? "now" : formatUnix(end), false, params);
};

/**
 * Move the range by a share of its length, never beyond now.
 * @param {number} share negative to move back
 */
export const shift = (share) => {
  const [start, end] = bounds();
  const seconds = Math.min((end - start) * share, hubTime() - end);
  setBounds(start + seconds, end + seconds);
};

/** Double the range's length around its middle, never beyond now. */
export const zoomOut = () => {
  const [start, end] = bounds();
  const half = (end - start) / 2;
  setBounds(start - half, Math.min(hubTime(), end + half));
};
