// The entry of the page's scripts: puts the frame to work and names the pages.
import { onNavigation, openPage } from "#web/assets/address.js";
import { providePlotly } from "#web/assets/chart_library.js";
import { closest } from "#web/assets/dom.js";
import { updateRangeLinks } from "#web/assets/widgets/range_links.js";
import { startTables } from "#web/assets/widgets/table.js";
import { copy } from "#web/assets/widgets/toast.js";
import { startChartTables } from "#web/shell/chart_table.js";
import { openClickedTrace, zoomed } from "#web/shell/chart_zoom.js";
import { startClusters } from "#web/shell/cluster_picker.js";
import { announceBrowser, drawThemeButton, startColorScheme } from "#web/shell/color_scheme.js";
import { drawBadge, prefetch, redraw, restart, startFeed } from "#web/shell/feed.js";
import { drawIgnoredParameters } from "#web/shell/ignored_parameters.js";
import { nameUser, startMenus } from "#web/shell/page_menu.js";
import { drawSlider, startSlider } from "#web/shell/replay_slider.js";
import { startRespond } from "#web/shell/respond.js";
import { startShortcuts } from "#web/shell/shortcuts.js";
import { startSilences } from "#web/shell/silences.js";
import { drawTimePicker, startTimePicker } from "#web/shell/time_picker.js";

/** Load the script of a page; by the `data-page` that its layout has. */
const PAGES = {
  now: async () => (await import("#web/pages/now/now.js")).now,
  contention: async () => (await import("#web/pages/contention/contention.js")).contention,
  cascade: async () => (await import("#web/pages/cascade/cascade.js")).cascade,
  fleet: async () => (await import("#web/pages/fleet/fleet.js")).fleet,
  capacity: async () => (await import("#web/pages/capacity/capacity.js")).capacity,
  cost: async () => (await import("#web/pages/cost/cost.js")).cost,
  traces: async () => (await import("#web/pages/traces/traces.js")).traces,
  services: async () => (await import("#web/pages/services/services.js")).services,
  service: async () => (await import("#web/pages/services/service.js")).service,
  status: async () => (await import("#web/pages/status/status.js")).status,
};

/** Draw what of the frame depends on the time range. */
const drawFrame = () => {
  drawTimePicker();
  updateRangeLinks();
  drawIgnoredParameters();
  drawSlider();
};

/** Follow each new page. */
const onPage = () => {
  announceBrowser();
  nameUser();
};

/** Links within the app do not load the document again. */
const followLinks = () => {
  document.addEventListener("click", (event) => {
    const href = closest(event, "a[data-go]")?.getAttribute("href");
    if (!href || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    event.preventDefault();
    openPage(href);
  });
};

const startCopyButtons = () => {
  document.addEventListener("click", (event) => {
    const button = closest(event, "[data-copy]");
    if (button) copy(button.dataset.copy ?? "");
  });
};

/** Panels that a phone shows folded. */
const startFolds = () => {
  document.addEventListener("click", (event) => {
    const button = closest(event, "button[data-fold]");
    if (!button) return;
    const isOpened = button.getAttribute("aria-expanded") !== "true";
    button.setAttribute("aria-expanded", String(isOpened));
    redraw();
    if (isOpened) window.dispatchEvent(new Event("resize")); // a chart that was not shown has no size yet
  });
};

providePlotly();
// What Dash's callbacks call (web/callbacks.py).
window.dash_clientside ??= {};
window.dash_clientside.foreshock = { zoomed, open_point: openClickedTrace };
prefetch();

for (const start of [
  followLinks,
  startCopyButtons,
  startFolds,
  startMenus,
  startTables,
  startTimePicker,
  startSlider,
  startShortcuts,
  startSilences,
  startChartTables,
  startClusters,
]) {
  start();
}
onNavigation(drawFrame);
startRespond(restart).then(redraw);
startColorScheme(redraw);
window.addEventListener("foreshock:zone", () => {
  announceBrowser();
  drawFrame();
  redraw();
  drawBadge();
});
startFeed({ pages: PAGES, drawFrame, onPage, onMutation: () => drawThemeButton(redraw) });
