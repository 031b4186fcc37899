// The picture of a timeline: a lane per service, in the order of the first anomaly; beyond now the forecast, hatched.
import { serviceHref } from "#web/assets/address.js";
import { formatTimestamp } from "#web/assets/clock.js";
import { s } from "#web/assets/dom.js";
import { formatDuration, formatInterval, isNumber, localName, shortLabels, truncate } from "#web/assets/format.js";
import { changeMark } from "#web/assets/timeline/changes.js";
import { hasStateSign, laneState, laneTitle, signText } from "#web/assets/timeline/lane_text.js";
import { SUSPECT_SIGN } from "#web/assets/timeline/signs.js";
import { EVENTS, TIMELINE_TEXTS } from "#web/assets/words.js";

/** @typedef {import("#web/assets/payload.d.ts").Lane} Lane */
/** @typedef {import("#web/assets/payload.d.ts").LaneForecast} LaneForecast */
/** @typedef {import("#web/assets/payload.d.ts").Timeline} Timeline */
/** @typedef {import("#web/assets/timeline/signs.js").Stage} Stage */

const ROW_HEIGHT = 40;
const BAR_HEIGHT = 16;
/** Above the lanes, with the labels of the time axis. */
const AXIS_HEIGHT = 24;
/** Of the row of events and of the forecast, below the time axis. */
const EVENTS_HEIGHT = 18;
const BOTTOM_MARGIN = 8;
const EVENT_CHARACTER_WIDTH = 7;
const EVENT_GAP = 4;
/** Points from a label on the left of its line to this line. */
const LEADER = "▸";
/** The more important label is placed first. */
const EVENT_ORDER = ["paged", "recovering", "warning"];
const AXIS_TEXT_Y = 14;
/** Of the row of changes without a lane, below the lanes. */
const CHANGES_HEIGHT = 24;
/** Right of the lanes, without and with labels of forecasts. */
const [RIGHT_MARGIN, LABELS_MARGIN] = [26, 150];
export const MIN_PICTURE_WIDTH = 600;
/** Of the column with the names and their signals, in pixels, and as a share of the picture. */
const [MIN_NAMES_WIDTH, MAX_NAMES_WIDTH, MAX_NAMES_SHARE] = [130, 400, 0.36];
const NAME_LEFT = 28;
const NAME_CHARACTER_WIDTH = 7.4;
const SIGN_CHARACTER_WIDTH = 6.3;
const MAX_TICKS = 8;
const MARK_WIDTH = 14;
const TICK_SECONDS = [10, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400];

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
 * Where times and names stand in the picture.
 * @typedef {object} Scale
 * @property {(unix: number) => number} x of a time
 * @property {(service: string) => string} label of a lane
 * @property {number} left edge of the lanes
 * @property {number} right edge of the lanes
 * @property {number} now x of now
 */

/**
 * @param {Timeline} data
 * @param {number} width
 */
export const picture = (data, width) => {
  const label = shortLabels(
    data.lanes.map(({ service }) => service),
    localName,
  );
  const widths = data.lanes.map((lane) =>
    Math.max(label(lane.service).length * NAME_CHARACTER_WIDTH, signText(lane).length * SIGN_CHARACTER_WIDTH),
  );
  const most = Math.min(MAX_NAMES_WIDTH, MAX_NAMES_SHARE * width);
  const left = Math.min(most, Math.max(MIN_NAMES_WIDTH, NAME_LEFT + Math.max(...widths) + 16));
  const right = width - (data.lanes.some((lane) => lane.forecast) ? LABELS_MARGIN : RIGHT_MARGIN);
  const x = (/** @type {number} */ unix) => {
    const within = Math.max(data.start, Math.min(data.end, unix));
    return left + ((within - data.start) / (data.end - data.start)) * (right - left);
  };
  const scale = { x, left, right, now: x(data.now), label };
  const hasForecast = data.lanes.some((lane) => lane.forecast);
  const events = data.events.filter(({ at }) => at >= data.start);
  const labels = eventLabels(events, x, hasForecast ? scale.now + 6 : scale.now);
  const top = AXIS_HEIGHT + (events.length || hasForecast ? EVENTS_HEIGHT : 0);
  const rows = new Map(data.lanes.map((lane, i) => [lane.service, top + i * ROW_HEIGHT + ROW_HEIGHT / 2]));
  const lanesEnd = top + data.lanes.length * ROW_HEIGHT;
  const isInLanes = data.changes.every(({ service }) => service && rows.has(service));
  const bottom = lanesEnd + (isInLanes ? 0 : CHANGES_HEIGHT);
  const height = bottom + BOTTOM_MARGIN;
  const hatch = s(
    "pattern",
    { id: "hatch", width: 7, height: 7, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" },
    s("line", { x1: 0, y1: 0, x2: 0, y2: 7, class: "hatch-line" }),
  );
  return s(
    "svg",
    { width, height, class: "lanes", role: "group", "aria-label": TIMELINE_TEXTS.picture },
    s("defs", null, hatch),
    timelineTicks(data).map(([offset, text]) => {
      const at = x(data.now + offset);
      return [
        s("line", { x1: at, x2: at, y1: top, y2: bottom, class: "tick" }),
        s("text", { x: at, y: AXIS_TEXT_Y, class: "tick-text", "text-anchor": "middle" }, text),
      ];
    }),
    phases(data).map(([from, to, kind]) =>
      s("rect", {
        x: x(from),
        y: top,
        width: x(to) - x(from),
        height: bottom - top,
        class: `phase ${kind}`,
      }),
    ),
    data.lanes.map((lane, i) => {
      const y = top + i * ROW_HEIGHT + ROW_HEIGHT / 2;
      return laneStrip(lane, data, y, scale);
    }),
    data.changes.map((change) => {
      const y = (change.service && rows.get(change.service)) || lanesEnd + CHANGES_HEIGHT / 2;
      return changeMark(change, x(change.at), top, bottom, y);
    }),
    events.map(({ at }) => s("line", { x1: x(at), x2: x(at), y1: AXIS_HEIGHT, y2: bottom, class: "event-line" })),
    labels.map(({ left, right, text }) =>
      text.endsWith(LEADER)
        ? s("text", { x: right, y: top - 6, "text-anchor": "end" }, text)
        : s("text", { x: left, y: top - 6 }, text),
    ),
    hasForecast ? s("text", { x: scale.now + 6, y: top - 6, class: "tick-text" }, TIMELINE_TEXTS.ahead) : null,
    s("line", { x1: scale.now, x2: scale.now, y1: AXIS_HEIGHT - 4, y2: bottom + 4, class: "now-line" }),
    s(
      "text",
      { x: scale.now, y: AXIS_TEXT_Y, class: "now-text", "text-anchor": "middle" },
      data.past ? formatTimestamp(data.now) : "now",
    ),
  );
};

/**
 * The labels of the first event of each kind that have room beside their line and left of `end`, across no other line,
 * or, that of the page, across one of an early warning: the legend has those that have none.
 * @param {Timeline["events"]} events
 * @param {(unix: number) => number} x
 * @param {number} end
 * @returns {{ left: number, right: number, text: string }[]}
 */
export const eventLabels = (events, x, end) => {
  /** @type {{ left: number, right: number, text: string }[]} */
  const placed = [];
  for (const kind of EVENT_ORDER) {
    const event = events.find((each) => each.kind === kind);
    if (!event) continue;
    const [name, line] = [EVENTS[event.kind], x(event.at)];
    const led = `${name} ${LEADER}`;
    const beside = (/** @type {number} */ left, /** @type {string} */ text) => ({
      left,
      right: left + text.length * EVENT_CHARACTER_WIDTH,
      text,
    });
    const before = beside(line - EVENT_GAP - led.length * EVENT_CHARACTER_WIDTH, led);
    const after = beside(line + EVENT_GAP, name);
    const places = { warning: [before, after], paged: [after, before], recovering: [after] }[event.kind].filter(
      ({ left, right }) =>
        left >= 0 && right <= end && placed.every((other) => left >= other.right || right <= other.left),
    );
    const crossed = (/** @type {{ left: number, right: number }} */ { left, right }) =>
      events.filter(({ at }) => x(at) > left && x(at) < right).map((other) => other.kind);
    const place =
      places.find((each) => !crossed(each).length) ??
      places.find((each) => kind === "paged" && crossed(each).every((other) => other === "warning"));
    if (place) placed.push(place);
  }
  return placed;
};

/**
 * The states of the incidents, from each of their events to the next one, in Unix seconds.
 * @param {Timeline} data
 * @returns {[from: number, to: number, kind: "warning" | "paged" | "recovering"][]}
 */
export const phases = ({ start, now, events }) => {
  const firsts = events.filter(({ kind }, i) => events.findIndex((event) => event.kind === kind) === i);
  return firsts
    .map(
      ({ at, kind }, i) => /** @type {const} */ ([Math.max(start, at), Math.min(now, firsts[i + 1]?.at ?? now), kind]),
    )
    .filter(([from, to]) => to > from)
    .map(([from, to, kind]) => [from, to, kind]);
};

/**
 * @param {Lane} lane
 * @param {Timeline} data
 * @param {number} y of the lane's middle
 * @param {Scale} scale
 */
const laneStrip = (lane, data, y, scale) => {
  const { x, left, right, now, label } = scale;
  const first = x(lane.first);
  const until = lane.until ? x(lane.until) : now;
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
      isSuspect || hasStateSign(lane)
        ? s("text", { x: 2, y: y + 4, class: "lane-role" }, isSuspect ? SUSPECT_SIGN : laneState(lane).sign)
        : [
            s("circle", { cx: 11, cy: y, r: 9, class: "lane-order" }),
            s("text", { x: 11, y: y + 4, class: "lane-number", "text-anchor": "middle" }, lane.order),
          ],
      s(
        "text",
        { x: NAME_LEFT, y: signText(lane) ? y - 4 : y + 4, class: "lane-name" },
        truncate(label(lane.service), Math.floor((left - NAME_LEFT - 8) / NAME_CHARACTER_WIDTH)),
      ),
      signText(lane) &&
        s(
          "text",
          { x: NAME_LEFT, y: y + 12, class: "lane-words" },
          truncate(signText(lane), Math.floor((left - NAME_LEFT - 8) / SIGN_CHARACTER_WIDTH)),
        ),
    ),
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
    isSuspect
      ? s("rect", { x: first, y: y - 2, width: Math.max(2, until - first), height: 4, rx: 2, class: "lane-suspect" })
      : null,
    lane.forecast ? forecastBar(lane.forecast, data, y, x) : null,
    stageMarks(lane, data, y, x),
  );
};

/**
 * The intervals that begin with a mark: those of a later stage than the one before, and relapses after a pause, but not
 * each of many short anomalies.
 * @param {Lane} lane
 * @param {Timeline} data
 */
export const markedIntervals = ({ intervals }, { start }) => {
  const shown = intervals.filter(([, end]) => end >= start);
  return shown.filter(([since, , stage], i) => {
    const [, until, before] = shown[i - 1] ?? [0, 0, -1];
    return before < stage || (before === stage && until < since && stage > 1);
  });
};

/**
 * The marks of a lane; one that the next would hide stands before it.
 * @param {Lane} lane
 * @param {Timeline} data
 * @param {number} y of the lane's middle
 * @param {(unix: number) => number} x
 */
const stageMarks = (lane, data, y, x) => {
  let next = Number.POSITIVE_INFINITY;
  return markedIntervals(lane, data)
    .toReversed()
    .map(([start, , stage]) => {
      next = Math.min(x(start), next - MARK_WIDTH);
      return stageMark(data.stages[stage] ?? "healthy", next, y);
    });
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
    return s("path", { d: `M${x} ${y + 7}L${x + 7} ${y - 6}H${x - 7}z`, class: kind });
  }
  return s("rect", { x: x - 6, y: y - 6, width: 12, height: 12, class: kind });
};

/**
 * The range of a forecast in the picture, and whether it goes on beyond the end of the axis.
 * @param {LaneForecast} forecast seconds from now, null beyond the horizon
 * @param {Pick<Timeline, "now" | "end">} range in Unix seconds
 * @returns {{ low: number, middle: number | null, high: number, isOpen: boolean }} in Unix seconds; middle: null beyond
 * the end of the axis
 */
export const forecastRange = ({ p10, p50, p90 }, { now, end }) => ({
  low: Math.min(end, now + p10),
  middle: isNumber(p50) && now + p50 <= end ? now + p50 : null,
  high: isNumber(p90) ? Math.min(end, now + p90) : end,
  isOpen: !isNumber(p90) || now + p90 > end,
});

/**
 * A forecast with its 80% interval and its median, after which the bar is fainter. A bar that goes on beyond the end of
 * the axis is open on its right.
 * @param {LaneForecast} forecast
 * @param {Timeline} data
 * @param {number} y
 * @param {(unix: number) => number} x
 */
const forecastBar = (forecast, data, y, x) => {
  const { low, middle, high, isOpen } = forecastRange(forecast, data);
  const [start, top, bottom] = [x(low), y - BAR_HEIGHT / 2, y + BAR_HEIGHT / 2];
  const end = Math.max(start + 3, x(high));
  const likely = middle === null ? end : x(middle);
  const hatched = (/** @type {number} */ from, /** @type {number} */ to, /** @type {string} */ kind) =>
    s("rect", { x: from, y: top, width: to - from, height: BAR_HEIGHT, class: kind, fill: "url(#hatch)" });
  return s(
    "g",
    { class: "lane-forecast" },
    hatched(start, likely, "ahead-hatch"),
    hatched(likely, end, "ahead-hatch later"),
    s("path", { d: `M${end} ${top}H${start}V${bottom}H${end}${isOpen ? "" : "z"}`, class: "ahead" }),
    isOpen ? s("path", { d: `M${end + 3} ${y - 5}l5 5l-5 5`, class: "ahead-open" }) : null,
    middle === null
      ? null
      : s("line", { x1: x(middle), x2: x(middle), y1: top - 3, y2: bottom + 3, class: "ahead-middle" }),
    s("text", { x: end + 13, y: y + 4, class: "lane-label" }, formatInterval(forecast.p10, forecast.p90)),
  );
};
