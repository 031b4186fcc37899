// The services that breach their SLO next.
import { serviceLink } from "#web/assets/address.js";
import { h } from "#web/assets/dom.js";
import { formatMedian, intervalText, unbroken } from "#web/assets/format.js";

/** @typedef {import("#web/assets/payload.d.ts").AtRisk} AtRisk */

/**
 * The services that breach their SLO next, the soonest first: a row each with its forecast and the reason.
 * @param {readonly AtRisk[]} atRisk
 * @param {string} none the text without any
 */
export const nextAtRisk = (atRisk, none) => {
  if (!atRisk.length) return none;
  return h(
    "ul",
    { class: "at-risk" },
    atRisk.map(({ service, state, breach_seconds }) =>
      h(
        "li",
        null,
        serviceLink(service),
        " ",
        h("span", null, unbroken(formatMedian(breach_seconds.p50))),
        " ",
        h("span", { class: "reference" }, unbroken([intervalText(breach_seconds), state].filter(Boolean).join("; "))),
      ),
    ),
  );
};
