// How money, and numbers of GPUs and GPU-hours are shown.
import { isNumber, NOT_KNOWN } from "#web/assets/format.js";

/**
 * Money, with cents below 100: "USD 3.40", "USD 1,250".
 * @param {number | null | undefined} amount
 * @param {string} currency
 */
export const formatMoney = (amount, currency) => {
  if (!isNumber(amount)) return NOT_KNOWN;
  const shown = amount >= 100 ? Math.round(amount).toLocaleString("en-US") : amount.toFixed(2);
  return currency ? `${currency} ${shown}` : shown;
};

/**
 * A number of GPUs or GPU-hours, with two significant digits below 10.
 * @param {number | null | undefined} value
 */
export const formatFigure = (value) => {
  if (!isNumber(value)) return NOT_KNOWN;
  if (value > 0 && value < 0.01) return "<0.01";
  if (value >= 100) return Math.round(value).toLocaleString("en-US");
  return String(Number(value.toPrecision(value < 10 ? 2 : 3)));
};

/** "1 GPU-hour", "0.5 GPU-hours". @param {number | null | undefined} hours */
export const formatHours = (hours) => `${formatFigure(hours)} GPU-hour${formatFigure(hours) === "1" ? "" : "s"}`;
