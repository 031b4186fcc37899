// A cascade as lanes, one per service, in the order of the first anomaly; beyond now the forecast, hatched.
import { link, serviceHref } from "#web/assets/address.js";
import { timeElement } from "#web/assets/clock.js";
import { byId, h, headCells, put, s, scrollTable, setPanel, setPanelEmpty } from "#web/assets/dom.js";
import {
  formatBucket,
  formatDuration,
  formatInterval,
  formatValue,
  isNumber,
  NOT_KNOWN,
  shortLabels,
  truncate,
} from "#web/assets/format.js";
import { hiddenSign, STAGE_SIGNS } from "#web/assets/timeline/signs.js";
import { EMPTY, PAST_STAGES, ROLES, STAGES } from "#web/assets/words.js";

/** @typedef {import("#web/assets/payload.d.ts").Lane} Lane */
/** @typedef {import("#web/assets/payload.d.ts").LaneForecast} LaneForecast */
/** @typedef {import("#web/assets/payload.d.ts").Timeline} Timeline */
/** @typedef {import("#web/assets/timeline/signs.js").Stage} Stage */

const ROW_HEIGHT = 32;
const BAR_HEIGHT = 16;
const TOP_MARGIN = 8;
const AXIS_HEIGHT = 26;
const RIGHT_MARGIN = 26;
const MIN_PICTURE_WIDTH = 600;
const LABEL_CHARACTER_WIDTH = 7.4;
const CAPTION_CHARACTER_WIDTH = 6.3;
const LATEST_WITHIN_SECONDS = 30;
const MAX_TICKS = 8;
const TICK_SECONDS = [10, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400];

/** @param {Lane} lane */
const signText = ({ why, sign }) => {
  if (why) return why;
  if (!sign) return "";
  return `${sign.text} ${formatValue(sign.value, sign.unit)} (baseline ${formatValue(sign.baseline, sign.unit)})`;
};

/** @param {LaneForecast} forecast */
const forecastText = ({ p10, p50, p90 }) =>
  `SLO breach ${formatBucket(p50)} (80% interval: ${formatInterval(p10, p90)})`;

/** @param {Lane} lane */
const partText = ({ part, order }) => (part === "affected" ? `${ROLES[part]} (${order})` : ROLES[part]);

/**
 * Whether an anomaly of a service has been seen, or its breach is only expected.
 * @param {Lane} lane
 */
const hasBegun = (lane) => lane.part !== "at_risk" || lane.intervals.length > 0;

/**
 * The worst stage that a service was in, by index.
 * @param {Lane} lane
 */
const worstStage = (lane) => lane.intervals.reduce((worst, [, , stage]) => Math.max(worst, stage), 0);

/**
 * The stage of a service at the end of what is known.
 * @param {Lane} lane
 * @param {number} now Unix seconds
 * @param {readonly Stage[]} stages
 * @returns {Stage}
 */
export const latestStage = (lane, now, stages) => {
  const last = lane.intervals.at(-1);
  return (last && last[1] >= now - LATEST_WITHIN_SECONDS && stages[last[2]]) || "healthy";
};

/**
 * The stage of a service as words.
 * @param {Lane} lane
 * @param {Timeline} data
 */
const stageText = (lane, data) => {
  if (!lane.intervals.length) return NOT_KNOWN;
  const stage = latestStage(lane, data.now, data.stages);
  if (stage !== "healthy") return STAGES[stage];
  return `Recovered (${PAST_STAGES[data.stages[worstStage(lane)] ?? "healthy"]})`;
};

/**
 * Distances of ticks from now in seconds, negative before it, and their texts.
 * @param {{ start: number, now: number, end: number }} range in Unix seconds
 * @returns {[offsetSeconds: number, text: string][]}
 */
export const timelineTicks = ({ start, now, end }) => {
  const step = TICK_SECONDS.find((seconds) => (end - start) / seconds <= MAX_TICKS) ?? 172_800;
  const before = Math.max(0, Math.floor((now - start) / step));
  const after = Math.max(0, Math.floor((end - now) / step));
  return Array.from({ length: before + after + 1 }, (_, i) => i - before)
    .filter((steps) => steps !== 0)
    .map((steps) => [steps * step, `${steps < 0 ? "−" : "+"}${tickText(Math.abs(steps) * step)}`]);
};

/** @param {number} seconds */
const tickText = (seconds) => {
  if (seconds % 86400 === 0) return `${seconds / 86400} d`;
  if (seconds % 3600 === 0) return `${seconds / 3600} h`;
  return seconds % 60 === 0 ? `${seconds / 60} min` : formatDuration(seconds);
};

/**
 * Draw the timeline of a panel: a picture, or a list where that is too narrow, and a table.
 * @param {string} name of the panel
 * @param {Timeline} data
 * @param {object} [options]
 * @param {string} [options.empty] the message without lanes
 * @param {string | null} [options.allHref] where lanes are that are left out
 */
export const drawTimeline = (name, data, { empty = EMPTY.timeline, allHref = null } = {}) => {
  const body = byId(name);
  if (!body) return;
  if (!data.lanes.length) {
    setPanelEmpty(name, empty);
    return;
  }
  const width = body.clientWidth;
  const isNarrow = width < MIN_PICTURE_WIDTH;
  put(
    body,
    isNarrow ? laneList(data) : picture(data, width),
    h(
      "div",
      { class: "lane-foot" },
      isNarrow ? null : h("p", { class: "legend" }, legend(data.lanes, data.stages)),
      data.hidden && allHref ? link(allHref, `${data.hidden} more`) : null,
      h("details", { class: "twin" }, h("summary", null, "Table"), laneTable(data)),
    ),
  );
  setPanel(name, "ready");
};

/**
 * An entry for each kind of mark that the picture has.
 * @param {readonly Lane[]} lanes
 * @param {readonly Stage[]} stages
 */
const legend = (lanes, stages) => {
  const hasPart = (/** @type {string} */ name) => lanes.some((lane) => lane.part === name);
  const drawn = new Set(lanes.flatMap((lane) => lane.intervals.map(([, , stage]) => stages[stage])));
  const entry = (/** @type {string} */ mark, /** @type {string} */ kind, /** @type {string} */ text) =>
    h("span", null, h("span", { class: kind, "aria-hidden": "true" }, mark), ` ${text}`);
  return [
    hasPart("suspect") ? entry("⚑", "lane-dots", "Suspected cause") : null,
    hasPart("affected") ? entry("1", "lane-part", "Order of impact") : null,
    hasPart("at_risk") ? entry("…", "lane-dots", "At risk, not affected yet") : null,
    /** @type {Stage[]} */ (["early_warning", "degraded", "breached"]).map((stage) =>
      drawn.has(stage)
        ? h("span", { class: `lane-key ${stage}` }, hiddenSign(STAGE_SIGNS[stage]), ` ${STAGES[stage]}`)
        : null,
    ),
    lanes.some((lane) => lane.forecast)
      ? h("span", { class: "lane-key forecast" }, "SLO breach forecast: bar = 80% interval, tick = median")
      : null,
  ];
};

/** @param {Timeline} data */
const laneTable = (data) =>
  scrollTable(
    "Timeline",
    null,
    headCells(["Service", "Role", "First anomaly", "Signal", "Stage", "Forecast"]),
    data.lanes.map((lane) =>
      h(
        "tr",
        null,
        h("th", { scope: "row" }, lane.service),
        h("td", null, partText(lane)),
        h("td", null, hasBegun(lane) ? timeElement(lane.first, data.now) : NOT_KNOWN),
        h("td", { class: "wide-cell" }, signText(lane) || NOT_KNOWN),
        h("td", null, stageText(lane, data)),
        h("td", { class: "wide-cell" }, lane.forecast ? forecastText(lane.forecast) : NOT_KNOWN),
      ),
    ),
  );

/** @param {Timeline} data */
const laneList = (data) =>
  h(
    "ol",
    { class: "lane-list" },
    data.lanes.map((lane) => {
      const stage = lane.intervals.length ? stageText(lane, data) : "";
      const notes = [signText(lane), stage, lane.forecast ? forecastText(lane.forecast) : ""];
      return h(
        "li",
        { class: `lane-${lane.part}` },
        link(serviceHref(lane.service), lane.service),
        " ",
        h("span", { class: "lane-part" }, partText(lane)),
        hasBegun(lane) ? h("span", { class: "muted" }, ` ${formatDuration(data.now - lane.first)} ago`) : null,
        h("br"),
        notes.filter(Boolean).join("; "),
      );
    }),
  );

/**
 * Where times and names stand in the picture.
 * @typedef {object} Scale
 * @property {(unix: number) => number} x of a time
 * @property {number} left edge of the lanes
 * @property {number} right edge of the lanes
 * @property {number} now x of now
 */

/**
 * @param {Timeline} data
 * @param {number} width
 */
const picture = (data, width) => {
  const label = shortLabels(data.lanes.map((lane) => lane.service));
  const longest = Math.max(...data.lanes.map((lane) => label(lane.service).length));
  const left = Math.min(210, Math.max(130, longest * LABEL_CHARACTER_WIDTH + 62));
  const right = width - RIGHT_MARGIN;
  const x = (/** @type {number} */ unix) => {
    const within = Math.max(data.start, Math.min(data.end, unix));
    return left + ((within - data.start) / (data.end - data.start)) * (right - left);
  };
  const scale = { x, left, right, now: x(data.now) };
  const height = TOP_MARGIN + data.lanes.length * ROW_HEIGHT + AXIS_HEIGHT;
  const bottom = height - AXIS_HEIGHT;
  const textY = height - 8;
  const hatch = s(
    "pattern",
    { id: "hatch", width: 7, height: 7, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" },
    s("line", { x1: 0, y1: 0, x2: 0, y2: 7, class: "hatch-line" }),
  );
  return s(
    "svg",
    { width, height, class: "lanes", role: "group", "aria-label": "Timeline of the cascade" },
    s("defs", null, hatch),
    timelineTicks(data).map(([offset, text]) => {
      const at = x(data.now + offset);
      return [
        s("line", { x1: at, x2: at, y1: TOP_MARGIN, y2: bottom, class: "tick" }),
        s("text", { x: at, y: textY, class: "tick-text", "text-anchor": "middle" }, text),
      ];
    }),
    data.lanes.map((lane, i) => {
      const y = TOP_MARGIN + i * ROW_HEIGHT + ROW_HEIGHT / 2;
      return laneStrip(lane, data, y, scale, label(lane.service));
    }),
    s("line", { x1: scale.now, x2: scale.now, y1: TOP_MARGIN - 4, y2: bottom + 4, class: "now-line" }),
    s("text", { x: scale.now, y: textY, class: "now-text", "text-anchor": "middle" }, data.past ? "then" : "now"),
  );
};

/**
 * A lane's words: the sign, or the forecast where there is no sign or no effect yet.
 * @param {Lane} lane
 */
const captionText = (lane) => {
  const { forecast } = lane;
  return forecast && (lane.part === "at_risk" || !signText(lane)) ? formatBucket(forecast.p50) : signText(lane);
};

/**
 * @param {Lane} lane
 * @param {Timeline} data
 */
const laneTitle = (lane, data) => {
  const notes = [
    partText(lane),
    signText(lane),
    hasBegun(lane) ? `first anomaly ${formatDuration(data.now - lane.first)} ago` : "",
    lane.forecast ? forecastText(lane.forecast) : "",
  ];
  return `${lane.service}: ${notes.filter(Boolean).join(", ")}`;
};

/**
 * @param {Lane} lane
 * @param {Timeline} data
 * @param {number} y of the lane's middle
 * @param {Scale} scale
 * @param {string} name
 */
const laneStrip = (lane, data, y, scale, name) => {
  const { x, left, right, now } = scale;
  const first = x(lane.first);
  const title = laneTitle(lane, data);
  const isSuspect = lane.part === "suspect";
  const intervals = lane.intervals.filter(([, end]) => end >= data.start);
  return s(
    "g",
    { class: `lane ${lane.part}` },
    s("title", null, title),
    s("line", { x1: left, x2: right, y1: y, y2: y, class: "lane-line" }),
    s(
      "a",
      { href: serviceHref(lane.service), "data-go": true, "aria-label": title },
      lane.part === "affected"
        ? [
            s("circle", { cx: 11, cy: y, r: 9, class: "lane-order" }),
            s("text", { x: 11, y: y + 4, class: "lane-number", "text-anchor": "middle" }, lane.order),
          ]
        : s("text", { x: 2, y: y + 4, class: "lane-role" }, isSuspect ? "⚑" : "…"),
      s(
        "text",
        { x: 28, y: y + 4, class: "lane-name" },
        truncate(name, Math.floor((left - 44) / LABEL_CHARACTER_WIDTH)),
      ),
    ),
    isSuspect
      ? s("rect", { x: first, y: y - 3, width: Math.max(2, now - first), height: 6, rx: 3, class: "lane-suspect" })
      : null,
    intervals.map(([start, end, stage]) =>
      s("rect", {
        x: x(start),
        y: y - BAR_HEIGHT / 2,
        width: Math.max(3, x(end) - x(start)),
        height: BAR_HEIGHT,
        rx: 3,
        class: `interval ${data.stages[stage]}`,
      }),
    ),
    lane.forecast ? forecastBar(lane.forecast, data, y, x) : null,
    intervals
      .filter(([, , stage], i) => (intervals[i - 1]?.[2] ?? -1) < stage)
      .map(([start, , stage]) => stageMark(data.stages[stage] ?? "healthy", x(start), y)),
    isSuspect ? s("text", { x: first, y: y + 4.5, class: "lane-flag", "text-anchor": "middle" }, "⚑") : null,
    caption(lane, data, y, scale),
  );
};

/**
 * @param {Stage} stage
 * @param {number} x
 * @param {number} y
 */
const stageMark = (stage, x, y) => {
  const kind = `lane-mark ${stage}`;
  if (stage === "early_warning") return s("path", { d: `M${x} ${y - 7}L${x + 7} ${y + 6}H${x - 7}z`, class: kind });
  if (stage === "degraded") {
    return s("path", { d: `M${x} ${y - 7.5}L${x + 7.5} ${y}L${x} ${y + 7.5}L${x - 7.5} ${y}z`, class: kind });
  }
  return s("rect", { x: x - 6, y: y - 6, width: 12, height: 12, class: kind });
};

/**
 * The ends of a forecast's interval in the picture.
 * @param {LaneForecast} forecast
 * @param {Timeline} data
 * @param {(unix: number) => number} x
 * @returns {[low: number, high: number]}
 */
const forecastEnds = ({ p10, p20, p90 }, data, x) => [
  x(data.now + (isNumber(p10) ? p10 : p20)),
  x(isNumber(p90) ? data.now + p90 : data.end),
];

/**
 * @param {LaneForecast} forecast
 * @param {Timeline} data
 * @param {number} y
 * @param {(unix: number) => number} x
 */
const forecastBar = (forecast, data, y, x) => {
  const [low, high] = forecastEnds(forecast, data, x);
  const middle = x(data.now + (forecast.p50 || 0));
  const box = { x: low, y: y - BAR_HEIGHT / 2, width: Math.max(3, high - low), height: BAR_HEIGHT, rx: 3 };
  return s(
    "g",
    { class: "lane-forecast" },
    s("rect", { ...box, class: "ahead" }),
    s("rect", { ...box, class: "ahead-hatch", fill: "url(#hatch)" }),
    s("line", {
      x1: middle,
      x2: middle,
      y1: y - BAR_HEIGHT / 2 - 3,
      y2: y + BAR_HEIGHT / 2 + 3,
      class: "ahead-middle",
    }),
  );
};

/**
 * A lane's words: before its mark, after now, or on its bar, in the first place with room for all of them, else in the
 * widest.
 * @param {Lane} lane
 * @param {Timeline} data
 * @param {number} y
 * @param {Scale} scale
 */
const caption = (lane, data, y, { x, left, right, now }) => {
  const text = captionText(lane);
  if (!text) return null;
  const first = x(lane.first);
  const [low, high] = lane.forecast ? forecastEnds(lane.forecast, data, x) : [right, right];
  /** @type {[start: number, end: number, anchor: "start" | "end"][]} */
  const afterForecast = lane.forecast || !hasBegun(lane) ? [[high + 9, right, "start"]] : [];
  /** @type {[start: number, end: number, anchor: "start" | "end"][]} */
  const places = !hasBegun(lane)
    ? [...afterForecast, [left, now - 8, "end"]]
    : [
        [left, first - 11, "end"],
        [now + 8, lane.forecast ? low - 6 : right, "start"],
        ...afterForecast,
        [first + 11, now - 8, "start"],
      ];
  const [start, end, anchor] = captionPlace(places, text.length * CAPTION_CHARACTER_WIDTH);
  return s(
    "text",
    {
      x: anchor === "start" ? start : end,
      y: lane.part === "suspect" && start > first && end < now ? y - 6 : y + 4, // beside its thin bar, not on it
      class: "lane-words",
      "text-anchor": anchor,
    },
    truncate(text, Math.max(6, Math.floor((end - start) / CAPTION_CHARACTER_WIDTH))),
  );
};

/**
 * The first place that is wide enough, else the widest.
 * @template {readonly [start: number, end: number, ...rest: unknown[]]} P
 * @param {readonly P[]} places
 * @param {number} width
 * @returns {P}
 */
export const captionPlace = (places, width) =>
  places.find(([start, end]) => end - start >= width) ??
  places.reduce((widest, place) => (place[1] - place[0] > widest[1] - widest[0] ? place : widest));
