// The services that are affected or at risk; on a healthy platform those closest to their limits.
import { link, pageHref, serviceHref } from "#web/assets/address.js";
import { byId, h, headCells, put, requireId, scrollTable, setPanel, setPanelEmpty, setText } from "#web/assets/dom.js";
import {
  formatLoad,
  formatPercent,
  formatRate,
  formatSeconds,
  formatValue,
  isNumber,
  NOT_KNOWN,
} from "#web/assets/format.js";
import { healthState, stageState } from "#web/assets/timeline/signs.js";
import { sparkline } from "#web/assets/widgets/widgets.js";
import { EMPTY } from "#web/assets/words.js";

/** @typedef {import("#web/pages/now/payload.d.ts").NowData} NowData */
/** @typedef {import("#web/pages/now/payload.d.ts").Reading} Reading */
/** @typedef {import("#web/pages/now/payload.d.ts").ServiceRow} ServiceRow */

/** @type {Record<Reading["status"], string>} */
const VALUE_CLASSES = { critical: "bad", warning: "poor", ok: "", unknown: "" };

/** @param {ServiceRow} service */
const condition = ({ health, condition: kind, stage, word }) => {
  const isOver = kind === "recovering" && stage === "early_warning";
  if (stage && stage !== "healthy" && !isOver) return stageState(stage);
  return healthState(health, word);
};

/** @param {Reading | null} reading */
const closestCell = (reading) => {
  if (!reading) return h("td", null, NOT_KNOWN);
  const { metric, value, limit, unit, status, limit_kind } = reading;
  const format = (/** @type {number} */ shown) => (metric === "load" ? formatLoad(shown) : formatValue(shown, unit));
  return h(
    "td",
    null,
    `${metric} `,
    h("span", { class: VALUE_CLASSES[status] }, format(value)),
    h("span", { class: "muted" }, ` (${limit_kind} ${format(limit)})`),
  );
};

/** @param {ServiceRow} service */
const serviceRow = (service) => {
  const { id, health, stage, rate, error_rate, p95, spark, slo, closest } = service;
  const isBreached = stage === "breached";
  return h(
    "tr",
    { "data-health": isBreached ? "critical" : health },
    h("th", { scope: "row" }, link(serviceHref(id), id)),
    h("td", { class: "text-cell" }, condition(service)),
    h("td", null, formatRate(rate)),
    h("td", null, formatPercent(error_rate)),
    h("td", null, formatSeconds(p95), isNumber(slo) ? h("span", { class: "muted" }, ` / ${formatSeconds(slo)}`) : null),
    closestCell(closest),
    h(
      "td",
      { class: "minor" },
      sparkline(spark, { limit: slo, kind: isBreached ? "critical" : "", label: `p95 of ${id} over 15 minutes` }) ||
        NOT_KNOWN,
    ),
  );
};

/**
 * Draw the services.
 * @param {NowData} data
 */
export const drawServices = ({ services, hidden, verdict }) => {
  const title = verdict.closest.length ? "Services closest to their limits" : "Services";
  setText(requireId("services-title"), verdict.situation ? "Services, most affected first" : title);
  if (!services.length) {
    setPanelEmpty("services", EMPTY.services);
    return;
  }
  const head = [
    h("th", { scope: "col" }, "Service"),
    h("th", { scope: "col", class: "text-cell" }, "State"),
    ...headCells(["Request rate", "Error rate", "p95 / SLO", "Closest limit"]),
    h("th", { scope: "col", class: "minor" }, "p95, 15 min"),
  ];
  put(
    byId("services"),
    scrollTable("Services", { class: "services" }, head, services.map(serviceRow)),
    h("p", { class: "note" }, link(pageHref("/services"), hidden ? `All services: ${hidden} more` : "All services")),
  );
  setPanel("services", "ready");
};
