// The Now page: verdict, figures, lanes, who waits for whom, incidents, and the most affected services.
import { link, pageHref, pairHref, serviceHref } from "#web/assets/address.js";
import {
  byId,
  h,
  headCells,
  put,
  scrollTable,
  setPanel,
  setPanelEmpty,
  setPanelsWithoutData,
} from "#web/assets/dom.js";
import {
  formatPercent,
  formatRate,
  formatSeconds,
  isNumber,
  NOT_KNOWN,
  plural,
  shortLabels,
  truncate,
} from "#web/assets/format.js";
import { gpuGrid } from "#web/assets/gpu_grid/gpu_grid.js";
import { decodeBytes, decodeRatio, formatGridValue } from "#web/assets/gpu_grid/grid_values.js";
import { live } from "#web/assets/state.js";
import { healthState, STAGE_SIGNS, STAGE_WORDS, serviceDot, stageState } from "#web/assets/timeline/signs.js";
import { drawTimeline } from "#web/assets/timeline/timeline.js";
import * as timeRange from "#web/assets/widgets/time_range.js";
import { heatPercent, sparkline } from "#web/assets/widgets/widgets.js";
import { drawIncidents } from "#web/pages/now/incidents.js";
import { drawVerdict } from "#web/pages/now/verdict.js";

/** @typedef {import("#web/assets/payload.d.ts").Topology} Topology */
/** @typedef {import("#web/pages/now/payload.d.ts").Figure} Figure */
/** @typedef {import("#web/pages/now/payload.d.ts").Matrix} Matrix */
/** @typedef {import("#web/pages/now/payload.d.ts").NowData} NowData */
/** @typedef {import("#web/pages/now/payload.d.ts").ServiceRow} ServiceRow */
/** @typedef {import("#web/pages/now/payload.d.ts").WaitCell} WaitCell */

const ERROR_RATE_BAD = 0.05;
const ERROR_RATE_POOR = 0.01;
const STALLED_RATIO = 0.01;

/**
 * @param {number} value
 * @param {string} unit
 */
const formatFigure = (value, unit) => {
  if (unit === "ratio") return formatPercent(value);
  return unit === "count" ? String(value) : value.toFixed(2);
};

/**
 * The address of a figure's page, with the time range.
 * @param {string} href
 */
const withRange = (href) => {
  const [path = "/", query = ""] = href.split("?");
  return pageHref(path, Object.fromEntries(new URLSearchParams(query)));
};

/**
 * What is said of a figure's normal range.
 * @param {Figure} item
 * @param {boolean} isKnown
 */
const usualText = ({ usual, unit }, isKnown) => {
  const high = usual?.[1];
  if (isNumber(high)) return `usually up to ${formatFigure(high, unit)}`;
  return isKnown && unit !== "count" ? "usual level not known yet" : "";
};

/** @param {Figure} item */
const figure = (item) => {
  const { name, unit, of, who, note } = item;
  const value = item.of === 0 || !isNumber(item.value) ? null : item.value;
  const text = value === null ? NOT_KNOWN : formatFigure(value, unit);
  const high = item.usual?.[1];
  const isUnusual = value !== null && isNumber(high) && value > high;
  const isGrave = isUnusual || (unit === "count" && (value ?? 0) > 0);
  const usual = usualText(item, value !== null);
  const ofText = value !== null && of !== null ? ` of ${of}` : "";
  const label = [`${name}: ${value === null ? "no data" : text}${ofText}`, who, usual].filter(Boolean).join(", ");
  const unusualNote = [who, note].filter(Boolean).join(", ");
  return h(
    "a",
    {
      class: isGrave ? "figure grave" : "figure",
      href: withRange(item.href),
      "data-go": true,
      "aria-label": label,
    },
    h("span", { class: "figure-name" }, name),
    h(
      "span",
      { class: "figure-row" },
      h("span", null, h("b", null, text), ofText),
      sparkline(item.spark, { normal: item.usual, kind: isUnusual ? "critical" : "" }),
    ),
    h("span", { class: "figure-note", title: who || null }, who && isUnusual ? unusualNote : note || usual || " "),
  );
};

/**
 * @param {string} victim
 * @param {string} aggressor
 */
const pairKey = (victim, aggressor) => `${victim}\n${aggressor}`;

/**
 * The pairs of a matrix that have a cell.
 * @param {Matrix} matrix
 */
const matrixPairs = ({ victims, aggressors, cells }) =>
  victims.flatMap((victim, row) =>
    aggressors.flatMap((aggressor, column) => {
      const cell = cells[row]?.[column];
      return cell ? [{ victim, aggressor, cell }] : [];
    }),
  );

/**
 * How to read a cell, said of the one that matters most.
 * @param {Matrix} matrix
 * @param {ReadonlySet<string>} inIncident pairs
 */
const exampleText = (matrix, inIncident) => {
  const weight = (/** @type {ReturnType<typeof matrixPairs>[number]} */ { victim, aggressor, cell }) =>
    (inIncident.has(pairKey(victim, aggressor)) ? 2 : 0) + (matrix.jobs.includes(victim) ? 0 : 1) + (cell.ratio ?? 0);
  const [first, ...rest] = matrixPairs(matrix).filter(({ cell }) => isNumber(cell.ratio));
  if (!first) return null;
  const { victim, aggressor, cell } = rest.reduce((best, pair) => (weight(pair) > weight(best) ? pair : best), first);
  const wait = `of its time, ${victim} waits at most that much while ${aggressor} holds a GPU that both use.`;
  return `${formatPercent(cell.ratio)}: ${wait}`;
};

/**
 * Only a pair that is in an incident is colored: batch jobs wait for others all day, and no harm is done.
 * @param {string} victim
 * @param {string} aggressor
 * @param {WaitCell | null | undefined} cell
 * @param {boolean} isInIncident
 */
const matrixCell = (victim, aggressor, cell, isInIncident) => {
  if (!cell) return h("td", { class: "none", title: "they share no GPU" }, NOT_KNOWN);
  const share = isNumber(cell.ratio) ? `${formatPercent(cell.ratio)} of the time` : "(no data)";
  const name = `${victim} waits for ${aggressor} ${share} on ${cell.gpus.join(", ")}`;
  return h(
    "td",
    { class: isInIncident ? "warned" : "low", style: `--heat:${heatPercent(cell.ratio)}%` },
    h(
      "a",
      { href: pairHref(victim, aggressor), "data-go": true, title: name, "aria-label": name },
      isNumber(cell.ratio) ? formatPercent(cell.ratio) : "no data",
      h("small", null, plural(cell.gpus.length, "GPU")),
    ),
  );
};

/** @param {NowData} data */
const drawMatrix = (data) => {
  const { victims, aggressors, cells, jobs, hidden } = data.matrix;
  if (!victims.length) {
    const missing = data.missing.length ? ` No samples of ${data.missing.slice(0, 3).join(", ")}.` : "";
    setPanelEmpty("matrix", `No two services share a GPU, so none can starve another.${missing}`);
    return;
  }
  const label = shortLabels([...new Set([...victims, ...aggressors])]);
  const inIncident = new Set(data.warnings.map(({ service, suspect }) => pairKey(service, String(suspect.service))));
  const hasIncident = matrixPairs(data.matrix).some(({ victim, aggressor }) =>
    inIncident.has(pairKey(victim, aggressor)),
  );
  const head = [
    h("th", { scope: "col" }, "waits ↓ for →"),
    aggressors.map((name) => h("th", { scope: "col", title: name }, truncate(label(name), 14))),
  ];
  const rows = victims.map((victim, row) =>
    h(
      "tr",
      null,
      h(
        "th",
        { scope: "row", title: victim },
        truncate(label(victim), 18),
        jobs.includes(victim) ? h("small", null, "no requests") : null,
      ),
      aggressors.map((aggressor, column) =>
        matrixCell(victim, aggressor, cells[row]?.[column], inIncident.has(pairKey(victim, aggressor))),
      ),
    ),
  );
  put(
    byId("matrix"),
    scrollTable("Who starves whom", { class: "matrix" }, head, rows),
    h(
      "p",
      { class: "note" },
      hasIncident
        ? [h("span", { class: "key marked" }, "in an incident"), ", the others are not. "]
        : "None of these pairs is in an incident. ",
      exampleText(data.matrix, inIncident),
      jobs.length ? " Who answers no requests, such as a batch job, may wait." : null,
      hidden ? [" ", link(pageHref("/contention"), `${hidden} more rows or columns with shorter waits`)] : null,
    ),
  );
  setPanel("matrix", "ready");
};

/**
 * The sign of a service: those of the timeline, a flag for the one that an incident is due to.
 * @param {ServiceRow} service
 * @param {boolean} isCause
 */
const serviceSign = ({ health, stage }, isCause) => {
  if (isCause) return "⚑";
  if (health !== "warning") return null;
  return stage === "degraded" || stage === "breached" ? STAGE_SIGNS[stage] : STAGE_SIGNS.early_warning;
};

/**
 * @param {ServiceRow} service
 * @param {boolean} isCause
 */
const serviceCondition = (service, isCause) => {
  const { health, stage, word } = service;
  if (health === "ok" && stage && stage !== "healthy") return stageState(stage);
  return [
    healthState(health, word, serviceSign(service, isCause)),
    stage === "breached" || stage === "degraded" ? h("span", { class: "state muted" }, ` ${STAGE_WORDS[stage]}`) : null,
  ];
};

/** @param {number | null} ratio */
const errorClass = (ratio) => {
  if ((ratio ?? 0) >= ERROR_RATE_BAD) return "bad";
  return (ratio ?? 0) >= ERROR_RATE_POOR ? "poor" : "";
};

/** @param {NowData} data */
const drawServices = (data) => {
  if (!data.services.length) {
    setPanelEmpty("services", "No service is known: no spans have arrived and no process was seen on a GPU.");
    return;
  }
  const colors = new Map(live.topology?.services.map(({ id, colour }) => [id, colour]));
  const label = shortLabels(data.services.map(({ id }) => id));
  const affected = new Set(data.warnings.map(({ service }) => service));
  const causes = new Set(data.warnings.flatMap(({ suspect }) => suspect.service ?? []));
  const row = (/** @type {ServiceRow} */ service) => {
    const { id, health, stage, rate, failed, p95, spark } = service;
    return h(
      "tr",
      { "data-health": health },
      h(
        "th",
        { scope: "row", title: id },
        serviceDot(colors.get(id) ?? 0),
        link(serviceHref(id), truncate(label(id), 24)),
        h("br"),
        serviceCondition(service, causes.has(id) && !affected.has(id)),
      ),
      h("td", null, formatRate(rate)),
      h("td", { class: errorClass(failed) }, formatPercent(failed)),
      h("td", null, formatSeconds(p95)),
      h(
        "td",
        { class: "minor" },
        sparkline(spark, { kind: stage === "breached" ? "critical" : "", label: `p95 of ${id} over 15 minutes` }) ||
          NOT_KNOWN,
      ),
    );
  };
  const head = [
    ...headCells(["Service", "Requests", "Failed", "p95"]),
    h("th", { scope: "col", class: "minor" }, "p95, 15 min"),
  ];
  const all = data.hidden ? `All services: ${data.hidden} more` : "All services";
  put(
    byId("services"),
    scrollTable("Services", { class: "services" }, head, data.services.map(row)),
    h("p", { class: "note" }, link(pageHref("/services"), all)),
  );
  setPanel("services", "ready");
};

/**
 * @param {NowData} data
 * @param {Topology} topology
 */
const drawGrid = ({ gpus, tenants, marked }, topology) => {
  const [busy, stalled] = [decodeBytes(tenants.busy), decodeBytes(tenants.stalled)];
  const describeTenant = (/** @type {string} */ service, /** @type {number} */ tenant) => {
    if (!busy.length) return service;
    const ratio = decodeRatio(stalled[tenant]) ?? 0;
    const stalledText = ratio >= STALLED_RATIO ? ` (stalled ${formatPercent(ratio)})` : "";
    return `${service} ${formatGridValue(decodeRatio(busy[tenant]), "ratio")}${stalledText}`;
  };
  const view = {
    title: "busy",
    unit: "ratio",
    low: 0,
    high: 1,
    values: decodeBytes(gpus.busy),
    contended: decodeBytes(gpus.contended),
    marked: new Set(marked),
    describeTenant,
  };
  gpuGrid.draw(view, topology);
};

/** @type {import("#web/assets/page.d.ts").Page} */
export const now = {
  mount: () => gpuGrid.mount(byId("grid")),
  update: (/** @type {NowData} */ data) => {
    const isPresent = timeRange.isLive() && !data.bounds;
    const time = (isPresent ? live.time : (data.data_time ?? live.time)) ?? 0;
    drawVerdict(data, time);
    if (!data.ready) {
      setPanelsWithoutData(["timeline", "matrix", "grid", "warnings", "services"], data.error);
      return;
    }
    put(byId("figures"), (data.figures ?? []).map(figure));
    const empty = data.untold || "No service is worse than usual, and none was in the last 15 min.";
    const timeline = { ...data.timeline, past: !timeRange.isLive() };
    drawTimeline("timeline", timeline, { allHref: pageHref("/cascade"), empty });
    drawMatrix(data);
    drawIncidents(data, time);
    drawServices(data);
    if (live.topology?.id === data.topology) drawGrid(data, live.topology);
  },
};
