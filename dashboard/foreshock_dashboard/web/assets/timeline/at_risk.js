// The services that breach their SLO next.
import { serviceLink } from "#web/assets/address.js";
import { h } from "#web/assets/dom.js";
import { formatForecast, unbroken } from "#web/assets/format.js";
import { NOW_TEXTS } from "#web/assets/words.js";

/** @typedef {import("#web/assets/payload.d.ts").AtRisk} AtRisk */

/**
 * The services that breach their SLO next, the soonest first, each with its forecast; on a phone, with its median.
 * @param {readonly AtRisk[]} atRisk
 */
export const nextAtRisk = (atRisk) => {
  if (!atRisk.length) return NOW_TEXTS.none_at_risk;
  return h(
    "ul",
    { class: "also" },
    atRisk.map(({ service, state, breach_seconds }) => {
      const [median = "", ...rest] = unbroken(formatForecast(breach_seconds, state)).split(" (");
      const notes = rest.map((note) => h("span", { class: "reference" }, ` (${note}`));
      return h("li", null, serviceLink(service), ` ${median}`, notes);
    }),
  );
};
