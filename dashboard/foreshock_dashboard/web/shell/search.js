// The search over services, incidents, GPUs, pages, alerts and traces.
import { gpuHref, openPage, pageHref } from "#web/assets/address.js";
import { byId, h, put } from "#web/assets/dom.js";
import { fetchJson } from "#web/assets/fetch_json.js";
import { splitService, truncate } from "#web/assets/format.js";
import { incidentHref } from "#web/assets/timeline/incident.js";
import * as timeRange from "#web/assets/widgets/time_range.js";
import { CONNECTION_STATES, EMPTY } from "#web/assets/words.js";
import { dialog, navigationPages, openDialog } from "#web/shell/dialogs.js";

const MAX_RESULTS = 12;
const MAX_NAME_LENGTH = 60;
const TRACE_ID = /^[0-9a-f]{16,32}$/;

/**
 * What can be found.
 * @typedef {object} Entry
 * @property {string} kind
 * @property {string} name
 * @property {string} href
 * @property {string} [detail] other text that is searched, after the names
 * @property {boolean} [isDocument] a page without the frame
 */

/** @type {Entry[] | null} */
let entries = null;
/** @type {Entry[]} */
let results = [];
let selected = 0;

/** @returns {Promise<Entry[]>} */
const loadEntries = async () => {
  const get = (/** @type {string} */ path) => fetchJson(path).catch(() => null);
  const getAt = (/** @type {string} */ path) => get(timeRange.atRangeEnd(path));
  const [services, gpus, incidents, runbooks] = await Promise.all([
    getAt("/api/services"),
    getAt("/api/gpus"),
    getAt("/api/incidents"),
    get("/api/runbooks"),
  ]);
  return [
    ...(services?.services ?? []).map((/** @type {{ service: string }} */ { service }) => ({
      kind: "service",
      name: service,
      href: pageHref(`/services/${service}`),
    })),
    ...(incidents?.incidents ?? []).map((/** @type {{ id: string, cause: string }} */ { id, cause }) => ({
      kind: "incident",
      name: `${id} ${cause}`,
      href: incidentHref(id),
    })),
    ...(gpus?.gpus ?? []).map((/** @type {{ gpu: string, uuid: string }} */ { gpu, uuid }) => ({
      kind: "GPU",
      name: gpu,
      detail: uuid,
      href: gpuHref(gpu),
    })),
    ...navigationPages().map(({ name, href }) => ({ kind: "page", name, href })),
    ...(runbooks?.runbooks ?? []).map(
      (/** @type {{ alert: string, meaning: string, address: string }} */ { alert, meaning, address }) => ({
        kind: "alert",
        name: alert,
        detail: meaning,
        href: address,
        isDocument: true,
      }),
    ),
  ];
};

/**
 * How well an entry matches, 0 the best; null where it does not.
 * @param {Entry} entry
 * @param {string} text lower case
 */
const rank = (entry, text) => {
  const name = entry.name.toLowerCase();
  const bareName = splitService(name).name;
  if (name === text || bareName === text) return 0;
  if (name.startsWith(text) || bareName.startsWith(text)) return 1;
  if (name.includes(text)) return 2;
  return entry.detail?.toLowerCase().includes(text) ? 3 : null;
};

/**
 * The entries that match a text, the best first.
 * @param {readonly Entry[]} among
 * @param {string} text
 * @returns {Entry[]}
 */
export const findEntries = (among, text) => {
  const wanted = text.trim().toLowerCase();
  const traces = TRACE_ID.test(wanted)
    ? [{ kind: "trace", name: wanted, href: pageHref("/traces", { trace: wanted }) }]
    : [];
  const ranked = among
    .map((entry) => ({ entry, place: rank(entry, wanted) ?? -1 }))
    .filter(({ place }) => place >= 0)
    .sort((a, b) => a.place - b.place);
  return [...traces, ...ranked.map(({ entry }) => entry)].slice(0, MAX_RESULTS);
};

/** @param {Entry} entry */
const openEntry = (entry) => {
  if (entry.isDocument) location.assign(entry.href);
  else openPage(entry.href);
};

const drawResults = () => {
  const items = results.map(({ kind, name, href, detail, isDocument = false }, i) =>
    h(
      "li",
      { id: `search-${i}`, role: "option", "aria-selected": String(i === selected) },
      h(
        "a",
        { href, "data-go": !isDocument, title: isDocument ? detail : null, tabindex: "-1" },
        h("small", { class: "muted" }, `${kind} `),
        truncate(name, MAX_NAME_LENGTH),
      ),
    ),
  );
  const none = () =>
    h(
      "li",
      { class: "muted", role: "option", "aria-selected": "false", "aria-disabled": "true" },
      entries ? EMPTY.matches : `${CONNECTION_STATES.loading}…`,
    );
  put(byId("search-list"), items.length ? items : none());
  byId("search-text")?.setAttribute("aria-activedescendant", results.length ? `search-${selected}` : "");
};

/** Open the search. */
export const openSearch = async () => {
  const box = dialog("search", "Search");
  put(
    box,
    h("input", {
      id: "search-text",
      type: "search",
      placeholder: "Service, GPU, incident, alert, or trace ID",
      role: "combobox",
      "aria-label": "Search",
      "aria-expanded": "true",
      "aria-controls": "search-list",
      autocomplete: "off",
      spellcheck: "false",
    }),
    h("ul", { id: "search-list", role: "listbox", "aria-label": "Found" }),
  );
  const input = /** @type {HTMLInputElement} */ (byId("search-text"));
  const update = () => {
    results = findEntries(entries ?? [], input.value);
    selected = 0;
    drawResults();
  };
  input.value = "";
  input.oninput = update;
  input.onkeydown = (event) => onKey(event, box);
  entries = null;
  results = [];
  selected = 0;
  drawResults();
  openDialog(box);
  input.focus();
  entries = await loadEntries();
  update();
};

/**
 * @param {KeyboardEvent} event
 * @param {HTMLDialogElement} box
 */
const onKey = (event, box) => {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (step && results.length) {
    event.preventDefault();
    selected = (selected + step + results.length) % results.length;
    drawResults();
  }
  const entry = results[selected];
  if (event.key === "Enter" && entry) {
    event.preventDefault();
    box.close();
    openEntry(entry);
  }
};
