// The metrics of a GPU: how they are called, and how their values are shown.
import { isNumber, NOT_KNOWN } from "#web/assets/format.js";
import { formatGridValue } from "#web/assets/gpu_grid/grid_values.js";

/** @typedef {import("#web/pages/fleet/payload.d.ts").Metric} Metric */

/** @type {Record<Metric, { name: string, unit: string }>} */
export const METRICS = {
  busy: { name: "Busy", unit: "ratio" },
  contended: { name: "Contended", unit: "ratio" },
  memory: { name: "Memory", unit: "ratio" },
  power: { name: "Power", unit: "W" },
  temperature: { name: "Temperature", unit: "°C" },
  throttled: { name: "Throttled", unit: "ratio" },
  nvlink: { name: "NVLink", unit: "B/s" },
  errors: { name: "Errors, 15 min", unit: "count" },
};
export const METRIC_NAMES = /** @type {Metric[]} */ (Object.keys(METRICS));

/**
 * @param {number | null} value
 * @param {string} unit
 */
export const formatGpuValue = (value, unit) => (isNumber(value) ? formatGridValue(value, unit) : NOT_KNOWN);
