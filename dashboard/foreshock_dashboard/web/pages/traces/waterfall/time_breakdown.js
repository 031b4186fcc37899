// What took the time of a trace: a sentence, and a bar of its parts.
import { link, pageHref } from "#web/assets/address.js";
import { h } from "#web/assets/dom.js";
import { filled, formatPercent, formatSeconds } from "#web/assets/format.js";
import { serviceColor } from "#web/assets/timeline/signs.js";
import { ACTIVITIES, TRACE_TEXTS } from "#web/assets/words.js";

/** @typedef {import("#web/pages/traces/payload.d.ts").TimePart} TimePart */
/** @typedef {import("#web/pages/traces/payload.d.ts").Trace} Trace */

const MIN_PART_RATIO = 0.02;

/**
 * What took most of a trace's time, and what is known of its GPU wait.
 * @param {Trace} trace
 */
export const traceSentence = (trace) => {
  const { sentence } = trace;
  const note = gpuNote(trace);
  return [
    sentence ? h("p", { class: "trace-sentence" }, sentence) : null,
    note ? h("p", { class: "note" }, note) : null,
  ];
};

/**
 * Why nothing is known of the GPU wait of a trace; null where it is known.
 * @param {Trace} trace
 */
const gpuNote = ({ lanes_error: error, lanes_note: note, lanes_settled: isSettled, lanes }) => {
  const unknown = (/** @type {string} */ reason) => filled(TRACE_TEXTS.wait_unknown, { reason });
  if (error) return unknown(error);
  if (isSettled === false) return TRACE_TEXTS.not_final;
  if (note) return [`${unknown(note)} `, link(pageHref("/status"), "Status")];
  return lanes?.length ? null : TRACE_TEXTS.no_shared_gpu;
};

/**
 * @param {TimePart} part
 * @param {(service: string) => string} label
 */
const partName = ({ activity, service }, label) =>
  activity === "work"
    ? label(service)
    : filled(TRACE_TEXTS.in_service, { activity: ACTIVITIES[activity], service: label(service) });

/**
 * The parts of a trace's duration as one bar; null without any.
 * @param {Trace} trace
 * @param {(service: string) => string} label
 */
export const breakdownBar = ({ parts, duration_seconds: duration }, label) => {
  const shown = parts.filter(({ seconds }) => seconds >= MIN_PART_RATIO * duration);
  if (!shown.length) return null;
  const text = (/** @type {TimePart} */ part) =>
    `${partName(part, label)} ${formatSeconds(part.seconds)} (${formatPercent(part.seconds / duration)})`;
  return h(
    "div",
    { class: "breakdown" },
    h(
      "div",
      {
        class: "breakdown-bar",
        role: "img",
        "aria-label": `Self time on the critical path: ${shown.map(text).join(", ")}`,
      },
      shown.map((part) =>
        h("span", {
          class: part.activity,
          style: `flex-grow:${part.seconds / duration};--ink:${serviceColor(part.color)}`,
          title: text(part),
        }),
      ),
    ),
    h(
      "p",
      { class: "legend" },
      h("span", null, "Self time on the critical path:"),
      shown.map((part) =>
        h(
          "span",
          null,
          h("span", { class: `swatch ${part.activity}`, style: `--ink:${serviceColor(part.color)}` }),
          text(part),
        ),
      ),
    ),
  );
};
