// What people did about an incident, on one line, with the buttons to respond.
import { timeElement } from "#web/assets/clock.js";
import { h } from "#web/assets/dom.js";
import { live } from "#web/assets/state.js";
import * as timeRange from "#web/assets/widgets/time_range.js";
import { RESPONSE_TEXTS, TIMELINE_TEXTS } from "#web/assets/words.js";

/** @typedef {import("#web/assets/dom.js").Content} Content */
/** @typedef {import("#web/assets/payload.d.ts").IncidentResponse} IncidentResponse */

/** Whether the user may respond; the hub refuses others anyway. */
export const mayRespond = () => live.user?.role === "responder" || live.user?.role === "admin";

/** Whether the page shows the past, where nothing can be changed. */
const isPast = () => !timeRange.isLive() || Boolean(live.data?.bounds);

/** @param {string} by */
const byText = (by) => (by ? ` by ${by}` : "");

/**
 * Who did what when: "Acknowledged by dana at 03:12".
 * @param {IncidentResponse} response
 * @param {number} now
 * @returns {Content[]}
 */
const responseFacts = ({ acknowledged, assignment, silence, inhibited }, now) => [
  acknowledged
    ? h("span", null, `Acknowledged${byText(acknowledged.by)} at `, timeElement(acknowledged.at, now))
    : !isPast() && h("span", { class: "muted" }, RESPONSE_TEXTS.not_acknowledged),
  assignment ? h("span", null, `${TIMELINE_TEXTS.assigned} ${assignment.assignee}`) : null,
  silence
    ? h(
        "span",
        { title: silence.comment || null },
        silence.maintenance ? "Maintenance until " : "Silenced until ",
        timeElement(silence.end, now),
        byText(silence.by),
      )
    : null,
  inhibited ? h("span", null, "Inhibited by Alertmanager") : null,
];

/**
 * The line of an incident. Viewers, and readers of the past, get the timeline alone.
 * @param {string} incident its id
 * @param {number} now
 */
export const responseLine = (incident, now) => {
  const response = live.data?.responses?.[incident];
  if (!response) return null;
  const isReadOnly = isPast();
  const isActive = mayRespond() && !isReadOnly;
  return h(
    "div",
    { class: "response" },
    responseFacts(response, now),
    isActive && !response.acknowledged
      ? h(
          "button",
          { type: "button", class: "quiet", "data-acknowledge": incident, title: "Key: a", "aria-keyshortcuts": "a" },
          "Acknowledge",
        )
      : null,
    h(
      "button",
      { type: "button", class: isReadOnly ? "link" : "quiet", "data-respond": incident, "data-read-only": isReadOnly },
      isActive ? "Respond" : "Incident log",
    ),
  );
};
