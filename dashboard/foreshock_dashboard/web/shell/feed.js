// The values of the shown page: requested again after the last answer, so that a slow hub has one request at a time.
import { onNavigation, searchParams, withParams } from "#web/assets/address.js";
import { allowPlotly } from "#web/assets/chart_library.js";
import { byId, markStale, requireId, setPanel } from "#web/assets/dom.js";
import { fetchAnswer, HubError } from "#web/assets/fetch_json.js";
import { live } from "#web/assets/state.js";
import * as timeRange from "#web/assets/widgets/time_range.js";
import { CONNECTION_TEXTS } from "#web/assets/words.js";
import { drawClusters } from "#web/shell/cluster_picker.js";
import { drawConnection } from "#web/shell/connection_badge.js";
import { drawIncidentLine, hideIncidentLine } from "#web/shell/incident_line.js";
import { namePage } from "#web/shell/page_menu.js";

/** @typedef {import("#web/assets/fetch_json.js").Answer<any>} Answer */
/** @typedef {import("#web/assets/page.d.ts").Page} Page */
/** @typedef {import("#web/shell/connection_badge.js").Connection} Connection */

const FIRST_RETRY_MS = 1000;
const MAX_RETRY_MS = 15_000;
const BADGE_EVERY_MS = 500;
/** Age of the document up to which what it requested at once is new enough, so that a slow load requests it once. */
const MAX_PREFETCH_AGE_MS = 30_000;
/** Age from which a document is replaced where a script is missing; another one would miss it, too. */
const MIN_DOCUMENT_AGE_MS = 60_000;
/** An answer whose number is this much lower comes from a hub that was started again. */
const RESTARTED_SEQ_GAP = 5;

/** Load the script of a page, by its name. @type {Readonly<Record<string, () => Promise<Page>>>} */
let pages = {};
/** The script of the shown page, once it is loaded. @type {Page | undefined} */
let script;
/** Whether that could not be loaded. */
let isScriptLost = false;
/** Draws the frame's time range. */
let drawFrame = () => {};
/** @type {Connection} */
const connection = {
  page: null,
  receivedAt: 0,
  changedAt: 0,
  nextRequestAt: 0,
  failures: 0,
  reason: "",
  isComplete: false,
  isRefused: false,
};
let timer = 0;
let isRunning = false;
/** The address whose values are known, and their ETag. */
let known = { path: "", etag: "" };
/** The number of the values that Dash's charts have. */
let announcedSeq = -1;
/** The address of `live.data`. */
let dataPath = "";
/** The address whose values cannot change, and whether that is for a refusal. */
let complete = { path: "", isRefused: false };
/** Answers that were requested before the page was there. @type {Map<string, Promise<Answer>>} */
const prefetched = new Map();

/**
 * The address of a page's values: its feed, the page's own parameters, and the time if it is past. "" while the address
 * has left the page that is still shown.
 * @param {DOMStringMap} page
 */
const feedPath = ({ feed = "", takes = "" }) => {
  const written = searchParams();
  const params = new URLSearchParams();
  if (written.get("cluster")) params.set("cluster", written.get("cluster") ?? "");
  for (const name of takes.split(" ").filter(Boolean)) {
    const value = written.get(name);
    if (value) params.set(name, name === "from" ? timeRange.from() : value);
  }
  if (!timeRange.isLive()) params.set("at", timeRange.to());
  const [start = "", rest] = feed.split("{rest}");
  if (rest !== undefined && !`/api/pages${location.pathname}`.startsWith(start)) return "";
  const below = location.pathname.split("/").slice(2).join("/");
  return withParams(feed.replace("{rest}", below), params);
};

const currentPath = () => (connection.page ? feedPath(connection.page.dataset) : "");
const topologyPath = () => timeRange.atRangeEnd("/api/topology");

/** Request what the page will need at once: the answers come while Dash still builds the page. */
export const prefetch = () => {
  const meta = document.querySelector('meta[name="feed"]');
  if (!(meta instanceof HTMLElement) || !meta.dataset.feed || document.hidden) return;
  for (const path of [feedPath(meta.dataset), topologyPath()]) {
    const answer = fetchAnswer(path);
    answer.catch(() => {}); // handled where it is used
    prefetched.set(path, answer);
  }
};

/**
 * An answer, from the prefetched ones once and while it is new.
 * @param {string} path
 * @param {string} [etag]
 * @returns {Promise<Answer>}
 */
const request = (path, etag = "") => {
  const answer = performance.now() < MAX_PREFETCH_AGE_MS ? prefetched.get(path) : undefined;
  prefetched.delete(path);
  return answer ?? fetchAnswer(path, etag);
};

/** Request the values of the address and draw them, unless the address has changed meanwhile. */
const refresh = async () => {
  const path = currentPath();
  if (known.path !== path) known = { path, etag: "" };
  const answer = await request(path, known.etag);
  if (!connection.page || path !== currentPath()) return;
  live.time = answer.time;
  if (!answer.unchanged) {
    const { body, etag } = answer;
    // A second worker's older answer must not turn the page back.
    const isOlder = live.data && dataPath === path && body.seq < live.data.seq;
    const isRestarted = live.data && body.seq + RESTARTED_SEQ_GAP < live.data.seq;
    if (!isOlder || isRestarted) {
      live.data = body;
      dataPath = path;
      known.etag = etag;
    }
    if (body.topology && body.topology !== live.topology?.id) {
      const topology = await request(topologyPath());
      if (!topology.unchanged) live.topology = topology.body;
    }
  }
  if (!live.data) return;
  // Before the first evaluation there is nothing yet.
  complete = { path: live.data.data_time === null ? "" : path, isRefused: false };
  requireId("wrong").hidden = true;
  if (isScriptLost) replaceDocument();
  if (live.data.seq !== announcedSeq) {
    announcedSeq = live.data.seq;
    connection.changedAt = performance.now();
    window.dash_clientside?.set_props?.("tick", { data: announcedSeq });
  }
  connection.receivedAt = performance.now();
  connection.failures = 0;
  draw(answer.unchanged);
};

/** @param {boolean} unchanged */
const draw = (unchanged) => {
  const { page } = connection;
  if (!page?.dataset.feed || !live.data || dataPath !== currentPath()) return;
  requireId("simulated").hidden = !live.data.simulated || Boolean(live.data.bounds);
  drawFrame();
  drawIncidentLine(page.dataset);
  drawClusters(live.data.clusters ?? []);
  script?.update?.(live.data, unchanged);
  markStale(Boolean(live.data.error));
  drawBadge();
};

/** Draw the shown values again. */
export const redraw = () => draw(false);

export const drawBadge = () => {
  connection.isComplete = complete.path === currentPath();
  connection.isRefused = connection.isComplete && complete.isRefused;
  drawConnection(connection);
};

/** Whether a request is running, or the values of the address are still to come. */
export const isBusy = () => isRunning || complete.path !== (connection.page?.dataset.feed ? currentPath() : "");

/** Whether another request would give the same. */
const isFinal = () =>
  complete.path === currentPath() && Boolean(!timeRange.isLive() || live.data?.bounds || complete.isRefused);

const retryMs = () => Math.min(FIRST_RETRY_MS * 2 ** (connection.failures - 1), MAX_RETRY_MS);

/** @returns {Promise<void>} */
const loop = async () => {
  if (connection.page && !connection.page.dataset.feed) {
    drawBadge(); // an address without a page has nothing to request
    return;
  }
  const path = currentPath();
  if (isRunning || !path || document.hidden) return;
  if (isFinal()) {
    drawBadge();
    return;
  }
  isRunning = true;
  clearTimeout(timer);
  try {
    await refresh();
  } catch (error) {
    if (connection.page && currentPath() === path) onFailure(error); // else the page was left
  }
  isRunning = false;
  allowPlotly();
  if (connection.page?.dataset.feed && currentPath() !== path) return loop();
  const refreshMs = timeRange.refreshSeconds() * 1000;
  if (connection.failures || refreshMs) {
    const jitteredMs = (connection.failures ? retryMs() : refreshMs) * (0.9 + 0.2 * Math.random());
    connection.nextRequestAt = performance.now() + jitteredMs;
    timer = window.setTimeout(loop, jitteredMs);
  }
  drawBadge();
};

/** @param {unknown} error */
const onFailure = (error) => {
  connection.failures += 1;
  connection.reason = error instanceof HubError ? error.message : "";
  if (!(error instanceof HubError) || (error.status !== 400 && error.status !== 404)) return;
  // What the address requests does not exist, although the hub answers: another request would not change that.
  connection.failures = 0;
  connection.receivedAt = performance.now();
  complete = { path: currentPath(), isRefused: true };
  hideIncidentLine();
  const line = requireId("wrong");
  line.textContent = error.message;
  line.hidden = false;
  for (const panel of document.querySelectorAll('.panel[data-state="loading"]')) {
    setPanel(panel.id.replace("-panel", ""), "empty", CONNECTION_TEXTS.see_above);
  }
};

/** Request the values of the page again at once. */
export const restart = () => {
  if (!connection.page) return;
  clearTimeout(timer);
  loop();
};

const markCurrentPage = () => {
  for (const link of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll(".bar nav a"))) {
    const path = link.dataset.pagePath;
    const isHere = path === location.pathname || (path !== "/" && location.pathname.startsWith(`${path}/`));
    if (isHere) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  namePage();
};

/**
 * Follow the page that Dash put into the document.
 * @param {() => void} onPage called for each page
 */
const followPage = (onPage) => {
  if (byId("time")?.childElementCount === 0) drawFrame(); // with the frame, before the first page
  const page = document.querySelector("[data-page]");
  if (page === connection.page) return;
  connection.page = page instanceof HTMLElement ? page : null;
  known = { path: "", etag: "" };
  if (!connection.page) return;
  if (!connection.page.dataset.feed) allowPlotly();
  complete = { path: "", isRefused: false };
  drawFrame();
  drawIncidentLine(connection.page.dataset); // not only with the first answer, which may take long
  markCurrentPage();
  onPage();
  script = undefined;
  isScriptLost = false;
  loadScript();
  draw(false);
  restart();
};

/** Load, start, and draw the script of the shown page. */
const loadScript = async () => {
  const { page } = connection;
  const loaded = await pages[page?.dataset.page ?? ""]?.().catch(() => null);
  if (connection.page !== page) return;
  isScriptLost = loaded === null;
  if (!loaded) return;
  script = loaded;
  script.mount?.();
  draw(false);
};

/** The hub answers, but has no script for this page: it was upgraded, and the document is of the version before. */
const replaceDocument = () => {
  if (performance.now() > MIN_DOCUMENT_AGE_MS) location.reload();
  const line = requireId("wrong");
  line.textContent = CONNECTION_TEXTS.script_lost;
  line.hidden = false;
};

/** The script of the shown page. */
export const currentPage = () => script;

/**
 * Keep the page that is shown up to date.
 * @param {object} options
 * @param {Readonly<Record<string, () => Promise<Page>>>} options.pages load the script of a page, by its name
 * @param {() => void} options.drawFrame draws the frame's time range
 * @param {() => void} options.onPage called for each page, before it is mounted
 * @param {() => void} options.onMutation called at each change of the document
 */
export const startFeed = (options) => {
  pages = options.pages;
  drawFrame = options.drawFrame;
  const onMutation = () => {
    followPage(options.onPage);
    options.onMutation();
  };
  new MutationObserver(onMutation).observe(document.body, { childList: true, subtree: true });
  followPage(options.onPage);
  setInterval(drawBadge, BADGE_EVERY_MS);
  document.addEventListener("visibilitychange", () => {
    drawBadge();
    if (!document.hidden) loop();
  });
  onNavigation(restart);
  let frame = 0;
  window.addEventListener("resize", () => {
    cancelAnimationFrame(frame);
    frame = requestAnimationFrame(redraw);
  });
};
