// The Contention page: the longest wait, GPU wait by pair, the use of GPU time, and the open pair.
import { gpuHref, hrefWith, link, navigate, pageHref, serviceHref, serviceLink } from "#web/assets/address.js";
import { clausesText } from "#web/assets/clock.js";
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
import {
  capitalized,
  filled,
  formatPercent,
  inWords,
  isNumber,
  localName,
  NOT_KNOWN,
  plural,
  shortLabels,
  truncate,
} from "#web/assets/format.js";
import { live } from "#web/assets/state.js";
import { actionCard } from "#web/assets/timeline/action_card.js";
import { courseOf, incidentHref, incidentStatus, worstStatus } from "#web/assets/timeline/incident.js";
import { allocatedText } from "#web/assets/widgets/allocated.js";
import { drawTable } from "#web/assets/widgets/table.js";
import { MIN_WAIT_RATIO } from "#web/assets/widgets/wait_cell.js";
import { ABSENT, CONNECTION_TEXTS, EMPTY, GPU_TEXTS } from "#web/assets/words.js";
import { drawLimits } from "#web/pages/contention/limits.js";
import { closePair, drawPairChanges, drawPairGpus, drawPairTraces } from "#web/pages/contention/pair.js";
import { drawWaitMatrix, statusOf } from "#web/pages/contention/wait_matrix.js";

/** @typedef {import("#web/pages/contention/payload.d.ts").ContentionData} ContentionData */
/** @typedef {import("#web/pages/contention/payload.d.ts").GpuTime} GpuTime */
/** @typedef {import("#web/pages/contention/payload.d.ts").OpenPair} OpenPair */
/** @typedef {import("#web/pages/contention/payload.d.ts").RankedGpu} RankedGpu */
/** @typedef {import("#web/pages/contention/payload.d.ts").Tiers} Tiers */

const MAX_RANKED_GPUS = 8;
const MAX_GROUPS = 8;
/** Share of time from which a GPU counts as contended. */
const MIN_CONTENDED_RATIO = 0.1;
const PARTS = /** @type {const} */ (["uncontended", "contended", "idle"]);
const PART_NAMES = { uncontended: "busy, uncontended", contended: "busy, contended", idle: "idle" };

/** The newest values, for a click that changes only their order. @type {ContentionData | null} */
let shown = null;

/** @param {number | null | undefined} ratio */
const isWait = (ratio) => (ratio ?? 0) >= MIN_WAIT_RATIO;

/**
 * The state of the headline. A wait without an incident is neutral: a batch job may wait all day.
 * @param {ContentionData} data
 */
const verdictState = ({ pair, pairs, gpu_count: gpuCount }) => {
  if (pair) {
    if (pair.incident) return incidentStatus(pair.incident);
    if (isWait(pair.ratio)) return "waits";
    return pair.ratio === null ? "unknown" : "healthy";
  }
  const worst = worstStatus(pairs.map(([, , , , role]) => statusOf(role)));
  if (worst) return worst;
  if (pairs.some(([, , ratio]) => isWait(ratio))) return "waits";
  if (!gpuCount) return "empty";
  return pairs.some(([, , ratio]) => ratio !== null) || !pairs.length ? "healthy" : "unknown";
};

/**
 * @param {OpenPair} pair
 * @param {number} now
 */
const pairFacts = ({ victim, aggressor, ratio, incident }, now) => [
  incident ? h("p", null, clausesText(incident.suspicion_clauses), ".") : null,
  incident ? actionCard(incident.actions) : null,
  h(
    "p",
    { class: "facts" },
    ratio !== null ? h("span", null, "GPU wait ", h("b", null, formatPercent(ratio)), " of the time") : null,
    incident
      ? [h("span", null, courseOf(incident, now)), link(incidentHref(incident.id), "Incident")]
      : h("span", null, capitalized(ABSENT.incident)),
    serviceLink(victim),
    serviceLink(aggressor),
    h("button", { type: "button", class: "quiet", id: "pair-close" }, "Close pair"),
  ),
];

/**
 * @param {ContentionData} data
 * @param {number} now
 */
const drawVerdict = (data, now) => {
  const { headline_clauses: headline, detail_clauses: detail, pair } = data;
  requireId("verdict").dataset.state = verdictState(data);
  put(requireId("headline"), clausesText(pair ? pair.summary_clauses : headline));
  requireId("pair-open").hidden = !pair;
  for (const name of ["gpu-time", "ranked"]) requireId(`${name}-panel`).hidden = Boolean(pair);
  const facts = detail.length ? h("p", null, clausesText(detail)) : null;
  put(byId("pair-facts"), pair ? pairFacts(pair, now) : facts);
};

/** @param {GpuTime} row */
const timeBar = (row) => {
  if (!isNumber(row.idle)) return ABSENT.data;
  const text = PARTS.filter((part) => isNumber(row[part])).map(
    (part) => `${PART_NAMES[part]} ${formatPercent(row[part])}`,
  );
  const label = text.join(", ");
  return h(
    "span",
    { class: "time-bar", role: "img", "aria-label": label, title: label },
    PARTS.map((part) => h("span", { class: part, style: `width:${((row[part] || 0) * 100).toFixed(1)}%` })),
  );
};

/** @param {GpuTime} row */
const busy = ({ idle }) => (isNumber(idle) ? 1 - idle : null);

const TIME_COLUMNS = [
  { key: "busy", name: "Busy", value: busy, cell: (/** @type {GpuTime} */ row) => formatPercent(busy(row)) },
  {
    key: "contended",
    name: "Contended (by 2+ services)",
    // Rows that look the same are sorted by name.
    value: (/** @type {GpuTime} */ { contended }) => (isNumber(contended) ? Math.round(contended * 100) : null),
    cell: (/** @type {GpuTime} */ row) => formatPercent(row.contended),
  },
  { key: "bar", name: "GPU time", fixed: true, text: true, cell: timeBar },
];

/**
 * @param {Pick<RankedGpu, "services" | "allocated">} row
 * @param {(service: string) => string} label
 */
const gpuServices = ({ services, allocated }, label) => [
  ...services.map(({ service, busy: share, wait }) =>
    h(
      "span",
      { class: "on" },
      link(serviceHref(service), truncate(label(service), 30), service),
      ` busy ${formatPercent(share)}`,
      isWait(wait) ? `, waits ${formatPercent(wait)}` : "",
    ),
  ),
  ...allocated.map((item) => h("span", { class: "on" }, allocatedText(item))),
];

/** @param {ContentionData} data */
const drawRankedGpus = ({ gpus }) => {
  if (!gpus.length) {
    setPanelEmpty("ranked", EMPTY.gpus);
    return;
  }
  const contended = gpus.filter((row) => (row.contended ?? 0) >= MIN_CONTENDED_RATIO);
  if (!contended.length && gpus.some((row) => isNumber(row.contended))) {
    setPanelEmpty("ranked", EMPTY.contended);
    return;
  }
  const rows = contended.length ? contended : gpus;
  const label = shortLabels([...new Set(rows.flatMap(({ services }) => services.map(({ service }) => service)))]);
  drawTable(byId("ranked"), {
    id: "gpus",
    label: "Contended GPUs",
    rows,
    cluster: ({ gpu }) => gpu,
    maxRows: MAX_RANKED_GPUS,
    by: "-contended",
    columns: [
      {
        key: "gpu",
        name: "GPU",
        text: true,
        cell: ({ gpu, services, allocated }) => [
          link(gpuHref(gpu), localName(gpu), gpu),
          h("span", { class: "pod" }, gpuServices({ services, allocated }, label)),
        ],
      },
      ...TIME_COLUMNS,
      {
        key: "services",
        name: "Services",
        hint: "busy: share of time using the GPU; waits: share of time waiting for it",
        fixed: true,
        text: true,
        minor: true,
        kind: () => "wide-cell",
        cell: (row) => gpuServices(row, label),
      },
    ],
    note: h(
      "p",
      { class: "note" },
      contended.length ? `${GPU_TEXTS.waits_too} ` : null,
      `${GPU_TEXTS.contention_averages} `,
      link(pageHref("/fleet", { metric: "contended" }), "All GPUs"),
    ),
  });
  setPanel("ranked", "ready");
};

/** @param {ContentionData} data */
const drawGroups = ({ groups: { by, rows }, tiers }) => {
  if (!rows.length) {
    setPanelEmpty("gpu-time", EMPTY.gpus);
    return;
  }
  const legend = PARTS.map((part) => h("span", { class: `key part ${part}` }, PART_NAMES[part]));
  put(
    byId("gpu-time"),
    h("div", { id: "gpu-time-table" }),
    h("p", { class: "legend" }, legend),
    hasTierTable(tiers) ? null : sharedTiersNote(tiers),
  );
  drawTable(byId("gpu-time-table"), {
    id: "groups",
    label: `GPU time by ${by}`,
    rows,
    cluster: ({ name }) => name,
    maxRows: MAX_GROUPS,
    param: "gsort",
    by: "-contended",
    columns: [
      {
        key: "name",
        name: by === "pool" ? "Pool" : "Host",
        text: true,
        cell: ({ name }) => link(pageHref("/fleet", { q: name, metric: "contended" }), localName(name), name),
      },
      { key: "gpus", name: "GPUs", minor: true },
      ...TIME_COLUMNS,
    ],
  });
  setPanel("gpu-time", "ready");
};

/**
 * Whether a table says more of tiers than a sentence: several of them, and pools or configured tiers.
 * @param {Tiers} tiers
 */
const hasTierTable = ({ tiers, pools, shared, configured }) =>
  tiers.length > 1 && shared > 0 && (configured || pools.length > 1);

/** @param {Tiers} tiers */
const sharedTiersNote = ({ shared, configured }) =>
  shared
    ? h(
        "p",
        { class: "note" },
        filled(GPU_TEXTS.shared_tiers, { gpus: plural(shared, "GPU"), groups: configured ? "tiers" : "namespaces" }),
      )
    : null;

/** @param {[gpus: number, shared: number] | null | undefined} cell */
const tierCell = (cell) =>
  cell
    ? [plural(cell[0], "GPU"), cell[1] ? h("span", { class: "muted" }, `, ${cell[1]} shared with another tier`) : null]
    : NOT_KNOWN;

/** @param {ContentionData} data */
const drawTiers = ({ tiers, pair }) => {
  const { tiers: names, pools, cells } = tiers;
  const isShown = hasTierTable(tiers) && !pair;
  requireId("tiers-panel").hidden = !isShown;
  if (!isShown) return;
  put(
    byId("tiers"),
    scrollTable(
      "GPUs by tier and pool",
      { class: "rows" },
      headCells(["Tier", ...pools.map((pool) => inWords(pool) || "GPUs")]),
      names.map((name, i) =>
        h(
          "tr",
          null,
          h("th", { scope: "row" }, inWords(name) || ABSENT.tier),
          cells[i]?.map((cell) => h("td", null, tierCell(cell))),
        ),
      ),
    ),
    sharedTiersNote(tiers),
  );
  setPanel("tiers", "ready");
};

document.addEventListener("click", (event) => {
  const { by, all } = closest(event, "[data-by], [data-all]")?.dataset ?? {};
  if (by !== undefined) navigate(hrefWith({ order: by || null }), true);
  if (all !== undefined) navigate(hrefWith({ all: all || null }), true);
  if (closest(event, "#pair-close")) navigate(hrefWith({ victim: null, aggressor: null }));
  if ((by !== undefined || all !== undefined) && shown) drawWaitMatrix(shown);
});

/** @type {import("#web/assets/page.d.ts").Page} */
export const contention = {
  mount: () => {
    closePair();
    shown = null;
  },
  update: (/** @type {ContentionData} */ data) => {
    if (!data.ready) {
      put(
        byId("headline"),
        data.error ? filled(CONNECTION_TEXTS.unreadable, { error: data.error }) : EMPTY.first_evaluation,
      );
      requireId("verdict").dataset.state = data.error ? "error" : "empty";
      setPanelsWithoutData(["waits", "ranked", "gpu-time"], data.error);
      for (const name of ["tiers", "limits"]) requireId(`${name}-panel`).hidden = true;
      return;
    }
    shown = data;
    drawVerdict(data, live.time ?? 0);
    drawWaitMatrix(data);
    drawRankedGpus(data);
    drawGroups(data);
    drawTiers(data);
    drawLimits(data);
    drawPairGpus(data.pair);
    drawPairChanges(data.pair);
    drawPairTraces(data.pair);
  },
};
