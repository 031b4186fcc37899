// The Contention page: its sentence, who waits for whom, the GPUs with the most waiting, and the pair that is open.
import { gpuHref, hrefWith, link, navigate, pageHref, serviceHref, serviceLink } from "#web/assets/address.js";
import { clausesText, timeElement } from "#web/assets/clock.js";
import {
  byId,
  closest,
  h,
  headCells,
  put,
  requireId,
  scrollTable,
  setPanel,
  setPanelEmpty,
  setPanelsWithoutData,
} from "#web/assets/dom.js";
import { formatDuration, formatPercent, isNumber, NOT_KNOWN, truncate } from "#web/assets/format.js";
import { live } from "#web/assets/state.js";
import { actionStep, incidentHref } from "#web/assets/timeline/incident.js";
import { drawTable } from "#web/assets/widgets/table.js";
import { closePair, drawPairGpus, drawPairTraces } from "#web/pages/contention/pair.js";
import { drawWaitMatrix, MIN_WAIT_RATIO } from "#web/pages/contention/wait_matrix.js";

/** @typedef {import("#web/pages/contention/payload.d.ts").ContentionData} ContentionData */
/** @typedef {import("#web/pages/contention/payload.d.ts").OpenPair} OpenPair */
/** @typedef {import("#web/pages/contention/payload.d.ts").RankedGpu} RankedGpu */
/** @typedef {import("#web/pages/contention/payload.d.ts").Shares} Shares */
/** @typedef {import("#web/pages/contention/payload.d.ts").Tiers} Tiers */

const MAX_RANKED_GPUS = 15;
/** The hub sends this many GPUs at most. */
const SENT_GPUS = 60;
const MAX_GROUPS = 12;
const PARTS = /** @type {const} */ (["useful", "contended", "idle"]);
const PART_MEANINGS = {
  useful: "useful: busy without a fight",
  contended: "contended: full, and several want it",
  idle: "idle",
};

/** The newest values, for a click that changes only their order. @type {ContentionData | null} */
let shown = null;

/** @param {number | null | undefined} ratio */
const isWait = (ratio) => (ratio ?? 0) >= MIN_WAIT_RATIO;

/**
 * The state of the page's sentence. A wait by itself is neither good nor bad: a batch job may wait all day.
 * @param {ContentionData} data
 */
const verdictState = ({ pair, pairs, gpus }) => {
  if (pair) {
    if (pair.incident) return "critical";
    if (isWait(pair.ratio)) return "waits";
    return pair.ratio === null ? "blind" : "calm";
  }
  if (pairs.some(([, , , , inWarning]) => inWarning)) return "critical";
  if (pairs.some(([, , ratio]) => isWait(ratio))) return "waits";
  if (!gpus.length) return "empty";
  return pairs.some(([, , ratio]) => ratio !== null) || !pairs.length ? "calm" : "blind";
};

/**
 * @param {OpenPair} pair
 * @param {number} now
 */
const pairFacts = ({ victim, aggressor, ratio, incident }, now) => [
  incident?.action ? actionStep(incident.action) : null,
  h(
    "p",
    { class: "facts" },
    isWait(ratio) && !incident ? h("span", null, "in no incident") : null,
    incident && [
      h(
        "span",
        null,
        `${incident.phase} since `,
        timeElement(incident.since, now),
        ` (${formatDuration(now - incident.since)})`,
      ),
      h("span", null, `${formatPercent(incident.confidence)} sure whose doing it is, ${incident.quality}`),
    ],
    ratio !== null
      ? h("span", null, "waits now ", h("b", null, formatPercent(ratio)), " of the time, an upper bound")
      : null,
    incident ? link(incidentHref(incident.id), "the incident") : null,
    serviceLink(victim),
    serviceLink(aggressor),
    h("button", { type: "button", class: "quiet", id: "pair-close" }, "Close the pair"),
  ),
];

/**
 * @param {ContentionData} data
 * @param {number} now
 */
const drawVerdict = (data, now) => {
  const { headline, pair } = data;
  requireId("verdict").dataset.state = verdictState(data);
  put(requireId("headline"), pair ? clausesText(pair.summary) : headline);
  requireId("pair-open").hidden = !pair;
  put(byId("pair-facts"), pair ? pairFacts(pair, now) : null);
};

/** @param {Shares} row */
const shareBar = (row) => {
  if (!isNumber(row.idle)) return "no data";
  const text = PARTS.filter((part) => isNumber(row[part])).map((part) => `${part} ${formatPercent(row[part])}`);
  const label = text.join(", ");
  return h(
    "span",
    { class: "split-bar", role: "img", "aria-label": label, title: label },
    PARTS.map((part) => h("span", { class: part, style: `width:${((row[part] || 0) * 100).toFixed(1)}%` })),
  );
};

const SHARE_COLUMNS = [
  { key: "bar", name: "Its time", fixed: true, text: true, cell: shareBar },
  ...PARTS.map((part) => ({
    key: part,
    name: part.charAt(0).toUpperCase() + part.slice(1),
    minor: part !== "contended",
    cell: (/** @type {Shares} */ row) => formatPercent(row[part]),
  })),
];

/** @param {RankedGpu} row */
const gpuServices = ({ services }) =>
  services.map(({ service, busy, stalled }, i) =>
    h(
      "span",
      { class: "on" },
      link(serviceHref(service), truncate(service, 30)),
      ` ${formatPercent(busy)}`,
      isWait(stalled) ? h("b", { class: "poor" }, ` waits ${formatPercent(stalled)}`) : "",
      i < services.length - 1 ? "," : "",
    ),
  );

/** @param {RankedGpu} row */
const waitScore = ({ wait, waiters }) => (wait === null ? null : wait * waiters);

/** @param {ContentionData} data */
const drawRankedGpus = ({ gpus }) => {
  if (!gpus.length) {
    setPanelEmpty("ranked", "No GPU is known: no target gives gpu_info.");
    return;
  }
  const waitedFor = gpus.filter((row) => row.waiters || isWait(row.contended));
  const rows = (waitedFor.length ? waitedFor : gpus).slice(0, MAX_RANKED_GPUS);
  const total = waitedFor.length === SENT_GPUS ? `${SENT_GPUS} or more` : waitedFor.length;
  const more = waitedFor.length > rows.length ? `The first ${rows.length} of ${total}. ` : "";
  drawTable(byId("ranked"), {
    id: "gpus",
    label: "GPUs, the most waited for first",
    rows,
    by: "-score",
    columns: [
      { key: "gpu", name: "GPU", text: true, cell: ({ gpu }) => link(gpuHref(gpu), gpu) },
      { key: "waiters", name: "Waiters", minor: true },
      {
        key: "wait",
        name: "Wait, sum",
        hint: "share of time, over all services on it",
        cell: ({ wait }) => formatPercent(wait),
      },
      {
        key: "score",
        name: "Waiters × wait",
        minor: true,
        value: waitScore,
        cell: (row) => waitScore(row)?.toFixed(2),
      },
      ...SHARE_COLUMNS.filter(({ key }) => key !== "idle"),
      {
        key: "services",
        name: "Services, and how busy each is",
        fixed: true,
        text: true,
        minor: true,
        kind: () => "wide-cell",
        cell: gpuServices,
      },
    ],
    note: h(
      "p",
      { class: "note" },
      waitedFor.length ? more : "Nobody waits on any of them. ",
      link(pageHref("/fleet", { metric: "contended" }), "All GPUs on Fleet"),
    ),
  });
  setPanel("ranked", "ready");
};

/** @param {ContentionData} data */
const drawGroups = ({ groups: { by, rows } }) => {
  if (!rows.length) {
    setPanelEmpty("split", "No GPU is known.");
    return;
  }
  const legend = PARTS.map((part) => h("span", { class: `key part ${part}` }, PART_MEANINGS[part]));
  put(byId("split"), h("p", { class: "legend" }, legend), h("div", { id: "split-table" }));
  drawTable(byId("split-table"), {
    id: "groups",
    label: `GPU time by ${by}`,
    rows,
    maxRows: MAX_GROUPS,
    param: "gsort",
    by: "-contended",
    columns: [
      {
        key: "name",
        name: by === "pool" ? "Pool" : "Host",
        text: true,
        cell: ({ name }) => link(pageHref("/fleet", { q: name, metric: "contended" }), name),
      },
      { key: "gpus", name: "GPUs" },
      ...SHARE_COLUMNS,
    ],
  });
  setPanel("split", "ready");
};

/** @param {Tiers} tiers */
const oneTierText = ({ tiers: [name, ...others] }) => {
  if (name === undefined && !others.length) return "No service runs on a GPU.";
  return `All services on GPUs are of one tier${name ? `, ${name}` : ""}: none can get into another's way.`;
};

/** @param {[gpus: number, shared: number] | null | undefined} cell */
const tierCell = (cell) =>
  cell
    ? h(
        "span",
        { title: `${cell[0]} GPUs, ${cell[1]} of them with another tier too` },
        cell[0],
        cell[1] ? h("b", { class: "poor" }, ` (${cell[1]} shared)`) : "",
      )
    : NOT_KNOWN;

/** @param {ContentionData} data */
const drawTiers = ({ tiers }) => {
  const { tiers: names, pools, cells, mixed, configured } = tiers;
  if (names.length < 2) {
    setPanelEmpty("tiers", oneTierText(tiers));
    return;
  }
  const mixedText = `${mixed} GPU${mixed === 1 ? " has" : "s have"} more than one tier.`;
  put(
    byId("tiers"),
    h("p", null, mixed ? h("b", { class: "poor" }, mixedText) : "No GPU has more than one tier."),
    scrollTable(
      "Tiers and pools",
      { class: "rows" },
      headCells(["Tier", ...pools.map((pool) => pool || "GPUs")]),
      names.map((name, i) =>
        h(
          "tr",
          null,
          h("th", { scope: "row" }, name || "(no tier)"),
          cells[i]?.map((cell) => h("td", null, tierCell(cell))),
        ),
      ),
    ),
    h(
      "p",
      { class: "note" },
      configured ? "Tiers as the cluster tells them. " : "Nobody tells of tiers: namespaces stand for them. ",
      h("a", { href: "/api/pools" }, "What each needs, as JSON"),
    ),
  );
  setPanel("tiers", "ready");
};

document.addEventListener("click", (event) => {
  const { by, peace } = closest(event, "[data-by], [data-peace]")?.dataset ?? {};
  if (by !== undefined) navigate(hrefWith({ order: by || null }), true);
  if (peace !== undefined) navigate(hrefWith({ peace: peace || null }), true);
  if (closest(event, "#pair-close")) navigate(hrefWith({ victim: null, aggressor: null }));
  if ((by !== undefined || peace !== undefined) && shown) drawWaitMatrix(shown);
});

/** @type {import("#web/assets/page.d.ts").Page} */
export const contention = {
  mount: () => {
    closePair();
    shown = null;
  },
  update: (/** @type {ContentionData} */ data) => {
    if (!data.ready) {
      put(byId("headline"), data.error ? "foreshock cannot read its source." : "Nothing is known yet.");
      requireId("verdict").dataset.state = data.error ? "error" : "empty";
      setPanelsWithoutData(["who", "ranked", "split", "tiers"], data.error);
      return;
    }
    shown = data;
    drawVerdict(data, live.time ?? 0);
    drawWaitMatrix(data);
    drawRankedGpus(data);
    drawGroups(data);
    drawTiers(data);
    drawPairGpus(data.pair);
    drawPairTraces(data.pair);
  },
};
