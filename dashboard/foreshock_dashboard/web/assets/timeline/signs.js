// The signs of states and stages, and the colors of services.
import { h } from "#web/assets/dom.js";
import { CONDITIONS, HEALTHS, ROLES, STAGES } from "#web/assets/words.js";

/** @typedef {"ok" | "warning" | "critical" | "idle" | "unknown"} Health */
/** @typedef {"healthy" | "early_warning" | "degraded" | "breached"} Stage */

/** @type {Record<Health, string>} */
export const HEALTH_SIGNS = { ok: "●", warning: "◆", critical: "⬢", idle: "○", unknown: "?" };
/** @type {Record<Stage, string>} */
export const STAGE_SIGNS = { healthy: "○", early_warning: "▲", degraded: "▼", breached: "■" };
/** At risk, and nothing seen yet: the hollow form of a warning. */
export const AT_RISK_SIGN = "◇";
export const SUSPECT_SIGN = "⚑";
const RECOVERING_SIGN = "◐";
/** @type {Record<Health | "recovering" | "suspect", string>} */
export const STATUS_SIGNS = { ...HEALTH_SIGNS, recovering: RECOVERING_SIGN, suspect: SUSPECT_SIGN };
export const RESOLVED_SIGN = "✓";
/** Of a change, such as a deployment, on charts and timelines. */
export const CHANGE_SIGN = "Δ";
/** Of conditions that are more than a health. @type {Partial<Record<string, string>>} */
const CONDITION_SIGNS = {
  affected: "△",
  at_risk: AT_RISK_SIGN,
  suspected_cause: SUSPECT_SIGN,
  recovering: RECOVERING_SIGN,
  anomalous: STAGE_SIGNS.early_warning,
  degraded: STAGE_SIGNS.degraded,
  slo_breach: STAGE_SIGNS.breached,
  low_traffic: "◔",
};
/** Of conditions with a color of their own. @type {Partial<Record<string, "recovering" | "suspect">>} */
const CONDITION_STATES = { recovering: "recovering", suspected_cause: "suspect" };
/** @type {Record<Stage, Health>} */
const STAGE_HEALTH = {
  healthy: "ok",
  early_warning: "warning",
  degraded: "warning",
  breached: "critical",
};

/**
 * A sign that screen readers skip.
 * @param {string} sign
 */
export const hiddenSign = (sign) => h("span", { "aria-hidden": "true" }, sign);

/**
 * A state: its sign, colored by its health, and a word.
 * @param {Health | "recovering" | "suspect"} health
 * @param {string} word
 * @param {string | null | undefined} [sign]
 */
export const healthState = (health, word, sign = null) => {
  return h("span", { class: `state ${health}` }, hiddenSign(sign || STATUS_SIGNS[health]), ` ${word}`);
};

/**
 * The stage of a service in a cascade.
 * @param {Stage | null | undefined} stage
 */
export const stageState = (stage) =>
  stage
    ? h("span", { class: `state ${STAGE_HEALTH[stage]}` }, hiddenSign(STAGE_SIGNS[stage]), ` ${STAGES[stage]}`)
    : healthState("unknown", HEALTHS.unknown);

/**
 * The state of a service, the same on every page. A suspected cause that is not affected itself has no status color.
 * @param {{ health: Health, condition: string, word: string }} service
 * @returns {{ state: Health | "recovering" | "suspect", word: string, sign: string }}
 */
export const stateOf = ({ health, condition, word }) => ({
  state: CONDITION_STATES[condition] ?? health,
  word,
  sign: CONDITION_SIGNS[condition] ?? HEALTH_SIGNS[health],
});

/** @param {Parameters<typeof stateOf>[0]} service */
export const serviceState = (service) => {
  const { state, word, sign } = stateOf(service);
  return healthState(state, word, sign);
};

/**
 * The tag of a suspected cause, beside a state that does not say so; null for others.
 * @param {{ suspected: boolean, condition: string }} service
 */
export const suspectTag = ({ suspected, condition }) =>
  suspected && condition !== "suspected_cause" ? [" ", h("span", { class: "level" }, ROLES.suspect)] : null;

/**
 * The legend of all signs.
 */
export const signLegend = () =>
  h(
    "p",
    { class: "legend" },
    /** @type {Health[]} */ (Object.keys(HEALTH_SIGNS)).map((health) => healthState(health, HEALTHS[health])),
    /** @type {Stage[]} */ (["early_warning", "degraded", "breached"]).map(stageState),
    healthState("warning", CONDITIONS.affected, CONDITION_SIGNS.affected),
    healthState("warning", CONDITIONS.at_risk, AT_RISK_SIGN),
    healthState("suspect", CONDITIONS.suspected_cause),
    healthState("recovering", CONDITIONS.recovering),
  );

/**
 * The color of a service.
 * @param {unknown} number of the color
 */
export const serviceColor = (number) => `var(--service-${Number(number)})`;

/**
 * A dot in the color of a service.
 * @param {unknown} number of the color
 */
export const serviceDot = (number) =>
  h("span", { class: "dot", style: `background:${serviceColor(number)}`, "aria-hidden": "true" });
