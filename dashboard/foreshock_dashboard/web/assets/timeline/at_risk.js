// The services that breach their SLO next.
import { serviceLink } from "#web/assets/address.js";
import { h } from "#web/assets/dom.js";
import { formatForecast, formatMedian, unbroken } from "#web/assets/format.js";

/** @typedef {import("#web/assets/payload.d.ts").AtRisk} AtRisk */

/**
 * The services that breach their SLO next, the soonest first, each with its forecast, whose interval is in the tooltip
 * and in the timeline.
 * @param {readonly AtRisk[]} atRisk
 * @param {string} none the text without any
 */
export const nextAtRisk = (atRisk, none) => {
  if (!atRisk.length) return none;
  return h(
    "ul",
    { class: "also" },
    atRisk.map(({ service, state, breach_seconds }) => {
      const median = h("span", { title: formatForecast(breach_seconds) }, unbroken(formatMedian(breach_seconds.p50)));
      const note = state ? h("span", { class: "reference" }, ` (${unbroken(state)})`) : null;
      return h("li", null, serviceLink(service), " ", median, note);
    }),
  );
};
