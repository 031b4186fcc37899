// The Capacity page: the first shortage, the week of each service, its chart, headroom, and what fills up.
import { hrefWith, link, navigate, param, serviceHref } from "#web/assets/address.js";
import { exactTime, formatMoment } from "#web/assets/clock.js";
import { byId, h, put, requireId, setPanel, setPanelEmpty, setPanelsWithoutData } from "#web/assets/dom.js";
import {
  filled,
  formatLoad,
  formatPercent,
  formatValue,
  inWords,
  isNumber,
  NOT_KNOWN,
  plural,
} from "#web/assets/format.js";
import { hubTime } from "#web/assets/state.js";
import { linked } from "#web/assets/timeline/cause.js";
import { setCsvLink } from "#web/assets/widgets/range_links.js";
import { drawTable } from "#web/assets/widgets/table.js";
import { breakable, sparkline } from "#web/assets/widgets/widgets.js";
import { CAPACITY_TEXTS, LOAD_KINDS, SAFE_LIMIT_NOTES } from "#web/assets/words.js";
import { choose, drawStrips, followStrips, isChosen, rowLink, rowName } from "#web/pages/capacity/heat_strip.js";
import { drawReplicas } from "#web/pages/capacity/replicas.js";

/** @typedef {import("#web/pages/capacity/payload.d.ts").CapacityData} CapacityData */
/** @typedef {import("#web/pages/capacity/payload.d.ts").CurrentRow} CurrentRow */
/** @typedef {import("#web/pages/capacity/payload.d.ts").SlowBurn} SlowBurn */
/** @typedef {import("#web/pages/capacity/payload.d.ts").StripRow} StripRow */

const PANELS = ["strips", "replicas", "headroom", "slow-burns"];
const DAY_SECONDS = 86_400;
const FORECAST_SECONDS = 7 * DAY_SECONDS;
const TRAFFIC_FACTORS = [1, 1.1, 1.2, 1.3, 1.5, 1.75, 2];
/** The parameters of the what-if case. */
const NO_CASE = { traffic: null, lost: null, move: null, move_to: null, replicas: null };

/** A phone has the forecast first: there, the cases are folded. */
const NARROW = matchMedia("(max-width: 600px)");
/** Whether a person unfolded them; null before. @type {boolean | null} */
let isUnfolded = null;

/** The newest values. @type {CapacityData | null} */
let newest = null;

/** @param {string} kind of load */
const kindName = (kind) => LOAD_KINDS[/** @type {keyof typeof LOAD_KINDS} */ (kind)];

/** @param {CapacityData} data */
const drawHeadline = ({ state, clauses, action = [], notes = [], case: whatIf }) => {
  requireId("capacity-verdict").dataset.state = state;
  put(byId("shortage"), linked(clauses));
  put(
    byId("shortage-detail"),
    whatIf ? h("p", null, h("b", null, whatIf), " ", link(hrefWith(NO_CASE), "Reset")) : null,
    action.length ? h("p", null, linked(action)) : null,
    notes.map((note) => h("p", { class: "note" }, linked(note))),
  );
};

/**
 * "24%", "6% over", "at the limit".
 * @param {number} ratio of the safe limit
 * @param {"poor" | "bad"} [kind] of a load above the limit; a forecast one is a warning
 */
const headroomText = (ratio, kind = "poor") => {
  const percent = Math.round(100 * Math.abs(ratio));
  if (!percent) return CAPACITY_TEXTS.at_limit;
  return ratio < 0 ? h("span", { class: kind }, `${percent}% over`) : `${percent}%`;
};

/** @param {number | null} unix seconds */
const momentCell = (unix) => (isNumber(unix) ? exactTime(unix, formatMoment(unix, hubTime())) : null);

/** @param {StripRow} row */
const peakCell = ({ peak, peak_low: low, peak_high: high, peak_at: at, safe }) => {
  if (!isNumber(peak)) return null;
  if (safe === 0) return h("span", { class: "bad" }, CAPACITY_TEXTS.no_capacity);
  return [
    h("span", { class: peak > 1 ? "poor" : "" }, formatPercent(peak)),
    h("small", { class: "reference" }, ` (${formatPercent(low)} to ${formatPercent(high)})`, " ", momentCell(at)),
  ];
};

/** @type {import("#web/assets/widgets/table.js").Column<StripRow>[]} */
const COLUMNS = [
  { key: "name", name: "Service", text: true, value: rowName, cell: rowLink },
  {
    key: "now",
    name: "Now, of safe limit",
    minor: true,
    cell: ({ now, safe }) => (isNumber(now) && safe !== 0 ? formatPercent(now) : null),
  },
  {
    key: "peak",
    name: "Peak in 7 days",
    hint: "median of the highest hour, with its 80% interval and time",
    cell: peakCell,
  },
  {
    key: "headroom",
    name: "Headroom, % of safe limit",
    minor: true,
    hint: "hourly safe limit minus peak, as a share of the limit",
    value: ({ peak }) => (isNumber(peak) ? 1 - peak : null),
    cell: ({ peak, safe }) => {
      if (!isNumber(peak) || safe === 0) return null;
      return headroomText(1 - Math.round(100 * peak) / 100); // of the peak as shown
    },
  },
  {
    key: "safe",
    name: "Hourly safe limit",
    minor: true,
    hint: "hourly mean load that still leaves room for bursts, with as many replicas as the autoscaler may start",
    cell: ({ service, safe, unit, kind, replicas_at_limit: replicas }) => {
      if (!isNumber(safe)) return CAPACITY_TEXTS.unknown;
      const at = service && isNumber(replicas) ? ` (at ${replicas} ${replicas === 1 ? "replica" : "replicas"})` : "";
      return h("span", { title: kindName(kind) }, formatValue(safe, unit), h("small", { class: "reference" }, at));
    },
  },
  {
    key: "shortage_at",
    name: "First shortage",
    cell: ({ shortage_at: at, shortage_basis: basis, peak, safe, replicas, ready, max_replicas: most }) => {
      if (safe === 0) return CAPACITY_TEXTS.now;
      const when = momentCell(at);
      if (!when) return isNumber(peak) ? CAPACITY_TEXTS.none : null;
      const order = isNumber(most) ? ` raise maximum to ${(ready ?? 0) + (replicas ?? 0)}` : ` add ${replicas}`;
      const added = replicas ? h("small", { class: "narrow-only" }, order) : "";
      if (basis !== "recent") return [when, added];
      return [h("span", { title: CAPACITY_TEXTS.recent }, `${CAPACITY_TEXTS.may_be} `, when), added];
    },
  },
];

/** @param {CapacityData} data */
const drawHeadroom = ({ rows = [] }) => {
  const names = Object.keys(NO_CASE);
  setCsvLink("headroom", "/api/csv/forecast", Object.fromEntries(names.map((name) => [name, param(name)])));
  drawTable(byId("headroom"), {
    id: "headroom-table",
    label: "Headroom",
    columns: COLUMNS,
    rows,
    cluster: ({ service, pool }) => service ?? pool,
    health: ({ shortage_at: at }) => (isNumber(at) ? "warning" : "ok"),
  });
};

/** @param {CurrentRow} row */
const loadLine = ({ service, spark, safe: limit }) => {
  const most = `up to ${formatLoad(Math.max(...spark.filter(isNumber)))}; safe limit ${formatPercent(limit)}`;
  return sparkline(spark, {
    limit,
    label: `Load of ${inWords(service)}, last 30 min, ${most}`,
    title: most,
  });
};

/** @type {import("#web/assets/widgets/table.js").Column<CurrentRow>[]} */
const CURRENT_COLUMNS = [
  {
    key: "service",
    name: "Service",
    text: true,
    cell: ({ service }) => link(serviceHref(service), breakable(inWords(service))),
  },
  {
    key: "load",
    name: "Load, % of capacity",
    hint: CAPACITY_TEXTS.safe_limit,
    cell: ({ load, safe, basis, unlearned }) => {
      if (!isNumber(safe)) {
        return h("small", { class: "reference", title: unlearned || null }, CAPACITY_TEXTS.not_learned);
      }
      const why = SAFE_LIMIT_NOTES[basis] ? `, ${SAFE_LIMIT_NOTES[basis]}` : "";
      return [formatLoad(load), h("small", { class: "reference" }, ` (safe limit ${formatPercent(safe)}${why})`)];
    },
  },
  {
    key: "headroom",
    name: "Headroom, % of safe limit",
    hint: "safe limit minus load, as a share of the safe limit",
    cell: ({ load, headroom, status }) => {
      if ((load ?? 0) > 1) return h("span", { class: "bad" }, CAPACITY_TEXTS.overloaded);
      return isNumber(headroom) ? headroomText(headroom, status === "critical" ? "bad" : "poor") : null;
    },
  },
  { key: "spark", name: "Load, 30 min", fixed: true, cell: loadLine },
];
const MAX_NAMED = 5;

/** @param {readonly string[]} services without a known safe limit */
const unlimitedNote = (services) => {
  const rest = services.length - MAX_NAMED;
  const names = `${services.slice(0, MAX_NAMED).map(inWords).join(", ")}${rest > 0 ? ` and ${rest} more` : ""}`;
  const count = plural(services.length, "service");
  return services.length
    ? h("p", { class: "note" }, filled(CAPACITY_TEXTS.not_listed, { services: count, names }))
    : null;
};

/**
 * Without a forecast: the headroom of now alone. An empty list of slow burns would be an all-clear.
 * @param {CapacityData} data
 */
const drawWithoutForecast = (data) => {
  const { current = [], hidden = 0, slow_burns: burns = [], unlimited = [], peak_seconds: seconds = 0 } = data;
  for (const name of ["strips", "capacity-load"]) requireId(`${name}-panel`).hidden = true;
  requireId("slow-burns-panel").hidden = !burns.length;
  requireId("headroom-panel").hidden = !current.length && !unlimited.length;
  requireId("replicas-panel").hidden = !current.length;
  put(byId("chosen"));
  drawWhatIf(data);
  const rest = hidden ? h("p", { class: "note" }, `${plural(hidden, "service")} with more headroom not shown`) : null;
  const notes = [rest, unlimitedNote(unlimited)];
  setCsvLink("headroom", "/api/csv/headroom", {});
  if (current.length) {
    drawTable(byId("headroom"), {
      id: "headroom-table",
      label: "Headroom",
      columns: CURRENT_COLUMNS,
      rows: current,
      note: notes,
    });
    drawReplicas(current, seconds, { isSinceStart: data.is_since_start ?? false });
  } else put(byId("headroom"), notes);
  setPanel("headroom", "ready");
  setPanel("replicas", "ready");
};

/** @param {number | null} seconds until the end */
const timeLeft = (seconds) =>
  isNumber(seconds) && seconds <= 0 ? CAPACITY_TEXTS.expired : `${formatValue(seconds, "s")} left`;

/**
 * @param {number} growth per second
 * @param {string} unit
 */
const perDay = (growth, unit) => (unit === "count" ? Math.round(growth * DAY_SECONDS) : growth * DAY_SECONDS);

/** @type {import("#web/assets/widgets/table.js").Column<SlowBurn>[]} */
export const BURN_COLUMNS = [
  { key: "at", name: "Forecast", text: true, fixed: true, cell: ({ clauses }) => linked(clauses) },
  {
    key: "value",
    name: "Now",
    fixed: true,
    cell: ({ value, unit }) => (unit === "s" ? timeLeft(value) : formatValue(value, unit)),
  },
  {
    key: "growth",
    name: "Growth per day",
    fixed: true,
    minor: true,
    cell: ({ growth, unit }) =>
      isNumber(growth) && unit !== "s"
        ? `+${formatValue(perDay(growth, unit), unit).replace("%", " pp")}` // of points, not of the value
        : NOT_KNOWN,
  },
];

/** @param {CapacityData} data */
const drawSlowBurns = ({ slow_burns: rows = [] }) => {
  if (!rows.length) {
    setPanelEmpty("slow-burns", CAPACITY_TEXTS.no_slow_burns);
    return;
  }
  drawTable(byId("slow-burns"), { id: "burns-table", label: "Slow burns", columns: BURN_COLUMNS, rows });
  setPanel("slow-burns", "ready");
};

/** The choice of the service that the chart shows. */
const drawChoice = () => {
  const rows = newest?.rows ?? [];
  const chosen = rows.findIndex(isChosen);
  put(
    byId("chosen"),
    rows.length
      ? h(
          "label",
          null,
          `${kindName(rows[Math.max(0, chosen)]?.kind ?? "")} of `,
          h(
            "select",
            { id: "chosen-service" },
            rows.map((row, i) => h("option", { value: i, selected: i === Math.max(0, chosen) }, rowName(row))),
          ),
        )
      : null,
  );
};

/**
 * The controls of the what-if case, which the address holds.
 * @param {CapacityData} data
 */
const drawWhatIf = ({ hosts = [], rows = [], movable = [], pools = [], case: whatIf }) => {
  const [traffic, lost] = [Number(param("traffic")) || 1, param("lost")];
  const [move, to, count] = [param("move"), param("move_to"), Number(param("replicas"))];
  const choice = (
    /** @type {string} */ name,
    /** @type {string} */ label,
    /** @type {import("#web/assets/dom.js").Content} */ options,
  ) => h("label", null, h("span", null, label), h("select", { name }, options));
  const option = (/** @type {string} */ value, /** @type {string} */ text, /** @type {boolean} */ selected) =>
    h("option", { value, selected }, text);
  const chosen = movable.find(({ service }) => service === move);
  const counts = [...new Set([1, Math.ceil((chosen?.ready ?? 1) / 2), count].filter((n) => n > 0))];
  const factors = [...new Set([...TRAFFIC_FACTORS, traffic])].sort((a, b) => a - b);
  const controls = rows.length
    ? [
        choice(
          "traffic",
          "What if: traffic",
          factors.map((factor) =>
            option(String(factor), factor === 1 ? "as forecast" : `x ${factor}`, factor === traffic),
          ),
        ),
        hosts.length
          ? choice("lost", "What if: host lost", [
              option("", "none", !lost),
              ...hosts.map((host) => option(host, inWords(host), host === lost)),
            ])
          : null,
        movable.length && pools.length > 1
          ? choice("move", "What if: service moved", [
              option("", "none", !move),
              ...movable.map(({ service }) => option(service, inWords(service), service === move)),
            ])
          : null,
        chosen
          ? [
              choice("replicas", "Replicas", [
                option("", `all ${chosen.ready}`, !count),
                ...counts.filter((n) => n < chosen.ready).map((n) => option(String(n), String(n), n === count)),
              ]),
              choice(
                "move_to",
                "To pool",
                pools.filter((pool) => pool !== chosen.pool).map((pool) => option(pool, inWords(pool), pool === to)),
              ),
            ]
          : null,
      ]
    : null;
  put(
    byId("what-if"),
    controls && NARROW.matches
      ? h(
          "details",
          { open: isUnfolded ?? Boolean(whatIf) },
          h("summary", null, CAPACITY_TEXTS.what_if),
          h("div", { class: "filters" }, controls),
        )
      : controls,
  );
};

const redraw = () => {
  if (!newest) return;
  drawStrips(byId("strips"), newest);
  drawChoice();
};

/** @type {import("#web/assets/page.d.ts").Page} */
export const capacity = {
  mount: () => {
    followStrips(requireId("strips"), redraw);
    requireId("what-if").addEventListener(
      "toggle",
      ({ target }) => {
        if (target instanceof HTMLDetailsElement) isUnfolded = target.open;
      },
      true,
    );
    requireId("what-if").addEventListener("change", (event) => {
      if (!(event.target instanceof HTMLSelectElement)) return;
      const { name, value } = event.target;
      const { movable = [], pools = [] } = newest ?? {};
      const from = movable.find(({ service }) => name === "move" && service === value)?.pool;
      const to = from === undefined ? null : (pools.find((pool) => pool !== from) ?? null);
      /** @type {Record<string, string | null>} */
      const others = ["lost", "move"].includes(name) ? { lost: null, move: null, move_to: to, replicas: null } : {};
      const chosen = (name === "traffic" && value === "1") || !value ? null : value;
      navigate(hrefWith({ ...others, [name]: chosen }), true);
    });
    requireId("chosen").addEventListener("change", (event) => {
      const row = event.target instanceof HTMLSelectElement ? newest?.rows?.[Number(event.target.value)] : undefined;
      if (row) choose(row);
      redraw();
    });
  },
  update: (/** @type {CapacityData} */ data) => {
    newest = data;
    if (!data.ready) {
      setPanelsWithoutData(PANELS, data.error);
      return;
    }
    drawHeadline(data);
    if (data.rows?.length || data.slow_burns?.length) drawSlowBurns(data);
    if (!data.rows?.length) {
      drawWithoutForecast(data);
      return;
    }
    for (const name of [...PANELS, "capacity-load"]) requireId(`${name}-panel`).hidden = false;
    redraw();
    drawWhatIf(data);
    drawHeadroom(data);
    drawReplicas(
      data.rows.filter(({ service }) => service),
      FORECAST_SECONDS,
      { whatIf: data.case },
    );
    for (const name of ["strips", "replicas", "headroom"]) setPanel(name, "ready");
  },
};
