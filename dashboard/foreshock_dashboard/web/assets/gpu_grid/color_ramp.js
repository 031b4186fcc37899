// The ramp of the GPU grid: the color of a value, and the ink that can be read on it.
import { cssToken } from "#web/assets/dom.js";
import { FULL_BYTE } from "#web/assets/gpu_grid/grid_values.js";

/** @typedef {readonly number[]} Rgb */

const STEPS = 4;

/** The colors of the ramp, "#rrggbb" from low to high. */
export const rampColors = () => Array.from({ length: STEPS + 1 }, (_, i) => cssToken(`ramp-${i}`));

/** @param {string} color "#rrggbb" */
export const parseColor = (color) => [1, 3, 5].map((i) => Number.parseInt(color.slice(i, i + 2), 16));

/**
 * A function that gives the color of a byte, linear between the ramp's colors as Plotly has it.
 * @param {readonly string[]} colors
 * @returns {(byte: number) => Rgb}
 */
export const rampScale = (colors) => {
  const ramp = colors.map(parseColor);
  return (byte) => {
    const place = (Math.min(byte, FULL_BYTE) * STEPS) / FULL_BYTE;
    const step = Math.min(STEPS - 1, Math.floor(place));
    const [from, to] = [ramp[step] ?? [], ramp[step + 1] ?? []];
    return from.map((part, i) => Math.round(part + ((to[i] ?? 0) - part) * (place - step)));
  };
};

/**
 * The relative luminance of a color, as WCAG 2.2 defines it.
 * @param {Rgb} rgb
 */
const luminance = (rgb) => {
  const [red = 0, green = 0, blue = 0] = rgb.map((part) => {
    const share = part / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
};

/**
 * Whether black can be read better than white on a color; the better one has a contrast of at least 4.5:1.
 * @param {Rgb} rgb
 */
export const needsDarkInk = (rgb) => (luminance(rgb) + 0.05) ** 2 > 1.05 * 0.05;
