// A line about the parameters of the address that the page does not follow, with a link that leaves them out.
import { hrefWith, link, searchParams } from "#web/assets/address.js";
import { byId, put } from "#web/assets/dom.js";
import { filled, truncate } from "#web/assets/format.js";
import * as timeRange from "#web/assets/widgets/time_range.js";
import { SHELL_TEXTS } from "#web/assets/words.js";

const RANGE_PARAMS = ["from", "to", "refresh"];
/** Of every page, where there are several clusters. */
const CLUSTER_PARAM = "cluster";
const MAX_NAMED = 5;
const MAX_NAME_LENGTH = 40;

/** @param {string | undefined} text */
const words = (text) => (text ?? "").split(" ").filter(Boolean);

/**
 * The unknown ones among parameters.
 * @param {Iterable<string>} names
 * @param {DOMStringMap} page with the parameters that it knows
 */
const unknownNames = (names, { takes, keeps, orders }) => {
  const known = new Set([...RANGE_PARAMS, CLUSTER_PARAM, ...words(takes), ...words(keeps), ...words(orders)]);
  return [...new Set(names)].filter((name) => !known.has(name));
};

/**
 * @param {readonly string[]} unknown
 * @param {DOMStringMap} page
 */
const unknownText = (unknown, { takes, keeps }) => {
  const named = unknown.slice(0, MAX_NAMED).map((name) => truncate(name, MAX_NAME_LENGTH));
  const more = unknown.length > MAX_NAMED ? ` and ${unknown.length - MAX_NAMED} more` : "";
  const known = [...new Set([...words(takes), ...words(keeps), ...RANGE_PARAMS])];
  return filled(SHELL_TEXTS.unknown_parameter, { names: `${named.join(", ")}${more}`, known: known.join(", ") });
};

/** The kind of address that each shown page had first. @type {WeakMap<Element, string>} */
const firstAddresses = new WeakMap();

/**
 * Whether the address has left a page that is still shown. Pages below another one share an element.
 * @param {Element} page
 */
const isLeft = (page) => {
  const [, name, ...below] = location.pathname.split("/");
  const address = `${name}${below.length ? "/" : ""}`;
  if (!firstAddresses.has(page)) firstAddresses.set(page, address);
  return firstAddresses.get(page) !== address;
};

/** Draw the line; it is hidden where every parameter is followed, and while the address has left the shown page. */
export const drawIgnoredParameters = () => {
  const line = byId("ignored");
  if (!line) return;
  const page = document.querySelector("[data-page][data-feed]");
  const written = searchParams();
  const faults = page ? timeRange.faults() : [];
  const unknown = page instanceof HTMLElement && !isLeft(page) ? unknownNames(written.keys(), page.dataset) : [];
  const names = [...faults.map(([name]) => name), ...unknown];
  line.hidden = !names.length;
  if (!(page instanceof HTMLElement)) return;
  const without = hrefWith(Object.fromEntries(names.map((name) => [name, null])));
  put(
    line,
    faults.map(([name, reason]) => {
      const value = truncate(written.get(name) ?? "", MAX_NAME_LENGTH);
      return filled(SHELL_TEXTS.default, { name, value, reason });
    }),
    unknown.length ? unknownText(unknown, page.dataset) : null,
    names.length ? link(without, "Remove") : null,
  );
};
