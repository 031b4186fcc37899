// Values of the GPU grid: bytes on the wire, numbers in a unit, and their text.
import { formatPercent } from "#web/assets/format.js";
import { ABSENT } from "#web/assets/words.js";

/** @typedef {"lost" | "failing" | "throttled"} GpuFault */

/** The shape of each fault, the gravest first. @type {Record<GpuFault, string>} */
export const FAULT_SIGNS = { lost: "✕", failing: "!", throttled: "▼" };

/**
 * What the grid shows. Arrays and sets are by index of a GPU.
 * @typedef {object} GridView
 * @property {string} title of the quantity
 * @property {string} unit
 * @property {number} low value of byte 0
 * @property {number} high value of byte 250
 * @property {Uint8Array} values one byte each, 255 for no data
 * @property {Uint8Array | null} gpuWait the longest of a service with requests, share of time, one byte each
 * @property {Set<number>} marked GPUs in an open incident
 * @property {import("#web/assets/timeline/incident.js").IncidentStatus | null} markStatus that of the worst incident
 * @property {Map<number, GpuFault>} [faults]
 * @property {string} [opened] label of the GPU that is open
 * @property {(service: string, tenant: number) => string} [describeTenant] a service on a GPU; its index among tenants
 */

export const NO_DATA_BYTE = 255;
export const FULL_BYTE = 250;

/**
 * Bytes that JSON has as base64.
 * @param {string | null | undefined} text
 */
export const decodeBytes = (text) => Uint8Array.from(atob(text || ""), (character) => character.charCodeAt(0));

/**
 * @param {number | undefined} byte
 * @returns {byte is number}
 */
export const hasData = (byte) => byte !== undefined && byte !== NO_DATA_BYTE;
/** @param {number | undefined} byte */
export const decodeRatio = (byte) => (hasData(byte) ? byte / FULL_BYTE : null);

/**
 * A value of the grid with its unit.
 * @param {number | null} value
 * @param {string} unit
 */
export const formatGridValue = (value, unit) => {
  if (value === null) return ABSENT.data;
  if (unit === "ratio") return formatPercent(value);
  if (unit === "B/s") return `${(value / 1e9).toFixed(1)} GB/s`;
  return unit === "count" ? value.toFixed(0) : `${value.toFixed(0)} ${unit}`;
};

/**
 * The value that a byte stands for; null for no data.
 * @param {number | undefined} byte
 * @param {GridView} view
 */
export const gridValue = (byte, { low, high }) => (hasData(byte) ? low + (byte / FULL_BYTE) * (high - low) : null);
