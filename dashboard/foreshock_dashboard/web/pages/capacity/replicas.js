// Ready and needed replicas of each service, and the room of its pool, with a forecast and without one.
import { link, serviceHref } from "#web/assets/address.js";
import { byId, h } from "#web/assets/dom.js";
import { filled, formatDuration, inWords, isNumber } from "#web/assets/format.js";
import { drawTable } from "#web/assets/widgets/table.js";
import { breakable } from "#web/assets/widgets/widgets.js";
import { CAPACITY_TEXTS } from "#web/assets/words.js";

/**
 * What a row of a forecast and one of measured load have in common.
 * @typedef {object} Replicas
 * @property {string | null} service
 * @property {string} pool
 * @property {number | null} ready
 * @property {number | null} [max_replicas] of the autoscaler, if it is too low
 * @property {number | null} room for further replicas
 * @property {import("#web/pages/capacity/payload.d.ts").Need} need
 */

/**
 * A needed number of replicas: "≥ 6", amber where more than are ready, with the most that the pool has room for.
 * @param {Replicas} row
 * @param {number | null} needed
 */
const neededCell = ({ ready, room, need }, needed) => {
  if (!isNumber(needed)) return null;
  const most = isNumber(ready) && isNumber(room) ? ready + room : Infinity;
  const isShort = isNumber(ready) && needed > ready;
  return [
    h("span", { class: isShort ? "poor" : "" }, `${need.is_lower_bound ? "≥ " : ""}${needed}`),
    needed > most ? h("small", { class: "reference" }, ` (${filled(CAPACITY_TEXTS.room_for, { most })})`) : null,
  ];
};

/**
 * @param {number} seconds that the peaks cover
 * @param {string | undefined} whatIf the case, which has its own traffic and hosts
 * @returns {import("#web/assets/widgets/table.js").Column<Replicas>[]}
 */
const columns = (seconds, whatIf) => [
  {
    key: "service",
    name: "Service",
    text: true,
    cell: ({ service }) => (service ? link(serviceHref(service), breakable(inWords(service))) : null),
  },
  {
    key: "ready",
    name: CAPACITY_TEXTS.ready,
    cell: ({ ready, max_replicas: most }) => {
      if (!isNumber(ready)) return CAPACITY_TEXTS.unknown;
      const limit = isNumber(most) ? h("small", { class: "reference" }, ` (autoscaler's maximum ${most})`) : null;
      return [String(ready), limit];
    },
  },
  {
    key: "needed",
    name: filled(CAPACITY_TEXTS.needed_peak, { time: formatDuration(seconds) }),
    hint: CAPACITY_TEXTS.needed_peak_hint,
    value: ({ need }) => need.peak,
    cell: (row) =>
      neededCell(row, row.need.peak) ??
      h("small", { class: "reference", title: CAPACITY_TEXTS.not_learned_hint }, CAPACITY_TEXTS.not_learned),
  },
  ...(whatIf
    ? []
    : [
        {
          key: "more_traffic",
          name: CAPACITY_TEXTS.more_traffic,
          hint: CAPACITY_TEXTS.more_traffic_hint,
          value: (/** @type {Replicas} */ { need }) => need.more_traffic,
          cell: (/** @type {Replicas} */ row) => neededCell(row, row.need.more_traffic),
        },
        {
          key: "host_lost",
          name: CAPACITY_TEXTS.host_lost,
          hint: CAPACITY_TEXTS.host_lost_hint,
          value: (/** @type {Replicas} */ { need }) => need.host_lost,
          cell: (/** @type {Replicas} */ row) => neededCell(row, row.need.host_lost),
        },
      ]),
  {
    key: "room",
    name: CAPACITY_TEXTS.room,
    hint: CAPACITY_TEXTS.room_hint,
    minor: true,
    cell: ({ room, pool }) => {
      if (!isNumber(room)) return CAPACITY_TEXTS.unknown;
      return [`${room} more`, pool ? h("small", { class: "reference" }, ` in ${inWords(pool)}`) : null];
    },
  },
];

/**
 * @param {readonly Replicas[]} rows
 * @param {number} seconds that the peaks cover
 * @param {string} [whatIf] the case that the values are of
 */
export const drawReplicas = (rows, seconds, whatIf) => {
  drawTable(byId("replicas"), {
    id: "replicas-table",
    label: "Replicas",
    columns: columns(seconds, whatIf),
    rows,
    param: "rsort",
    cluster: ({ service }) => service ?? "",
  });
};
