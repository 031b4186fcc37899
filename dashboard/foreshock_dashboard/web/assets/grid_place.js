// Where each GPU of the grid is: hosts side by side, pools below one another, in the largest cells that fit.
"use strict";
(() => {
  const F = (window.foreshock = window.foreshock || {});
  const SIZES = [44, 38, 32, 26, 22, 18, 15, 12, 10, 8, 7, 6, 5, 4, 3];
  const TALLEST = 430;

  // Blocks of one host's GPUs, by pool: [pool, [[host, [row of each GPU]], …]].
  const blocksOf = ({ hosts, pools }) => {
    const byPool = new Map();
    let i = 0;
    for (const host of hosts) {
      for (let n = 0; n < host.gpus.length; n += 1, i += 1) {
        const pool = pools?.names.length ? pools.names[pools.of[i]] || "no pool" : "";
        if (!byPool.has(pool)) byPool.set(pool, []);
        const blocks = byPool.get(pool);
        if (blocks.at(-1)?.[0] !== host.name) blocks.push([host.name, []]);
        blocks.at(-1)[1].push(i);
      }
    }
    return [...byPool].sort(([a], [b]) => a.localeCompare(b));
  };

  const fit = (groups, labels, width, size) => {
    const largest = Math.max(...groups.flatMap(([, blocks]) => blocks.map(([, gpus]) => gpus.length)));
    const across = Math.min(largest, size > 20 ? 8 : size > 12 ? 4 : size > 8 ? 2 : 1);
    const deep = Math.ceil(largest / across);
    const between = size > 20 ? 10 : size > 12 ? 6 : size > 8 ? 3 : 0; // cells that small touch: a gap would be a column to draw, too
    const tall = size >= 26 ? Math.round(size * 0.72) : size;
    const block = across * size + between;
    const perRow = Math.max(1, Math.floor((width + between) / block));
    const named = block >= 60;
    const xs = [0];
    const start = []; // of each block of a band, its first column
    for (let b = 0; b < perRow; b += 1) {
      if (b && between) xs.push(xs.at(-1) + between);
      start.push(xs.length - 1);
      for (let c = 0; c < across; c += 1) xs.push(xs.at(-1) + size);
    }
    const ys = [0];
    const [row, column, heads] = [new Int32Array(labels.length), new Int32Array(labels.length), []];
    for (const [pool, blocks] of groups) {
      if (pool) {
        ys.push(ys.at(-1) + (ys.length > 1 ? 26 : 18));
        heads.push([pool, 0, ys.at(-1) - 5, "pool"]);
      }
      for (let first = 0; first < blocks.length; first += perRow) {
        const band = blocks.slice(first, first + perRow);
        if (named || first || !pool) ys.push(ys.at(-1) + (named ? (ys.length > 1 && !(pool && !first) ? 24 : 17) : 3));
        const top = ys.length - 1;
        if (named)
          band.forEach(([name], b) =>
            heads.push([F.short(name, Math.floor((block - 6) / 6.4)), xs[start[b]], ys[top] - 5, "host"]),
          );
        const depth = Math.max(...band.map(([, gpus]) => Math.ceil(gpus.length / across)));
        for (let d = 0; d < Math.min(depth, deep); d += 1) ys.push(ys.at(-1) + tall);
        band.forEach(([, gpus], b) =>
          gpus.forEach((gpu, n) => {
            // A host that is one column has its GPUs from top to bottom, else they run along it.
            [row[gpu], column[gpu]] = [top + Math.floor(n / across), start[b] + (n % across)];
          }),
        );
      }
    }
    return { labels, row, column, xs, ys, heads, size, width: xs.at(-1), height: ys.at(-1) };
  };

  F.gridPlace = (topology, width) => {
    const labels = topology.hosts.flatMap((host) => host.gpus.map(([index]) => `${host.name}/gpu-${index}`));
    const groups = blocksOf(topology);
    let place = null;
    for (const size of SIZES) {
      place = fit(groups, labels, width, size);
      if (place.height <= TALLEST && place.width <= width) break;
    }
    const { row, column, xs, ys } = place;
    const spot = new Map(labels.map((_, i) => [row[i] * xs.length + column[i], i]));
    const there = (r, c) => spot.get(r * xs.length + c);
    const gap = place.size >= 12 ? 1 : 0;
    place.box = (i) => [
      xs[column[i]] + gap,
      ys[row[i]] + gap,
      xs[column[i] + 1] - xs[column[i]] - 2 * gap,
      ys[row[i] + 1] - ys[row[i]] - 2 * gap,
    ];
    const slot = (edges, value) => {
      let [low, high] = [0, edges.length - 1];
      while (high - low > 1) edges[(low + high) >> 1] <= value ? (low = (low + high) >> 1) : (high = (low + high) >> 1);
      return low;
    };
    place.find = (x, y) =>
      x < 0 || y < 0 || x >= place.width || y >= place.height ? -1 : (there(slot(ys, y), slot(xs, x)) ?? -1);
    const seek = (i, down, right) => {
      for (
        let [r, c] = [row[i] + down, column[i] + right];
        r >= 0 && c >= 0 && r < ys.length && c < xs.length;
        r += down, c += right
      ) {
        const found = there(r, c);
        if (found !== undefined) return found;
      }
      return null;
    };
    // The next GPU that way; at the end of a line the next line's, as in a text.
    place.move = (i, key) => {
      const last = labels.length - 1;
      if (key === "Home") return 0;
      if (key === "End") return last;
      if (key === "ArrowRight") return seek(i, 0, 1) ?? Math.min(last, i + 1);
      if (key === "ArrowLeft") return seek(i, 0, -1) ?? Math.max(0, i - 1);
      if (key === "ArrowDown") return seek(i, 1, 0) ?? i;
      if (key === "ArrowUp") return seek(i, -1, 0) ?? i;
      return null;
    };
    return place;
  };
})();
