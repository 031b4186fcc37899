// The services that breach their SLO next.
import { link, serviceHref } from "#web/assets/address.js";
import { h } from "#web/assets/dom.js";
import { formatBucket, formatInterval, inWords, isNumber } from "#web/assets/format.js";
import { NOW_TEXTS } from "#web/assets/words.js";

/** @typedef {import("#web/assets/payload.d.ts").AtRisk} AtRisk */

/**
 * The services that breach their SLO next, by the bucket of their median time.
 * @param {readonly AtRisk[]} atRisk
 */
export const nextAtRisk = (atRisk) => {
  if (!atRisk.length) return NOW_TEXTS.none_at_risk;
  const bucketOf = (/** @type {AtRisk} */ { breach_seconds: { p50 } }) => formatBucket(p50);
  const buckets = [...new Set(atRisk.map(bucketOf))];
  return h(
    "ul",
    { class: "chips" },
    buckets.map((bucket) =>
      h(
        "li",
        null,
        h("b", null, bucket),
        ":",
        atRisk
          .filter((risk) => bucketOf(risk) === bucket)
          .map(({ service, state, breach_seconds: { p10, p90 } }, i) => [
            i ? ", " : " ",
            link(
              serviceHref(service),
              inWords(service),
              isNumber(p10) ? `${inWords(service)}, 80% interval: ${formatInterval(p10, p90)}` : service,
            ),
            state ? ` (${state})` : "",
          ]),
      ),
    ),
  );
};
