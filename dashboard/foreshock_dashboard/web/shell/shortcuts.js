// Keys, and the help that lists them.
import { openPage } from "#web/assets/address.js";
import { byId, closest, h, put } from "#web/assets/dom.js";
import { signLegend } from "#web/assets/timeline/signs.js";
import { QUALITY_MEANINGS, SHELL_TEXTS } from "#web/assets/words.js";
import { dialog, navigationPages, openDialog } from "#web/shell/dialogs.js";
import { acknowledgeFirst } from "#web/shell/respond.js";
import { openSearch } from "#web/shell/search.js";
import { openSilences } from "#web/shell/silences.js";
import { closeTimeMenu, isTimeMenuOpen, runTimeAction } from "#web/shell/time_picker.js";

const SECOND_KEY_MS = 1200;
/** What the key after "t" does. @type {Readonly<Record<string, string>>} */
const TIME_KEYS = { z: "out", ArrowLeft: "back", ArrowRight: "on", r: "replay", l: "live" };
/** @type {readonly (readonly [key: string, meaning: string])[]} */
const HELP = [
  ["/", "search services, GPUs, incidents, alerts, and traces"],
  ["?", "keyboard shortcuts"],
  ["a", "acknowledge the incident"],
  ["s", "silences and maintenance windows"],
  ["t z", "zoom out"],
  ["t ←  t →", "shift the time range by half"],
  ["t r", "replay the past"],
  ["t l", "back to live"],
  ["Esc", "close the dialog or menu"],
  ["↑ ↓ ← →", "move within a grid, map, or list of spans"],
  ["Enter", "open the selection"],
];

/** The first key of two. @type {{ key: string, timeStamp: number } | null} */
let firstKey = null;

const openHelp = () => {
  const pageKeys = navigationPages().map(({ key, name }) => /** @type {const} */ ([`g ${key}`, `go to ${name}`]));
  const box = dialog("help", "Help");
  put(
    box,
    h("h2", null, "Keyboard shortcuts"),
    h(
      "table",
      null,
      h(
        "tbody",
        null,
        [...pageKeys, ...HELP].map(([key, meaning]) =>
          h("tr", null, h("th", { scope: "row" }, h("kbd", null, key)), h("td", { class: "wide-cell" }, meaning)),
        ),
      ),
    ),
    h("h2", null, "Symbols"),
    signLegend(),
    h("p", null, SHELL_TEXTS.dash),
    h(
      "p",
      null,
      Object.entries(QUALITY_MEANINGS).map(([quality, meaning]) => [h("b", null, quality), `: ${meaning}. `]),
    ),
    h("form", { method: "dialog" }, h("button", { class: "quiet" }, "Close")),
  );
  openDialog(box);
};

/**
 * Whether keys write into an element. The search's field keeps the focus for a moment after its dialog has closed.
 * @param {EventTarget | null} element
 */
const isTyping = (element) =>
  element instanceof HTMLElement &&
  !element.closest("dialog:not([open])") &&
  (element.isContentEditable || ["INPUT", "TEXTAREA", "SELECT"].includes(element.tagName));

/**
 * What the second of two keys does; undefined where it does nothing.
 * @param {string} first
 * @param {string} second
 */
const secondKeyAction = (first, second) => {
  if (first === "t") {
    const action = TIME_KEYS[second];
    return action && (() => runTimeAction(action));
  }
  const page = navigationPages().find(({ key }) => key === second);
  return page && (() => openPage(page.href));
};

/**
 * What a key does by itself; undefined where it does nothing.
 * @param {string} key
 */
const keyAction = (key) => ({ "?": openHelp, "/": openSearch, a: acknowledgeFirst, s: openSilences })[key];

/** @param {KeyboardEvent} event */
const onKey = (event) => {
  const hasModifier = event.ctrlKey || event.metaKey || event.altKey;
  if (hasModifier || isTyping(event.target) || document.querySelector("dialog[open]")) return;
  // By when they were pressed: the page may have been busy meanwhile.
  const isSecond = firstKey && event.timeStamp - firstKey.timeStamp < SECOND_KEY_MS;
  const action = (isSecond && firstKey && secondKeyAction(firstKey.key, event.key)) || keyAction(event.key);
  firstKey = null;
  if (action) {
    event.preventDefault();
    action();
  } else if (event.key === "g" || event.key === "t") firstKey = { key: event.key, timeStamp: event.timeStamp };
  else if (event.key === "Escape" && isTimeMenuOpen()) closeTimeMenu();
};

/** Follow keys, and the buttons of the help and the search. */
export const startShortcuts = () => {
  document.addEventListener("keydown", onKey);
  document.addEventListener("click", (event) => {
    if (closest(event, "#help-open")) openHelp();
    if (closest(event, "#search-open")) openSearch();
    const search = byId("search");
    if (search instanceof HTMLDialogElement && closest(event, "#search a")) search.close();
  });
};
