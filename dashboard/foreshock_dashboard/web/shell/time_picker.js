// The menu that chooses the time range, the refresh interval and the time zone.
import { hrefWith, navigate, param } from "#web/assets/address.js";
import { currentZone, formatTimestamp, setZone } from "#web/assets/clock.js";
import { byId, closest, h, put } from "#web/assets/dom.js";
import * as timeRange from "#web/assets/widgets/time_range.js";
import { copy } from "#web/assets/widgets/toast.js";
import * as slider from "#web/shell/replay_slider.js";

const RANGES = /** @type {const} */ ([
  ["now-5m", "Last 5 min"],
  ["now-15m", "Last 15 min"],
  ["now-30m", "Last 30 min"],
  ["now-1h", "Last 1 h"],
  ["now-3h", "Last 3 h"],
  ["now-6h", "Last 6 h"],
  ["now-12h", "Last 12 h"],
  ["now-24h", "Last 24 h"],
  ["now-2d", "Last 2 days"],
  ["now-7d", "Last 7 days"],
]);
const REFRESH_INTERVALS = /** @type {const} */ ([
  ["", "Auto"],
  ["5s", "5 s"],
  ["10s", "10 s"],
  ["30s", "30 s"],
  ["1m", "1 min"],
  ["off", "Off"],
]);
const TIME_HINT = "now-6h, now/d, 2026-11-26T03:00:00Z, or Unix milliseconds";

const menu = () => /** @type {HTMLDetailsElement | null} */ (byId("time-menu"));

/** Close the menu. */
export const closeTimeMenu = () => {
  const details = menu();
  if (details) details.open = false;
};

/** Whether the menu is open. */
export const isTimeMenuOpen = () => menu()?.open ?? false;

const rangeText = () => {
  const named = RANGES.find(([value]) => value === timeRange.from());
  if (timeRange.isLive() && named) return named[1];
  const [start, end] = timeRange.bounds();
  return `${formatTimestamp(start)} to ${timeRange.isLive() ? "now" : formatTimestamp(end)}`;
};

/**
 * @param {string} name
 * @param {string} label
 * @param {string} value
 */
const timeField = (name, label, value) =>
  h("label", null, label, h("input", { name, type: "text", value, spellcheck: "false", autocomplete: "off" }));

/**
 * @param {string} action
 * @param {string} text
 * @param {string | null} [title]
 */
const actionButton = (action, text, title = null) =>
  h("button", { type: "button", class: "quiet", "data-time": action, title }, text);

const rangeList = () =>
  h(
    "div",
    { class: "menu-list" },
    RANGES.map(([value, name]) => {
      const isCurrent = timeRange.isLive() && value === timeRange.from();
      return h("button", { type: "button", "data-range": value, "aria-pressed": String(isCurrent) }, name);
    }),
  );

const refreshSelect = () => {
  const written = param("refresh");
  const current = REFRESH_INTERVALS.some(([value]) => value === written) ? written : "";
  return h(
    "select",
    { "data-refresh": true },
    REFRESH_INTERVALS.map(([value, name]) => h("option", { value, selected: value === current }, name)),
  );
};

const rangeForm = () =>
  h(
    "form",
    { id: "time-form", class: "menu-form" },
    timeField("from", "From", timeRange.from()),
    timeField("to", "To", timeRange.to()),
    h("p", { class: "hint" }, TIME_HINT),
    h("button", { type: "submit", class: "quiet" }, "Apply"),
    h(
      "p",
      { class: "menu-row" },
      actionButton("back", "◀", "Shift time range back by half"),
      actionButton("out", "Zoom out"),
      actionButton("on", "▶", "Shift time range forward by half"),
      actionButton("replay", "Replay"),
    ),
    h("label", null, "Refresh", refreshSelect()),
    h(
      "p",
      { class: "menu-row" },
      actionButton("zone", currentZone() === "local" ? "Show UTC" : "Show local time"),
      actionButton("copy", "Copy link"),
    ),
  );

/** Draw the menu. */
export const drawTimePicker = () =>
  put(
    byId("time"),
    h(
      "details",
      { id: "time-menu", class: "menu" },
      h("summary", { class: "badge", id: "time-label", title: "Time range" }, rangeText()),
      h("div", { class: "menu-body", role: "group", "aria-label": "Time range" }, rangeList(), rangeForm()),
    ),
  );

const copyLink = () => {
  const [start, end] = timeRange.bounds();
  const range = { from: timeRange.formatUnix(start), to: timeRange.formatUnix(end), refresh: null };
  copy(`${location.origin}${hrefWith(range)}`);
};

/** @type {Readonly<Record<string, () => void>>} */
const ACTIONS = {
  back: () => timeRange.shift(-0.5),
  on: () => timeRange.shift(0.5),
  out: timeRange.zoomOut,
  replay: slider.show,
  play: slider.togglePlay,
  live: slider.backToLive,
  zone: () => setZone(currentZone() === "local" ? "utc" : "local"),
  copy: copyLink,
};

/**
 * Do what a button with `data-time` does.
 * @param {string} name
 */
export const runTimeAction = (name) => ACTIONS[name]?.();

/** Follow the menu's buttons and fields, and those elsewhere with `data-time`. */
export const startTimePicker = () => {
  document.addEventListener("change", ({ target }) => {
    if (!(target instanceof HTMLSelectElement) || target.dataset.refresh === undefined) return;
    navigate(hrefWith({ refresh: target.value || null }), true);
  });
  document.addEventListener("submit", (event) => {
    if (!(event.target instanceof HTMLFormElement) || event.target.id !== "time-form") return;
    event.preventDefault();
    const form = new FormData(event.target);
    const field = (/** @type {string} */ name) => String(form.get(name) ?? "").trim();
    timeRange.setRange(field("from") || timeRange.DEFAULT_FROM, field("to") || "now");
    closeTimeMenu();
  });
  document.addEventListener("click", (event) => {
    const range = closest(event, "[data-range]")?.dataset.range;
    if (range) {
      timeRange.setRange(range, "now");
      closeTimeMenu();
    }
    const action = closest(event, "[data-time]")?.dataset;
    if (action?.from) slider.replayFrom(Number(action.from));
    else if (action?.time) runTimeAction(action.time);
    if (isTimeMenuOpen() && !closest(event, "#time-menu")) closeTimeMenu();
  });
};
