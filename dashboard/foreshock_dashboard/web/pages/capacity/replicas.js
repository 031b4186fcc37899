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
 * @property {number | null} [peak_seconds] time that its measured peak covers
 * @property {string} [unlearned] why the need is unknown
 */

/**
 * The replicas to add: "+2 (6 in total, 1 short)" in amber, "enough", or why the need is unknown.
 * @param {Replicas} row
 * @param {import("#web/pages/capacity/payload.d.ts").Added} more
 */
const neededCell = ({ need, unlearned }, { needed, added, short }) => {
  if (!isNumber(needed)) {
    return h("small", { class: "reference", title: unlearned || null }, CAPACITY_TEXTS.not_learned);
  }
  const least = need.is_lower_bound ? "≥ " : "";
  const all = filled(short ? CAPACITY_TEXTS.in_all_short : CAPACITY_TEXTS.in_all, {
    needed: least + needed,
    short: least + short,
  });
  if (!isNumber(added)) return all;
  if (!added) return CAPACITY_TEXTS.enough;
  return [h("span", { class: "poor" }, `${least}+${added}`), h("small", { class: "reference" }, ` (${all})`)];
};

/**
 * Ready replicas, and the room of the pool, which have no columns on a phone.
 * @param {Replicas} row
 */
const narrowState = ({ ready, room }) => {
  const state = [
    filled(CAPACITY_TEXTS.ready_narrow, { ready: ready ?? CAPACITY_TEXTS.unknown }),
    isNumber(room) ? filled(CAPACITY_TEXTS.room_narrow, { room }) : CAPACITY_TEXTS.no_room_narrow,
  ];
  return h("small", { class: "reference narrow-only" }, state.join(", "));
};

/**
 * @param {string} peak the name of the column of the need at the peak
 * @param {number} seconds that it covers at most
 * @param {string | undefined} whatIf the case, which has its own traffic and hosts
 * @returns {import("#web/assets/widgets/table.js").Column<Replicas>[]}
 */
const columns = (peak, seconds, whatIf) => [
  {
    key: "service",
    name: "Service",
    text: true,
    cell: (row) =>
      row.service ? [link(serviceHref(row.service), breakable(inWords(row.service))), narrowState(row)] : null,
  },
  {
    key: "ready",
    name: CAPACITY_TEXTS.ready,
    minor: true,
    cell: ({ ready, max_replicas: most }) => {
      if (!isNumber(ready)) return CAPACITY_TEXTS.unknown;
      const limit = isNumber(most) ? h("small", { class: "reference" }, ` (autoscaler's maximum ${most})`) : null;
      return [String(ready), limit];
    },
  },
  {
    key: "needed",
    name: peak,
    hint: CAPACITY_TEXTS.needed_peak_hint,
    value: ({ need }) => need.peak.added,
    cell: (row) => {
      const cell = neededCell(row, row.need.peak);
      const [time, own] = [formatDuration(seconds), formatDuration(row.peak_seconds ?? seconds)];
      if (own === time || !isNumber(row.need.peak.needed)) return cell;
      return [cell, h("small", { class: "reference" }, `, ${filled(CAPACITY_TEXTS.data_of, { time: own })}`)];
    },
  },
  ...(whatIf
    ? []
    : [
        {
          key: "more_traffic",
          name: CAPACITY_TEXTS.more_traffic,
          hint: CAPACITY_TEXTS.more_traffic_hint,
          value: (/** @type {Replicas} */ { need }) => need.more_traffic.added,
          cell: (/** @type {Replicas} */ row) => neededCell(row, row.need.more_traffic),
        },
        {
          key: "host_lost",
          name: CAPACITY_TEXTS.host_lost,
          hint: CAPACITY_TEXTS.host_lost_hint,
          value: (/** @type {Replicas} */ { need }) => need.host_lost.added,
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
 * Why the needs of services are unknown, a line for each reason.
 * @param {readonly Replicas[]} rows
 */
const unlearnedNotes = (rows) =>
  [...new Set(rows.map(({ unlearned }) => unlearned ?? ""))].filter(Boolean).map((why) => {
    const names = rows.filter(({ unlearned }) => unlearned === why).map(({ service }) => inWords(service ?? ""));
    return h("p", { class: "note" }, filled(CAPACITY_TEXTS.not_learned_of, { services: names.join(", "), why }));
  });

/**
 * @param {readonly Replicas[]} rows
 * @param {number} seconds that the peaks cover
 * @param {{ isSinceStart?: boolean, whatIf?: string }} [options] whether they cover all data, and the case that the
 *   values are of
 */
export const drawReplicas = (rows, seconds, { isSinceStart = false, whatIf } = {}) => {
  const peak = isSinceStart ? CAPACITY_TEXTS.needed_peak_start : CAPACITY_TEXTS.needed_peak;
  drawTable(byId("replicas"), {
    id: "replicas-table",
    label: "Replicas",
    columns: columns(filled(peak, { time: formatDuration(seconds) }), seconds, whatIf),
    rows,
    note: unlearnedNotes(rows),
    param: "rsort",
    cluster: ({ service }) => service ?? "",
  });
};
