// Where each GPU of the grid is: hosts side by side, pools below one another, in the largest cells that fit.
import { clusterOf, localName, truncate } from "#web/assets/format.js";
import { ABSENT } from "#web/assets/words.js";

/** @typedef {import("#web/assets/payload.d.ts").Topology} Topology */
/** The GPUs of a host that are in one pool, by index. @typedef {{ host: string, gpus: number[] }} Block */
/** @typedef {{ pool: string, blocks: Block[] }} PoolGroup */
/** @typedef {{ text: string, x: number, y: number, kind: "pool" | "host" }} Heading */
/**
 * Column and row edges in pixels, and the column and row of each GPU.
 * @typedef {object} Placement
 * @property {Int32Array} row
 * @property {Int32Array} column
 * @property {number[]} xs
 * @property {number[]} ys
 * @property {Heading[]} headings
 * @property {number} cellSize
 * @property {number} width
 * @property {number} height
 */

/** Sizes of cells in pixels: smaller ones where the larger do not fit, legible ones also where the grid is flatter. */
const [LARGEST_SIZE, LEGIBLE_SIZES, SMALL_SIZES] = [44, [38, 32], [26, 22, 18, 15, 12, 10, 8, 7, 6, 5, 4, 3]];
const MAX_HEIGHT = 430;
/** How much flatter: it then fills the width. */
const MAX_FLATTER_RATIO = 0.75;
const MIN_NAMED_BLOCK_WIDTH = 60;
const HEADING_CHARACTER_WIDTH = 6.4;

/** @param {readonly number[]} values */
const last = (values) => values[values.length - 1] ?? 0;

/**
 * Hosts' GPUs by pool.
 * @param {Topology} topology
 * @returns {PoolGroup[]}
 */
export const groupByPool = ({ hosts, pools }) => {
  /** @type {Map<string, Block[]>} */
  const byPool = new Map();
  let gpu = 0;
  for (const host of hosts) {
    for (let i = 0; i < host.gpus.length; i += 1, gpu += 1) {
      const named = pools?.names.length ? localName(pools.names[pools.of[gpu] ?? -1] || ABSENT.pool) : "";
      const pool = [clusterOf(host.name), named].filter(Boolean).join(" · ");
      const blocks = byPool.get(pool) ?? [];
      byPool.set(pool, blocks);
      if (blocks.at(-1)?.host !== host.name) blocks.push({ host: host.name, gpus: [] });
      blocks.at(-1)?.gpus.push(gpu);
    }
  }
  return [...byPool].map(([pool, blocks]) => ({ pool, blocks })).sort((a, b) => a.pool.localeCompare(b.pool));
};

/**
 * The first number whose bound the cell size exceeds, else the last one.
 * @param {number} cellSize
 * @param {readonly [number, number, number, number]} numbers for cells above 20, above 12, above 8, and smaller ones
 */
const bySize = (cellSize, [large, medium, small, tiny]) => {
  if (cellSize > 20) return large;
  if (cellSize > 12) return medium;
  return cellSize > 8 ? small : tiny;
};

/**
 * The placement in cells of one size.
 * @param {readonly PoolGroup[]} groups
 * @param {number} gpuCount
 * @param {number} width
 * @param {number} cellSize
 * @returns {Placement}
 */
const placeCells = (groups, gpuCount, width, cellSize) => {
  const largest = Math.max(...groups.flatMap(({ blocks }) => blocks.map(({ gpus }) => gpus.length)));
  const across = Math.min(largest, bySize(cellSize, [8, 4, 2, 1]));
  const gap = bySize(cellSize, [10, 6, 3, 0]); // the smallest cells touch: a gap would be a column to draw, too
  const cellHeight = cellSize >= 26 ? Math.round(cellSize * 0.72) : cellSize;
  const blockWidth = across * cellSize + gap;
  const fitting = Math.max(1, Math.floor((width + gap) / blockWidth));
  const blocks = Math.max(...groups.map((group) => group.blocks.length));
  const blocksPerRow = Math.ceil(blocks / Math.ceil(blocks / fitting)); // rows of about equal length
  const isNamed = blockWidth >= MIN_NAMED_BLOCK_WIDTH;

  const xs = [0];
  /** @type {number[]} */
  const firstColumns = [];
  for (let b = 0; b < blocksPerRow; b += 1) {
    if (b && gap) xs.push(last(xs) + gap);
    firstColumns.push(xs.length - 1);
    for (let c = 0; c < across; c += 1) xs.push(last(xs) + cellSize);
  }

  const ys = [0];
  const [row, column] = [new Int32Array(gpuCount), new Int32Array(gpuCount)];
  /** @type {Heading[]} */
  const headings = [];
  const bandMargin = (/** @type {boolean} */ belowPool) => {
    if (!isNamed) return 3;
    return ys.length > 1 && !belowPool ? 24 : 17;
  };
  for (const { pool, blocks: hosts } of groups) {
    if (pool) {
      ys.push(last(ys) + (ys.length > 1 ? 26 : 18));
      headings.push({ text: pool, x: 0, y: last(ys) - 5, kind: "pool" });
    }
    for (let first = 0; first < hosts.length; first += blocksPerRow) {
      const band = hosts.slice(first, first + blocksPerRow);
      if (isNamed || first || !pool) ys.push(last(ys) + bandMargin(pool !== "" && !first));
      const top = ys.length - 1;
      const y = last(ys) - 5;
      const depth = Math.max(...band.map(({ gpus }) => Math.ceil(gpus.length / across)));
      for (let d = 0; d < depth; d += 1) ys.push(last(ys) + cellHeight);
      band.forEach(({ host, gpus }, b) => {
        const firstColumn = firstColumns[b] ?? 0;
        if (isNamed) {
          const text = truncate(localName(host), Math.floor((blockWidth - 6) / HEADING_CHARACTER_WIDTH));
          headings.push({ text, x: xs[firstColumn] ?? 0, y, kind: "host" });
        }
        gpus.forEach((gpu, i) => {
          row[gpu] = top + Math.floor(i / across);
          column[gpu] = firstColumn + (i % across);
        });
      });
    }
  }
  return { row, column, xs, ys, headings, cellSize, width: last(xs), height: last(ys) };
};

/**
 * The index of the stretch between two edges that has a value.
 * @param {readonly number[]} edges ascending
 * @param {number} value
 */
const stretchAt = (edges, value) => {
  let [low, high] = [0, edges.length - 1];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if ((edges[middle] ?? 0) <= value) low = middle;
    else high = middle;
  }
  return low;
};

/** The placement of a topology's GPUs, by their index, in the largest cells that fit. */
export class GpuGridLayout {
  /**
   * @param {Topology} topology
   * @param {number} width in pixels
   */
  constructor(topology, width) {
    /** "host/gpu-0" of each GPU. */
    this.labels = topology.hosts.flatMap((host) => host.gpus.map((index) => `${host.name}/gpu-${index}`));
    const groups = groupByPool(topology);
    const placeIn = (/** @type {number} */ size) => placeCells(groups, this.labels.length, width, size);
    const fits = (/** @type {Placement} */ place) => place.height <= MAX_HEIGHT && place.width <= width;
    let placement = placeIn(LARGEST_SIZE);
    for (const next of LEGIBLE_SIZES.map(placeIn)) {
      if (!fits(placement) || next.height < MAX_FLATTER_RATIO * placement.height) placement = next;
    }
    for (const size of SMALL_SIZES) {
      if (fits(placement)) break;
      placement = placeIn(size);
    }
    this.placement = placement;
    /** @type {Map<number, number>} */
    this.gpuAtCell = new Map(this.labels.map((_, gpu) => [this.cellKey(this.rowOf(gpu), this.columnOf(gpu)), gpu]));
  }

  /**
   * @param {number} row
   * @param {number} column
   */
  cellKey(row, column) {
    return row * this.placement.xs.length + column;
  }

  /** @param {number} gpu */
  rowOf(gpu) {
    return this.placement.row[gpu] ?? 0;
  }

  /** @param {number} gpu */
  columnOf(gpu) {
    return this.placement.column[gpu] ?? 0;
  }

  /**
   * The rectangle of a GPU in pixels.
   * @param {number} gpu
   * @returns {[x: number, y: number, width: number, height: number]}
   */
  box(gpu) {
    const { xs, ys, cellSize } = this.placement;
    const gap = cellSize >= 12 ? 1 : 0;
    const [column, row] = [this.columnOf(gpu), this.rowOf(gpu)];
    const [x, y] = [xs[column] ?? 0, ys[row] ?? 0];
    return [x + gap, y + gap, (xs[column + 1] ?? x) - x - 2 * gap, (ys[row + 1] ?? y) - y - 2 * gap];
  }

  /**
   * The GPU at a point; -1 where there is none.
   * @param {number} x
   * @param {number} y
   */
  find(x, y) {
    const { xs, ys, width, height } = this.placement;
    if (x < 0 || y < 0 || x >= width || y >= height) return -1;
    return this.gpuAtCell.get(this.cellKey(stretchAt(ys, y), stretchAt(xs, x))) ?? -1;
  }

  /**
   * The nearest GPU in one direction; undefined where there is none.
   * @param {number} gpu
   * @param {number} down
   * @param {number} right
   */
  neighbor(gpu, down, right) {
    const { xs, ys } = this.placement;
    let [row, column] = [this.rowOf(gpu) + down, this.columnOf(gpu) + right];
    while (row >= 0 && column >= 0 && row < ys.length && column < xs.length) {
      const found = this.gpuAtCell.get(this.cellKey(row, column));
      if (found !== undefined) return found;
      row += down;
      column += right;
    }
    return undefined;
  }

  /**
   * The GPU to which a key leads; at the end of a line it is the next line's, as in a text. Null for other keys.
   * @param {number} gpu
   * @param {string} key
   * @returns {number | null}
   */
  move(gpu, key) {
    const end = this.labels.length - 1;
    if (key === "Home") return 0;
    if (key === "End") return end;
    if (key === "ArrowRight") return this.neighbor(gpu, 0, 1) ?? Math.min(end, gpu + 1);
    if (key === "ArrowLeft") return this.neighbor(gpu, 0, -1) ?? Math.max(0, gpu - 1);
    if (key === "ArrowDown") return this.neighbor(gpu, 1, 0) ?? gpu;
    if (key === "ArrowUp") return this.neighbor(gpu, -1, 0) ?? gpu;
    return null;
  }
}
