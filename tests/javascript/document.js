// A document for tests of scripts that need one. Import it before them.
import { parseHTML } from "linkedom";

const { window, document } = parseHTML('<!DOCTYPE html><html><body><main id="main"></main></body></html>');
const unsupported = { addEventListener: () => {}, matches: false };

Object.assign(globalThis, {
  window,
  document,
  location: { pathname: "/", search: "" },
  CustomEvent: window.CustomEvent,
  Node: window.Node,
  Element: window.Element,
  HTMLElement: window.HTMLElement,
  HTMLInputElement: window.HTMLInputElement,
  HTMLSelectElement: window.HTMLSelectElement,
  HTMLDetailsElement: window.HTMLDetailsElement ?? class extends window.HTMLElement {},
  matchMedia: () => unsupported,
});

/**
 * Let scripts see another address.
 * @param {string} address
 */
export const visit = (address) => {
  const { pathname, search } = new URL(address, "http://hub.example");
  Object.assign(globalThis.location, { pathname, search });
};

/** The element that tests draw into, empty. */
export const emptyMain = () => {
  const main = /** @type {HTMLElement} */ (document.getElementById("main"));
  main.replaceChildren();
  return main;
};
