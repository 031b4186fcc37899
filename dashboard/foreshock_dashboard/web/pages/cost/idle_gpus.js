// The table of idle GPUs: unused ones, and the services with the most idle time between kernels.
import { serviceLink } from "#web/assets/address.js";
import { byId, h, setPanel, setPanelEmpty } from "#web/assets/dom.js";
import { formatDuration, formatPercent, isNumber } from "#web/assets/format.js";
import { drawTable } from "#web/assets/widgets/table.js";
import { ACTION_TEXTS, COST_TEXTS } from "#web/assets/words.js";
import { formatFigure, formatHours, formatMoney } from "#web/pages/cost/cost_format.js";

/** @typedef {import("#web/pages/cost/payload.d.ts").CostData} CostData */
/** @typedef {import("#web/pages/cost/payload.d.ts").IdleGpus} IdleGpus */

/** @type {import("#web/assets/widgets/table.js").Column<IdleGpus>} */
const OWNER = { key: "owner", name: "Owner", text: true, fixed: true, minor: true, cell: ({ owner }) => owner || null };

const MIN_PRICED_RATIO = 0.999;

/**
 * What giving them back saves per day, or before a day what they have cost so far; of GPUs that are idle between
 * kernels, the total of the time range, as a bound where only a part has a price.
 * @param {IdleGpus} item
 * @param {string} currency
 * @param {string} covered the time range with data
 */
export const costCell = (item, currency, covered) => {
  const hasDay = isNumber(item.gpu_hours_per_day);
  const amount = hasDay ? item.cost_per_day : item.cost;
  const hours = hasDay ? item.gpu_hours_per_day : item.gpu_hours;
  const isPriced = currency && isNumber(amount);
  const unpriced = currency ? formatHours : formatFigure; // below a currency, hours need their unit
  const bound = isPriced && isNumber(item.priced_ratio) && item.priced_ratio < MIN_PRICED_RATIO ? "≥ " : "";
  const period = isNumber(item.idle_ratio)
    ? `${COST_TEXTS.in_range} ${covered}`
    : COST_TEXTS[hasDay ? "per_day" : "so_far"];
  return [
    h("b", null, isPriced ? `${bound}${formatMoney(amount, "")}` : unpriced(hours)),
    h("small", { class: "reference" }, " ", period),
    isPriced ? h("small", { class: "reference" }, formatHours(hours)) : null,
  ];
};

/** For how long GPUs are unused, or how much of its GPU time a service leaves idle. @param {IdleGpus} item */
export const idleCell = ({ seconds, at_least: isAtLeast, idle_ratio: ratio }) => {
  if (isNumber(ratio)) return `${formatPercent(ratio)} of its GPU time`;
  return isNumber(seconds) ? `unused for ${isAtLeast ? "≥ " : ""}${formatDuration(seconds)}` : null;
};

/**
 * Whether a service has rows in several pools.
 * @param {string | null} service
 * @param {readonly IdleGpus[]} rows
 */
const hasSeveralPools = (service, rows) =>
  new Set(rows.filter((row) => row.service === service).map(({ pool }) => pool)).size > 1;

/**
 * @param {CostData} data
 * @returns {import("#web/assets/widgets/table.js").Column<IdleGpus>[]}
 */
const columnsOf = ({ currency = "", covered = "", unused = [], idle_rows: between = [] }) => [
  {
    key: "service",
    name: "Service",
    text: true,
    fixed: true,
    cell: ({ service, pool, on = [] }) => [
      service ? serviceLink(service) : h("i", null, COST_TEXTS.unknown_service),
      pool && hasSeveralPools(service, [...unused, ...between]) ? h("small", { class: "reference" }, ` ${pool}`) : null,
      h("small", { class: "reference narrow-only" }, on.slice(0, 2).join(", "), on.length > 2 ? ", …" : ""),
    ],
  },
  { key: "gpus", name: "Idle GPUs", fixed: true, cell: ({ gpus }) => formatFigure(gpus) },
  { key: "seconds", name: "Idle", text: true, fixed: true, minor: true, cell: idleCell },
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
              {
                type: "button",
                class: "quiet small",
                "data-copy": command,
                "aria-label": `${ACTION_TEXTS.copy}: ${command}`,
              },
              ACTION_TEXTS.copy,
            ),
          )
        : null,
    ],
  },
  {
    key: "on",
    name: "GPUs",
    text: true,
    fixed: true,
    minor: true,
    cell: ({ on = [] }) => [
      on.slice(0, 2).map((gpu) => h("span", { class: "gpu" }, gpu)),
      on.length > 2 ? h("span", { title: on.slice(2).join(", ") }, `and ${on.length - 2} more`) : null,
    ],
  },
  ...(unused.some(({ owner }) => owner) ? [OWNER] : []),
  {
    key: "quality",
    name: "Quality",
    text: true,
    fixed: true,
    minor: true,
    cell: ({ quality }) => h("span", { title: COST_TEXTS[quality] }, quality),
  },
  {
    key: "cost",
    name: currency ? `Cost (${currency})` : "GPU-hours",
    fixed: true,
    cell: (item) => costCell(item, currency, covered),
  },
];

/** @param {CostData} data */
export const drawIdleGpus = (data) => {
  const { unused = [], hidden_unused: hidden = 0, idle_rows: between = [] } = data;
  const rows = [...unused, ...between];
  if (!rows.length) {
    setPanelEmpty("unused", COST_TEXTS.no_unused);
    return;
  }
  drawTable(byId("unused"), {
    id: "unused-table",
    label: "Idle GPUs",
    columns: columnsOf(data),
    rows,
    note: hidden ? `${hidden} more in /api/cost` : null,
  });
  setPanel("unused", "ready");
};
