// The slider over the past: where the reader opened it, and while the time range is past.
import { hrefWith, navigate, onNavigation } from "#web/assets/address.js";
import { formatDateTime, formatTimestamp } from "#web/assets/clock.js";
import { byId, h, put } from "#web/assets/dom.js";
import { hubTime, live } from "#web/assets/state.js";
import * as timeRange from "#web/assets/widgets/time_range.js";
import { isBusy } from "#web/shell/feed.js";

const PLAY_EVERY_MS = 900;
const SETTLE_MS = 200;
const STEP_SECONDS = 10;
const PLAY_STEPS = 240;
const DEFAULT_REACH_SECONDS = 3 * 3600;
const PLAY_BACK_SECONDS = 1800;
const MIN_RANGE_SECONDS = 60;

let isShown = false;
let playTimer = 0;
let settleTimer = 0;

/** The first and the last time that can be shown, in Unix seconds. @returns {[first: number, last: number]} */
const reach = () => live.data?.bounds ?? [hubTime() - DEFAULT_REACH_SECONDS, hubTime()];

const input = () => /** @type {HTMLInputElement | null} */ (byId("rewind-at"));

/** The time at which the slider stands, in Unix seconds. */
const position = () => {
  const [first, last] = reach();
  if (settleTimer) return Number(input()?.value);
  return timeRange.isLive() ? last : Math.max(first, Math.min(last, timeRange.endTime()));
};

/** Draw the slider, or hide it. */
export const drawSlider = () => {
  const box = byId("rewind");
  if (!box) return;
  const isRecording = Boolean(live.data?.bounds);
  box.hidden = !(isShown || !timeRange.isLive());
  if (box.hidden) {
    if (playTimer) stop();
    return;
  }
  const [first, last] = reach();
  const unix = position();
  put(
    box,
    h(
      "button",
      { type: "button", class: "quiet", "data-time": "play", "aria-pressed": String(playTimer > 0) },
      playTimer ? "❚❚ Pause" : "▶ Play",
    ),
    h("input", {
      type: "range",
      id: "rewind-at",
      min: Math.ceil(first),
      max: Math.floor(last),
      step: STEP_SECONDS,
      "aria-label": "Show the state at this time",
      "aria-valuetext": formatTimestamp(unix),
    }),
    h("output", { for: "rewind-at" }, formatDateTime(unix)),
    h("button", { type: "button", class: "quiet", "data-time": "live" }, isRecording ? "Latest" : "Back to live"),
  );
  const slider = input();
  if (slider) slider.value = String(Math.round(unix));
};

/**
 * Show a time in the past, with a range of the current length before it.
 * @param {number} unix seconds
 */
const showTime = (unix) => {
  const [start, end] = timeRange.bounds();
  timeRange.setRange(timeRange.formatUnix(unix - (end - start)), timeRange.formatUnix(unix), true);
};

const stop = () => {
  clearInterval(playTimer);
  playTimer = 0;
  drawSlider();
};

const play = () => {
  const [first, last] = reach();
  if (timeRange.isLive()) showTime(Math.max(first + MIN_RANGE_SECONDS, last - PLAY_BACK_SECONDS));
  const step = Math.max(STEP_SECONDS, (last - first) / PLAY_STEPS);
  playTimer = window.setInterval(() => {
    if (isBusy()) return; // the last picture is still to come
    const next = timeRange.endTime() + step;
    if (next >= last) stop();
    showTime(Math.min(next, last));
  }, PLAY_EVERY_MS);
  drawSlider();
};

/** Play, or stop playing. */
export const togglePlay = () => (playTimer ? stop() : play());

/** Show the slider. */
export const show = () => {
  isShown = true;
  drawSlider();
};

/** Go back to the present. */
export const backToLive = () => {
  stop();
  isShown = false;
  navigate(hrefWith({ from: null, to: null }));
};

/**
 * Play from a time on, as fast as answers come.
 * @param {number} unix seconds
 */
export const replayFrom = (unix) => {
  stop();
  isShown = true;
  showTime(Math.max(reach()[0], unix));
  play();
};

const settle = () => {
  clearTimeout(settleTimer);
  settleTimer = 0;
};

/** Follow the slider. A hand on it stops the replay; what is requested later, such as the present, counts. */
export const startSlider = () => {
  document.addEventListener("input", ({ target }) => {
    if (!(target instanceof HTMLInputElement) || target.id !== "rewind-at") return;
    const unix = Number(target.value);
    clearTimeout(settleTimer);
    settleTimer = window.setTimeout(() => {
      settle();
      showTime(unix);
    }, SETTLE_MS);
    stop();
  });
  onNavigation(settle);
};
