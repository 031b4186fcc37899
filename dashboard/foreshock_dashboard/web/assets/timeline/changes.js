// Changes as marks of a timeline, and as a list, which is their text for a keyboard and a phone.
import { serviceHref } from "#web/assets/address.js";
import { formatTimestamp, timeElement } from "#web/assets/clock.js";
import { h, s } from "#web/assets/dom.js";
import { CHANGE_SIGN, hiddenSign } from "#web/assets/timeline/signs.js";
import { TIMELINE_TEXTS } from "#web/assets/words.js";

/** @typedef {import("#web/assets/payload.d.ts").ChangeMark} ChangeMark */

/** @param {ChangeMark} change */
const titleOf = ({ at, text, details }) => `${TIMELINE_TEXTS.change_at} ${formatTimestamp(at)}: ${text} (${details})`;

/** @param {ChangeMark} change */
const targetOf = ({ service, link }) => {
  if (service) return { href: serviceHref(service), "data-go": true };
  return link ? { href: link, rel: "noreferrer", target: "_blank" } : null;
};

/**
 * The sign of a change over its line; it leads to the changed service, or to the address in the report.
 * @param {ChangeMark} change
 * @param {number} x
 * @param {number} top of the line
 * @param {number} bottom of the line
 * @param {number} y of the sign
 */
export const changeMark = (change, x, top, bottom, y) => {
  const title = titleOf(change);
  const target = targetOf(change);
  return s(
    target ? "a" : "g",
    { ...(target ?? { tabindex: 0, role: "img" }), class: "change-mark", "aria-label": title },
    s("title", null, title),
    s("line", { x1: x, x2: x, y1: top, y2: bottom, class: "change-line" }),
    s("circle", { cx: x, cy: y, r: 9, class: "change-disc" }),
    s("text", { x, y: y + 4.5, class: "change-sign", "text-anchor": "middle" }, CHANGE_SIGN),
  );
};

/**
 * Changes as a list, the newest first.
 * @param {readonly ChangeMark[]} changes by time
 * @param {number | null} now Unix seconds
 */
export const changeList = (changes, now) =>
  h(
    "ul",
    { class: "change-list" },
    changes
      .toReversed()
      .map(({ at, service, text, details, link }) =>
        h(
          "li",
          null,
          hiddenSign(CHANGE_SIGN),
          " ",
          timeElement(at, now),
          " ",
          service ? h("a", { href: serviceHref(service), "data-go": true }, text) : text,
          h("span", { class: "muted" }, ` ${details}`),
          link ? [" ", h("a", { href: link, rel: "noreferrer", target: "_blank" }, "Details")] : null,
        ),
      ),
  );
