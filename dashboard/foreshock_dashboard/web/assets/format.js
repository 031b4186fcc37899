// Numbers and durations as text. A value that is not known is a dash, never a zero.
import { ABSENT, BREACH_BUCKETS, BREACH_TEXTS } from "#web/assets/words.js";

export const NOT_KNOWN = "–";
/** Latency below which it is shown in seconds, as SLOs are: its three digits. */
const MAX_LATENCY_SECONDS = 999.5;

/**
 * Whether a value is a finite number.
 * @param {unknown} value
 * @returns {value is number}
 */
export const isNumber = (value) => Number.isFinite(value);

/**
 * A whole number with its thousands apart: "2,168".
 * @param {number} value
 */
const grouped = (value) => Math.round(value).toLocaleString("en-US");

/**
 * A count: "2,168".
 * @param {unknown} value
 */
export const formatWhole = (value) => (isNumber(value) ? grouped(value) : NOT_KNOWN);

/**
 * @param {number} value
 * @param {number} [more] further decimals
 */
const threeDigits = (value, more = 0) => {
  if (value >= 1000) return grouped(value);
  if (value >= 100) return value.toFixed(more);
  return value.toFixed(more + (value >= 10 ? 1 : 2));
};

/**
 * A number with three significant digits: "0.52", "14.6", "1,250".
 * @param {number} value
 */
const significant = (value) => (value >= 100 ? grouped(value) : String(Number(value.toPrecision(3))));

/**
 * A formatter of a table's numbers of one unit: as many decimals for all as the largest needs.
 * @param {readonly (number | null)[]} values
 */
export const columnFormat = (values) => {
  const largest = Math.max(0, ...values.filter(isNumber));
  const digits = 2 - [10, 100].filter((bound) => largest >= bound).length;
  const options = { minimumFractionDigits: digits, maximumFractionDigits: digits };
  return (/** @type {number | null} */ value) => {
    if (!isNumber(value)) return null;
    const least = 10 ** -digits;
    if (value > 0 && value < least / 2) return `<${least}`;
    return value ? value.toLocaleString("en-US", options) : "0";
  };
};

/**
 * A latency with three digits: "14.6 s", "29 ms", "594 s"; from 1,000 s on in minutes.
 * @param {unknown} seconds
 */
export const formatSeconds = (seconds) => secondsText(seconds, 0);

/**
 * @param {unknown} seconds
 * @param {number} more further decimals
 */
const secondsText = (seconds, more) => {
  if (!isNumber(seconds)) return NOT_KNOWN;
  if (seconds === 0) return "0 s";
  if (seconds < 1e-3) return `${threeDigits(seconds * 1e6, more)} µs`;
  if (seconds < 0.01) return `${threeDigits(seconds * 1e3, more)} ms`;
  if (seconds < 1) return `${(seconds * 1e3).toFixed(more)} ms`;
  return seconds < MAX_LATENCY_SECONDS ? `${threeDigits(seconds, more)} s` : formatDuration(seconds);
};

/**
 * A length of time in at most two units: "9 min 30 s", "12 min", "2 h 5 min".
 * Rounded to the second, from ten minutes on
 * to the minute, and from a day on to the hour.
 * @param {number} seconds
 */
export const formatDuration = (seconds) => {
  const roundedTo = (/** @type {number} */ unit) => Math.round(seconds / unit) * unit;
  const whole = Math.max(0, roundedTo(1));
  if (whole < 60) return `${whole} s`;
  if (whole < 600) return inUnits(whole, [60, "min"], [1, "s"]);
  const minutes = roundedTo(60);
  if (minutes < 3600) return `${minutes / 60} min`;
  if (minutes < 86400) return inUnits(minutes, [3600, "h"], [60, "min"]);
  return inUnits(roundedTo(3600), [86400, "d"], [3600, "h"]);
};

/**
 * @param {number} seconds
 * @param {[seconds: number, unit: string]} large
 * @param {[seconds: number, unit: string]} small
 */
const inUnits = (seconds, [largeSeconds, large], [smallSeconds, small]) => {
  const rest = Math.floor((seconds % largeSeconds) / smallSeconds);
  return `${Math.floor(seconds / largeSeconds)} ${large}${rest ? ` ${rest} ${small}` : ""}`;
};

/**
 * A ratio as a percentage: "82%".
 * @param {unknown} ratio
 */
export const formatPercent = (ratio) => percentText(ratio, 0);

/**
 * @param {unknown} ratio
 * @param {number} more further decimals
 */
const percentText = (ratio, more) => {
  if (!isNumber(ratio)) return NOT_KNOWN;
  const percent = ratio * 100;
  if (percent === 0 || percent >= 10) return `${percent.toFixed(more)}%`;
  return percent < 0.05 ? "<0.1%" : `${percent.toFixed(more + 1)}%`;
};

/**
 * A value and its reference, with one more decimal where they would print alike: "50.4 ms" and "49.9 ms".
 * @param {number} value
 * @param {number} reference
 * @param {string} unit "s" or "ratio"
 * @returns {[value: string, reference: string]}
 */
export const formatApart = (value, reference, unit) => {
  const show = unit === "s" ? secondsText : percentText;
  const more = value !== reference && show(value, 0) === show(reference, 0) ? 1 : 0;
  return [show(value, more), show(reference, more)];
};

/**
 * A request rate: "14 req/s".
 * @param {unknown} perSecond
 */
export const formatRate = (perSecond) => (isNumber(perSecond) ? `${significant(perSecond)} req/s` : NOT_KNOWN);

/**
 * A value with its unit: "s", "ratio", "count", "req/s", "1/s", or any other, which follows the number.
 * @param {unknown} value
 * @param {string} [unit]
 */
export const formatValue = (value, unit) => {
  if (!isNumber(value)) return NOT_KNOWN;
  if (unit === "s") return formatSeconds(value);
  if (unit === "ratio") return formatPercent(value);
  if (unit === "count" || (!unit && Number.isInteger(value))) return grouped(value);
  if (unit === "req/s") return formatRate(value);
  if (unit === "1/s") return `${significant(value)}/s`;
  return unit ? `${threeDigits(value)} ${unit}` : threeDigits(value);
};

/** By how much a shown number is larger than its value. @type {Record<string, number>} */
const SCALES = { "%": 100, ms: 1e3, µs: 1e6 };

/**
 * A value as rounded as its text, so that what is calculated from shown values agrees with them.
 * @param {number} value
 * @param {string} unit "s" or "ratio"
 */
export const shownValue = (value, unit) => {
  const [, decimals = "", symbol = ""] = /(?:\.(\d+))? ?(\D*)$/.exec(formatValue(value, unit)) ?? [];
  const scale = (SCALES[symbol] ?? 1) * 10 ** decimals.length;
  return Math.round(value * scale) / scale;
};

/**
 * Load as a share of capacity: "82%", and beyond it "> 100%", with or without a queue.
 * @param {unknown} ratio
 */
export const formatLoad = (ratio) => (isNumber(ratio) && ratio > 1 ? "> 100%" : formatPercent(ratio));

/**
 * A value of a signal; a load as on all pages.
 * @param {string | null} signal
 * @param {unknown} value
 * @param {string} unit
 */
export const formatSignal = (signal, value, unit) => (signal === "load" ? formatLoad(value) : formatValue(value, unit));

/**
 * Bytes in GiB.
 * @param {unknown} bytes
 */
export const formatGibibytes = (bytes) => (isNumber(bytes) ? `${(bytes / 2 ** 30).toFixed(1)} GiB` : NOT_KNOWN);

/**
 * Bytes in the largest binary unit of which there is one.
 * @param {unknown} bytes
 */
export const formatBytes = (bytes) => {
  if (!isNumber(bytes)) return NOT_KNOWN;
  const power = Math.min(4, Math.max(0, Math.floor(Math.log2(Math.max(1, bytes)) / 10)));
  return `${(bytes / 1024 ** power).toFixed(power ? 1 : 0)} ${["B", "KiB", "MiB", "GiB", "TiB"][power]}`;
};

/**
 * The seconds until a forecast event; `null` is beyond the horizon.
 * @param {number | null | undefined} seconds
 */
export const formatTimeToEvent = (seconds) => {
  if (!isNumber(seconds)) return BREACH_TEXTS.beyond;
  if (seconds < 90) return `${Math.max(10, Math.round(seconds / 10) * 10)} s`;
  return `${Math.round(seconds / 60)} min`;
};

/**
 * An estimated count with two significant digits: "1,200".
 * @param {number} count
 */
export const formatCount = (count) => grouped(Number(count.toPrecision(2)));

/**
 * When an SLO breach is forecast, by its median in seconds; `null` is beyond the horizon.
 * @param {number | null | undefined} seconds
 */
export const formatMedian = (seconds) => {
  const buckets = Object.entries(BREACH_BUCKETS);
  return buckets.find(([limit]) => isNumber(seconds) && seconds < Number(limit))?.[1] ?? BREACH_TEXTS.later;
};

/**
 * An interval of seconds until a forecast event: "2 to 9 min", "40 s to 6 min".
 * @param {number | null | undefined} low
 * @param {number | null | undefined} high
 */
export const formatInterval = (low, high) => {
  const [from, to] = [formatTimeToEvent(low), formatTimeToEvent(high)];
  if (from === to) return `about ${to}`;
  const oneUnit = from.endsWith(" min") && to.endsWith(" min") && isNumber(high);
  return oneUnit ? `${from.replace(" min", "")} to ${to}` : `${from} to ${to}`;
};

/** @typedef {import("#web/assets/payload.d.ts").Percentiles} Percentiles */

/**
 * The interval of a forecast: "80% interval: 40 s to 11 min"; "" where it is not known.
 * @param {Pick<Percentiles, "p10" | "p90">} seconds
 */
export const intervalText = ({ p10, p90 }) =>
  isNumber(p10) ? `${BREACH_TEXTS.interval} ${formatInterval(p10, p90)}` : "";

/**
 * When an SLO breach is forecast: "median < 5 min, 80% interval: 40 s to 11 min", as far as known.
 * @param {Percentiles} seconds
 */
export const formatForecast = (seconds) =>
  [formatMedian(seconds.p50), intervalText(seconds)].filter(Boolean).join(", ");

/**
 * A number of things: "1 GPU", "2 GPUs".
 * @param {number} count
 * @param {string} noun
 */
export const plural = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;

/**
 * A text of the catalog with values for its names in braces.
 * @template {string} T
 * @param {T} text
 * @param {Record<import("#web/assets/page.d.ts").NamesIn<T>, string | number>} values
 */
export const filled = (text, values) =>
  text.replace(/\{(\w+)\}/g, (_, name) => String(values[/** @type {keyof typeof values} */ (name)]));

/** @param {string} text */
export const capitalized = (text) => text.charAt(0).toUpperCase() + text.slice(1);

/** @param {string} text */
export const uncapitalized = (text) => text.charAt(0).toLowerCase() + text.slice(1);

/**
 * Text of at most so many characters; what is longer ends in "…".
 * @param {string} text
 * @param {number} maxLength
 */
export const truncate = (text, maxLength) =>
  text.length > maxLength ? `${text.slice(0, Math.max(1, maxLength - 1))}…` : text;

/**
 * The cluster of a name such as "eu//shop/cart"; "" without one.
 * @param {string} name
 */
export const clusterOf = (name) => name.slice(0, Math.max(0, name.indexOf("//")));

/**
 * A name as its own cluster has it: "shop/cart" of "eu//shop/cart".
 * @param {string} name
 */
export const localName = (name) => (clusterOf(name) ? name.slice(name.indexOf("//") + 2) : name);

const BETWEEN_NAMES = /( → | -> | \/ | waiting on | waits on | on |, )/;

/**
 * Names, and the words between them, that say their cluster, each where the name before it has another one, as the
 * hub's texts do: "shop/cart in eu waits on ml/batch (no cluster)".
 * @param {string} names
 */
export const inWords = (names) => {
  let last = "";
  return names
    .split(BETWEEN_NAMES)
    .map((part, i) => {
      const cluster = clusterOf(part);
      if (i % 2 || cluster === last) return i % 2 ? part : localName(part);
      last = cluster;
      return `${localName(part)}${cluster ? ` in ${cluster}` : ` (${ABSENT.cluster})`}`;
    })
    .join("");
};

/**
 * The parts of a service: `name`, `namespace/name`, or either after `cluster//`; "" for what it has not.
 * @param {string} id
 */
export const splitService = (id) => {
  const local = localName(id);
  const slash = local.indexOf("/");
  return { cluster: clusterOf(id), namespace: local.slice(0, Math.max(0, slash)), name: local.slice(slash + 1) };
};

/**
 * The label matchers of a service in PromQL.
 * @param {string} id
 */
export const serviceMatchers = (id) => {
  const { cluster, namespace, name } = splitService(id);
  const matchers = [`service_name=${JSON.stringify(name)}`, `service_namespace=${JSON.stringify(namespace)}`];
  return [...matchers, ...(cluster ? [`cluster=${JSON.stringify(cluster)}`] : [])].join(",");
};

/**
 * A function that gives the name of each service without its cluster and namespace where that is unique among these.
 * @param {readonly string[]} ids such as "prod/embedder"
 * @param {(id: string) => string} bareName the short name
 * @returns {(id: string) => string}
 */
export const shortLabels = (ids, bareName = (id) => splitService(id).name) => {
  /** @type {Map<string, number>} */
  const counts = new Map();
  for (const id of ids) counts.set(bareName(id), (counts.get(bareName(id)) ?? 0) + 1);
  return (id) => (counts.get(bareName(id)) === 1 ? bareName(id) : inWords(id));
};

/**
 * The text without line breaks between a number and its unit or the name of its limit.
 * @param {string} text
 */
export const unbroken = (text) => text.replace(/(\d|\((?:SLO|limit|safe|baseline)) (?=[a-z\d])/g, "$1\u00a0");
