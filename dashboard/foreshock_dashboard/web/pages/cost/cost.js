// The Cost page: what can be saved, the total, and who holds which GPU time.
import { hrefWith, navigate, param, serviceLink } from "#web/assets/address.js";
import { byId, h, put, requireId, setPanel, setPanelEmpty, setPanelsWithoutData } from "#web/assets/dom.js";
import { formatPercent, formatValue, inWords, isNumber, localName, NOT_KNOWN } from "#web/assets/format.js";
import { linked } from "#web/assets/timeline/cause.js";
import { drawTable } from "#web/assets/widgets/table.js";
import { COST_TEXTS, GROUPINGS, HOLDINGS } from "#web/assets/words.js";

/** @typedef {import("#web/pages/cost/payload.d.ts").CostData} CostData */
/** @typedef {import("#web/pages/cost/payload.d.ts").CostRow} CostRow */
/** @typedef {import("#web/pages/cost/payload.d.ts").Saving} Saving */

const PANELS = ["savings", "gpu-time"];
const RANGES = { "24h": "24 h", "7d": "7 d", "30d": "30 d" };

/**
 * Money, with cents below 100: "USD 3.40", "USD 1,250".
 * @param {number | null | undefined} amount
 * @param {string} currency
 */
const formatMoney = (amount, currency) => {
  if (!isNumber(amount)) return NOT_KNOWN;
  const shown = amount >= 100 ? Math.round(amount).toLocaleString("en-US") : amount.toFixed(2);
  return `${currency} ${shown}`;
};

/** @param {number | null | undefined} hours */
const formatHours = (hours) => {
  if (!isNumber(hours)) return NOT_KNOWN;
  return hours >= 100 ? Math.round(hours).toLocaleString("en-US") : String(Number(hours.toPrecision(3)));
};

/** @param {CostData} data */
const drawHeadline = ({ state, reason, clauses = [], split = "", notes = [] }) => {
  requireId("cost-verdict").dataset.state = state;
  put(byId("cost-headline"), reason || linked(clauses));
  put(
    byId("cost-detail"),
    split ? h("p", null, split) : null,
    notes.map((note) => h("p", { class: "note" }, note)),
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

/**
 * Tiles: what is paid for, and how it is used.
 * @param {CostData} data
 */
const drawFigures = ({ total, unallocated, currency = "" }) => {
  const tile = (/** @type {string} */ name, /** @type {string} */ value, /** @type {string} */ note) =>
    h(
      "div",
      { class: "figure" },
      h("span", { class: "figure-name" }, name),
      h("b", null, value),
      h("span", { class: "figure-note" }, note),
    );
  if (!total) {
    put(byId("cost-figures"));
    return;
  }
  const of = (/** @type {number | null | undefined} */ hours) =>
    isNumber(hours) && isNumber(total.gpu_hours) ? formatPercent(hours / total.gpu_hours) : NOT_KNOWN;
  const priced = (/** @type {number | null | undefined} */ hours, /** @type {number | null | undefined} */ cost) =>
    currency ? formatMoney(cost, currency) : `${formatHours(hours)} GPU-hours`;
  const free = unallocated?.gpu_hours ?? 0;
  const idle = isNumber(total.idle_gpu_hours) ? total.idle_gpu_hours - free : null;
  const idleCost = isNumber(total.idle_cost) ? total.idle_cost - (unallocated?.cost ?? 0) : null;
  put(
    byId("cost-figures"),
    tile(
      currency ? "GPU cost" : "GPU time",
      priced(total.gpu_hours, total.cost),
      currency ? `${formatHours(total.gpu_hours)} GPU-hours` : `${formatHours(total.gpus)} GPUs`,
    ),
    tile("Idle in services", of(idle), priced(idle, idleCost)),
    tile("Unallocated", of(free), priced(free, unallocated?.cost ?? (free ? null : 0))),
    tile(
      "Waiting for neighbors",
      `≤ ${of(total.waiting_gpu_hours)}`,
      priced(total.waiting_gpu_hours, total.waiting_cost),
    ),
    tile("Energy", isNumber(total.energy_kwh) ? `${formatHours(total.energy_kwh)} kWh` : NOT_KNOWN, "of the GPUs"),
  );
};

/** @type {import("#web/assets/widgets/table.js").Column<Saving>} */
const OWNER = { key: "owner", name: "Owner", text: true, fixed: true, minor: true, cell: ({ owner }) => owner || null };

/**
 * @param {CostData} data
 * @returns {import("#web/assets/widgets/table.js").Column<Saving>[]}
 */
const savingColumns = ({ currency = "", savings = [] }) => [
  { key: "text", name: "Saving", text: true, fixed: true, cell: ({ clauses }) => linked(clauses) },
  {
    key: "action",
    name: "Action",
    text: true,
    fixed: true,
    cell: ({ action, command }) => [
      action,
      command
        ? h(
            "span",
            { class: "command" },
            h("code", { title: command }, command),
            h(
              "button",
              { type: "button", class: "quiet small", "data-copy": command, "data-copy-name": "command" },
              "Copy",
            ),
          )
        : null,
    ],
  },
  {
    key: "money_per_day",
    name: "Per day",
    fixed: true,
    cell: ({ money_per_day: money, gpu_hours_per_day: hours }) => [
      h("b", null, currency && isNumber(money) ? formatMoney(money, currency) : `${formatHours(hours)} GPU-hours`),
      currency && isNumber(money) ? h("small", { class: "reference" }, ` ${formatHours(hours)} GPU-hours`) : null,
    ],
  },
  ...(savings.some(({ owner }) => owner) ? [OWNER] : []),
  {
    key: "quality",
    name: "Quality",
    text: true,
    fixed: true,
    minor: true,
    cell: ({ quality }) => h("span", { title: COST_TEXTS[quality] }, quality),
  },
];

/** @param {CostData} data */
const drawSavings = (data) => {
  const { savings = [] } = data;
  if (!savings.length) {
    setPanelEmpty("savings", COST_TEXTS.no_savings);
    return;
  }
  drawTable(byId("savings"), { id: "savings-table", label: "Savings", columns: savingColumns(data), rows: savings });
  setPanel("savings", "ready");
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
  if (by === "pool") return poolName(name) || COST_TEXTS.no_pool;
  return name ? inWords(name) : COST_TEXTS[by === "owner" ? "no_owner" : "no_namespace"];
};

/** @param {CostRow} row @param {string} by */
const holderCell = (row, by) => {
  const name = holderName(row, by);
  if (by === "service" && row.holding === "service") return serviceLink(row.name);
  return row.holding === "service" ? name : h("i", null, name);
};

/**
 * How the time is split: busy, waiting, and idle of what is held.
 * @param {CostRow} row
 */
const splitCell = ({
  holding,
  gpu_hours: held,
  waiting_gpu_hours: waiting,
  idle_gpu_hours: idle,
  known_ratio: known,
}) => {
  if (holding === "unknown" || !isNumber(held) || !held || !isNumber(idle)) return COST_TEXTS.unknown_use;
  const shares = [0, (waiting ?? 0) / held, idle / held];
  shares[0] = Math.max(0, (known ?? 1) - (shares[1] ?? 0) - (shares[2] ?? 0));
  const names = ["busy", "waiting", "idle"];
  const text = shares.map((share, i) => `${formatPercent(share)} ${names[i]}`).join(", ");
  return h(
    "span",
    { class: "split", title: text, role: "img", "aria-label": text },
    shares.map((share, i) => h("span", { class: `split-${names[i]}`, style: `width:${(share * 100).toFixed(1)}%` })),
  );
};

/**
 * @param {CostData} data
 * @returns {import("#web/assets/widgets/table.js").Column<CostRow>[]}
 */
const timeColumns = ({ currency = "", by = "service", rows = [] }) => {
  /** @type {import("#web/assets/widgets/table.js").Column<CostRow>[]} */
  const columns = [
    {
      key: "name",
      name: by === "service" ? "Holder" : (by[0] ?? "").toUpperCase() + by.slice(1),
      text: true,
      value: (row) => holderName(row, by),
      cell: (row) => holderCell(row, by),
    },
    { key: "pool", name: "Pool", text: true, minor: true, cell: ({ pool }) => poolName(pool) || null },
    { key: "owner", name: "Owner", text: true, minor: true, cell: ({ owner }) => owner || null },
    {
      key: "gpus",
      name: "GPUs",
      hint: "mean number held at a time",
      minor: true,
      cell: ({ gpus }) => formatHours(gpus),
    },
    { key: "gpu_hours", name: "GPU-hours", cell: ({ gpu_hours: hours }) => formatHours(hours) },
    { key: "split", name: "Busy, waiting, idle", text: true, fixed: true, cell: splitCell },
    {
      key: "idle_gpu_hours",
      name: "Idle",
      hint: "GPU-hours neither busy nor waiting",
      minor: true,
      cell: ({ idle_gpu_hours: hours }) => formatHours(hours),
    },
    {
      key: "sm_active_ratio",
      name: "SM activity",
      hint: "share of the SMs with work while busy",
      minor: true,
      cell: ({ sm_active_ratio: ratio }) => (isNumber(ratio) ? formatPercent(ratio) : null),
    },
    {
      key: "energy_kwh",
      name: "Energy",
      hint: "estimate: divided by busy time",
      minor: true,
      cell: ({ energy_kwh: energy }) => (isNumber(energy) ? formatValue(energy, "kWh") : null),
    },
    {
      key: "cost",
      name: "Cost",
      cell: ({ cost }) => (isNumber(cost) ? formatMoney(cost, currency) : COST_TEXTS.no_price),
    },
    {
      key: "idle_cost",
      name: "Of idle",
      hint: "cost of idle time",
      minor: true,
      cell: ({ idle_cost: cost }) => (isNumber(cost) ? formatMoney(cost, currency) : null),
    },
  ];
  const hasAny = {
    pool: by === "service" && rows.some(({ pool }) => poolName(pool)),
    owner: by === "service" && rows.some(({ owner }) => owner),
    sm_active_ratio: rows.some(({ sm_active_ratio: ratio }) => isNumber(ratio)),
    cost: Boolean(currency),
    idle_cost: Boolean(currency),
  };
  return columns.filter(({ key }) => !(key in hasAny) || hasAny[/** @type {keyof typeof hasAny} */ (key)]);
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
    above: h(
      "p",
      { class: "legend" },
      ["busy", "waiting", "idle"].map((name) => h("span", { class: `key split-${name}` }, name)),
    ),
    note: hidden ? `${hidden} more in /api/cost.` : null,
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
    drawSavings(data);
    drawTime(data);
  },
};
