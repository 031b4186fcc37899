// Silences and maintenance windows: the list of all, and the forms to create and end them.

import { timeElement } from "#web/assets/clock.js";
import { closest, h, put } from "#web/assets/dom.js";
import { fetchJson } from "#web/assets/fetch_json.js";
import { inWords } from "#web/assets/format.js";
import { hubTime, live } from "#web/assets/state.js";
import { mayRespond } from "#web/assets/timeline/response.js";
import { toast } from "#web/assets/widgets/toast.js";
import { CONNECTION_TEXTS, EMPTY, RESPONSE_TEXTS } from "#web/assets/words.js";
import { dialog, openDialog } from "#web/shell/dialogs.js";
import {
  bodyOf,
  form,
  nameField,
  onForm,
  periodFields,
  problemLine,
  send,
  serviceField,
  timeField,
} from "#web/shell/response_forms.js";

/** @typedef {import("#web/assets/payload.d.ts").Silence} Silence */

/** @param {Silence} silence */
const subject = ({ incident, service, noisy_neighbor: neighbor }) =>
  incident ?? (service ? inWords(`${service}${neighbor ? ` / ${neighbor}` : ""}`) : "All services");

/**
 * @param {Silence} silence
 * @param {number | null} now Unix seconds
 * @param {boolean} isActive whether it may be ended
 */
const silenceItem = (silence, now, isActive) => {
  const { id, start, end, comment, maintenance, by } = silence;
  const isFuture = start !== null && now !== null && start > now;
  return h(
    "li",
    null,
    h(
      "span",
      null,
      h("b", null, subject(silence)),
      maintenance ? ", maintenance " : ", silenced ",
      isFuture ? ["from ", timeElement(start, now), " "] : null,
      "until ",
      timeElement(end, now),
      by ? ` by ${by}` : "",
      comment ? ` (${comment})` : "",
    ),
    isActive && id ? form(`end ${id}`, "End") : null,
  );
};

const forms = () => [
  nameField(),
  h("h3", null, "Silence"),
  h("p", { class: "muted" }, RESPONSE_TEXTS.silence),
  form(
    "silences",
    "Silence",
    serviceField("service", "Service", { required: "" }),
    serviceField("noisy_neighbor", "Noisy neighbor (optional)"),
    periodFields(),
  ),
  h("h3", null, "Maintenance window"),
  form(
    "maintenance",
    "Plan maintenance",
    serviceField("service", "Service (empty: all)"),
    timeField("start", "Start (default: now)"),
    periodFields(),
  ),
];

/** Open the dialog. */
export const openSilences = async () => {
  const box = dialog("silences", "Silences and maintenance");
  const answer = await fetchJson("/api/silences").catch(() => null);
  /** @type {Silence[]} */
  const silences = answer?.silences ?? [];
  const now = hubTime();
  const isActive = mayRespond() && !live.data?.bounds;
  box.classList.add("respond");
  box.replaceChildren();
  put(
    box,
    h("h2", null, "Silences and maintenance"),
    silences.length
      ? h(
          "ul",
          { class: "silences" },
          silences.map((silence) => silenceItem(silence, now, isActive)),
        )
      : h("p", { class: "muted" }, answer ? EMPTY.silences : CONNECTION_TEXTS.no_response),
    problemLine(),
    isActive ? forms() : h("p", { class: "muted" }, RESPONSE_TEXTS.silencing),
    h("form", { method: "dialog" }, h("button", { class: "quiet" }, "Close")),
  );
  openDialog(box);
};

/**
 * Method, address and body of what a form does.
 * @param {string} action
 * @param {Record<string, string>} fields
 * @returns {[method: string, path: string, body: Record<string, unknown>]}
 */
export const silenceRequest = (action, fields) =>
  action.startsWith("end ")
    ? ["DELETE", `/api/silences/${action.slice("end ".length)}`, {}]
    : ["POST", `/api/${action}`, bodyOf(fields)];

/** Follow the button that opens the dialog. */
export const startSilences = () => {
  onForm("silences", async (action, fields) => {
    if (!(await send(...silenceRequest(action, fields)))) return false;
    toast(RESPONSE_TEXTS.saved);
    await openSilences();
    return true;
  });
  document.addEventListener("click", (event) => {
    if (closest(event, "#silences-open, [data-silences]")) openSilences();
  });
};
