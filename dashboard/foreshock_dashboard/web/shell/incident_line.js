// A line about the most urgent open incident, on pages that do not show it themselves.
import { link, pageHref } from "#web/assets/address.js";
import { timeElement } from "#web/assets/clock.js";
import { h, put, requireId } from "#web/assets/dom.js";
import { formatDuration, inWords, plural, unbroken, uncapitalized } from "#web/assets/format.js";
import { live } from "#web/assets/state.js";
import { incidentHref, incidentState, incidentStatus } from "#web/assets/timeline/incident.js";
import * as timeRange from "#web/assets/widgets/time_range.js";
import { ACTION_TEXTS, COURSE, NOW_TEXTS } from "#web/assets/words.js";

/** Pages that lead with the incident. */
const OWN_PAGES = ["now", "cascade"];

/** The incident and its status that a screen reader has heard of, on any page; "" for none. */
let announced = "";

/**
 * Announce an incident where it, or its status, is new. The line itself would be read at every change of its age.
 * @param {string} key
 * @param {import("#web/assets/dom.js").Content} content null where the page shows it itself
 */
const announce = (key, content) => {
  if (key === announced && content) return;
  announced = key;
  put(requireId("incident-status"), content);
};

/** Hide the line: the address has no values. */
export const hideIncidentLine = () => {
  requireId("incident-line").hidden = true;
  announce("", null);
};

/**
 * Draw the line, or hide it.
 * @param {{ page?: string, feed?: string }} page
 */
export const drawIncidentLine = ({ page = "", feed = "" }) => {
  const { data } = live;
  const incident = data?.worst_incident;
  if (!feed || !data || !incident) {
    hideIncidentLine();
    return;
  }
  const { id, severity, state, service, cause, figure, action, since, others } = incident;
  const line = requireId("incident-line");
  const [name, key] = [`${inWords(service)}: ${cause}`, `${id} ${incidentStatus(incident)}`];
  const status = () => incidentState({ severity, state, affected: [service] });
  line.hidden = OWN_PAGES.includes(page);
  announce(key, line.hidden ? null : [status(), ` ${name}`]);
  if (line.hidden) return;
  const now = timeRange.shownTime(data);
  line.dataset.severity = incidentStatus(incident);
  put(
    line,
    status(),
    " ",
    link(incidentHref(id), name),
    figure ? `, ${unbroken(figure)}` : null,
    h("span", { class: "muted" }, `, ${NOW_TEXTS.first_anomaly} `, timeElement(since, now)),
    h("span", { class: "muted" }, ` (${formatDuration(now - since)}${COURSE.ago})`),
    action ? [" · ", h("b", null, `${ACTION_TEXTS.one}:`), ` ${uncapitalized(action)}`] : null,
    others ? [" · ", link(pageHref("/"), plural(others, NOW_TEXTS.further_more))] : null,
  );
};
