// The page of one service: its values, neighbors on GPUs, callers and callees, replicas, GPUs and incidents.
import { gpuHref, link, navigate, onNavigation, pageHref, pairHref, serviceHref } from "#web/assets/address.js";
import { clausesText, timeElement } from "#web/assets/clock.js";
import { byId, h, put, requireId, setPanel, setPanelEmpty, setText } from "#web/assets/dom.js";
import { fetchJson } from "#web/assets/fetch_json.js";
import {
  formatDuration,
  formatGibibytes,
  formatMultiple,
  formatPercent,
  formatRate,
  formatSeconds,
  formatTimeToEvent,
  formatValue,
  isNumber,
  shortLabels,
  truncate,
} from "#web/assets/format.js";
import { live } from "#web/assets/state.js";
import { actionStep, causeText, incidentState } from "#web/assets/timeline/incident.js";
import { serviceDot } from "#web/assets/timeline/signs.js";
import { drawTable } from "#web/assets/widgets/table.js";
import { figure } from "#web/assets/widgets/widgets.js";
import {
  ERROR_RATE_LIMITS,
  objectiveText,
  PAIR_WAIT_LIMITS,
  RISK_LIMITS,
  retriesCell,
  serviceCell,
  shareCell,
  WAIT_LIMITS,
} from "#web/pages/services/service_cells.js";

/** @typedef {import("#web/assets/dom.js").Content} Content */
/** @typedef {import("#web/pages/services/payload.d.ts").Call} Call */
/** @typedef {import("#web/pages/services/payload.d.ts").Capacity} Capacity */
/** @typedef {import("#web/pages/services/payload.d.ts").ServiceData} ServiceData */
/**
 * @template R
 * @typedef {import("#web/assets/widgets/table.js").TableSpec<R>} TableSpec
 */

const MAX_REPLICAS = 60;
const MAX_GPUS = 40;
const NAME_LENGTH = 26;
const UNEVEN_RATIO = 1.05;
const UNKNOWN_GPUS = "It is on no GPU that is known.";
const VERDICT_STATES = { ok: "calm", idle: "calm", unknown: "blind", warning: "warning", critical: "critical" };
const PANELS = ["neighbours", "callers", "callees", "replicas", "service-gpus", "service-incidents"];
const INFERENCE_PANELS = ["service-queue", "service-cache", "service-first-token", "service-per-token", "replicas"];

/**
 * Fill a panel, or say why it is empty.
 * @param {string} name
 * @param {boolean} hasContent
 * @param {string} reason
 * @param {...Content} content
 */
const fillPanel = (name, hasContent, reason, ...content) => {
  put(byId(name), hasContent ? content : null);
  setPanel(name, hasContent ? "ready" : "empty", hasContent ? "" : reason);
};

/**
 * @param {string} name
 * @param {boolean} isHidden
 */
const hidePanel = (name, isHidden) => {
  const panel = byId(`${name}-panel`);
  if (panel) panel.hidden = isHidden;
};

/**
 * Fill a panel with a table.
 * @template R
 * @param {string} name of the panel
 * @param {string} reason why there is no row
 * @param {TableSpec<R>} spec
 */
const fillTable = (name, reason, spec) => {
  if (!spec.rows.length) {
    setPanelEmpty(name, reason);
    return;
  }
  drawTable(byId(name), spec);
  setPanel(name, "ready");
};

/** @param {ServiceData} data */
const riskText = ({ breach }) => {
  if (breach === 0) return "it misses now";
  return isNumber(breach) ? `misses its objective in about ${formatTimeToEvent(breach)}` : "";
};

/** @param {ServiceData} data */
const drawFigures = (data) => {
  const { promise, rate, failed, p95, wait, gpus, load, safe, risk } = data;
  const overSafe = isNumber(safe) && (load ?? 0) > safe;
  const loadTitle = "what is asked of its model servers over what they can do";
  const waitTitle = "share of its GPU time in which others hold them, at most";
  put(
    byId("service-figures"),
    figure("Requests", formatRate(rate)),
    figure("Errors", formatPercent(failed), {
      note: promise ? `of at most ${formatPercent(promise.failed)}` : "",
      isGrave: promise !== null && (failed ?? 0) > promise.failed,
    }),
    figure("p95", formatSeconds(p95), {
      note: promise ? `of at most ${formatSeconds(promise.seconds)}` : "",
      isGrave: promise !== null && (p95 ?? 0) > promise.seconds,
      title: objectiveText(data),
    }),
    figure("Waits for GPUs", formatPercent(wait), {
      note: gpus ? `of the time on ${gpus} GPU${gpus > 1 ? "s" : ""}` : "on no GPU",
      isGrave: (wait ?? 0) >= WAIT_LIMITS.bad,
      title: waitTitle,
    }),
    isNumber(load)
      ? figure("Offered load", formatMultiple(load), {
          note: isNumber(safe) ? `${formatPercent(safe)} is safe` : "",
          isGrave: overSafe,
          title: loadTitle,
        })
      : null,
    figure("Risk in 10 min", formatPercent(risk), {
      note: riskText(data),
      isGrave: (risk ?? 0) >= RISK_LIMITS.bad,
      title: "chance that it misses its objective",
    }),
  );
};

/**
 * @param {number | null} ratio
 * @param {string} href
 */
const waitLink = (ratio, href) => (isNumber(ratio) ? link(href, shareCell(ratio, PAIR_WAIT_LIMITS)) : null);

/** @param {ServiceData} data */
const drawNeighbours = ({ service, neighbours, gpus }) => {
  const label = shortLabels(neighbours.map(({ id }) => id));
  fillTable("neighbours", gpus ? "It has its GPUs to itself." : UNKNOWN_GPUS, {
    id: "neighbours-table",
    label: "Neighbours",
    param: "neighbours-table",
    rows: neighbours,
    by: "-waits",
    columns: [
      { key: "id", name: "Neighbour", text: true, cell: (row) => serviceCell(row, NAME_LENGTH, label) },
      {
        key: "waits",
        name: "Waits for",
        hint: "share of time, at most, that this service waits for the neighbour",
        cell: (row) => waitLink(row.waits, pairHref(service, row.id)),
      },
      {
        key: "makes_wait",
        name: "Waits for it",
        hint: "share of time, at most, that the neighbour waits for this service",
        cell: (row) => waitLink(row.makes_wait, pairHref(row.id, service)),
      },
      {
        key: "gpus",
        name: "GPUs",
        hint: "shared by the two",
        value: (row) => row.gpus.length,
        cell: (row) => h("span", { title: row.gpus.join(", ") }, row.gpus.length),
      },
    ],
  });
};

/**
 * The other service of a call; one that has no page is named without a link.
 * @param {Call} call
 * @param {(id: string) => string} label
 */
const callCell = (call, label) => {
  const { id, colour, known, connection } = call;
  if (known) return serviceCell(call, NAME_LENGTH, label);
  const kind = connection === "virtual_node" ? "outside" : connection?.replaceAll("_", " ");
  return [
    serviceDot(colour),
    h("span", { title: id }, truncate(label(id), NAME_LENGTH)),
    kind ? h("small", { class: "muted" }, ` ${kind}`) : null,
  ];
};

/** @param {Call} call */
const callLatency = ({ p95, server_p95: serverP95 }) => {
  const difference = `${formatSeconds(serverP95)} as the callee sees it; the difference is the network and queues`;
  return h("span", { title: isNumber(serverP95) ? difference : null }, formatSeconds(p95));
};

const CALLERS = /** @type {const} */ ({
  name: "callers",
  heading: "Caller",
  param: "callers-table",
  empty: "Nobody is known to call it.",
});
const CALLEES = /** @type {const} */ ({
  name: "callees",
  heading: "Callee",
  param: "callees-table",
  empty: "It is not known to call anybody.",
});

/**
 * @param {ServiceData} data
 * @param {typeof CALLERS | typeof CALLEES} panel
 */
const drawCalls = (data, { name, heading, param, empty }) => {
  const calls = data[name];
  const label = shortLabels(calls.map(({ id }) => id));
  fillTable(name, empty, {
    id: param,
    label: name,
    param,
    rows: calls,
    by: "-rate",
    columns: [
      { key: "id", name: heading, text: true, cell: (row) => callCell(row, label) },
      { key: "rate", name: "Requests", cell: ({ rate }) => formatRate(rate) },
      { key: "failed", name: "Errors", cell: ({ failed }) => shareCell(failed, ERROR_RATE_LIMITS) },
      { key: "p95", name: "p95", hint: "as the caller sees it", cell: callLatency },
      { key: "attempts", name: "Retries", hint: "attempts per call beyond the first", cell: retriesCell },
    ],
  });
};

/** @param {Capacity} capacity */
const capacityText = ({ ready, wanted, pending, most }) => {
  const count = (/** @type {number | null} */ value) => formatValue(value, "count");
  const waiting = pending ? `, ${count(pending)} pending` : "";
  const limit = isNumber(most) ? `, ${count(most)} at most` : "";
  return `${count(ready)} ready of ${count(wanted)} wanted${waiting}${limit}`;
};

/** @param {ServiceData} data */
const drawReplicas = ({ inference, capacity, uneven }) => {
  for (const name of INFERENCE_PANELS) hidePanel(name, !inference);
  hidePanel("service-replicas", !capacity);
  if (!inference) return;
  const facts = [
    isNumber(uneven) && uneven >= UNEVEN_RATIO ? `the busiest has ${uneven.toFixed(1)} times the mean` : "",
    inference.silent ? `${inference.silent} tell nothing any more` : "",
    capacity ? capacityText(capacity) : "",
  ].filter(Boolean);
  fillTable("replicas", "None of its replicas tells anything now.", {
    id: "replicas-table",
    label: "Replicas",
    param: "replicas-table",
    rows: inference.replicas,
    by: "-requests",
    maxRows: MAX_REPLICAS,
    above: facts.length ? h("p", null, `${facts.join("; ")}.`) : null,
    columns: [
      {
        key: "instance",
        name: "Replica",
        text: true,
        cell: ({ instance }) => h("span", { title: instance }, truncate(instance, NAME_LENGTH)),
      },
      {
        key: "requests",
        name: "On it",
        hint: "requests running and waiting on it",
        cell: ({ requests }) => (isNumber(requests) ? requests.toFixed(0) : null),
      },
      {
        key: "finished",
        name: "Answers",
        hint: "requests it ends each second",
        cell: ({ finished }) => formatRate(finished),
      },
      {
        key: "seconds",
        name: "Takes",
        hint: "mean from arrival to the last token",
        cell: ({ seconds }) => formatSeconds(seconds),
      },
    ],
  });
};

/** @param {ServiceData} data */
const drawGpus = ({ on }) =>
  fillTable("service-gpus", UNKNOWN_GPUS, {
    id: "gpus-table",
    label: "GPUs",
    param: "gpus-table",
    rows: on,
    by: "-wait",
    maxRows: MAX_GPUS,
    columns: [
      {
        key: "gpu",
        name: "GPU",
        text: true,
        cell: ({ gpu, model, pool }) => link(gpuHref(gpu), gpu, [model, pool].filter(Boolean).join(", ")),
      },
      { key: "wait", name: "Waits", cell: ({ wait }) => shareCell(wait, WAIT_LIMITS) },
      { key: "busy", name: "Uses", cell: ({ busy }) => formatPercent(busy) },
      { key: "memory", name: "Memory", cell: ({ memory }) => (isNumber(memory) ? formatGibibytes(memory) : null) },
    ],
  });

/**
 * @param {ServiceData["incidents"][number]} incident
 * @param {number | null} now
 */
const incidentItem = (incident, now) => {
  const { severity, state, suspect, service, since, resolved } = incident;
  const when = resolved
    ? ["ended ", timeElement(resolved, now)]
    : ["since ", timeElement(since, now), ` (${formatDuration((now ?? since) - since)})`];
  return h(
    "li",
    { "data-severity": severity, class: state === "resolved" ? "over" : null },
    h(
      "p",
      { class: "warning-head" },
      incidentState(incident),
      " ",
      h("b", null, suspect.service && suspect.service !== service ? `${suspect.service} → ${service}` : service),
      h("span", { class: "muted" }, ` ${causeText(incident)}, `, when),
    ),
    h("p", null, clausesText(incident.summary_clauses)),
  );
};

/**
 * @param {ServiceData} data
 * @param {number | null} now
 */
const drawIncidents = ({ incidents }, now) =>
  fillPanel(
    "service-incidents",
    incidents.length > 0,
    "None in the last hour.",
    h(
      "ul",
      { class: "warnings" },
      incidents.map((incident) => incidentItem(incident, now)),
    ),
  );

/** @param {ServiceData} data */
const drawLinks = ({ service, promise, tier, action }) => {
  const traces = (/** @type {Record<string, string>} */ params, /** @type {string} */ text) =>
    link(pageHref("/traces", { service, ...params }), text);
  const source = promise?.learned ? "objective learned" : "objective configured";
  put(
    byId("service-links"),
    action ? actionStep(action) : null,
    h(
      "p",
      { class: "facts" },
      promise
        ? h("span", null, `${source}: p95 ${formatSeconds(promise.seconds)}, ${formatPercent(promise.failed)} failed`)
        : null,
      tier ? h("span", null, `tier ${tier}`) : null,
      traces({ order: "slowest" }, "slowest traces"),
      traces({ errors: "true" }, "failed traces"),
      traces({ order: "gpu_wait" }, "traces that waited for a GPU longest"),
    ),
  );
};

/**
 * A part of an address. One that cannot be decoded stays as it is: it is a name that no service has.
 * @param {string} text
 */
const decodePart = (text) => {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
};

/** The name of the service in the address. */
const addressedService = () => location.pathname.split("/").slice(2).map(decodePart).join("/");

/** Put a field for another service into the page: a name that is not known has this way out. */
const drawSwitcher = async () => {
  const box = byId("service-switch");
  if (!box) return;
  const input = h("input", {
    name: "service",
    type: "text",
    list: "services-known",
    placeholder: "another service",
    autocomplete: "off",
    spellcheck: "false",
  });
  const form = h(
    "form",
    { role: "search", "aria-label": "Show another service", class: "filters" },
    link(pageHref("/services"), "All services"),
    h("label", null, h("span", { class: "visually-hidden" }, "Another service"), input),
    h("datalist", { id: "services-known" }),
    h("button", { type: "submit" }, "Show"),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const name = input.value.trim();
    if (name) navigate(serviceHref(name));
  });
  box.replaceChildren(form);
  // Suggestions only: the field takes any name.
  const body = await fetchJson("/api/services").catch(() => null);
  const names = (body?.services ?? []).map((/** @type {{ service: string }} */ { service }) => service);
  byId("services-known")?.replaceChildren(...names.map((/** @type {string} */ value) => h("option", { value })));
};

/**
 * Put the service's name into the page's heading and into the PromQL of its charts.
 * @param {string} name
 */
const nameService = (name) => {
  const page = /** @type {HTMLElement | null} */ (document.querySelector('[data-page="service"]'));
  const heading = page?.querySelector("h1");
  if (!page || !heading || heading.textContent === name) return;
  heading.textContent = name;
  page.dataset.title = name;
  const slash = name.indexOf("/");
  const quoted = (/** @type {string} */ text) => JSON.stringify(text).slice(1, -1);
  for (const button of /** @type {NodeListOf<HTMLElement>} */ (page.querySelectorAll("[data-copy]"))) {
    button.dataset.form ||= button.dataset.copy ?? "";
    const query = button.dataset.form
      .replace("{name}", quoted(name.slice(slash + 1)))
      .replace("{namespace}", quoted(name.slice(0, Math.max(0, slash))));
    button.dataset.copy = query;
    button.title = query;
  }
};

/** @param {ServiceData} data */
const drawWithoutData = ({ error }) => {
  requireId("service-verdict").dataset.state = error ? "error" : "empty";
  for (const name of PANELS) {
    setPanel(name, error ? "error" : "empty", error ? `Cannot be read: ${error}` : "Nothing is known yet.");
  }
  put(byId("service-say"), error ? `Cannot be read: ${error}` : "Nothing is known yet of any service.");
};

/** @param {ServiceData} data */
const verdictState = ({ incidents, health }) => {
  const open = incidents.find(({ state }) => state !== "resolved");
  if (!open) return VERDICT_STATES[health];
  return open.severity;
};

/** @type {import("#web/assets/page.d.ts").Page} */
export const service = {
  mount: () => {
    nameService(addressedService());
    drawSwitcher();
  },
  update: (/** @type {ServiceData} */ data) => {
    if (!data.ready) {
      drawWithoutData(data);
      return;
    }
    nameService(data.service);
    requireId("service-verdict").dataset.state = verdictState(data);
    setText(requireId("service-say"), clausesText(data.summary_clauses));
    drawLinks(data);
    drawFigures(data);
    drawNeighbours(data);
    drawCalls(data, CALLERS);
    drawCalls(data, CALLEES);
    drawReplicas(data);
    drawGpus(data);
    drawIncidents(data, live.time);
  },
};

onNavigation(() => nameService(addressedService()));
