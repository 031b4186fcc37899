// Times of day in the reader's time zone.
import { h } from "#web/assets/dom.js";
import { isNumber, NOT_KNOWN } from "#web/assets/format.js";
import { readPreference, storePreference } from "#web/assets/preferences.js";
import { live } from "#web/assets/state.js";
import { CAPACITY_TEXTS } from "#web/assets/words.js";

const DATE_AFTER_SECONDS = 12 * 3600;
/** @typedef {import("#web/assets/payload.d.ts").Clause} Clause */
/** @typedef {"local" | "utc"} Zone */

/** @type {Zone} */
let zone = readPreference("foreshock-zone") === "utc" ? "utc" : "local";
/** @type {[clock: Intl.DateTimeFormat, day: Intl.DateTimeFormat] | null} */
let formats = null;

/** The time zone in which times are shown. */
export const currentZone = () => zone;

/**
 * Show times in another zone from now on.
 * @param {Zone} chosen
 */
export const setZone = (chosen) => {
  zone = chosen;
  formats = null;
  storePreference("foreshock-zone", chosen);
  window.dispatchEvent(new CustomEvent("foreshock:zone"));
};

/** Minutes that the shown zone is ahead of UTC. */
export const utcOffsetMinutes = () => (zone === "utc" ? 0 : -new Date().getTimezoneOffset());

const currentFormats = () => {
  const timeZone = zone === "utc" ? "UTC" : undefined;
  formats ??= [
    new Intl.DateTimeFormat(undefined, {
      hour: "2-digit",
      minute: "2-digit",
      second: "2-digit",
      hourCycle: "h23",
      timeZone,
    }),
    new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric", timeZone }),
  ];
  return formats;
};

/**
 * A time of day, with its date where it is more than twelve hours from `now`.
 * @param {number} unix seconds
 * @param {number | null | undefined} now Unix seconds
 */
const formatTime = (unix, now) => {
  const date = new Date(unix * 1000);
  const [clock, day] = currentFormats();
  const otherDay = isNumber(now) && Math.abs(now - unix) > DATE_AFTER_SECONDS;
  return `${otherDay ? `${day.format(date)} ` : ""}${clock.format(date)}${zone === "utc" ? " UTC" : ""}`;
};

/**
 * A time of day relative to the hub's clock.
 * @param {number | null | undefined} unix seconds
 */
export const formatTimestamp = (unix) => (isNumber(unix) ? formatTime(unix, live.time) : NOT_KNOWN);

/**
 * The name of the shown zone at a time: "UTC", "GMT+2".
 * @param {number} [unix] seconds; by default now
 */
export const zoneName = (unix = Date.now() / 1000) => {
  if (zone === "utc") return "UTC";
  const parts = new Intl.DateTimeFormat(undefined, { timeZoneName: "short" }).formatToParts(new Date(unix * 1000));
  return parts.find(({ type }) => type === "timeZoneName")?.value ?? "local";
};

/**
 * A time of day with the name of its zone, for a place where no other time stands beside it.
 * @param {number | null | undefined} unix seconds
 */
export const formatTimestampWithZone = (unix) => {
  if (!isNumber(unix)) return NOT_KNOWN;
  return zone === "utc" ? formatTimestamp(unix) : `${formatTimestamp(unix)} ${zoneName(unix)}`;
};

/**
 * A date and time of day.
 * @param {number} unix seconds
 */
export const formatDateTime = (unix) => {
  const date = new Date(unix * 1000).toLocaleDateString("sv-SE", zone === "utc" ? { timeZone: "UTC" } : {});
  return `${date} ${formatTimestamp(unix)}`;
};

/**
 * An element with a time of day, whose tooltip has the exact time in UTC.
 * @param {number | null | undefined} unix seconds
 * @param {number | null} [now] Unix seconds of the hub's clock
 */
export const timeElement = (unix, now) => {
  return isNumber(unix) ? exactTime(unix, formatTime(unix, now)) : NOT_KNOWN;
};

/**
 * An element with a time in words, whose tooltip has the exact time in UTC.
 * @param {number} unix seconds
 * @param {string | undefined} text
 */
export const exactTime = (unix, text) => {
  const exact = new Date(unix * 1000).toISOString();
  return h("time", { datetime: exact, title: exact }, text);
};

/** @param {number} unix seconds */
const minuteText = (unix) =>
  currentFormats()[0]
    .format(new Date(unix * 1000))
    .slice(0, "hh:mm".length);

/**
 * The midnight, Unix seconds, with which a day begins in the shown zone.
 * @param {number} unix seconds within the day
 * @param {number} [days] after it
 */
export const midnight = (unix, days = 0) => {
  const date = new Date(unix * 1000);
  if (zone === "utc") return Date.UTC(date.getUTCFullYear(), date.getUTCMonth(), date.getUTCDate() + days) / 1000;
  return new Date(date.getFullYear(), date.getMonth(), date.getDate() + days).getTime() / 1000;
};

/**
 * The name of a day relative to now: "today", "tomorrow", "Thursday", "Dec 12"; short ones are weekdays only.
 * @param {number} unix seconds
 * @param {number} now Unix seconds
 * @param {"long" | "short"} [length] of a weekday
 */
export const dayName = (unix, now, length = "long") => {
  const days = Math.round((midnight(unix) - midnight(now)) / 86_400);
  if (length === "long" && (days === 0 || days === 1)) return days ? CAPACITY_TEXTS.tomorrow : CAPACITY_TEXTS.today;
  const timeZone = zone === "utc" ? "UTC" : undefined;
  const isNamed = days >= 0 && days < 7;
  const format = isNamed ? { weekday: length, timeZone } : { month: /** @type {const} */ ("short"), day: "numeric" };
  return new Intl.DateTimeFormat("en-US", /** @type {Intl.DateTimeFormatOptions} */ ({ ...format, timeZone })).format(
    new Date(unix * 1000),
  );
};

/**
 * A moment to the minute with its day: "tomorrow at 10:40"; on the day of `after` the time alone.
 * @param {number} unix seconds
 * @param {number} now Unix seconds
 * @param {number | null} [after] Unix seconds
 */
export const formatMoment = (unix, now, after = null) => {
  const clock = minuteText(unix);
  if (isNumber(after) && midnight(after) === midnight(unix)) return clock;
  return `${dayName(unix, now)} ${CAPACITY_TEXTS.at} ${clock}`;
};

/**
 * The text of a clause; a time is in the reader's zone, as all other times of a page.
 * @param {Clause} clause
 * @param {number | null} [after] the moment before it, Unix seconds
 */
export const clauseText = ({ text, kind, at }, after = null) => {
  if (zone === "utc" || !isNumber(at)) return text;
  if (kind === "moment") return formatMoment(at, live.time ?? at, after);
  return kind === "minute" ? minuteText(at) : currentFormats()[0].format(new Date(at * 1000));
};

/**
 * The text of each clause. Of moments on one day, the first alone has it.
 * @param {readonly Clause[]} clauses
 */
export const clauseTexts = (clauses) => {
  /** @type {number | null} */
  let after = null;
  return clauses.map((clause) => {
    const text = clauseText(clause, after);
    if (clause.kind === "moment") after = clause.at;
    return text;
  });
};

/**
 * The text of clauses.
 * @param {readonly Clause[]} clauses
 */
export const clausesText = (clauses) => clauseTexts(clauses).join("");
