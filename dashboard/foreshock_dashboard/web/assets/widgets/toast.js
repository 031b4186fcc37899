// A line at the page's edge that says what happened, and copying to the clipboard.
import { byId, h } from "#web/assets/dom.js";
import { SHELL_TEXTS } from "#web/assets/words.js";

const SHOWN_MS = 6000;
let hideTimer = 0;

/**
 * Say something for a few seconds.
 * @param {string} text
 */
export const toast = (text) => {
  let line = byId("said");
  if (!line) {
    line = h("p", { id: "said", class: "said", role: "status" });
    document.body.append(line);
  }
  line.textContent = text;
  line.hidden = false;
  const shown = line;
  clearTimeout(hideTimer);
  hideTimer = window.setTimeout(() => {
    shown.hidden = true;
  }, SHOWN_MS);
};

/**
 * Copy text. Without TLS there is no clipboard: the text is then shown, to be copied by hand.
 * @param {string} text
 */
export const copy = async (text) => {
  try {
    await navigator.clipboard.writeText(text);
    toast(SHELL_TEXTS.copied);
  } catch {
    toast(text);
  }
};
