// The Cascade page: the incident, its map and lanes, anomalous signals, forecast breaches, and capacity.
import { hrefWith, link, navigate, pageHref, serviceHref, serviceLink } from "#web/assets/address.js";
import { timeElement } from "#web/assets/clock.js";
import { byId, fact, h, put, s, scrollTable, setPanel, setPanelEmpty, setPanelsWithoutData } from "#web/assets/dom.js";
import {
  filled,
  formatDuration,
  formatInterval,
  formatMedian,
  formatPercent,
  formatSignal,
  inWords,
  isNumber,
  uncapitalized,
} from "#web/assets/format.js";
import { live } from "#web/assets/state.js";
import { actionCard } from "#web/assets/timeline/action_card.js";
import { nextAtRisk } from "#web/assets/timeline/at_risk.js";
import { causeFact, linked } from "#web/assets/timeline/cause.js";
import {
  causeText,
  evidenceHref,
  incidentRange,
  incidentState,
  reportLink,
  slowestTracesLink,
} from "#web/assets/timeline/incident.js";
import { responseLine } from "#web/assets/timeline/response.js";
import { drawTimeline } from "#web/assets/timeline/timeline.js";
import { drawTable } from "#web/assets/widgets/table.js";
import * as timeRange from "#web/assets/widgets/time_range.js";
import {
  ACTION_TEXTS,
  BREACH_TEXTS,
  CASCADE_TEXTS,
  CONDITIONS,
  EMPTY,
  NOW_TEXTS,
  SIGNAL_NOTES,
  STATES,
} from "#web/assets/words.js";
import { drawServiceMap, propagationPath } from "#web/pages/cascade/service_map.js";

/** @typedef {import("#web/assets/payload.d.ts").Incident} Incident */
/** @typedef {import("#web/assets/payload.d.ts").Percentiles} Percentiles */
/** @typedef {import("#web/pages/cascade/payload.d.ts").CascadeData} CascadeData */
/** @typedef {import("#web/pages/cascade/payload.d.ts").Signal} Signal */

const REPLAY_LEAD_SECONDS = 60;
const MAX_SIGNALS = 12;
/** As on the Now page. */
const MAX_ACTIONS = 2;
const HORIZON_SECONDS = 1800;
/** Seconds at the lines of the scale of forecasts, and their labels. */
const SCALE = /** @type {const} */ ([
  [60, "1"],
  [300, "5"],
  [HORIZON_SECONDS, "30 min"],
]);
const SCALE_WIDTH = 112;
const SCALE_MARGIN = 4;

/**
 * @param {Incident} incident
 * @param {CascadeData} data
 * @param {number} now
 */
const incidentItem = (incident, data, now) => {
  const isSelected = data.selected.some(({ id }) => id === incident.id);
  const age = incident.resolved
    ? `${STATES.resolved} ${formatDuration(now - incident.resolved)} ago`
    : ["first anomaly ", timeElement(incident.since, now), ` (${formatDuration(now - incident.since)} ago)`];
  const href = hrefWith({ incident: incident.id, ...incidentRange(incident) });
  return h(
    "li",
    null,
    h(
      "a",
      { href, "data-go": true, "aria-current": isSelected ? "true" : null },
      incidentState(incident),
      " ",
      h("b", null, inWords(incident.service)),
      h("span", { class: "muted" }, ` ${causeText(incident)}, `, age),
    ),
  );
};

/** @param {Incident} incident */
const incidentTools = (incident) =>
  h(
    "p",
    { class: "incident-tools" },
    h(
      "button",
      {
        type: "button",
        class: "quiet",
        "data-time": "replay",
        "data-from": Math.round(Math.min(incident.since, incident.opened) - REPLAY_LEAD_SECONDS),
      },
      "▶ Play cascade",
    ),
    reportLink(incident),
    slowestTracesLink(incident.service, "Slowest traces"),
  );

/**
 * What is wrong, while the incident fires, and its suspected cause.
 * @param {Incident} incident
 * @param {CascadeData} data
 */
const stateAndCause = (incident, { headline, suspected }) => [
  incident.state === "firing" ? fact("State", linked(headline)) : null,
  causeFact(suspected, incident),
];

/**
 * The story in lines: the state, the suspected cause, and the first action, which leads to all of it on Now.
 * @param {Incident} incident
 * @param {CascadeData} data
 */
export const story = (incident, data) => {
  const [action] = incident.state === "firing" ? incident.actions : [];
  return h(
    "dl",
    { class: "facts story" },
    stateAndCause(incident, data),
    action
      ? fact(
          "Action",
          link(`${pageHref("/")}${evidenceHref(incident.id)}`, inWords(action.text)),
          action.expected ? `: ${inWords(action.expected)}.` : "",
          action.side_effect ? ` ${ACTION_TEXTS.side_effect}: ${uncapitalized(action.side_effect)}.` : "",
        )
      : null,
  );
};

/**
 * The state, the cause, the actions, and the services next at risk, for a phone; on a wide screen they would push the
 * map down.
 * @param {Incident} incident
 * @param {CascadeData} data
 */
const causeAndActions = (incident, data) =>
  h(
    "div",
    { class: "verdict cascade-cause" },
    h("dl", { class: "facts" }, stateAndCause(incident, data)),
    incident.state === "firing" ? actionCard(incident.actions.slice(0, MAX_ACTIONS)) : null,
    incident.resolved || !data.at_risk
      ? null
      : h("dl", { class: "facts" }, fact(NOW_TEXTS.next_at_risk, nextAtRisk(data.at_risk, NOW_TEXTS.none_at_risk))),
  );

/** @param {CascadeData} data */
const noIncidentText = ({ error, ready, learning, unknown_reason: reason, open_incidents: open }) => {
  if (error && !ready) return null;
  if (!learning.done) return h("p", { class: "muted" }, reason);
  if (!open.length) return h("p", { class: "muted" }, `${EMPTY.incidents} Current state:`);
  const links = open.map((incident) => [
    " ",
    incidentState(incident),
    " ",
    link(hrefWith({ incident: incident.id }), `${inWords(incident.service)}: ${causeText(incident)}`),
  ]);
  return h("p", null, EMPTY.other_incidents, links);
};

/**
 * @param {CascadeData} data
 * @param {number} now
 */
const drawIncidents = (data, now) => {
  const { incidents, incident: id } = data;
  const [selected] = data.selected;
  const list = () =>
    h(
      "ul",
      { class: "incidents", "aria-label": "Incidents" },
      incidents.map((incident) => incidentItem(incident, data, now)),
      id ? h("li", null, link(hrefWith({ incident: null }), "All open incidents")) : null,
    );
  put(
    byId("chooser"),
    incidents.length ? list() : noIncidentText(data),
    id && !selected ? h("p", { class: "lost" }, filled(EMPTY.unknown_incident, { id })) : null,
    selected ? incidentTools(selected) : null,
    selected ? responseLine(selected.id, now) : null,
    selected ? story(selected, data) : null,
    selected ? causeAndActions(selected, data) : null,
    data.ready ? propagationPath(data) : null,
  );
};

/**
 * The place of a time on a scale of roots, which gives near times more room.
 * @param {number | null} seconds null is beyond the horizon
 */
export const scalePosition = (seconds) => {
  const within = Math.min(HORIZON_SECONDS, Math.max(0, isNumber(seconds) ? seconds : HORIZON_SECONDS));
  return Math.sqrt(within / HORIZON_SECONDS) * SCALE_WIDTH;
};

/**
 * A bar from the 10th to the 90th percentile.
 * @param {Percentiles} seconds
 */
const breachBar = ({ p10, p50, p90 }) => {
  const x = (/** @type {number | null} */ value) => scalePosition(value) + SCALE_MARGIN;
  return s(
    "svg",
    { width: SCALE_WIDTH + 2 * SCALE_MARGIN, height: 22, class: "breach", "aria-hidden": "true" },
    SCALE.map(([tick]) => s("line", { x1: x(tick), x2: x(tick), y1: 0, y2: 22, class: "tick" })),
    s("rect", { x: x(p10), y: 5, width: Math.max(2, x(p90) - x(p10)), height: 12, rx: 3, class: "range" }),
    s("line", { x1: x(p50), x2: x(p50), y1: 1, y2: 21, class: "middle" }),
  );
};

const breachScale = () =>
  h(
    "span",
    { class: "breach-scale", style: `width:${SCALE_WIDTH + 2 * SCALE_MARGIN}px` },
    SCALE.map(([seconds, text]) => h("span", { style: `left:${scalePosition(seconds) + SCALE_MARGIN}px` }, text)),
  );

/** @param {CascadeData} data */
const drawBreaches = ({ breaches, unknown_reason: unknownReason }) => {
  if (!breaches.length) {
    setPanelEmpty("breaches", unknownReason || EMPTY.breaches);
    return;
  }
  const isForecast = breaches.some(({ seconds }) => seconds.p50 !== 0);
  put(
    byId("breaches"),
    scrollTable(
      "SLO breach forecast",
      { class: "rows breaches" },
      [
        h("th", { scope: "col" }, "Service"),
        h("th", { scope: "col" }, CONDITIONS.slo_breach),
        isForecast && [
          h("th", { scope: "col" }, "80% interval"),
          h("th", { scope: "col", class: "minor" }, breachScale()),
        ],
      ],
      breaches.map(({ service, probability, seconds }) =>
        h(
          "tr",
          { title: isNumber(probability) ? `Probability within 10 min: ${formatPercent(probability)}` : null },
          h("th", { scope: "row" }, serviceLink(service)),
          seconds.p50 === 0
            ? [h("td", { class: "bad", colspan: isForecast ? 3 : 1 }, `■ ${BREACH_TEXTS.now}`)]
            : [
                h("td", null, h("b", null, formatMedian(seconds.p50))),
                h("td", null, formatInterval(seconds.p10, seconds.p90)),
                h("td", { class: "minor" }, breachBar(seconds)),
              ],
        ),
      ),
    ),
    isForecast ? h("p", { class: "legend minor" }, "bar: 80% interval, tick: median") : null,
  );
  setPanel("breaches", "ready");
};

/**
 * @param {CascadeData} data
 * @param {number} now
 */
const drawSignals = ({ signals, recovered_since: recoveredSince, unknown_reason: unknownReason }, now) => {
  if (!signals.length) {
    setPanelEmpty("signals", unknownReason || EMPTY.signals);
    return;
  }
  const hasThresholds = signals.filter(({ threshold }) => isNumber(threshold)).length * 2 >= signals.length;
  drawTable(byId("signals"), {
    id: "signals-table",
    label: "Anomalous signals",
    param: "signals",
    by: "since",
    rows: signals,
    maxRows: MAX_SIGNALS,
    note: isNumber(recoveredSince)
      ? h("p", { class: "note" }, CASCADE_TEXTS.older, timeElement(recoveredSince, now))
      : null,
    columns: [
      { key: "signal", name: "Signal", text: true, cell: signalCell },
      { key: "entity", name: "Entity", text: true, cell: entityCell },
      { key: "value", name: "Value", fixed: true, cell: (row) => signalValue(row, now, hasThresholds) },
      {
        key: "baseline",
        name: "Baseline",
        fixed: true,
        cell: (row) => formatSignal(row.signal, row.baseline, row.unit),
      },
      ...(hasThresholds
        ? [
            {
              key: "threshold",
              name: "Threshold",
              fixed: true,
              minor: true,
              cell: (/** @type {Signal} */ row) => formatSignal(row.signal, row.threshold, row.unit),
            },
          ]
        : []),
      { key: "since", name: "Since", cell: (row) => timeElement(row.since, now) },
    ],
  });
  setPanel("signals", "ready");
};

/**
 * The value of a signal, with its time where it is not current, and its threshold where that has no column.
 * @param {Signal} signal
 * @param {number} now
 * @param {boolean} hasThresholds there is a column of thresholds
 */
const signalValue = ({ signal, value, unit, at, threshold }, now, hasThresholds) => [
  h("b", null, formatSignal(signal, value, unit)),
  hasThresholds || !isNumber(threshold)
    ? null
    : h("small", { class: "reference" }, ` (threshold ${formatSignal(signal, threshold, unit)})`),
  isNumber(at) ? h("small", { class: "reference" }, " at ", timeElement(at, now)) : null,
];

/** @param {Signal} signal */
const signalCell = ({ signal, entity, meaning, leading }) =>
  h(
    "span",
    { title: leading ? `Leading indicator: ${meaning}` : meaning },
    signal,
    entity.includes(" -> ") ? h("small", { class: "muted" }, ` (${SIGNAL_NOTES.at_caller})`) : null,
  );

/**
 * The services of an entity such as "shop/cart", "shop/web -> shop/cart", or "shop/cart waiting on ml/batch".
 * @param {string} entity
 */
const servicesOf = (entity) =>
  entity.split(/ -> | waiting on | on /).filter((part) => /^(?:[^ ]+?\/\/)?[^/ ]+\/[^/ ]+$/.test(part));

/**
 * The entity of a signal, and the service where the entity does not name it.
 * @param {Signal} signal
 */
const entityCell = ({ service, entity }) => {
  const named = servicesOf(entity);
  const text = inWords(entity.replace("->", "→"));
  const [first = service] = named;
  const isOfGpu = !named.length && entity !== "";
  return [
    link(serviceHref(first), isOfGpu ? inWords(service) : text || inWords(service), entity || service),
    isOfGpu ? h("small", { class: "muted" }, ` ${text}`) : null,
  ];
};

/** @param {CascadeData} data */
const drawCapacityChoice = ({ capacity_services: services, capacity_service: selected, quota }) => {
  const options = services.map((name) => h("option", { value: name, selected: name === selected }, inWords(name)));
  put(
    byId("capacity"),
    services.length ? h("label", null, "Capacity of ", h("select", { "data-capacity": true }, options)) : null,
    quota
      ? h("span", { class: "muted" }, `GPU quota of pool ${inWords(quota.pool)}: ${quota.used} of ${quota.limit} used`)
      : null,
  );
};

document.addEventListener("change", ({ target }) => {
  if (target instanceof HTMLSelectElement && target.dataset.capacity !== undefined) {
    navigate(hrefWith({ service: target.value }), true);
  }
});

/** @type {import("#web/assets/page.d.ts").Page} */
export const cascade = {
  update: (/** @type {CascadeData} */ data) => {
    const now = timeRange.shownTime(data);
    drawIncidents(data, now);
    if (!data.ready) {
      setPanelsWithoutData(["map", "timeline", "breaches", "signals"], data.error);
      return;
    }
    const empty = data.unknown_reason || EMPTY.timeline;
    drawTimeline("timeline", { ...data.timeline, past: !timeRange.isLive() }, { empty });
    drawBreaches(data);
    drawSignals(data, now);
    drawCapacityChoice(data);
    if (live.topology?.id === data.topology) drawServiceMap(data, live.topology);
  },
};
