// Responding to an incident: one key to acknowledge, and a dialog for everything else.

import { clauseTexts, timeElement } from "#web/assets/clock.js";
import { closest, h, put } from "#web/assets/dom.js";
import { inWords } from "#web/assets/format.js";
import { hubTime, live } from "#web/assets/state.js";
import { mayRespond } from "#web/assets/timeline/response.js";
import { toast } from "#web/assets/widgets/toast.js";
import { CAUSES, FEEDBACK, RESPONSE_TEXTS } from "#web/assets/words.js";
import { dialog, openDialog } from "#web/shell/dialogs.js";
import { currentUser } from "#web/shell/page_menu.js";
import {
  bodyOf,
  choice,
  form,
  nameField,
  onForm,
  periodFields,
  problemLine,
  send,
  serviceField,
  startForms,
  textField,
} from "#web/shell/response_forms.js";

/** @typedef {import("#web/assets/payload.d.ts").Incident} Incident */
/** @typedef {import("#web/assets/payload.d.ts").IncidentResponse} IncidentResponse */

/**
 * An incident of the shown page.
 * @param {string} id
 * @returns {Incident | undefined}
 */
const incidentWith = (id) => {
  const { verdict, open_incidents = [], resolved = [], incidents = [] } = /** @type {any} */ (live.data ?? {});
  return [verdict?.situation?.incident, ...open_incidents, ...resolved, ...incidents].find((item) => item?.id === id);
};

/** @param {string} id of an incident */
const acknowledge = async (id) => {
  if (await send("POST", `/api/incidents/${encodeURIComponent(id)}/acknowledge`, {}))
    toast(RESPONSE_TEXTS.acknowledged);
};

/** Acknowledge the first incident of the page that can be. */
export const acknowledgeFirst = () => {
  const button = document.querySelector("[data-acknowledge]");
  if (button instanceof HTMLElement) acknowledge(button.dataset.acknowledge ?? "");
};

/**
 * @param {Incident} incident
 * @param {IncidentResponse} response
 */
const forms = ({ service, suspect }, { acknowledged, silence }) => {
  /** @type {[string, string][]} */
  const targets = [
    ["incident", "this incident"],
    ["service", inWords(service)],
  ];
  if (suspect.service && suspect.service !== service)
    targets.push(["pair", inWords(`${service} / ${suspect.service}`)]);
  /** @type {[string, string][]} */
  const causes = [["", "unknown"], .../** @type {[string, string][]} */ (Object.entries(CAUSES))];
  return [
    nameField(),
    acknowledged ? form("withdraw", "Withdraw acknowledgment") : form("acknowledge", "Acknowledge"),
    h("h3", null, "Note"),
    form(
      "notes",
      "Add note",
      h("label", null, "Text", h("textarea", { name: "text", rows: 2, maxlength: 4000, required: true })),
    ),
    h("h3", null, "Assignment"),
    form("me", "Assign to me"),
    form("assign", "Assign", textField("assignee", "Person", { maxlength: 200, required: "" })),
    h("h3", null, "Silence"),
    silence?.id
      ? form(`end ${silence.id}`, "End silence")
      : form("silence", "Silence", choice("target", "Incidents of", targets), periodFields()),
    h(
      "p",
      null,
      h("button", { type: "button", class: "quiet", "data-silences": true }, "All silences and maintenance"),
    ),
    h("h3", null, "Feedback on the suspected cause"),
    form(
      "feedback",
      "Send feedback",
      choice("verdict", "Verdict", /** @type {[string, string][]} */ (Object.entries(FEEDBACK))),
      choice("cause", "Actual cause class", causes),
      serviceField("service", "Actual cause"),
    ),
  ];
};

/**
 * @param {Incident} incident
 * @param {IncidentResponse} response
 * @param {boolean} isReadOnly
 */
const drawDialog = (incident, response, isReadOnly) => {
  const box = dialog("respond", "Respond to an incident");
  box.classList.add("respond");
  const typed = box.dataset.incident === incident.id ? box.querySelector("textarea")?.value : ""; // Esc closed it
  box.dataset.incident = incident.id;
  const now = hubTime();
  box.replaceChildren();
  put(
    box,
    h("h2", null, incident.headline),
    h(
      "ol",
      { tabindex: 0, "aria-label": "Timeline of the incident" },
      response.timeline.map(({ at, by, text }) =>
        h("li", null, timeElement(at, now), h("span", null, clauseTexts(text), by ? ` by ${by}` : "")),
      ),
    ),
    problemLine(),
    isReadOnly || !mayRespond() ? null : forms(incident, response),
    isReadOnly ? h("p", { class: "muted" }, RESPONSE_TEXTS.read_only) : null,
    isReadOnly || mayRespond() ? null : h("p", { class: "muted" }, RESPONSE_TEXTS.needs_role),
    h("form", { method: "dialog" }, h("button", { class: "quiet" }, "Close")),
  );
  const note = box.querySelector("textarea");
  if (note) note.value = typed ?? "";
  openDialog(box);
};

/** @param {HTMLElement} button */
const open = (button) => {
  const id = button.dataset.respond ?? "";
  const incident = incidentWith(id);
  const response = live.data?.responses?.[id];
  if (incident && response) drawDialog(incident, response, button.hasAttribute("data-read-only"));
};

/**
 * Method, address and body of what a form of the dialog does.
 * @param {string} action
 * @param {Record<string, string>} fields
 * @param {Incident} incident
 * @returns {[method: string, path: string, body: Record<string, unknown>]}
 */
export const requestOf = (action, fields, { id, service, suspect }) => {
  const path = `/api/incidents/${encodeURIComponent(id)}`;
  const { target, ...body } = bodyOf(fields);
  if (action.startsWith("end ")) return ["DELETE", `/api/silences/${action.slice(4)}`, {}];
  if (action === "acknowledge") return ["POST", `${path}/acknowledge`, {}];
  if (action === "withdraw") return ["POST", `${path}/acknowledge`, { acknowledged: false }];
  if (action === "me") return ["POST", `${path}/assign`, {}];
  if (action !== "silence" || target === "incident") return ["POST", `${path}/${action}`, body];
  return ["POST", "/api/silences", { ...body, service, ...(target === "pair" && { noisy_neighbor: suspect.service }) }];
};

/**
 * @param {string} action
 * @param {Record<string, string>} fields
 * @param {HTMLDialogElement} box
 */
const submit = async (action, fields, box) => {
  const incident = incidentWith(box.dataset.incident ?? "");
  if (!incident || !(await send(...requestOf(action, fields, incident)))) return false;
  box.close();
  toast(RESPONSE_TEXTS.saved);
  return true;
};

/** @param {() => void} refreshPage requests the page's values again */
export const startRespond = async (refreshPage) => {
  startForms(refreshPage);
  onForm("respond", submit);
  document.addEventListener("click", (event) => {
    const acknowledged = closest(event, "[data-acknowledge]");
    if (acknowledged) acknowledge(acknowledged.dataset.acknowledge ?? "");
    const opened = closest(event, "[data-respond]");
    if (opened) open(opened);
  });
  live.user = await currentUser();
};
