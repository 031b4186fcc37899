// The Cost page: unused GPUs, the total, and who holds which GPU time.
import { hrefWith, navigate, pageHref, param, serviceLink } from "#web/assets/address.js";
import { byId, h, put, requireId, setPanel, setPanelEmpty, setPanelsWithoutData } from "#web/assets/dom.js";
import {
  columnFormat,
  formatPercent,
  inWords,
  isNumber,
  localName,
  NOT_KNOWN,
  uncapitalized,
} from "#web/assets/format.js";
import { linked } from "#web/assets/timeline/cause.js";
import { drawTable } from "#web/assets/widgets/table.js";
import { ABSENT, GROUPINGS, HOLDINGS, SPLIT_NAMES } from "#web/assets/words.js";
import { formatFigure, formatHours, formatMoney } from "#web/pages/cost/cost_format.js";
import { drawIdleGpus } from "#web/pages/cost/idle_gpus.js";

/** @typedef {import("#web/pages/cost/payload.d.ts").CostData} CostData */
/** @typedef {import("#web/pages/cost/payload.d.ts").CostRow} CostRow */
/** @typedef {keyof typeof SPLIT_NAMES} Part */

const PANELS = ["unused", "gpu-time"];
const PARTS = /** @type {Part[]} */ (Object.keys(SPLIT_NAMES));
const MIN_PRICED_RATIO = 0.999;
const RANGES = { "24h": "24 h", "7d": "7 d", "30d": "30 d" };

/**
 * Money of a row, a bound where only a part of its GPUs has a price.
 * @param {CostRow} row
 * @param {"cost" | "idle_cost" | "waiting_cost" | "unallocated_cost"} key
 * @param {string} [currency]
 */
const rowMoney = (row, key, currency = "") =>
  `${(row.priced_ratio ?? 0) < MIN_PRICED_RATIO && isNumber(row[key]) ? "≥ " : ""}${formatMoney(row[key], currency)}`;

/**
 * A text with its command-line options as code, which does not break after `--`.
 * @param {string} text
 */
const withOptions = (text) =>
  text.split(/(--[a-z][a-z-]*)/).map((part, i) => (i % 2 ? h("code", { class: "option" }, part) : part));

/** @param {CostData} data */
const drawHeadline = ({ state, reason, clauses = [], idle = "", notes = [] }) => {
  requireId("cost-verdict").dataset.state = state;
  put(byId("cost-headline"), reason || linked(clauses));
  put(
    byId("cost-detail"),
    idle ? h("p", null, idle) : null,
    notes.length ? h("p", { class: "note" }, withOptions(notes.join(" "))) : null,
  );
};

const drawChoices = () => {
  const choice = (
    /** @type {string} */ name,
    /** @type {string} */ label,
    /** @type {Record<string, string>} */ options,
    /** @type {string} */ chosen,
  ) =>
    h(
      "label",
      null,
      h("span", null, label),
      h(
        "select",
        { name },
        Object.entries(options).map(([value, text]) => h("option", { value, selected: value === chosen }, text)),
      ),
    );
  const range = param("range") || "24h";
  put(
    byId("cost-choices"),
    choice("range", "Time range", range in RANGES ? RANGES : { ...RANGES, [range]: range }, range),
    choice("by", "Group by", GROUPINGS, param("by") || "service"),
  );
};

/** GPU-hours of a part. @param {CostRow} row @param {Part} part */
const partHours = (row, part) => row[`${part}_gpu_hours`];

/** The color of a part, and its name. @param {Part} part @param {string} name */
const key = (part, name) => h("span", { class: `key split-${part}` }, name);

/**
 * Tiles: what is paid for, and the parts of it, which are also the legend of the bars below.
 * @param {CostData} data
 */
const drawFigures = ({ total, currency = "", covered = "" }) => {
  if (!total) {
    put(byId("cost-figures"));
    return;
  }
  const tile = (
    /** @type {import("#web/assets/dom.js").Content} */ name,
    /** @type {string} */ value,
    /** @type {import("#web/assets/dom.js").Content} */ note,
  ) =>
    h(
      "div",
      { class: "figure" },
      h("span", { class: "figure-name" }, name),
      h("b", null, value),
      h("span", { class: "figure-note" }, note),
    );
  const held = total.gpu_hours || Number.NaN;
  const parts = PARTS.filter((part) => part === "busy" || part === "idle" || partHours(total, part)).map((part) => {
    const own = partHours(total, part);
    const costKey = /** @type {"idle_cost" | "waiting_cost" | "unallocated_cost"} */ (`${part}_cost`);
    const note = currency && isNumber(total[costKey]) ? rowMoney(total, costKey, currency) : formatHours(own);
    return tile(
      part === "waiting"
        ? h("a", { href: pageHref("/contention"), "data-go": true }, key(part, SPLIT_NAMES[part]))
        : key(part, SPLIT_NAMES[part]),
      isNumber(own) ? formatPercent(own / held) : NOT_KNOWN,
      note,
    );
  });
  put(
    byId("cost-figures"),
    currency && isNumber(total.cost)
      ? tile(`GPU cost in ${covered}`, rowMoney(total, "cost", currency), formatHours(total.gpu_hours))
      : tile(`GPU-hours in ${covered}`, formatFigure(total.gpu_hours), `${formatFigure(total.gpus)} GPUs`),
    parts,
  );
};

/** A pool as it is called in its cluster. @param {string} pool */
const poolName = (pool) => (localName(pool) ? inWords(pool) : "");

/**
 * @param {CostRow} row
 * @param {string} by
 */
const holderName = ({ name, holding }, by) => {
  if (holding !== "service") return HOLDINGS[holding];
  if (by === "service") return inWords(name);
  if (by === "pool") return poolName(name) || ABSENT.pool;
  return name ? inWords(name) : ABSENT[by === "owner" ? "owner" : "namespace"];
};

/** @param {CostRow} row @param {string} by */
const holderCell = (row, by) => {
  const name = holderName(row, by);
  if (by === "service" && row.holding === "service") return serviceLink(row.name);
  return row.holding === "service" ? name : h("i", null, name);
};

/**
 * How the time is split: the parts of what is held.
 * @param {CostRow} row
 */
const splitCell = (row) => {
  const held = row.gpu_hours;
  if (!isNumber(held) || !held) return NOT_KNOWN;
  const shares = PARTS.map((part) => ({ part, share: (partHours(row, part) ?? 0) / held })).filter(
    ({ share }) => share >= 0.001,
  );
  const text = shares
    .map(({ part, share }) => `${formatPercent(share)} ${uncapitalized(SPLIT_NAMES[part])}`)
    .join(", ");
  return [
    h(
      "span",
      { class: "split", title: text, role: "img", "aria-label": text },
      shares.map(({ part, share }) =>
        h("span", { class: `split-${part}`, style: `width:${(share * 100).toFixed(1)}%` }),
      ),
    ),
    h(
      "small",
      { class: "reference narrow-only", "aria-hidden": "true" },
      shares.map(({ part, share }) => `${formatPercent(share)} ${part === "waiting" ? "lost" : part}`).join(", "),
    ),
  ];
};

/**
 * @param {CostData} data
 * @returns {import("#web/assets/widgets/table.js").Column<CostRow>[]}
 */
const timeColumns = ({ currency = "", by = "service", rows = [] }) => {
  /** @typedef {import("#web/assets/widgets/table.js").Column<CostRow>} CostColumn */
  const formatGpuHours = columnFormat(rows.map(({ gpu_hours: held }) => held));
  const formatGpus = columnFormat(rows.map(({ gpus }) => gpus));
  const formatEnergy = columnFormat(rows.map(({ energy_kwh: energy }) => energy));
  /** @type {(part: Part | "borrowed", name: string, hint: string) => CostColumn} */
  const hours = (part, name, hint) => {
    const field = /** @type {"busy_gpu_hours"} */ (`${part}_gpu_hours`);
    return { key: field, name: `${name} (GPU-h)`, hint, minor: true, cell: (row) => formatGpuHours(row[field]) };
  };
  /** @type {CostColumn[]} */
  const columns = [
    {
      key: "name",
      name: by === "service" ? "Service" : (by[0] ?? "").toUpperCase() + by.slice(1),
      text: true,
      value: (row) => holderName(row, by),
      cell: (row) => holderCell(row, by),
    },
    { key: "pool", name: "Pool", text: true, minor: true, cell: ({ pool }) => poolName(pool) || null },
    { key: "owner", name: "Owner", text: true, minor: true, cell: ({ owner }) => owner || null },
    {
      key: "gpus",
      name: "GPUs (shares)",
      hint: "average number held, with shared GPUs split equally",
      minor: true,
      cell: ({ gpus }) => formatGpus(gpus),
    },
    { key: "gpu_hours", name: "GPU-hours", cell: ({ gpu_hours: held }) => formatGpuHours(held) },
    { key: "split", name: "Use", text: true, fixed: true, cell: splitCell },
    hours("busy", "Busy", "GPU-hours in which a kernel ran"),
    hours("waiting", SPLIT_NAMES.waiting, "GPU-hours of its share used by neighbors while its work waited"),
    hours("idle", "Idle", "GPU-hours held while neither busy nor waiting"),
    hours("unallocated", "Unallocated", "GPU-hours not held by any service"),
    hours("unknown", "Unknown", "GPU-hours with unknown use"),
    hours("borrowed", "Beyond its share", "GPU-hours busy beyond its share of shared GPUs (not counted in GPU-hours)"),
    {
      key: "sm_active_ratio",
      name: "SM activity while busy",
      hint: "share of the SMs with work",
      minor: true,
      cell: ({ sm_active_ratio: ratio }) => (isNumber(ratio) ? formatPercent(ratio) : null),
    },
    {
      key: "energy_kwh",
      name: "Energy (kWh)",
      hint: "estimate: energy of shared GPUs divided by busy time",
      minor: true,
      cell: ({ energy_kwh: energy }) => formatEnergy(energy),
    },
    { key: "cost", name: `Cost (${currency})`, cell: (row) => rowMoney(row, "cost") },
    {
      key: "idle_cost",
      name: `Idle cost (${currency})`,
      minor: true,
      cell: (row) => (isNumber(row.idle_cost) ? rowMoney(row, "idle_cost") : null),
    },
  ];
  const hasAny = {
    pool: by === "service" && rows.some(({ pool }) => poolName(pool)),
    owner: by === "service" && rows.some(({ owner }) => owner),
    waiting_gpu_hours: rows.some(({ waiting_gpu_hours: value }) => value),
    unallocated_gpu_hours: by === "pool" && rows.some(({ unallocated_gpu_hours: value }) => value),
    unknown_gpu_hours: rows.some(({ holding, unknown_gpu_hours: value }) => holding === "service" && value),
    borrowed_gpu_hours: rows.some(({ borrowed_gpu_hours: value }) => (value ?? 0) >= 0.01),
    sm_active_ratio: rows.some(({ sm_active_ratio: ratio }) => isNumber(ratio)),
    cost: Boolean(currency),
    idle_cost: Boolean(currency),
  };
  return columns.filter(({ key: name }) => !(name in hasAny) || hasAny[/** @type {keyof typeof hasAny} */ (name)]);
};

/** @param {CostData} data */
const drawTime = (data) => {
  const { rows = [], hidden = 0 } = data;
  drawTable(byId("gpu-time"), {
    id: "gpu-time-table",
    label: "GPU time",
    columns: timeColumns(data),
    rows,
    cluster: ({ name, pool }) => name || pool,
    note: hidden ? `${hidden} more in /api/cost` : null,
  });
  setPanel("gpu-time", "ready");
};

/** @type {import("#web/assets/page.d.ts").Page} */
export const cost = {
  mount: () => {
    requireId("cost-choices").addEventListener("change", (event) => {
      if (!(event.target instanceof HTMLSelectElement)) return;
      const { name, value } = event.target;
      const isDefault = value === (name === "range" ? "24h" : "service");
      navigate(hrefWith({ [name]: isDefault ? null : value }), true);
    });
  },
  update: (/** @type {CostData} */ data) => {
    drawChoices();
    if (!data.ready) {
      setPanelsWithoutData(PANELS, data.error);
      return;
    }
    drawHeadline(data);
    drawFigures(data);
    if (data.reason) {
      for (const name of PANELS) setPanelEmpty(name, data.reason);
      return;
    }
    drawIdleGpus(data);
    drawTime(data);
  },
};
