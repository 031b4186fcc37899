// The Status page: whether the data is fresh and complete, and what is missing.
import { clausesText, formatTimestamp } from "#web/assets/clock.js";
import {
  byId,
  h,
  headCells,
  put,
  requireId,
  scrollTable,
  setPanel,
  setPanelEmpty,
  setText,
  unbrokenWords,
} from "#web/assets/dom.js";
import {
  filled,
  formatDuration,
  formatSeconds,
  formatWhole,
  isNumber,
  localName,
  NOT_KNOWN,
  plural,
  truncate,
  uncapitalized,
} from "#web/assets/format.js";
import { healthState } from "#web/assets/timeline/signs.js";
import { drawTable } from "#web/assets/widgets/table.js";
import { figure } from "#web/assets/widgets/widgets.js";
import { CONNECTION_STATES, EMPTY, STATUS_TEXTS, TARGET_STATES } from "#web/assets/words.js";
import { drawConnect } from "#web/pages/status/connect.js";
import { drawSpans, drawStore } from "#web/pages/status/hub_facts.js";
import { drawAudit, drawNotifications } from "#web/pages/status/records.js";

/** @typedef {import("#web/pages/status/payload.d.ts").Signal} Signal */
/** @typedef {import("#web/pages/status/payload.d.ts").StatusData} StatusData */
/** @typedef {import("#web/pages/status/payload.d.ts").Target} Target */
/** @typedef {import("#web/pages/status/payload.d.ts").Unjoined} Unjoined */

const MAX_TARGETS = 400;

/** @param {StatusData} data */
const drawHealth = ({ health: { state, headline, clauses, problems }, simulated, past, hub }) => {
  requireId("status-verdict").dataset.state = state;
  setText(requireId("health"), clausesText(clauses));
  const others = problems.filter((text) => headline !== filled(STATUS_TEXTS.degraded, { problem: text }));
  put(
    byId("problems"),
    hub.notifications?.channels.length ? null : h("p", { class: "poor" }, unbrokenWords(STATUS_TEXTS.no_notifications)),
    hub.sources?.authentication?.length ? null : h("p", { class: "poor" }, unbrokenWords(STATUS_TEXTS.no_sign_in)),
    simulated ? h("p", null, STATUS_TEXTS.simulated) : null,
    past ? h("p", null, STATUS_TEXTS.past) : null,
    others.length
      ? h(
          "ul",
          null,
          others.map((text) => h("li", null, text)),
        )
      : null,
  );
};

/** @param {StatusData} data */
const ageFigure = ({ past, data_time: dataTime, data_age: age, step }) => {
  if (past) return figure("Time", formatTimestamp(dataTime), { note: uncapitalized(CONNECTION_STATES.past) });
  if (!isNumber(age)) return figure("Data age", NOT_KNOWN);
  return figure("Data age", formatDuration(age), { note: step ? `(evaluated every ${formatDuration(step)})` : "" });
};

/** @param {StatusData} data */
const traceFigure = ({ newest_trace: { age, note } }) =>
  figure("Newest trace", isNumber(age) ? `${formatDuration(age)} old` : NOT_KNOWN, { note });

/** @param {StatusData} data */
const targetsFigure = ({ targets, hidden, error }) => {
  const up = targets.filter(({ stale }) => !stale).length;
  const all = targets.length + hidden;
  if (!all) return figure("Targets up", NOT_KNOWN, { note: error ? "unknown" : STATUS_TEXTS.no_targets });
  return figure("Targets up", `${up + hidden}/${all}`, { mark: up < targets.length ? "bad" : "" });
};

/** @param {StatusData} data */
const drawFigures = (data) => {
  const { have, need, done } = data.learning;
  const progress = `${Math.floor(have / 60)} of ${Math.floor(need / 60)} min`;
  put(
    byId("status-figures"),
    ageFigure(data),
    traceFigure(data),
    targetsFigure(data),
    figure("Baseline", done ? "ready" : progress),
    figure("Version", data.version),
  );
};

/** @type {import("#web/assets/widgets/table.js").Column<Signal>[]} */
const MISSING_COLUMNS = [
  { key: "name", name: "Missing signal", text: true, cell: ({ name }) => healthState("unknown", name) },
  {
    key: "unknown",
    name: "Unknown without it",
    text: true,
    fixed: true,
    cell: ({ unknown }) => h("span", { class: "wide-cell" }, unknown),
  },
  {
    key: "remedy",
    name: "Setup",
    text: true,
    fixed: true,
    cell: ({ remedy }) => h("span", { class: "wide-cell" }, remedy),
  },
];

/**
 * @param {readonly Signal[]} signals that are available
 * @param {number} all
 */
const availableSignals = (signals, all) =>
  h(
    "details",
    { id: "signals-available" },
    h("summary", null, `${signals.length} of ${plural(all, "signal")} available`),
    scrollTable(
      "Available signals",
      { class: "rows" },
      headCells(["Signal", "Reported by", "Used for"]),
      signals.map(({ name, count, kind, features }) =>
        h(
          "tr",
          null,
          h("th", { scope: "row" }, name),
          h("td", null, plural(count, kind)),
          h("td", { class: "text" }, features),
        ),
      ),
    ),
  );

/** @param {StatusData} data */
const drawSignals = ({ signals, missing, error }) => {
  if (!signals.length) {
    setPanel("signals", error ? "error" : "empty", error || EMPTY.first_evaluation);
    return;
  }
  const available = signals.filter((signal) => signal.available);
  const rows = signals.filter((signal) => !signal.available);
  const note = missing.length
    ? h(
        "p",
        { class: "note" },
        filled(STATUS_TEXTS.no_samples, { metrics: plural(missing.length, "metric"), names: missing.join(", ") }),
      )
    : null;
  const below = [available.length ? availableSignals(available, signals.length) : null, note];
  if (rows.length) {
    drawTable(byId("signals"), {
      id: "signals-table",
      label: "Missing signals",
      columns: MISSING_COLUMNS,
      rows,
      param: "signals",
      by: "",
      note: below,
    });
  } else put(byId("signals"), below);
  setPanel("signals", "ready");
};

/** @param {Target} target */
const targetState = ({ stale, up }) =>
  stale ? healthState("critical", TARGET_STATES[up === false ? "down" : "stale"]) : healthState("ok", TARGET_STATES.up);

/** @type {import("#web/assets/widgets/table.js").Column<Target>[]} */
const TARGET_COLUMNS = [
  {
    key: "instance",
    name: "Target",
    text: true,
    cell: ({ instance }) => truncate(localName(instance), 46),
  },
  { key: "state", name: "State", text: true, value: ({ stale }) => stale, cell: (row) => targetState(row) },
  { key: "job", name: "Job", text: true, minor: true },
  {
    key: "age",
    name: "Last scrape",
    cell: ({ age }) => (isNumber(age) ? `${formatDuration(age)} ago` : "never"),
  },
  {
    key: "scrape_seconds",
    name: "Scrape duration",
    minor: true,
    cell: ({ scrape_seconds: seconds }) => formatSeconds(seconds),
  },
  { key: "samples", name: "Samples", minor: true, cell: ({ samples }) => formatWhole(samples) },
  {
    key: "error",
    name: "Last error",
    text: true,
    fixed: true,
    cell: ({ error }) => h("span", { class: "wide-cell" }, error),
  },
];

/**
 * The columns with a value in any row: a Prometheus gives no details of its scrapes.
 * @param {readonly Target[]} targets
 */
const targetColumns = (targets) =>
  TARGET_COLUMNS.filter(
    ({ key }) =>
      ["age", "state"].includes(key) || targets.some((row) => ![null, ""].includes(/** @type {any} */ (row)[key])),
  );

/** @param {StatusData} data */
const drawTargets = ({ targets, hidden, error }) => {
  if (!targets.length) {
    setPanelEmpty("targets", error || EMPTY.targets);
    if (error) setPanel("targets", "error", error);
    return;
  }
  const rest = h("p", { class: "note" }, `${hidden} more: `, h("a", { href: "/api/csv/targets" }, "CSV"));
  drawTable(byId("targets"), {
    id: "targets-table",
    label: "Targets",
    columns: targetColumns(targets),
    rows: targets,
    cluster: ({ instance }) => instance,
    param: "targets",
    by: "",
    maxRows: MAX_TARGETS,
    note: hidden ? rest : null,
  });
  setPanel("targets", "ready");
};

/** @type {import("#web/assets/widgets/table.js").Column<Unjoined>[]} */
const UNJOINED_COLUMNS = [
  { key: "server", name: "Model server", text: true, cell: ({ server }) => truncate(localName(server), 46) },
  { key: "job", name: "Job", text: true, minor: true },
  { key: "model", name: "Model", text: true, minor: true },
  { key: "service", name: "Shown as", text: true, cell: ({ service }) => truncate(localName(service), 46) },
  {
    key: "remedy",
    name: "Remedy",
    text: true,
    fixed: true,
    cell: ({ remedy }) => h("span", { class: "wide-cell" }, remedy),
  },
];

/** @param {StatusData} data */
const drawUnjoined = ({ unjoined }) => {
  requireId("unjoined-panel").hidden = !unjoined.length;
  if (!unjoined.length) return;
  drawTable(byId("unjoined"), {
    id: "unjoined-table",
    label: "Unjoined model servers",
    columns: UNJOINED_COLUMNS,
    rows: unjoined,
    cluster: ({ service }) => service,
    param: "unjoined",
    by: "",
    note: h("p", { class: "note" }, STATUS_TEXTS.unjoined),
  });
  setPanel("unjoined", "ready");
};

/** @type {import("#web/assets/page.d.ts").Page} */
export const status = {
  update: (/** @type {StatusData} */ data) => {
    drawHealth(data);
    drawFigures(data);
    drawSignals(data);
    drawTargets(data);
    drawUnjoined(data);
    drawNotifications(data);
    drawSpans(data);
    drawStore(data);
    drawAudit(data);
    drawConnect(data);
  },
};
