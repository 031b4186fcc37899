// A cascade as lanes, one per service: a picture, or a list where it has no room, with a legend and a table.
import { link, serviceHref } from "#web/assets/address.js";
import { timeElement } from "#web/assets/clock.js";
import { byId, h, headCells, put, scrollTable, setPanel, setPanelEmpty } from "#web/assets/dom.js";
import { inWords, NOT_KNOWN, unbroken } from "#web/assets/format.js";
import { changeList } from "#web/assets/timeline/changes.js";
import {
  firstAnomaly,
  forecastText,
  hasBegun,
  hasStateSign,
  laneState,
  pastText,
  signText,
  stageAge,
} from "#web/assets/timeline/lane_text.js";
import {
  CHANGE_SIGN,
  hiddenSign,
  STAGE_SIGNS,
  SUSPECT_SIGN,
  serviceState,
  stateOf,
} from "#web/assets/timeline/signs.js";
import {
  forecastRange,
  MIN_PICTURE_WIDTH,
  markedIntervals,
  phases,
  picture,
} from "#web/assets/timeline/timeline_picture.js";
import { CONDITIONS, EMPTY, EVENTS, STAGES, TIMELINE_TEXTS } from "#web/assets/words.js";

/** @typedef {import("#web/assets/payload.d.ts").Timeline} Timeline */

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
    isNarrow ? laneList(data) : [h("p", { class: "legend lane-legend" }, legend(data)), picture(data, width)],
    h(
      "div",
      { class: "lane-foot" },
      data.hidden && allHref ? link(allHref, `${data.hidden} more`) : null,
      h("details", { class: "twin" }, h("summary", null, "Table"), laneTable(data)),
    ),
    data.changes.length && isNarrow ? changeList(data.changes, data.now) : null,
  );
  setPanel(name, "ready");
};

/**
 * An entry for each kind of mark that the picture has, and no other.
 * @param {Timeline} data
 */
export const legend = (data) => {
  const { lanes, stages } = data;
  const forecasts = lanes.flatMap(({ forecast }) => forecast ?? []);
  const hasPart = (/** @type {string} */ name) => lanes.some((lane) => lane.part === name);
  const intervals = lanes.flatMap((lane) =>
    lane.intervals.filter(([, end]) => end >= data.start).map(([, , stage]) => stage),
  );
  const marks = lanes.flatMap((lane) => markedIntervals(lane, data).map(([, , stage]) => stage));
  const ofStages = marks.flatMap((stage) => stages[stage] ?? []).map((stage) => STAGE_SIGNS[stage]);
  const named = [...(hasPart("suspect") ? [SUSPECT_SIGN] : []), ...ofStages]; // by entries of their own
  const ofStates = lanes.filter(hasStateSign).map(laneState);
  const entry = (/** @type {string} */ mark, /** @type {string} */ kind, /** @type {string} */ text) =>
    h("span", null, h("span", { class: kind, "aria-hidden": "true" }, mark), ` ${text}`);
  return [
    hasPart("suspect")
      ? h("span", { class: "lane-key cause" }, hiddenSign(SUSPECT_SIGN), ` ${CONDITIONS.suspected_cause}`)
      : null,
    hasPart("affected") ? entry("1", "lane-part", TIMELINE_TEXTS.order) : null,
    [...new Map(ofStates.map((state) => [`${state.sign} ${state.word}`, state])).values()]
      .filter(({ sign }) => !named.includes(sign))
      .map(({ sign, word }) => entry(sign, "lane-dots", word)),
    data.changes.length ? entry(CHANGE_SIGN, "lane-dots", TIMELINE_TEXTS.change) : null,
    stages.map((stage, i) =>
      i && intervals.includes(i)
        ? h(
            "span",
            { class: `lane-key stage ${stage}` },
            marks.includes(i) ? [hiddenSign(STAGE_SIGNS[stage]), " "] : null,
            STAGES[stage],
          )
        : null,
    ),
    phases(data).map(([, , kind]) => h("span", { class: `lane-key phase ${kind}` }, EVENTS[kind])),
    forecasts.length
      ? h(
          "span",
          { class: "lane-key forecast" },
          TIMELINE_TEXTS.forecast,
          forecasts.some((forecast) => forecastRange(forecast, data).isOpen) ? TIMELINE_TEXTS.longer : "",
        )
      : null,
  ];
};

/** @param {Timeline} data */
const laneTable = (data) =>
  scrollTable(
    "Timeline",
    null,
    headCells(["Service", "State", "Order", "First anomaly (±1 min)", "Signal", "Forecast"]),
    data.lanes.map((lane) =>
      h(
        "tr",
        null,
        h("th", { scope: "row" }, inWords(lane.service)),
        h(
          "td",
          null,
          lane.state ? serviceState(lane.state) : NOT_KNOWN,
          pastText(lane, data) ? ` (${pastText(lane, data)})` : "",
        ),
        h("td", null, lane.order ?? NOT_KNOWN),
        h(
          "td",
          null,
          hasBegun(lane) ? timeElement(lane.first, data.now) : NOT_KNOWN,
          lane.part === "suspect" && hasBegun(lane) ? ` (${TIMELINE_TEXTS.cause_began})` : "",
        ),
        h("td", { class: "wide-cell" }, signText(lane) || NOT_KNOWN),
        h("td", { class: "wide-cell" }, lane.forecast ? forecastText(lane.forecast) : NOT_KNOWN),
      ),
    ),
  );

/**
 * The lanes as a list, for phones: each state with its own age, and below it what the service shows since when.
 * @param {Timeline} data
 */
export const laneList = (data) =>
  h(
    "ol",
    { class: "lane-list" },
    data.lanes.map((lane) => {
      const age = stageAge(lane, data);
      const notes = [
        signText(lane),
        pastText(lane, data),
        firstAnomaly(lane, data),
        lane.forecast ? forecastText(lane.forecast) : "",
      ];
      return h(
        "li",
        { class: `lane-${lane.part} ${lane.state ? stateOf(lane.state).state : "unknown"}` },
        link(serviceHref(lane.service), inWords(lane.service)),
        " ",
        lane.state ? serviceState(lane.state) : null,
        age ? h("span", { class: "muted" }, ` ${unbroken(age)}`) : null,
        h("br"),
        unbroken(notes.filter(Boolean).join("; ")),
      );
    }),
  );
