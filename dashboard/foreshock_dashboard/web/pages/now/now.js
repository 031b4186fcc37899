// The Now page: verdict, tiles, timeline, services, GPU contention, evidence, and GPUs.
import { pageHref } from "#web/assets/address.js";
import { byId, requireId, setPanelsWithoutData, setText } from "#web/assets/dom.js";
import { formatDuration, formatPercent, inWords } from "#web/assets/format.js";
import { gpuGrid } from "#web/assets/gpu_grid/gpu_grid.js";
import { decodeBytes, decodeRatio, formatGridValue } from "#web/assets/gpu_grid/grid_values.js";
import { live } from "#web/assets/state.js";
import { incidentStatus, worstStatus } from "#web/assets/timeline/incident.js";
import { drawTimeline } from "#web/assets/timeline/timeline.js";
import * as timeRange from "#web/assets/widgets/time_range.js";
import { NOW_TEXTS } from "#web/assets/words.js";
import { drawIncidents } from "#web/pages/now/incidents.js";
import { drawMatrix } from "#web/pages/now/matrix.js";
import { drawServices } from "#web/pages/now/services_panel.js";
import { drawTiles } from "#web/pages/now/tiles.js";
import { drawVerdict } from "#web/pages/now/verdict.js";

/** @typedef {import("#web/assets/payload.d.ts").Topology} Topology */
/** @typedef {import("#web/pages/now/payload.d.ts").NowData} NowData */

const MIN_SHOWN_WAIT = 0.01;

/**
 * @param {NowData} data
 * @param {Topology} topology
 */
const drawGrid = ({ gpus, tenants, marked, open_incidents }, topology) => {
  const [busy, gpu_wait] = [decodeBytes(tenants.busy), decodeBytes(tenants.gpu_wait)];
  const describeTenant = (/** @type {string} */ service, /** @type {number} */ tenant) => {
    const name = inWords(service);
    if (!busy.length) return name;
    const ratio = decodeRatio(gpu_wait[tenant]) ?? 0;
    const waitText = ratio >= MIN_SHOWN_WAIT ? ` (waits ${formatPercent(ratio)})` : "";
    return `${name} ${formatGridValue(decodeRatio(busy[tenant]), "ratio")}${waitText}`;
  };
  const view = {
    title: "busy",
    unit: "ratio",
    low: 0,
    high: 1,
    values: decodeBytes(gpus.busy),
    gpuWait: decodeBytes(gpus.gpu_wait),
    marked: new Set(marked),
    markStatus: worstStatus(open_incidents.filter(({ suspect }) => suspect.gpus.length).map(incidentStatus)),
    describeTenant,
  };
  gpuGrid.draw(view, topology);
};

/**
 * A time range in whole minutes, at least one.
 * @param {number} seconds
 */
const wholeMinutes = (seconds) => formatDuration(Math.max(60, Math.round(seconds / 60) * 60));

/** @param {NowData} data */
const timelineTitle = ({ timeline: { start, now, end }, verdict }) =>
  (verdict.situation ? NOW_TEXTS.timeline_of_incident : `${NOW_TEXTS.timeline} ${wholeMinutes(now - start)}`) +
  (end > now ? ` and ${wholeMinutes(end - now)} ${NOW_TEXTS.and_forecast}` : "");

/** @type {import("#web/assets/page.d.ts").Page} */
export const now = {
  mount: () => gpuGrid.mount(byId("grid")),
  update: (/** @type {NowData} */ data) => {
    const time = timeRange.shownTime(data);
    drawVerdict(data, time);
    if (!data.ready) {
      setPanelsWithoutData(["timeline", "matrix", "grid", "evidence", "services"], data.error);
      return;
    }
    drawTiles(data);
    const range = formatDuration(data.timeline.now - data.timeline.start);
    const empty = data.no_stages || `${NOW_TEXTS.no_anomalies} ${range}.`;
    const timeline = { ...data.timeline, past: !timeRange.isLive() };
    setText(requireId("timeline-title"), timelineTitle(data));
    drawTimeline("timeline", timeline, { allHref: pageHref("/cascade"), empty });
    drawMatrix(data);
    drawIncidents(data, time);
    drawServices(data);
    if (live.topology?.id === data.topology) drawGrid(data, live.topology);
  },
};
