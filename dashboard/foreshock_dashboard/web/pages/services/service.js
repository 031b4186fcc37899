// The page of one service: its values, GPU neighbors, callers and dependencies, replicas, GPUs, and incidents.
import { gpuHref, link, onNavigation, pageHref, pairHref } from "#web/assets/address.js";
import { clausesText, timeElement } from "#web/assets/clock.js";
import { byId, h, put, requireId, setPanel, setPanelEmpty, setText } from "#web/assets/dom.js";
import {
  capitalized,
  formatGibibytes,
  formatLoad,
  formatPercent,
  formatRate,
  formatSeconds,
  formatValue,
  inWords,
  isNumber,
  localName,
  plural,
  serviceMatchers,
  truncate,
} from "#web/assets/format.js";
import { live } from "#web/assets/state.js";
import { actionCard } from "#web/assets/timeline/action_card.js";
import { changeList } from "#web/assets/timeline/changes.js";
import { causeText, courseOf, incidentState, outsideLinks } from "#web/assets/timeline/incident.js";
import { serviceDot } from "#web/assets/timeline/signs.js";
import { drawTable } from "#web/assets/widgets/table.js";
import { figure } from "#web/assets/widgets/widgets.js";
import { ABSENT, CONDITIONS, EMPTY, NOW_TEXTS, SERVICE_HINTS, STATES, TILE_TEXTS } from "#web/assets/words.js";
import {
  beyondClass,
  breachClass,
  breachInterval,
  breachText,
  ERROR_RATE_LIMITS,
  gpuWaitCell,
  probabilityText,
  retriesCell,
  serviceCell,
  shareCell,
  sloClass,
  sloText,
  waitClass,
} from "#web/pages/services/service_cells.js";

/** @typedef {import("#web/assets/dom.js").Content} Content */
/** @typedef {import("#web/pages/services/payload.d.ts").Call} Call */
/** @typedef {import("#web/pages/services/payload.d.ts").Capacity} Capacity */
/** @typedef {import("#web/pages/services/payload.d.ts").ServiceData} ServiceData */
/**
 * @template R
 * @typedef {import("#web/assets/widgets/table.js").TableSpec<R>} TableSpec
 */

/** The Cascade page has all actions. */
const MAX_ACTIONS = 2;
const MAX_REPLICAS = 60;
const MAX_GPUS = 40;
const NAME_LENGTH = 26;
const MIN_IMBALANCE = 1.05;
const VERDICT_STATES = {
  ok: "healthy",
  idle: "learning",
  unknown: "unknown",
  warning: "warning",
  critical: "critical",
};
const PANELS = [
  "neighbors",
  "callers",
  "dependencies",
  "replicas",
  "service-gpus",
  "service-incidents",
  "service-changes",
];
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
const drawFigures = (data) => {
  const { slo, rate, error_rate: errorRate, p95, wait, gpus, load, safe_load: safeLoad, gpu_list: gpuList } = data;
  const measured = gpuList.filter((row) => isNumber(row.wait)).length;
  const onGpus = measured < gpus ? `on ${measured} of ${plural(gpus, "GPU")}` : `on ${plural(gpus, "GPU")}`;
  put(
    byId("service-figures"),
    figure("p95", formatSeconds(p95), {
      note: slo ? `(SLO ${formatSeconds(slo.p95)})` : "",
      mark: sloClass(data, p95, slo?.p95),
      title: sloText(data),
    }),
    figure("Error rate", formatPercent(errorRate), {
      note: slo ? `(SLO ${formatPercent(slo.error_rate)})` : "",
      mark: sloClass(data, errorRate, slo?.error_rate),
      title: sloText(data),
    }),
    figure("SLO breach forecast", breachText(data), {
      note: breachInterval(data) ?? "",
      mark: breachClass(data),
      title: probabilityText(data),
    }),
    figure("Requests", formatRate(rate)),
    isNumber(load)
      ? figure("Load", formatLoad(load), {
          note: isNumber(safeLoad) ? `(safe limit ${formatPercent(safeLoad)})` : "",
          mark: beyondClass(load, safeLoad, load > 1),
          title: SERVICE_HINTS.load,
        })
      : null,
    gpus
      ? figure("GPU wait", formatPercent(wait), {
          note: data.shared_gpus ? onGpus : `(${ABSENT.shared_gpu})`,
          mark: waitClass(data.wait_status),
          title: SERVICE_HINTS.gpu_wait,
        })
      : null,
  );
};

/**
 * @param {number | null} ratio
 * @param {string} href
 */
const waitLink = (ratio, href) => (isNumber(ratio) ? link(href, formatPercent(ratio)) : null);

/** @param {ServiceData} data */
const drawNeighbors = ({ service, neighbors, gpus }) => {
  fillTable("neighbors", gpus ? EMPTY.neighbors : EMPTY.own_gpus, {
    id: "neighbors-table",
    label: "GPU neighbors",
    param: "neighbors-table",
    rows: neighbors,
    by: "-wait",
    columns: [
      {
        key: "id",
        name: "Neighbor",
        text: true,
        cell: (row) => [serviceDot(row.color), serviceCell(row, NAME_LENGTH)],
      },
      {
        key: "wait",
        name: "Wait on neighbor",
        hint: "share of time that this service waits on the neighbor (upper bound)",
        cell: (row) => waitLink(row.wait, pairHref(service, row.id)),
      },
      {
        key: "caused_wait",
        name: "Neighbor's wait",
        hint: "share of time that the neighbor waits on this service (upper bound)",
        cell: (row) =>
          isNumber(row.caused_wait) ? link(pairHref(row.id, service), formatPercent(row.caused_wait)) : null,
      },
      {
        key: "gpus",
        name: "Shared GPUs",
        value: (row) => row.gpus.length,
        cell: (row) => h("span", { title: row.gpus.join(", ") }, row.gpus.length),
      },
    ],
  });
};

/**
 * The other service of a call; one that has no page is named without a link.
 * @param {Call} call
 */
const callCell = (call) => {
  const { id, known, connection } = call;
  if (known) return serviceCell(call, NAME_LENGTH);
  const kind = connection === "virtual_node" ? "external" : connection?.replaceAll("_", " ");
  return [
    h("span", { title: id }, truncate(localName(id), NAME_LENGTH)),
    kind ? h("small", { class: "muted" }, ` ${kind}`) : null,
  ];
};

/** @param {Call} call */
const callLatency = ({ p95, server_p95: serverP95 }) => {
  const title = `p95 at the server ${formatSeconds(serverP95)}, difference: network and queues`;
  return h("span", { title: isNumber(serverP95) ? title : null }, formatSeconds(p95));
};

const CALLERS = /** @type {const} */ ({
  name: "callers",
  label: "Callers",
  heading: "Caller",
  param: "callers-table",
  empty: EMPTY.callers,
});
const DEPENDENCIES = /** @type {const} */ ({
  name: "dependencies",
  label: "Dependencies",
  heading: "Dependency",
  param: "dependencies-table",
  empty: EMPTY.dependencies,
});

/**
 * @param {ServiceData} data
 * @param {typeof CALLERS | typeof DEPENDENCIES} panel
 */
const drawCalls = (data, { name, label, heading, param, empty }) => {
  const calls = data[name];
  const { slo } = data;
  fillTable(name, empty, {
    id: param,
    label,
    param,
    rows: calls,
    by: "-rate",
    columns: [
      { key: "id", name: heading, text: true, cell: callCell },
      { key: "rate", name: "Requests", cell: ({ rate }) => formatRate(rate) },
      {
        key: "error_rate",
        name: "Error rate",
        cell: ({ error_rate: value }) =>
          name === "callers" && slo && isNumber(value)
            ? h("span", { class: sloClass(data, value, slo.error_rate) }, formatPercent(value))
            : shareCell(value, ERROR_RATE_LIMITS),
      },
      { key: "p95", name: "p95", hint: "at the caller", cell: callLatency },
      { key: "attempts", name: "Retries/call", hint: SERVICE_HINTS.retries, cell: retriesCell },
    ],
  });
};

/** @param {Capacity} capacity */
const capacityText = ({ ready, desired, pending, max }) => {
  const count = (/** @type {number | null} */ value) => formatValue(value, "count");
  const waiting = pending ? `, ${count(pending)} pending` : "";
  const limit = isNumber(max) ? `, max ${count(max)}` : "";
  return `${count(ready)} of ${count(desired)} ready${waiting}${limit}`;
};

/** @param {ServiceData} data */
const drawReplicas = ({ inference, capacity, imbalance }) => {
  for (const name of INFERENCE_PANELS) hidePanel(name, !inference);
  hidePanel("service-replicas", !capacity);
  if (!inference) return;
  const facts = [
    capacity ? capacityText(capacity) : "",
    isNumber(imbalance) && imbalance >= MIN_IMBALANCE ? `busiest at ${imbalance.toFixed(1)}x the mean load` : "",
    inference.stale ? `${plural(inference.stale, "replica")} without fresh data` : "",
  ].filter(Boolean);
  fillTable("replicas", EMPTY.replicas, {
    id: "replicas-table",
    label: "Replicas",
    param: "replicas-table",
    rows: inference.replicas,
    by: "-requests",
    maxRows: MAX_REPLICAS,
    above: facts.length ? h("p", null, facts.join(", ")) : null,
    columns: [
      {
        key: "instance",
        name: "Replica",
        text: true,
        cell: ({ instance }) => h("span", { title: instance }, truncate(instance, NAME_LENGTH)),
      },
      {
        key: "requests",
        name: "Requests in flight",
        hint: "running and waiting",
        cell: ({ requests }) => (isNumber(requests) ? requests.toFixed(0) : null),
      },
      {
        key: "seconds",
        name: "Latency",
        hint: "mean, arrival to last token",
        cell: ({ seconds }) => formatSeconds(seconds),
      },
    ],
  });
};

/** @param {ServiceData} data */
const drawGpus = ({ gpu_list: rows }) =>
  fillTable("service-gpus", EMPTY.own_gpus, {
    id: "gpus-table",
    label: "GPUs",
    param: "gpus-table",
    rows,
    by: "-wait",
    maxRows: MAX_GPUS,
    columns: [
      {
        key: "gpu",
        name: "GPU",
        text: true,
        cell: ({ gpu, model, pool }) => link(gpuHref(gpu), gpu, [model, pool].filter(Boolean).join(", ")),
      },
      { key: "wait", name: "GPU wait", cell: gpuWaitCell },
      { key: "busy", name: "Usage", cell: ({ busy }) => formatPercent(busy) },
      { key: "memory", name: "Memory", cell: ({ memory }) => (isNumber(memory) ? formatGibibytes(memory) : null) },
    ],
  });

/**
 * @param {ServiceData["incidents"][number]} incident
 * @param {number | null} now
 */
const incidentItem = (incident, now) => {
  const { severity, state, suspect, service, resolved } = incident;
  const when = resolved ? [`${capitalized(STATES.resolved)} `, timeElement(resolved, now)] : courseOf(incident, now);
  return h(
    "li",
    { "data-severity": severity, class: state === "resolved" ? "over" : null },
    h(
      "p",
      { class: "warning-head" },
      incidentState(incident),
      " ",
      h(
        "b",
        null,
        inWords(suspect.service && suspect.service !== service ? `${suspect.service} → ${service}` : service),
      ),
      h("span", { class: "muted" }, ` ${causeText(incident)}. `, when),
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
    EMPTY.incidents,
    h(
      "ul",
      { class: "incident-list" },
      incidents.map((incident) => incidentItem(incident, now)),
    ),
  );

/**
 * @param {ServiceData} data
 * @param {number | null} now
 */
const drawChanges = ({ changes, no_changes: none }, now) =>
  fillPanel("service-changes", changes.length > 0, `${none}.`, changeList(changes, now));

/** @param {ServiceData} data */
const drawLinks = (data) => {
  const { service, tier, actions, ownership, detail_clauses: detail } = data;
  const traces = (/** @type {Record<string, string>} */ params, /** @type {string} */ text) =>
    link(pageHref("/traces", { service, ...params }), text);
  put(
    byId("service-links"),
    detail.length ? h("p", null, clausesText(detail)) : null,
    data.far_cpus.map((text) => h("p", { class: "far-cpus" }, text)),
    actions.length
      ? actionCard(actions.slice(0, MAX_ACTIONS), data.is_latent ? NOW_TEXTS.reduce_risk : undefined, data.is_latent)
      : null,
    h(
      "p",
      { class: "facts" },
      data.slo ? h("span", { title: data.slo.learned ? TILE_TEXTS.learned_slo : null }, sloText(data)) : null,
      ownership?.owner ? h("span", null, `Owner: ${ownership.owner}`) : null,
      tier || ownership?.tier ? h("span", null, `Tier: ${tier || ownership?.tier}`) : null,
      ownership ? outsideLinks(ownership.links) : null,
      traces({ order: "slowest" }, "Slowest traces"),
      traces({ status: "error" }, "Traces with errors"),
      traces({ order: "gpu_wait" }, "Traces by GPU wait"),
      link(pageHref("/services"), "All services"),
    ),
  );
};

/**
 * A part of an address. One that cannot be decoded stays as it is: no service has that name.
 * @param {string} text
 */
const decodePart = (text) => {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
};

/** The service of the address. */
const addressedService = () => location.pathname.split("/").slice(2).map(decodePart).join("/");

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
  for (const button of /** @type {NodeListOf<HTMLElement>} */ (page.querySelectorAll("[data-copy]"))) {
    button.dataset.form ||= button.dataset.copy ?? "";
    const query = button.dataset.form.replace("{service}", () => serviceMatchers(name));
    button.dataset.copy = query;
    button.title = query;
  }
};

/** @param {ServiceData} data */
const drawWithoutData = ({ error }) => {
  requireId("service-verdict").dataset.state = error ? "error" : "empty";
  for (const name of PANELS) {
    setPanel(name, error ? "error" : "empty", error || EMPTY.first_evaluation);
  }
  put(byId("service-state"), error || EMPTY.first_evaluation);
};

/** @type {import("#web/assets/page.d.ts").Page} */
export const service = {
  mount: () => {
    nameService(addressedService());
  },
  update: (/** @type {ServiceData} */ data) => {
    if (!data.ready) {
      drawWithoutData(data);
      return;
    }
    nameService(data.service);
    requireId("service-verdict").dataset.state =
      data.word === CONDITIONS.recovering ? "recovering" : VERDICT_STATES[data.health];
    setText(requireId("service-state"), clausesText(data.summary_clauses));
    drawLinks(data);
    drawFigures(data);
    drawNeighbors(data);
    drawCalls(data, CALLERS);
    drawCalls(data, DEPENDENCIES);
    drawReplicas(data);
    drawGpus(data);
    drawIncidents(data, live.time);
    drawChanges(data, live.time);
  },
};

onNavigation(() => nameService(addressedService()));
