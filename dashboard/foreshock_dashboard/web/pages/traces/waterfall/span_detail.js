// The detail of one span.
import { link, serviceHref } from "#web/assets/address.js";
import { byId, h, put } from "#web/assets/dom.js";
import { formatSeconds, inWords, isNumber } from "#web/assets/format.js";
import { healthState, serviceDot } from "#web/assets/timeline/signs.js";
import { ABSENT, TRACE_TEXTS } from "#web/assets/words.js";
import { spanGpuFacts } from "#web/pages/traces/waterfall/gpu_lanes.js";

/** @typedef {import("#web/pages/traces/payload.d.ts").Span} Span */
/** @typedef {[name: string, value: unknown]} Fact */

const SAMPLED_FLAG = 1;

/** @param {unknown} value */
const valueText = (value) => (typeof value === "object" && value !== null ? JSON.stringify(value) : String(value));

/**
 * A list of facts; null where there are none.
 * @param {string} title
 * @param {readonly Fact[]} facts
 */
const factList = (title, facts) => {
  const known = facts.filter(([, value]) => value !== "" && value !== null && value !== undefined);
  if (!known.length) return null;
  const items = known.map(([name, value]) => h("div", null, h("dt", null, name), h("dd", null, valueText(value))));
  return h("div", null, h("h3", null, title), h("dl", null, items));
};

/** @param {Span} span */
const droppedFacts = (span) =>
  /** @type {Fact[]} */ ([
    ["dropped attributes", span.dropped_attributes_count],
    ["dropped events", span.dropped_events_count],
    ["dropped links", span.dropped_links_count],
  ]).filter(([, count]) => count);

/** @param {number | null} flags */
const flagsText = (flags) => {
  if (!isNumber(flags)) return "";
  return `0x${flags.toString(16).padStart(2, "0")}${flags & SAMPLED_FLAG ? " (sampled)" : ""}`;
};

/**
 * @param {Span} span
 * @returns {Fact[]}
 */
const eventFacts = ({ events }) =>
  events.flatMap(({ name, offset_seconds: offset, attributes }) => [
    /** @type {Fact} */ ([name, offset === null ? ABSENT.timestamp : `at ${formatSeconds(offset)}`]),
    ...Object.entries(attributes),
  ]);

/**
 * @param {Span} span
 * @returns {Fact[]}
 */
const scopeFacts = (span) => [
  ["scope", span.scope],
  ["version", span.scope_version],
  ...Object.entries(span.scope_attributes ?? {}),
  ["schema", span.scope_schema_url],
  ["flags", flagsText(span.flags)],
  ["trace state", span.trace_state],
  ["parent", span.parent_id],
];

/** @param {Span} span */
const statusContent = ({ status, status_message: message }) =>
  status === "error" ? healthState("critical", `error${message ? `: ${message}` : ""}`) : `status ${status}`;

/**
 * Draw a span's detail, or nothing.
 * @param {Span | undefined} span
 */
export const drawSpanDetail = (span) => {
  const box = byId("span-detail");
  if (!span) {
    put(box);
    return;
  }
  put(
    box,
    h("h3", null, serviceDot(span.color), `${inWords(span.service)} ${span.name}`),
    h(
      "p",
      { class: "facts" },
      h("span", null, h("b", null, formatSeconds(span.duration_seconds))),
      h("span", null, `at ${formatSeconds(span.offset_seconds)}`),
      h("span", null, span.kind),
      h("span", null, statusContent(span)),
      h("span", { class: "muted" }, `span ${span.span_id}`),
      link(serviceHref(span.service), "Service page"),
      span.clamped ? h("span", null, TRACE_TEXTS.clamped) : null,
    ),
    h(
      "div",
      { class: "detail-columns" },
      span.gpu ? factList("GPU", spanGpuFacts(span.gpu)) : null,
      factList("Attributes", [...Object.entries(span.attributes), ...droppedFacts(span)]),
      factList("Events", eventFacts(span)),
      factList(
        "Links",
        span.links.map(({ trace_id: trace, span_id: id }) => [trace, id]),
      ),
      factList("Resource", Object.entries(span.resource)),
      factList("Scope and flags", scopeFacts(span)),
    ),
  );
};
