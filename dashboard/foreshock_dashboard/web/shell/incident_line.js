// A line about the most urgent open incident, on pages that do not show it themselves.
import { link, pageHref } from "#web/assets/address.js";
import { timeElement } from "#web/assets/clock.js";
import { h, put, requireId } from "#web/assets/dom.js";
import { formatDuration, inWords, plural } from "#web/assets/format.js";
import { live } from "#web/assets/state.js";
import { incidentState } from "#web/assets/timeline/incident.js";
import { COURSE, NOW_TEXTS } from "#web/assets/words.js";

/** Pages that lead with the incident. */
const OWN_PAGES = ["now", "cascade"];

/**
 * Draw the line, or hide it.
 * @param {string | undefined} page
 */
export const drawIncidentLine = (page) => {
  const line = requireId("incident-line");
  const incident = live.data?.worst_incident;
  line.hidden = !incident || OWN_PAGES.includes(page ?? "");
  if (!incident || line.hidden) return;
  const { severity, state, service, cause, since, others } = incident;
  const now = live.time ?? since;
  line.dataset.severity = state === "firing" ? severity : "recovering";
  put(
    line,
    incidentState({ severity, state, affected: [service] }),
    " ",
    link(pageHref("/"), `${inWords(service)}: ${cause}`),
    h("span", { class: "muted" }, `, ${NOW_TEXTS.since} `, timeElement(since, now)),
    h("span", { class: "muted" }, ` (${formatDuration(now - since)}${COURSE.ago})`),
    others ? [" · ", link(pageHref("/"), plural(others, NOW_TEXTS.further_more))] : null,
  );
};
