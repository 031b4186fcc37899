// The services that are affected or at risk; on a healthy platform those closest to their limits.
import { link, pageHref, serviceHref } from "#web/assets/address.js";
import { byId, h, put, requireId, scrollTable, setPanel, setPanelEmpty, setText } from "#web/assets/dom.js";
import {
  formatApart,
  formatDuration,
  formatLoad,
  formatPercent,
  formatRate,
  formatSeconds,
  inWords,
  isNumber,
  NOT_KNOWN,
  unbroken,
} from "#web/assets/format.js";
import { linked } from "#web/assets/timeline/cause.js";
import { serviceState, stateOf, suspectTag } from "#web/assets/timeline/signs.js";
import { breakable, sparkline } from "#web/assets/widgets/widgets.js";
import { EMPTY, NOW_TEXTS, TILE_TEXTS } from "#web/assets/words.js";
import { shownRatio } from "#web/pages/now/tiles.js";

/** @typedef {import("#web/pages/now/payload.d.ts").NowData} NowData */
/** @typedef {import("#web/pages/now/payload.d.ts").Reading} Reading */
/** @typedef {import("#web/pages/now/payload.d.ts").ServiceRow} ServiceRow */

/** @type {Record<Reading["status"], string>} */
const VALUE_CLASSES = { critical: "bad", warning: "poor", ok: "", unknown: "" };

/**
 * The metric that uses most of its limit, with p95 below it where that is another one.
 * @param {ServiceRow} service
 */
const limitCell = ({ closest, p95, slo, learned }) => {
  const isP95 = !closest || closest.metric === "p95";
  const [p95Value, sloValue] = isNumber(p95) && isNumber(slo) ? formatApart(p95, slo, "s") : [formatSeconds(p95), null];
  const p95Text = unbroken(`p95 ${p95Value}${sloValue ? ` (SLO ${sloValue})` : ""}`);
  return h(
    "td",
    { class: "limit-cell", title: learned ? TILE_TEXTS.learned_slo : null },
    closest ? limitText(closest) : null,
    isP95 && closest ? null : h(closest ? "small" : "span", { class: "muted" }, isNumber(p95) ? p95Text : NOT_KNOWN),
  );
};

/**
 * @param {Reading} reading
 * @returns {[value: string, limit: string]}
 */
const valueAndLimit = ({ metric, value, limit, unit }) =>
  metric === "load" ? [formatLoad(value), formatLoad(limit)] : formatApart(value, limit, unit);

/** @param {Reading} reading */
const limitText = (reading) => {
  const [shown, reference] = valueAndLimit(reading);
  return [
    `${reading.metric} `,
    h("span", { class: VALUE_CLASSES[reading.status] }, unbroken(shown)),
    h("span", { class: "muted" }, unbroken(` (${reading.limit_kind} ${reference})`)),
  ];
};

/**
 * @param {ServiceRow} service
 * @param {string} range of the sparkline
 */
const serviceRow = (service, range) => {
  const { id, stage, rate, error_rate, spark, slo, note, past_breach } = service;
  const isBreached = stage === "breached";
  return h(
    "tr",
    { "data-health": isBreached ? "critical" : stateOf(service).state },
    h("th", { scope: "row" }, link(serviceHref(id), breakable(inWords(id)))),
    h(
      "td",
      { class: "text-cell" },
      serviceState(service),
      suspectTag(service),
      note && stage === "healthy" ? h("small", { class: "muted" }, note) : null,
      past_breach.length ? h("small", { class: "muted" }, linked(past_breach)) : null,
    ),
    h("td", { class: "minor" }, formatRate(rate)),
    h("td", { class: "minor" }, formatPercent(error_rate)),
    limitCell(service),
    h(
      "td",
      { class: "minor" },
      sparkline(spark, {
        limit: slo,
        kind: isBreached ? "critical" : "",
        label: `p95 of ${inWords(id)} over ${range}`,
      }) || NOT_KNOWN,
    ),
  );
};

/**
 * A service of a healthy platform: the share that its closest limit is used, by which the rows are sorted, and the two.
 * @param {ServiceRow} service
 * @param {string} range of the sparkline
 */
const closestRow = ({ id, rate, closest, slo, spark, note }, range) => {
  const [value, limit] = closest ? valueAndLimit(closest) : [];
  const ratio = closest ? shownRatio(closest) : null;
  return h(
    "tr",
    null,
    h(
      "th",
      { scope: "row" },
      link(serviceHref(id), breakable(inWords(id))),
      note ? h("small", { class: "muted" }, ` ${note}`) : null,
    ),
    h(
      "td",
      null,
      isNumber(ratio)
        ? [
            formatPercent(ratio),
            h("span", { class: "used" }, h("span", { style: `width:${Math.min(100, 100 * ratio).toFixed(1)}%` })),
          ]
        : NOT_KNOWN,
    ),
    h("td", { class: "limit-cell" }, closest ? unbroken(`${closest.metric} ${value}`) : NOT_KNOWN),
    h("td", { class: "muted" }, closest ? unbroken(`${closest.limit_kind} ${limit}`) : NOT_KNOWN),
    h("td", { class: "minor" }, formatRate(rate)),
    h(
      "td",
      { class: "minor" },
      sparkline(spark, { limit: slo, label: `p95 of ${inWords(id)} over ${range}` }) || NOT_KNOWN,
    ),
  );
};

/**
 * Whether a service has a state to show, as the page's payload counts it.
 * @param {ServiceRow} service
 */
const isAffected = ({ stage, health }) =>
  ["critical", "warning", "unknown"].includes(health) || (stage !== null && stage !== "healthy");

/**
 * Draw the services.
 * @param {NowData} data
 */
export const drawServices = ({ services, hidden, verdict, spark_seconds }) => {
  const range = formatDuration(spark_seconds);
  const title = verdict.closest.length ? NOW_TEXTS.closest : NOW_TEXTS.services;
  requireId("services-panel").classList.toggle("repeats", Boolean(verdict.situation)); // of the timeline, on a phone
  setText(requireId("services-title"), verdict.situation ? NOW_TEXTS.affected : title);
  if (!services.length) {
    setPanelEmpty("services", EMPTY.services);
    return;
  }
  const isCalm = verdict.state === "healthy" && verdict.closest.length > 0 && !services.some(isAffected);
  const minor = { class: "minor" };
  /** @type {[name: string, attributes: Record<string, string>][]} */
  const columns = isCalm
    ? [
        [NOW_TEXTS.share, {}],
        ["Value", {}],
        [NOW_TEXTS.limit, {}],
        ["Request rate", minor],
      ]
    : [
        ["State", { class: "text-cell" }],
        ["Request rate", minor],
        ["Error rate", minor],
        [NOW_TEXTS.tightest_limit, {}],
      ];
  const head = [["Service", {}], ...columns, [`p95, ${range}`, minor]].map(([name, attributes]) =>
    h("th", { scope: "col", .../** @type {object} */ (attributes) }, /** @type {string} */ (name)),
  );
  put(
    byId("services"),
    scrollTable(
      "Services",
      { class: isCalm ? "services calm" : "services" },
      head,
      services.map((service) => (isCalm ? closestRow : serviceRow)(service, range)),
    ),
    h(
      "p",
      { class: "note" },
      link(pageHref("/services"), `${NOW_TEXTS.all} ${services.length + hidden} ${NOW_TEXTS.all_services}`),
    ),
  );
  setPanel("services", "ready");
};
