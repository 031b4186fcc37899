// The matrix of GPU wait: services that wait as rows, the services that they wait on as columns.
import { hrefWith, param } from "#web/assets/address.js";
import { byId, h, put, scrollTable, setPanel, setPanelEmpty } from "#web/assets/dom.js";
import { filled, formatPercent, inWords, shortLabels, truncate } from "#web/assets/format.js";
import { incidentKeys, MATRIX_AXES, MIN_WAIT_RATIO, waitCell } from "#web/assets/widgets/wait_cell.js";
import { ABSENT, EMPTY, GPU_TEXTS } from "#web/assets/words.js";

/** @typedef {import("#web/pages/contention/payload.d.ts").ContentionData} ContentionData */
/** @typedef {import("#web/pages/contention/payload.d.ts").PairRole} PairRole */
/** @typedef {import("#web/pages/contention/payload.d.ts").WaitPair} WaitPair */

const MAX_SERVICES = 40;

/**
 * The status of the open incident on a pair; null for none.
 * @param {PairRole} role
 */
export const statusOf = (role) => (role === "reverse" ? null : role || null);

/**
 * The pairs that matter: those of open incidents, and services with requests that wait. Not among them are batch jobs,
 * which may wait, the reverse pair of an incident, and pairs without a wait.
 * @param {ContentionData} data
 */
const relevantPairs = ({ pairs, batch }) =>
  pairs.filter(
    ([victim, , ratio, , role]) =>
      statusOf(role) !== null ||
      (role !== "reverse" && !batch.includes(victim) && (ratio === null || ratio >= MIN_WAIT_RATIO)),
  );

/**
 * Rows and columns of the matrix: as the hub has them, the worst first, by name, or by one row or column.
 * @param {Pick<ContentionData, "services" | "victims" | "aggressors">} data
 * @param {readonly WaitPair[]} pairs
 * @param {string} order "", "name", or "row:" or "column:" before the name of the service
 * @returns {{ victims: number[], aggressors: number[] }}
 */
export const orderServices = ({ services, victims, aggressors }, pairs, order) => {
  const [kind, name] = [order.slice(0, order.indexOf(":")), order.slice(order.indexOf(":") + 1)];
  const chosen = services.indexOf(name);
  const ratios = new Map(pairs.map(([victim, aggressor, ratio]) => [`${victim} ${aggressor}`, ratio]));
  const ratioOf = (/** @type {number} */ victim, /** @type {number} */ aggressor) =>
    ratios.get(`${victim} ${aggressor}`) ?? -1;
  const nameOf = (/** @type {number} */ id) => services[id] ?? "";
  const sorted = (/** @type {number[]} */ ids, /** @type {(id: number) => number} */ rank) =>
    [...new Set(ids)].sort((a, b) => {
      const difference = order === "name" ? 0 : rank(b) - rank(a);
      return difference || nameOf(a).localeCompare(nameOf(b));
    });
  const isBy = (/** @type {string} */ side) => kind === side && chosen >= 0;
  return {
    victims: sorted(
      pairs.map(([victim]) => victim),
      isBy("column") ? (id) => ratioOf(id, chosen) : (id) => -victims.indexOf(id),
    ),
    aggressors: sorted(
      pairs.map(([, aggressor]) => aggressor),
      isBy("row") ? (id) => ratioOf(chosen, id) : (id) => -aggressors.indexOf(id),
    ),
  };
};

/**
 * @param {string} name
 * @param {string} value
 * @param {boolean} isPressed
 * @param {string} text
 */
const choice = (name, value, isPressed, text) =>
  h("button", { type: "button", class: "quiet", [name]: value, "aria-pressed": String(isPressed) }, text);

/**
 * Draw the matrix.
 * @param {ContentionData} data
 */
export const drawWaitMatrix = (data) => {
  if (!data.pairs.length) {
    const missing = data.missing.length ? ` ${filled(GPU_TEXTS.missing, { names: data.missing.join(", ") })}` : "";
    setPanelEmpty("waits", EMPTY.pairs + missing);
    return;
  }
  const relevant = relevantPairs(data);
  const others = data.pairs.filter((pair) => !relevant.includes(pair));
  const showsAll = !relevant.length || param("all") === "1";
  const pairs = showsAll ? data.pairs : relevant;
  const order = param("order");
  const { victims, aggressors } = orderServices(data, pairs, order);
  put(
    byId("waits"),
    h(
      "p",
      { class: "choices" },
      pairs.length > 1
        ? [choice("data-by", "", order !== "name", "By wait"), choice("data-by", "name", order === "name", "By name")]
        : null,
      relevant.length && others.length ? choice("data-all", showsAll ? "" : "1", showsAll, allText(others)) : null,
    ),
    matrix(data, pairs, victims.slice(0, MAX_SERVICES), aggressors.slice(0, MAX_SERVICES), order),
    note(data, pairs, victims, aggressors),
  );
  setPanel("waits", "ready");
};

/**
 * How many pairs are left out at first, and how long they wait.
 * @param {readonly WaitPair[]} others
 */
const allText = (others) => {
  const longest = Math.max(...others.map(([, , ratio]) => ratio ?? 0));
  return `All pairs (+${others.length}${longest >= MIN_WAIT_RATIO ? `, up to ${formatPercent(longest)}` : ""})`;
};

/**
 * @param {ContentionData} data
 * @param {readonly WaitPair[]} pairs
 * @param {readonly number[]} rows
 * @param {readonly number[]} columns
 * @param {string} order
 */
const matrix = ({ services, batch }, pairs, rows, columns, order) => {
  const label = shortLabels(services);
  const byIds = new Map(pairs.map((pair) => [`${pair[0]} ${pair[1]}`, pair]));
  const sortButton = (/** @type {"row" | "column"} */ kind, /** @type {number} */ id) => {
    const name = services[id] ?? "";
    const isCurrent = order === `${kind}:${name}`;
    const arrow = kind === "column" ? " ▾" : " ▸";
    return h(
      "button",
      {
        type: "button",
        "data-by": isCurrent ? "" : `${kind}:${name}`,
        title: `Sort by ${inWords(name)}`,
        "aria-pressed": String(isCurrent),
      },
      truncate(label(name), 18),
      isCurrent ? arrow : "",
    );
  };
  const cell = (/** @type {number} */ victim, /** @type {number} */ aggressor) => {
    if (victim === aggressor) return h("td", { class: "self none" });
    const pair = byIds.get(`${victim} ${aggressor}`);
    return pair ? pairCell(pair, services) : h("td", { class: "none", title: GPU_TEXTS.no_wait });
  };
  return scrollTable(
    "GPU wait by service pair",
    { class: "matrix" },
    [h("th", { scope: "col" }, MATRIX_AXES), columns.map((id) => h("th", { scope: "col" }, sortButton("column", id)))],
    rows.map((victim) =>
      h(
        "tr",
        null,
        h(
          "th",
          { scope: "row" },
          sortButton("row", victim),
          batch.includes(victim) ? h("small", null, ABSENT.requests) : null,
        ),
        columns.map((aggressor) => cell(victim, aggressor)),
      ),
    ),
  );
};

/**
 * @param {WaitPair} pair
 * @param {ContentionData["services"]} services
 */
const pairCell = ([victimId, aggressorId, ratio, gpus, role], services) => {
  const [victim, aggressor] = [services[victimId] ?? "", services[aggressorId] ?? ""];
  const isOpen = param("victim") === victim && param("aggressor") === aggressor;
  const href = hrefWith({ victim, aggressor });
  return waitCell({ victim, aggressor, ratio, gpus, status: statusOf(role), href, isOpen });
};

/**
 * @param {ContentionData} data
 * @param {readonly WaitPair[]} pairs
 * @param {readonly number[]} victims
 * @param {readonly number[]} aggressors
 */
const note = ({ hidden, batch }, pairs, victims, aggressors) => {
  const [rows, columns] = [Math.min(victims.length, MAX_SERVICES), Math.min(aggressors.length, MAX_SERVICES)];
  const isCut = rows < victims.length || columns < aggressors.length || hidden;
  const statuses = new Set(pairs.map(([, , , , role]) => statusOf(role)));
  return h(
    "p",
    { class: "legend" },
    incidentKeys(statuses),
    h("span", null, GPU_TEXTS.bound),
    pairs.some(([victim]) => batch.includes(victim))
      ? h("span", null, GPU_TEXTS.batch)
      : h("span", null, GPU_TEXTS.serving_rows),
    isCut ? h("span", null, filled(GPU_TEXTS.cut, { rows, columns })) : null,
  );
};
