// The texts of a lane of the timeline: its state, its part in the incident, and its value furthest from normal.
import { formatDuration, formatForecast, formatSignal, inWords, NOT_KNOWN } from "#web/assets/format.js";
import { AT_RISK_SIGN, stateOf } from "#web/assets/timeline/signs.js";
import { PAST_STAGES, ROLES, STAGES, TIMELINE_TEXTS } from "#web/assets/words.js";

/** @typedef {import("#web/assets/payload.d.ts").Lane} Lane */
/** @typedef {import("#web/assets/payload.d.ts").LaneForecast} LaneForecast */
/** @typedef {import("#web/assets/payload.d.ts").Timeline} Timeline */

/** Conditions of a service that is no longer anomalous. */
const OVER = ["healthy", "recovering", "low_traffic", "no_traffic"];

/** @param {Lane} lane */
export const signText = ({ why, slo, sign, until, state }) => {
  // within its SLO, but beyond its baseline: the same metric beside that
  const isDegraded = state?.stage === "degraded" && sign !== null && slo.startsWith(sign.text);
  if ((why || slo) && !isDegraded) return why || slo;
  if (!sign) return "";
  const value = `${until ? "up to " : ""}${formatSignal(sign.text, sign.value, sign.unit)}`;
  return `${sign.text} ${value} (baseline ${formatSignal(sign.text, sign.baseline, sign.unit)})`;
};

/** @param {LaneForecast} forecast */
export const forecastText = (forecast) => `${TIMELINE_TEXTS.breach} ${formatForecast(forecast)}`;

/**
 * The state of a service, as on all pages.
 * @param {Lane} lane
 */
export const laneState = ({ state }) => (state ? stateOf(state) : { word: NOT_KNOWN, sign: AT_RISK_SIGN });

/**
 * Whether the sign of its state stands before a lane: a suspected cause has its own, an affected service its number.
 * @param {Lane} lane
 */
export const hasStateSign = ({ part }) => part === "at_risk";

/**
 * The state of a service, and its role where the state does not say it.
 * @param {Lane} lane
 */
const partText = (lane) => {
  const { word } = laneState(lane);
  if (lane.part === "affected") return `${word} (${lane.order})`;
  return lane.part === "at_risk" || isSuspectState(lane) ? word : `${word}, ${ROLES.suspect}`;
};

/** @param {Lane} lane */
const isSuspectState = ({ state }) => state?.condition === "suspected_cause";

/**
 * Whether an anomaly of a service has been seen, or its breach is only expected.
 * @param {Lane} lane
 */
export const hasBegun = (lane) => lane.part !== "at_risk" || lane.intervals.length > 0;

/**
 * The worst stage that a service was in, by index.
 * @param {Lane} lane
 */
const worstStage = (lane) => lane.intervals.reduce((worst, [, , stage]) => Math.max(worst, stage), 0);

/**
 * What a service was that is healthy, recovers, or has too few requests to judge: "had breached SLO"; else "".
 * @param {Lane} lane
 * @param {Timeline} data
 */
export const pastText = (lane, data) => {
  const isOver = OVER.includes(lane.state?.condition ?? "");
  const isStillInStage = lane.state?.stage === "degraded" || lane.state?.stage === "breached";
  return isOver && !isStillInStage ? PAST_STAGES[data.stages[worstStage(lane)] ?? "healthy"] : "";
};

/**
 * How long a service has been in its present stage: "for 6 min"; "" where that is not what its state says.
 * @param {Lane} lane
 * @param {Timeline} data
 */
export const stageAge = ({ state, intervals }, { now, stages }) => {
  const [start, , stage] = intervals.at(-1) ?? [now, now, -1];
  const isShown = state?.stage && stages[stage] === state.stage && stateOf(state).word === STAGES[state.stage];
  return isShown ? `${TIMELINE_TEXTS.for} ${formatDuration(now - start)}` : "";
};

/**
 * @param {Lane} lane
 * @param {Timeline} data
 */
export const firstAnomaly = (lane, { now }) => {
  const began = lane.part === "suspect" ? TIMELINE_TEXTS.cause_began : TIMELINE_TEXTS.began;
  return hasBegun(lane) ? `${began} ${formatDuration(now - lane.first)} ${TIMELINE_TEXTS.ago}` : "";
};

/**
 * @param {Lane} lane
 * @param {Timeline} data
 */
export const laneTitle = (lane, data) => {
  const notes = [
    partText(lane),
    signText(lane),
    firstAnomaly(lane, data),
    lane.forecast ? forecastText(lane.forecast) : "",
  ];
  return `${inWords(lane.service)}: ${notes.filter(Boolean).join(", ")}`;
};
