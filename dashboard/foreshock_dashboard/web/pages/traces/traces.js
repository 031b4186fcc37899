// The Traces page: filters that live in the address, the list, and the trace that is open.
import {
  hrefWith,
  link,
  navigate,
  ofCluster,
  onNavigation,
  pageHref,
  param,
  searchParams,
} from "#web/assets/address.js";
import { timeElement } from "#web/assets/clock.js";
import { byId, h, put, requireId, scrollTable, setPanel, setPanelEmpty } from "#web/assets/dom.js";
import { errorMessage, fetchJson, HubError } from "#web/assets/fetch_json.js";
import {
  filled,
  formatDuration,
  formatPercent,
  formatSeconds,
  inWords,
  isNumber,
  NOT_KNOWN,
  plural,
  truncate,
} from "#web/assets/format.js";
import { healthState } from "#web/assets/timeline/signs.js";
import * as timeRange from "#web/assets/widgets/time_range.js";
import { breakable } from "#web/assets/widgets/widgets.js";
import { CONNECTION_TEXTS, EMPTY, TRACE_TEXTS } from "#web/assets/words.js";
import { selectSpan, showTrace } from "#web/pages/traces/waterfall/waterfall.js";

/** @typedef {import("#web/pages/traces/payload.d.ts").TraceList} TraceList */
/** @typedef {import("#web/pages/traces/payload.d.ts").TraceQuery} TraceQuery */
/** @typedef {import("#web/pages/traces/payload.d.ts").TraceRow} TraceRow */

const RELOAD_MS = 5000;
const RELOAD_TRACE_MS = 8000;
/** Seconds after which the GPU wait of a trace is known; web/pages/traces/gpu_time.py has the same. */
const SETTLED_SECONDS = 20;
const NOT_READ = filled(TRACE_TEXTS.not_read, { seconds: SETTLED_SECONDS });
const FILTERS = [
  "service",
  "operation",
  "attribute",
  "min_duration",
  "max_duration",
  "min_gpu_wait",
  "status",
  "errors",
  "order",
];
const MORE_FILTERS = ["operation", "attribute", "max_duration", "min_gpu_wait"];
const SERVICE_CHARTS = ["trace-durations", "trace-requests"];
const MAX_INCIDENT_SERVICES = 3;
const ORDER_WORDS = { newest: "newest", slowest: "slowest", gpu_wait: "longest GPU wait" };

/** The number of the newest request for the list, and when it was made. */
let listRequest = { number: 0, at: 0 };
/** The trace that is shown; null before the first. @type {string | null} */
let openTrace = null;
let traceTimer = 0;
let listTimer = 0;
/** Traces of the list whose GPU wait was not read at the last request. */
let unreadWaits = Number.POSITIVE_INFINITY;

/**
 * The parameters of the API for the filters in the address.
 * @param {Record<string, string>} [more]
 */
const apiParams = (more = {}) => {
  const filters = [...searchParams()].filter(([name, value]) => FILTERS.includes(name) && value);
  const range = {
    start: timeRange.from(),
    end: timeRange.to(),
    ...(param("cluster") && { cluster: param("cluster") }),
  };
  return new URLSearchParams([...filters, ...Object.entries(range), ...Object.entries(more)]);
};

/** @param {Record<string, string | null>} changes */
const tracesHref = (changes) => hrefWith(changes, "/traces");

/**
 * @param {string} name
 * @param {string} label
 * @param {string} placeholder
 * @param {string | null} [list] id of suggestions
 */
const textField = (name, label, placeholder, list = null) =>
  h(
    "label",
    null,
    h("span", null, label),
    h("input", {
      name,
      type: "text",
      value: searchParams().get(name) ?? "",
      placeholder,
      autocomplete: "off",
      spellcheck: "false",
      list,
    }),
  );

/**
 * @param {string} name
 * @param {string} label
 * @param {string} chosen
 * @param {readonly (readonly [value: string, text: string])[]} options
 */
const choice = (name, label, chosen, options) =>
  h(
    "label",
    null,
    h("span", null, label),
    h(
      "select",
      { name },
      options.map(([value, text]) => h("option", { value, selected: value === chosen }, text)),
    ),
  );

/** The status filter of the address; `errors=true` is one too. */
const writtenStatus = () => {
  const written = searchParams();
  const onlyErrors = ["true", "1"].includes((written.get("errors") ?? "").toLowerCase());
  return onlyErrors ? "error" : (written.get("status") ?? "").toLowerCase();
};

const drawFilters = () => {
  const written = searchParams();
  const isUnfolded = /** @type {HTMLDetailsElement | null} */ (byId("more-filters"))?.open;
  const form = h(
    "form",
    { id: "trace-filters", class: "filters", role: "search", "aria-label": "Filter traces" },
    textField("service", "Service", "any", "service-names"),
    textField("min_duration", "Min duration", "e.g. 250ms"),
    choice("status", "Status", writtenStatus(), [
      ["", "any"],
      ["error", "error"],
      ["ok", "ok"],
      ["unset", "unset"],
    ]),
    choice("order", "Sort by", written.get("order") ?? "", [
      ["", "start (newest)"],
      ["slowest", "duration (longest)"],
      ["gpu_wait", "GPU wait (longest)"],
    ]),
    h("button", { type: "submit" }, "Search"),
    link(pageHref("/traces"), "Clear"),
    h(
      "details",
      { id: "more-filters", open: isUnfolded || MORE_FILTERS.some((name) => written.get(name)) },
      h("summary", null, "More filters"),
      h(
        "div",
        { class: "filters" },
        textField("operation", "Operation", "any"),
        textField("attribute", "Attribute", "http.route=/ask"),
        textField("max_duration", "Max duration", "2s"),
        textField("min_gpu_wait", "Min GPU wait", "100ms"),
      ),
    ),
    h("datalist", { id: "service-names" }),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    applyFilters(form);
  });
  form.addEventListener("change", ({ target }) => {
    if (target instanceof HTMLSelectElement) applyFilters(form);
  });
  byId("filters")?.replaceChildren(form);
  for (const name of SERVICE_CHARTS) {
    const panel = byId(`${name}-panel`);
    if (panel) panel.hidden = !written.get("service");
  }
  suggestServices();
};

/**
 * Links to the slowest traces of the services of open incidents: those of all services are often batch jobs.
 * @param {readonly import("#web/assets/payload.d.ts").Incident[]} incidents
 */
const drawIncidentLinks = (incidents) => {
  const services = [...new Set(incidents.flatMap(({ service, affected }) => [service, ...affected]))];
  const links = services
    .slice(0, MAX_INCIDENT_SERVICES)
    .flatMap((service, i) => [i ? ", " : "", link(tracesHref({ service, order: "slowest" }), inWords(service))]);
  put(requireId("incident-traces"), links.length ? ["Slowest traces of services in open incidents: ", ...links] : "");
};

/** @param {HTMLFormElement} form */
const applyFilters = (form) => {
  const fields = [...new FormData(form)].map(([name, value]) => [name, String(value)]);
  navigate(tracesHref({ ...Object.fromEntries(fields), errors: null, trace: null, span: null }));
};

const suggestServices = async () => {
  const body = await fetchJson(ofCluster("/api/services")).catch(() => null); // the field takes any name
  const names = (body?.services ?? []).map((/** @type {{ service: string }} */ { service }) => service);
  byId("service-names")?.replaceChildren(...names.map((/** @type {string} */ value) => h("option", { value })));
};

/**
 * A duration for the address, from a place on an axis of powers of ten.
 * @param {number} power of ten, in seconds
 */
export const durationParam = (power) => {
  const seconds = 10 ** power;
  return seconds < 1 ? `${Number((seconds * 1e3).toPrecision(3))}ms` : `${Number(seconds.toPrecision(3))}s`;
};

/**
 * What the list shows, in words.
 * @param {TraceQuery} query
 */
const queryText = (query) => {
  const { service, operation, attributes = {}, min_duration: min, max_duration: max, min_gpu_wait: wait } = query;
  const parts = [
    service && `service = ${inWords(service)}`,
    operation && `operation = ${operation}`,
    ...Object.entries(attributes).map(([key, value]) => `${key} = ${value}`),
    min && `duration ≥ ${formatSeconds(min)}`,
    max && `duration ≤ ${formatSeconds(max)}`,
    wait && `GPU wait ≥ ${formatSeconds(wait)}`,
    query.status && `status = ${query.status}`,
  ].filter(Boolean);
  return parts.join(", ");
};

const loadList = async () => {
  const number = listRequest.number + 1;
  listRequest = { number, at: performance.now() };
  clearTimeout(listTimer);
  try {
    const body = await fetchJson(`/api/traces?${apiParams({ waits: "true" })}`);
    if (number === listRequest.number && byId("list")) drawList(body);
  } catch (error) {
    if (number !== listRequest.number) return;
    const panel = byId("list-panel");
    if (!panel) return;
    const isRefused = error instanceof HubError;
    // A past list is not requested again by new values.
    if (!isRefused) listTimer = window.setTimeout(loadList, RELOAD_MS);
    if (isRefused || panel.dataset.state === "loading") {
      setPanel("list", "error", errorMessage(error, CONNECTION_TEXTS.retries));
    }
  }
};

/** @param {TraceRow} trace */
const waitContent = ({ gpu_wait_seconds: waited, duration_seconds: seconds }) => {
  if (waited === undefined) {
    return h("span", { class: "muted", title: NOT_READ }, "…");
  }
  if (!isNumber(waited)) {
    return h("span", { class: "muted", title: TRACE_TEXTS.no_shared_gpu }, NOT_KNOWN);
  }
  const duration = seconds ?? 0;
  const ratio = duration > 0 ? Math.min(1, waited / duration) : 0;
  const after = waited > duration ? `. ${TRACE_TEXTS.outlasting}` : "";
  const title = `GPU wait up to ${formatSeconds(waited)}${after}`;
  return h("span", { title }, formatPercent(ratio), h("small", { class: "muted minor" }, ` ${formatSeconds(waited)}`));
};

/**
 * @param {TraceList} body
 * @param {boolean} hasWaits whether there is a column for GPU waits
 */
const listRows = ({ traces, time }, hasWaits) => {
  const longest = Math.max(...traces.map((trace) => trace.duration_seconds || 0), 1e-9);
  const open = param("trace");
  return traces.map((trace) => {
    const { trace_id: id, service, operation, start, errors } = trace;
    const share = (((trace.duration_seconds ?? 0) / longest) * 100).toFixed(1);
    const name = breakable(`${truncate(inWords(service), 40)} ${truncate(operation, 60)}`);
    const age = h("small", { class: "muted minor" }, ` ${formatDuration(time - start)} ago`);
    return h(
      "tr",
      { "aria-current": id === open ? "true" : null },
      h("td", { class: "minor" }, timeElement(start, time), timeRange.isLive() ? age : null),
      h(
        "th",
        { scope: "row" },
        link(tracesHref({ trace: id, span: null }), name, `${inWords(service)} ${operation}`),
        trace.root ? null : h("small", { class: "muted" }, ` (${TRACE_TEXTS.root_missing})`),
        h("small", { class: "start muted" }, timeElement(start, time)),
      ),
      h("td", { class: "measure", style: `--share:${share}%` }, formatSeconds(trace.duration_seconds)),
      hasWaits ? h("td", null, waitContent(trace)) : null,
      h("td", { class: "minor" }, trace.spans),
      h("td", null, errors ? healthState("critical", String(errors)) : "0"),
      h("td", { class: "minor" }, trace.services.length),
    );
  });
};

/** @param {boolean} hasWaits */
const listHead = (hasWaits) => [
  h("th", { scope: "col", class: "minor" }, "Start"),
  h("th", { scope: "col" }, "Root span"),
  h("th", { scope: "col", title: "Bar: share of the longest in the list" }, "Duration"),
  hasWaits ? h("th", { scope: "col" }, "GPU wait") : null,
  h("th", { scope: "col", class: "minor" }, "Spans"),
  h("th", { scope: "col" }, "Errors"),
  h("th", { scope: "col", class: "minor" }, "Services"),
];

/**
 * @param {TraceList} body
 * @param {boolean} hasWaits
 */
const listNote = ({ traces, query, candidates }, hasWaits) => {
  const count = traces.length;
  const shown = count >= query.limit ? `First ${plural(count, "trace")}` : plural(count, "trace");
  const bounded = candidates?.limit_reached
    ? ` ${filled(TRACE_TEXTS.slowest_only, { count: candidates.examined })}`
    : "";
  return h(
    "p",
    { class: "note" },
    `${shown}.${bounded} `,
    hasWaits ? null : [`${NOT_READ} `, link(tracesHref({ order: "gpu_wait" }), "Longest GPU wait"), ". "],
    h("a", { href: `/api/traces?${apiParams()}` }, "JSON"),
    " ",
    h("a", { href: `/api/csv/traces?${apiParams({ waits: "true" })}`, download: "" }, "CSV"),
  );
};

/** @param {TraceList} body */
const drawList = (body) => {
  const { traces, query } = body;
  const text = queryText(query);
  requireId("list-hint").textContent = [`${ORDER_WORDS[query.order]} first`, text].filter(Boolean).join(", ");
  if (!traces.length) {
    const none = text ? filled(EMPTY.matching_traces, { filters: text }) : EMPTY.traces;
    setPanelEmpty("list", `${none} ${text ? TRACE_TEXTS.clear_filters : TRACE_TEXTS.send_spans}`);
    return;
  }
  // Of the newest nothing is known yet where many arrive: an empty column would only look broken.
  const unread = traces.filter(({ gpu_wait_seconds: waited }) => waited === undefined).length;
  const hasWaits = unread < traces.length;
  // A past list is requested again as long as that helps.
  if (!timeRange.isLive() && unread && unread < unreadWaits) listTimer = window.setTimeout(loadList, RELOAD_MS);
  unreadWaits = unread;
  put(
    byId("list"),
    scrollTable("Traces", { class: "traces" }, listHead(hasWaits), listRows(body, hasWaits)),
    listNote(body, hasWaits),
    body.note ? h("p", { class: "note" }, `${body.note}.`) : null,
  );
  setPanel("list", "ready");
};

/**
 * Show the trace of the address.
 * @param {boolean} [isReload] it is shown already, but may have changed
 */
const showOpenTrace = async (isReload = false) => {
  const wanted = param("trace");
  const panel = byId("trace-panel");
  if (!panel) return;
  panel.hidden = !wanted;
  const isSame = wanted === openTrace;
  if (isSame && !isReload) {
    selectSpan(param("span"));
    return;
  }
  clearTimeout(traceTimer);
  openTrace = wanted;
  if (!wanted) return;
  if (!isSame) {
    put(byId("trace"));
    requireId("trace-hint").textContent = "";
    setPanel("trace", "loading");
  }
  try {
    const trace = await fetchJson(`/api/traces/${encodeURIComponent(wanted)}`);
    const body = byId("trace");
    if (wanted !== openTrace || !body) return;
    setPanel("trace", "ready");
    showTrace(body, trace, param("span"), isSame);
    // What ran on its GPUs in its last seconds may still be on its way.
    if (trace.lanes_settled === false && timeRange.isLive()) {
      traceTimer = window.setTimeout(() => {
        if (wanted === openTrace && byId("trace")) showOpenTrace(true);
      }, RELOAD_TRACE_MS);
    }
  } catch (error) {
    const message = errorMessage(error, CONNECTION_TEXTS.reload);
    if (wanted === openTrace && !isSame) setPanel("trace", "error", message);
  }
};

const followAddress = () => {
  if (!document.querySelector('[data-page="traces"]')) return;
  drawFilters();
  unreadWaits = Number.POSITIVE_INFINITY;
  loadList();
  showOpenTrace();
};

/** @type {import("#web/assets/page.d.ts").Page} */
export const traces = {
  mount: () => {
    openTrace = null;
    followAddress();
  },
  update: ({ incidents }, unchanged) => {
    drawIncidentLinks(incidents);
    if (unchanged || performance.now() - listRequest.at < RELOAD_MS || !timeRange.isLive()) return;
    loadList();
  },
  yRangeParams: (low, high) => ({
    min_duration: durationParam(Math.min(low, high)),
    max_duration: durationParam(Math.max(low, high)),
  }),
};

onNavigation(followAddress);
