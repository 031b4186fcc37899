// The Cascade page: the incident, how it spread, its lanes, early signs, and the time that is left.
import { hrefWith, link, navigate, serviceHref } from "#web/assets/address.js";
import { clausesText, timeElement } from "#web/assets/clock.js";
import { byId, h, put, s, scrollTable, setPanel, setPanelEmpty, setPanelsWithoutData } from "#web/assets/dom.js";
import {
  formatDuration,
  formatInterval,
  formatTimeToEvent,
  formatValue,
  isNumber,
  shortLabels,
} from "#web/assets/format.js";
import { live } from "#web/assets/state.js";
import {
  actionStep,
  causeText,
  incidentRange,
  incidentState,
  reportHref,
  slowestTracesLink,
} from "#web/assets/timeline/incident.js";
import { serviceDot } from "#web/assets/timeline/signs.js";
import { drawTimeline } from "#web/assets/timeline/timeline.js";
import { drawTable } from "#web/assets/widgets/table.js";
import * as timeRange from "#web/assets/widgets/time_range.js";
import { drawServiceMap } from "#web/pages/cascade/service_map.js";

/** @typedef {import("#web/assets/payload.d.ts").Incident} Incident */
/** @typedef {import("#web/assets/payload.d.ts").Percentiles} Percentiles */
/** @typedef {import("#web/assets/timeline/signs.js").Health} Health */
/** @typedef {import("#web/pages/cascade/payload.d.ts").CascadeData} CascadeData */
/** @typedef {import("#web/pages/cascade/payload.d.ts").Signal} Signal */

const REPLAY_LEAD_SECONDS = 60;
const MAX_SIGNALS = 14;
const HORIZON_SECONDS = 1800;
const SCALE_WIDTH = 260;
const SCALE_MARGIN = 4;

/**
 * @param {Incident} incident
 * @param {CascadeData} data
 * @param {number} now
 */
const incidentItem = (incident, data, now) => {
  const isChosen = data.wanted ? incident.id === data.wanted : data.chosen.some((chosen) => chosen.id === incident.id);
  const age = incident.resolved
    ? `ended ${formatDuration(now - incident.resolved)} ago`
    : `for ${formatDuration(now - incident.since)}`;
  const href = hrefWith({ incident: incident.id, ...incidentRange(incident) });
  return h(
    "li",
    null,
    h(
      "a",
      { href, "data-go": true, "aria-current": isChosen ? "true" : null },
      incidentState(incident),
      " ",
      h("b", null, incident.service),
      h("span", { class: "muted" }, ` ${causeText(incident)}, ${age}`),
    ),
  );
};

/** @param {Incident} incident */
const incidentDetail = (incident) =>
  h(
    "div",
    { class: "chosen", "data-state": incident.state, "data-severity": incident.severity },
    h("p", { class: "headline" }, clausesText(incident.summary_clauses)),
    incident.action ? actionStep(incident.action) : null,
    h(
      "p",
      { class: "facts" },
      h(
        "button",
        {
          type: "button",
          class: "quiet",
          "data-time": "replay",
          "data-from": Math.round(Math.min(incident.since, incident.opened) - REPLAY_LEAD_SECONDS),
        },
        "▶ Replay it",
      ),
      h("a", { href: reportHref(incident.id), download: "" }, "Download the post-mortem"),
      slowestTracesLink(incident.service, `Slowest traces of ${incident.service}`),
    ),
  );

/** @param {CascadeData} data */
const noIncidentText = (data) => {
  if (data.error && !data.ready) return null;
  const text = data.learning.done
    ? "No incident hits a service, and none did in the last hour: below is how everything fares."
    : "Incidents can be told once the hub has learnt what is usual.";
  return h("p", { class: "muted" }, text);
};

/**
 * @param {CascadeData} data
 * @param {number} now
 */
const drawIncidents = (data, now) => {
  const { incidents, wanted } = data;
  const [chosen] = data.chosen;
  const all = () => h("li", null, link(hrefWith({ incident: null }), "all that are open"));
  const list = () =>
    h(
      "ul",
      { class: "incidents", "aria-label": "Incidents" },
      incidents.map((incident) => incidentItem(incident, data, now)),
      wanted ? all() : null,
    );
  const unknownText =
    `Nothing is known of incident ${wanted} at this time. ` +
    "It may be older than an hour, or begin later: choose another time.";
  put(
    byId("chooser"),
    incidents.length ? list() : noIncidentText(data),
    wanted && !chosen ? h("p", { class: "lost" }, unknownText) : null,
    chosen ? incidentDetail(chosen) : null,
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
 * The ends of an 80 % interval, or of a narrower one where only that is known.
 * @param {Percentiles} seconds
 */
const intervalEnds = ({ p10, p20, p80, p90 }) =>
  /** @type {const} */ ([isNumber(p10) ? p10 : p20, isNumber(p90) ? p90 : p80]);

/**
 * A bar from the 10th to the 90th percentile, thick from the 20th to the 80th.
 * @param {Percentiles} seconds
 */
const breachBar = (seconds) => {
  const x = (/** @type {number | null} */ value) => scalePosition(value) + SCALE_MARGIN;
  const { p20, p50, p80 } = seconds;
  const [low, high] = intervalEnds(seconds);
  return s(
    "svg",
    { width: SCALE_WIDTH + 2 * SCALE_MARGIN, height: 22, class: "breach", "aria-hidden": "true" },
    [60, 300, 600].map((tick) => s("line", { x1: x(tick), x2: x(tick), y1: 0, y2: 22, class: "tick" })),
    s("line", { x1: x(low), x2: x(high), y1: 11, y2: 11, class: "whisker" }),
    s("rect", { x: x(p20), y: 5, width: Math.max(2, x(p80) - x(p20)), height: 12, rx: 3, class: "range" }),
    s("line", { x1: x(p50), x2: x(p50), y1: 1, y2: 21, class: "middle" }),
  );
};

const breachScale = () =>
  h(
    "span",
    { class: "breach-scale", style: `width:${SCALE_WIDTH + 2 * SCALE_MARGIN}px` },
    /** @type {const} */ ([
      [0, "now"],
      [60, "1 min"],
      [300, "5"],
      [600, "10"],
      [HORIZON_SECONDS, "30 min"],
    ]).map(([seconds, text]) => h("span", { style: `left:${scalePosition(seconds) + SCALE_MARGIN}px` }, text)),
  );

/** @param {Percentiles} seconds */
const breachCell = (seconds) => {
  if (seconds.p50 === 0) return h("b", { class: "bad" }, "■ missed now");
  const when = isNumber(seconds.p50) ? `in about ${formatTimeToEvent(seconds.p50)}` : "perhaps";
  return [h("b", null, when), h("br"), h("small", null, formatInterval(...intervalEnds(seconds)))];
};

/** @param {CascadeData} data */
const drawBreaches = ({ breaches, untold }) => {
  if (!breaches.length) {
    setPanelEmpty("breaches", untold || "No service is expected to miss its objective within 30 min.");
    return;
  }
  const label = shortLabels(breaches.map(({ service }) => service));
  put(
    byId("breaches"),
    scrollTable(
      "Time until objectives are missed",
      { class: "breaches" },
      [
        h("th", { scope: "col" }, "Service"),
        h("th", { scope: "col" }, "Objective missed"),
        h("th", { scope: "col", class: "minor" }, breachScale()),
      ],
      breaches.map(({ service, colour, seconds }) =>
        h(
          "tr",
          null,
          h("th", { scope: "row", title: service }, serviceDot(colour), link(serviceHref(service), label(service))),
          h("td", null, breachCell(seconds)),
          h("td", { class: "minor" }, seconds.p50 === 0 ? null : breachBar(seconds)),
        ),
      ),
    ),
  );
  setPanel("breaches", "ready");
};

/**
 * @param {Signal} signal
 * @param {(service: string) => string} label
 */
const signalCell = ({ service, entity, colour, text, why, early }, label) => [
  serviceDot(colour),
  link(serviceHref(service), label(service), service),
  " ",
  text,
  h("br"),
  h("small", { class: "muted" }, early ? "early: " : "felt: ", why, entity === service ? "" : ` (${entity})`),
];

/**
 * @param {CascadeData} data
 * @param {number} now
 */
const drawSignals = ({ signs, untold }, now) => {
  if (!signs.length) {
    setPanelEmpty("signs", untold || "Every figure is as usual.");
    return;
  }
  const label = shortLabels([...new Set(signs.map(({ service }) => service))]);
  drawTable(byId("signs"), {
    id: "signs-table",
    label: "Early-warning signals",
    param: "signs",
    by: "since",
    rows: signs,
    maxRows: MAX_SIGNALS,
    columns: [
      { key: "text", name: "Signal", text: true, cell: (row) => signalCell(row, label) },
      { key: "value", name: "now", fixed: true, cell: (row) => h("b", null, formatValue(row.value, row.unit)) },
      { key: "level", name: "usually", fixed: true, cell: (row) => formatValue(row.level, row.unit) },
      {
        key: "threshold",
        name: "counts from",
        fixed: true,
        minor: true,
        cell: (row) => formatValue(row.threshold, row.unit),
      },
      { key: "since", name: "since", cell: (row) => timeElement(row.since, now) },
    ],
  });
  setPanel("signs", "ready");
};

/** @param {CascadeData} data */
const drawCapacityChoice = ({ room, focus }) => {
  const options = room.map((name) => h("option", { value: name, selected: name === focus }, name));
  put(byId("room"), room.length ? h("label", null, "Capacity of ", h("select", { "data-room": true }, options)) : null);
};

document.addEventListener("change", ({ target }) => {
  if (target instanceof HTMLSelectElement && target.dataset.room !== undefined) {
    navigate(hrefWith({ service: target.value }), true);
  }
});

/** @type {import("#web/assets/page.d.ts").Page} */
export const cascade = {
  update: (/** @type {CascadeData} */ data) => {
    const isPresent = timeRange.isLive() && !data.bounds;
    const now = (isPresent ? live.time : (data.data_time ?? live.time)) ?? 0;
    drawIncidents(data, now);
    if (!data.ready) {
      setPanelsWithoutData(["map", "timeline", "breaches", "signs"], data.error);
      return;
    }
    const empty = data.untold || "No service is worse than usual, and none was in this time.";
    drawTimeline("timeline", { ...data.timeline, past: !timeRange.isLive() }, { empty });
    drawBreaches(data);
    drawSignals(data, now);
    drawCapacityChoice(data);
    if (live.topology?.id === data.topology) drawServiceMap(data, live.topology);
  },
};
