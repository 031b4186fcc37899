// The badge that says whether the values are live, and the title of the document.
import { formatTimestampWithZone } from "#web/assets/clock.js";
import { byId, h, markStale, put, requireId, setText } from "#web/assets/dom.js";
import { filled, formatDuration, isNumber, plural, uncapitalized } from "#web/assets/format.js";
import { live } from "#web/assets/state.js";
import { incidentStatus } from "#web/assets/timeline/incident.js";
import { STATUS_SIGNS } from "#web/assets/timeline/signs.js";
import * as timeRange from "#web/assets/widgets/time_range.js";
import { ABSENT, CONNECTION_STATES, CONNECTION_TEXTS } from "#web/assets/words.js";

const STALE_AFTER_MS = 30_000;
const MIN_STALE_SECONDS = 60;
const LOST_AFTER_SECONDS = 15;

/**
 * How the requests of the shown page fare. Times are those of `performance.now()`.
 * @typedef {object} Connection
 * @property {HTMLElement | null} page
 * @property {number} receivedAt of the last answer, 0 before the first
 * @property {number} changedAt when the values last changed
 * @property {number} nextRequestAt
 * @property {number} failures in a row
 * @property {string} reason of the last failure in the hub's words
 * @property {boolean} isComplete the values of this address cannot change
 * @property {boolean} isRefused because it has none
 */
/** @typedef {"loading" | "paused" | "lost" | "past" | "stale" | "live"} State */

/**
 * The state, its word, and what follows the word.
 * @param {Connection} connection
 * @returns {[state: State, word: string, note: string]}
 */
const describe = (connection) => {
  const { page, receivedAt, failures } = connection;
  const { data } = live;
  if (!page) return ["loading", CONNECTION_STATES.loading, ""];
  if (!page.dataset.feed) return ["paused", CONNECTION_STATES.no_page, ""];
  if (!receivedAt)
    return failures ? ["lost", CONNECTION_STATES.no_connection, ""] : ["loading", CONNECTION_STATES.loading, ""];
  if (document.hidden) return ["paused", CONNECTION_STATES.paused, ""];
  const ageSeconds = (performance.now() - receivedAt) / 1000;
  const refreshSeconds = timeRange.refreshSeconds();
  const isRequesting = timeRange.isLive() && refreshSeconds > 0 && !data?.bounds;
  if (failures >= 2 || (isRequesting && ageSeconds > LOST_AFTER_SECONDS + refreshSeconds)) {
    return ["lost", CONNECTION_STATES.lost, ageText(ageSeconds)];
  }
  if (!timeRange.isLive()) {
    return connection.isComplete
      ? ["past", CONNECTION_STATES.past, `: ${formatTimestampWithZone(data?.data_time)}`]
      : ["loading", CONNECTION_STATES.loading, ""];
  }
  return describeLive(connection);
};

/**
 * @param {Connection} connection
 * @returns {[state: State, word: string, note: string]}
 */
const describeLive = ({ changedAt, receivedAt }) => {
  const { data } = live;
  const time = isNumber(live.time) ? live.time + (performance.now() - receivedAt) / 1000 : null;
  if (data?.bounds) {
    const word = CONNECTION_STATES[data.simulated ? "simulated" : "replay"];
    return ["past", word, `: ${formatTimestampWithZone(data.data_time)}`];
  }
  const ageSeconds = isNumber(data?.data_time) && isNumber(time) ? time - data.data_time : null;
  const note = ageSeconds === null ? `: ${CONNECTION_TEXTS.no_data}` : ageText(ageSeconds);
  if (data?.error) return ["stale", CONNECTION_STATES.stale, note];
  const isStale = performance.now() - changedAt > STALE_AFTER_MS && (ageSeconds ?? 0) > MIN_STALE_SECONDS;
  return isStale ? ["stale", CONNECTION_STATES.stale, note] : ["live", CONNECTION_STATES.live, updatedText(ageSeconds)];
};

/** @param {number} seconds */
const ageText = (seconds) => `: ${filled(CONNECTION_TEXTS.age, { age: formatDuration(seconds) })}`;

/** @param {number | null} ageSeconds */
const updatedText = (ageSeconds) => (ageSeconds === null ? "" : ` · ${formatDuration(ageSeconds)} ago`);

/**
 * The document's title: what is wrong and when an SLO breach is forecast, or the number of incidents, before the page's
 * name.
 * @param {Connection} connection
 * @param {State} state
 */
const titleText = ({ page, isRefused }, state) => {
  const name = `${page?.dataset.title || "foreshock"} · foreshock`;
  const isKnown = page?.dataset.feed && !isRefused;
  const { verdict, worst_incident: worst } = (isKnown && live.data) || {};
  if (state === "lost") return `✕ ${uncapitalized(CONNECTION_STATES.no_connection)} · ${name}`;
  if (worst && !verdict) {
    return `${STATUS_SIGNS[incidentStatus(worst)]} ${plural(worst.others + 1, "incident")} · ${name}`;
  }
  if (verdict?.title) {
    const more = worst?.others ?? 0;
    const sign = STATUS_SIGNS[/** @type {keyof typeof STATUS_SIGNS} */ (verdict.state)];
    return `${sign} ${verdict.title}${more > 0 ? ` (+${plural(more, "incident")})` : ""} · ${name}`;
  }
  return verdict?.state === "unknown" ? `? ${ABSENT.data} · ${name}` : name;
};

/**
 * Draw the badge, the line about a lost connection, and the document's title.
 * @param {Connection} connection
 */
export const drawConnection = (connection) => {
  const badge = byId("live");
  if (!badge) return;
  const [state, word, note] = describe(connection);
  const { data } = live;
  badge.dataset.state = state;
  badge.title = data?.data_time ? `evaluation ${data.seq} at ${new Date(data.data_time * 1000).toISOString()}` : "";
  const [, joint = "", rest] = /^(: | · )?(.*)$/.exec(note) ?? [];
  put(
    badge,
    h("span", null, word),
    h("span", { class: "live-note", "aria-hidden": "true" }, h("span", { class: "joint" }, joint), rest),
  );
  const line = requireId("lost");
  line.hidden = state !== "lost";
  if (state === "lost") {
    const seconds = Math.max(0, Math.ceil((connection.nextRequestAt - performance.now()) / 1000));
    const reason = connection.reason ? filled(CONNECTION_TEXTS.reason, { reason: connection.reason }) : "";
    const next = seconds ? filled(CONNECTION_TEXTS.retrying_in, { seconds }) : CONNECTION_TEXTS.retrying;
    setText(line, `${word}${note}.${reason}${next}`);
  }
  document.body.dataset.live = state;
  if (state === "lost" || state === "stale") markStale(true);
  const title = titleText(connection, state);
  if (document.title !== title) document.title = title;
};
