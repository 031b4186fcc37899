// Who waits for whom: services that wait as rows, those that run meanwhile as columns.
import { hrefWith, link, param } from "#web/assets/address.js";
import { byId, h, put, scrollTable, setPanel, setPanelEmpty } from "#web/assets/dom.js";
import { formatPercent, isNumber, plural, shortLabels, truncate } from "#web/assets/format.js";
import { serviceDot } from "#web/assets/timeline/signs.js";
import { drawTable } from "#web/assets/widgets/table.js";
import { heatPercent } from "#web/assets/widgets/widgets.js";

/** @typedef {import("#web/pages/contention/payload.d.ts").ContentionData} ContentionData */
/** @typedef {import("#web/pages/contention/payload.d.ts").WaitPair} WaitPair */

/** A smaller share of time is no wait. */
export const MIN_WAIT_RATIO = 0.005;
const LOW_RATIO = 0.05;
const MAX_SERVICES = 40;

/** @param {WaitPair} pair */
const isMissingOrWait = ([, , ratio]) => ratio === null || ratio >= MIN_WAIT_RATIO;

/**
 * Rows and columns of the matrix: as the hub has them, the worst first, by name, or by one row or column.
 * @param {Pick<ContentionData, "services" | "victims" | "aggressors">} data
 * @param {readonly WaitPair[]} pairs
 * @param {string} order "", "name", or "waits:" or "runs:" before the name of the service whose row or column it is
 * @returns {{ victims: number[], aggressors: number[] }}
 */
export const orderServices = ({ services, victims, aggressors }, pairs, order) => {
  const [kind, name] = [order.slice(0, order.indexOf(":")), order.slice(order.indexOf(":") + 1)];
  const chosen = services.findIndex(([service]) => service === name);
  const ratios = new Map(pairs.map(([victim, aggressor, ratio]) => [`${victim} ${aggressor}`, ratio]));
  const ratioOf = (/** @type {number} */ victim, /** @type {number} */ aggressor) =>
    ratios.get(`${victim} ${aggressor}`) ?? -1;
  const nameOf = (/** @type {number} */ id) => services[id]?.[0] ?? "";
  const sorted = (/** @type {number[]} */ ids, /** @type {(id: number) => number} */ worth) =>
    [...new Set(ids)].sort((a, b) => {
      const difference = order === "name" ? 0 : worth(b) - worth(a);
      return difference || nameOf(a).localeCompare(nameOf(b));
    });
  const isBy = (/** @type {string} */ wanted) => kind === wanted && chosen >= 0;
  return {
    victims: sorted(
      pairs.map(([victim]) => victim),
      isBy("runs") ? (id) => ratioOf(id, chosen) : (id) => -victims.indexOf(id),
    ),
    aggressors: sorted(
      pairs.map(([, aggressor]) => aggressor),
      isBy("waits") ? (id) => ratioOf(chosen, id) : (id) => -aggressors.indexOf(id),
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
 * Draw the matrix and the list of its pairs.
 * @param {ContentionData} data
 */
export const drawWaitMatrix = (data) => {
  if (!data.pairs.length) {
    const missing = data.missing.length ? ` No samples of ${data.missing.join(", ")}.` : "";
    setPanelEmpty("who", `No two services share a GPU, so none can starve another.${missing}`);
    return;
  }
  const hasNoWaits = data.pairs.every(([, , ratio]) => (ratio ?? 0) < MIN_WAIT_RATIO);
  const showsAll = hasNoWaits || param("peace") === "1";
  const pairs = data.pairs.filter((pair) => showsAll || isMissingOrWait(pair));
  const order = param("order");
  const { victims, aggressors } = orderServices(data, pairs, order);
  put(
    byId("who"),
    h(
      "p",
      { class: "choices" },
      choice("data-by", "", order !== "name", "Worst first"),
      choice("data-by", "name", order === "name", "By name"),
      hasNoWaits ? null : choice("data-peace", showsAll ? "" : "1", showsAll, "Also pairs that share in peace"),
    ),
    matrix(data, pairs, victims.slice(0, MAX_SERVICES), aggressors.slice(0, MAX_SERVICES), order),
    note(data, victims, aggressors),
    h("details", { id: "who-twin" }, h("summary", null, "Pairs as a list"), h("div", { id: "who-list" })),
  );
  drawPairs(data, pairs);
  setPanel("who", "ready");
};

/**
 * @param {ContentionData} data
 * @param {readonly WaitPair[]} pairs
 * @param {readonly number[]} rows
 * @param {readonly number[]} columns
 * @param {string} order
 */
const matrix = ({ services, jobs }, pairs, rows, columns, order) => {
  const label = shortLabels(services.map(([name]) => name));
  const byIds = new Map(pairs.map((pair) => [`${pair[0]} ${pair[1]}`, pair]));
  const sortButton = (/** @type {"waits" | "runs"} */ kind, /** @type {number} */ id) => {
    const [name, colour] = services[id] ?? ["", 0];
    const isCurrent = order === `${kind}:${name}`;
    const arrow = kind === "runs" ? " ▾" : " ▸";
    return h(
      "button",
      {
        type: "button",
        "data-by": isCurrent ? "" : `${kind}:${name}`,
        title: `${name}: sort by it`,
        "aria-pressed": String(isCurrent),
      },
      serviceDot(colour),
      truncate(label(name), 18),
      isCurrent ? arrow : "",
    );
  };
  const cell = (/** @type {number} */ victim, /** @type {number} */ aggressor) => {
    if (victim === aggressor) return h("td", { class: "none", title: "itself" });
    const pair = byIds.get(`${victim} ${aggressor}`);
    return pair ? waitCell(pair, services) : h("td", { class: "none", title: "they share no GPU, or in peace" }, "·");
  };
  return scrollTable(
    "Who waits for whom",
    { class: "matrix" },
    [
      h("th", { scope: "col" }, "waits ↓ for →"),
      columns.map((id) => h("th", { scope: "col" }, sortButton("runs", id))),
    ],
    rows.map((victim) =>
      h(
        "tr",
        null,
        h(
          "th",
          { scope: "row" },
          sortButton("waits", victim),
          jobs.includes(victim) ? h("small", null, "no requests") : null,
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
const waitCell = ([victimId, aggressorId, ratio, gpus, inWarning], services) => {
  const [victim, aggressor] = [services[victimId]?.[0] ?? "", services[aggressorId]?.[0] ?? ""];
  const share = isNumber(ratio) ? `${formatPercent(ratio)} of the time` : "(no data)";
  const count = plural(gpus, "GPU");
  const name = `${victim} waits for ${aggressor} ${share} on ${count}${inWarning ? ", in a warning" : ""}`;
  const isOpen = param("victim") === victim && param("aggressor") === aggressor;
  const low = (ratio ?? 0) < LOW_RATIO ? "low" : "";
  return h(
    "td",
    { class: `${inWarning ? "warned" : low}${isOpen ? " open" : ""}`, style: `--heat:${heatPercent(ratio)}%` },
    h(
      "a",
      {
        class: "cell",
        href: hrefWith({ victim, aggressor }),
        "data-go": true,
        title: name,
        "aria-label": name,
        "aria-current": isOpen ? "true" : null,
      },
      isNumber(ratio) ? formatPercent(ratio) : "no data",
      h("small", null, count),
    ),
  );
};

/**
 * @param {ContentionData} data
 * @param {readonly number[]} victims
 * @param {readonly number[]} aggressors
 */
const note = ({ jobs, hidden }, victims, aggressors) => {
  const [rows, columns] = [Math.min(victims.length, MAX_SERVICES), Math.min(aggressors.length, MAX_SERVICES)];
  const isCut = rows < victims.length || columns < aggressors.length || hidden;
  const hasJobs = victims.slice(0, MAX_SERVICES).some((id) => jobs.includes(id));
  return h(
    "p",
    { class: "note" },
    "An upper bound, from samples of who runs when. ",
    hasJobs ? "Who answers no requests, such as a batch job, may wait. " : "",
    isCut ? `Shown are ${rows} × ${columns}; the CSV has all pairs.` : "",
  );
};

/**
 * @param {ContentionData} data
 * @param {readonly WaitPair[]} pairs
 */
const drawPairs = ({ services }, pairs) => {
  const nameOf = (/** @type {number} */ id) => services[id]?.[0] ?? "";
  drawTable(byId("who-list"), {
    id: "pairs",
    label: "Pairs",
    param: "psort",
    by: "-ratio",
    rows: pairs,
    columns: [
      { key: "victim", name: "Waits", text: true, value: ([victim]) => nameOf(victim) },
      { key: "aggressor", name: "Runs", text: true, value: ([, aggressor]) => nameOf(aggressor) },
      {
        key: "ratio",
        name: "Share of time",
        value: ([, , ratio]) => ratio,
        cell: ([victim, aggressor, ratio]) =>
          link(
            hrefWith({ victim: nameOf(victim), aggressor: nameOf(aggressor) }),
            isNumber(ratio) ? formatPercent(ratio) : "no data",
          ),
      },
      { key: "gpus", name: "GPUs", value: ([, , , gpus]) => gpus },
    ],
  });
};
