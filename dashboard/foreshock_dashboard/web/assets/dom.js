// Elements: making them, and bringing an element's children in line with new ones.
import { filled } from "#web/assets/format.js";
import morphdom from "#web/assets/morphdom.js";
import { CONNECTION_TEXTS } from "#web/assets/words.js";

const SVG = "http://www.w3.org/2000/svg";

/**
 * What an element may hold: nodes, text and numbers, in lists of any depth.
 * `null`, `undefined` and `false` are left out.
 * @typedef {Node | string | number | boolean | null | undefined | readonly Content[]} Content
 */
/**
 * Attributes by name. `null`, `undefined` and `false` are left out; `true` is an attribute without a value.
 * @typedef {Record<string, string | number | boolean | null | undefined>} Attributes
 */

/**
 * The element of the document with an id.
 * @param {string} id
 */
export const byId = (id) => document.getElementById(id);

/**
 * The element of the document with an id that is always there, as the page's layout has it.
 * @param {string} id
 * @returns {HTMLElement}
 */
export const requireId = (id) => {
  const element = byId(id);
  if (!element) throw new Error(`the page has no element #${id}`);
  return element;
};

/**
 * The nearest element around an event's target, the target included, that matches a selector.
 * @param {Event} event
 * @param {string} selector
 * @returns {HTMLElement | null}
 */
export const closest = (event, selector) => (event.target instanceof Element ? event.target.closest(selector) : null);

/**
 * @param {Element} element
 * @param {readonly Content[]} content
 */
const append = (element, content) => {
  for (const child of content) {
    if (child === null || child === undefined || child === false) continue;
    if (Array.isArray(child)) append(element, child);
    // Text goes in as text, whatever a name contains.
    else element.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
};

/**
 * @template {Element} E
 * @param {E} element
 * @param {Attributes | null} attributes
 * @param {readonly Content[]} content
 * @returns {E}
 */
const fill = (element, attributes, content) => {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value !== null && value !== undefined && value !== false) {
      element.setAttribute(name, value === true ? "" : String(value));
    }
  }
  append(element, content);
  return element;
};

/**
 * A new HTML element.
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {Attributes | null} [attributes]
 * @param {...Content} content
 */
export const h = (tag, attributes = null, ...content) => fill(document.createElement(tag), attributes, content);

/**
 * Text, such as a command, that breaks at spaces only, not within `--replicas`; JSON may break anywhere, as it is long.
 * @param {string} text
 */
export const unbrokenWords = (text) =>
  text.split(/(\s)/).map((word) => (/^[^'"{}]*[-/][^'"{}]*$/.test(word) ? h("span", { class: "word" }, word) : word));

/**
 * A fact in a list of facts: its name, and what it says.
 * @param {string} name
 * @param {...Content} content
 */
export const fact = (name, ...content) => h("div", { class: "fact" }, h("dt", null, name), h("dd", null, content));

/**
 * A new SVG element.
 * @template {keyof SVGElementTagNameMap} T
 * @param {T} tag
 * @param {Attributes | null} [attributes]
 * @param {...Content} content
 */
export const s = (tag, attributes = null, ...content) => fill(document.createElementNS(SVG, tag), attributes, content);

/**
 * What the reader did to an element, put into the new one: an unfolded section stays open, typed text stays typed.
 * @param {Element} current
 * @param {Element} next
 */
const keepReaderState = (current, next) => {
  if (current instanceof HTMLDetailsElement && next instanceof HTMLDetailsElement && current.open) next.open = true;
  if (current instanceof HTMLInputElement && next instanceof HTMLInputElement) {
    if (current.value !== current.defaultValue) next.value = current.value;
  }
  return !(current instanceof HTMLSelectElement && current === document.activeElement);
};

/**
 * Make an element's children equal to new content. Nodes that stay alike are kept, and with them focus and selection.
 * @param {Element | null} element
 * @param {...Content} content
 */
export const put = (element, ...content) => {
  if (!element) return;
  const next = fill(document.createElement("div"), null, content);
  morphdom(element, next, { childrenOnly: true, onBeforeElUpdated: keepReaderState });
};

/**
 * Set an element's text, only where it differs: screen readers announce a change.
 * @param {Element} element
 * @param {string} text
 */
export const setText = (element, text) => {
  if (element.textContent !== text) element.textContent = text;
};

/**
 * Set a panel's one state. A panel that showed something keeps it when it becomes stale.
 * @param {string} name
 * @param {"loading" | "ready" | "empty" | "stale" | "error"} state
 * @param {string} [message]
 */
export const setPanel = (name, state, message = "") => {
  const panel = byId(`${name}-panel`);
  if (!panel) return;
  panel.dataset.state = state;
  put(requireId(`${name}-message`), unbrokenWords(message));
};

/**
 * Empty a panel and say why.
 * @param {string} name
 * @param {string} message
 */
export const setPanelEmpty = (name, message) => {
  put(byId(name));
  setPanel(name, "empty", message);
};

/**
 * Set the panels of a page that has no values: each loads, or cannot be read for one reason.
 * @param {readonly string[]} names
 * @param {string | null | undefined} error
 */
export const setPanelsWithoutData = (names, error) => {
  for (const name of names)
    setPanel(name, error ? "error" : "loading", error ? filled(CONNECTION_TEXTS.unreadable, { error }) : "");
};

/**
 * Mark every panel that shows values as stale, or as fresh again.
 * @param {boolean} stale
 */
export const markStale = (stale) => {
  const [from, to] = stale ? ["ready", "stale"] : ["stale", "ready"];
  for (const panel of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll(".panel[data-state]"))) {
    if (panel.dataset.state === from) panel.dataset.state = to;
  }
};

/**
 * A table that scrolls sideways within its panel.
 * @param {string} label for screen readers
 * @param {Attributes | null} attributes of the table
 * @param {readonly Content[]} head cells of the head's row
 * @param {Content} rows of the body
 */
export const scrollTable = (label, attributes, head, rows) =>
  h(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": `${label}, table` },
    h("table", attributes, h("thead", null, h("tr", null, head)), h("tbody", null, rows)),
  );

/**
 * Cells of a table's head.
 * @param {readonly Content[]} names
 */
export const headCells = (names) => names.map((name) => h("th", { scope: "col" }, name));

/**
 * The value of a CSS custom property of the page.
 * @param {string} name without its two dashes
 */
export const cssToken = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
