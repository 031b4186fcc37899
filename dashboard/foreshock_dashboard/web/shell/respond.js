// Responding to an incident: one key to acknowledge, and a dialog for everything else.
import { clauseText, timeElement } from "#web/assets/clock.js";
import { byId, closest, h, put } from "#web/assets/dom.js";
import { errorMessage, sendJson } from "#web/assets/fetch_json.js";
import { readPreference, storePreference } from "#web/assets/preferences.js";
import { hubTime, live } from "#web/assets/state.js";
import { mayRespond } from "#web/assets/timeline/response.js";
import { toast } from "#web/assets/widgets/toast.js";
import { CAUSES, FEEDBACK } from "#web/assets/words.js";
import { dialog, openDialog } from "#web/shell/dialogs.js";
import { currentUser } from "#web/shell/page_menu.js";

/** @typedef {import("#web/assets/payload.d.ts").Incident} Incident */
/** @typedef {import("#web/assets/payload.d.ts").IncidentResponse} IncidentResponse */

const NAME = "foreshock.name";
/** @type {readonly (readonly [duration: string, name: string])[]} */
const DURATIONS = [
  ["30m", "30 min"],
  ["1h", "1 h"],
  ["4h", "4 h"],
  ["12h", "12 h"],
  ["1d", "1 day"],
  ["7d", "7 days"],
];

/** Requests the page's values again. */
let refresh = () => {};

/**
 * An incident of the shown page.
 * @param {string} id
 * @returns {Incident | undefined}
 */
const incidentWith = (id) => {
  const { verdict, open_incidents = [], resolved = [], incidents = [] } = /** @type {any} */ (live.data ?? {});
  return [verdict?.situation?.incident, ...open_incidents, ...resolved, ...incidents].find((item) => item?.id === id);
};

/**
 * Send a response to an incident; the hub's answer, or null after saying why it refused.
 * @param {string} method
 * @param {string} path
 * @param {Record<string, unknown>} body
 */
const send = async (method, path, body) => {
  try {
    const by = live.user?.name ? {} : { by: readPreference(NAME) ?? "" };
    const answer = await sendJson(method, path, { ...by, ...body });
    refresh();
    return answer;
  } catch (error) {
    const problem = errorMessage(error, "The hub does not answer. Try again.");
    const line = byId("respond-problem");
    if (line?.closest("dialog[open]")) line.textContent = problem;
    else toast(problem);
    return null;
  }
};

/** @param {string} id of an incident */
const acknowledge = async (id) => {
  if (await send("POST", `/api/incidents/${encodeURIComponent(id)}/acknowledge`, {})) toast("Acknowledged.");
};

/** Acknowledge the first incident of the page that can be. */
export const acknowledgeFirst = () => {
  const button = document.querySelector("[data-acknowledge]");
  if (button instanceof HTMLElement) acknowledge(button.dataset.acknowledge ?? "");
};

/**
 * @param {string} name
 * @param {string} label
 * @param {Record<string, string | number>} [attributes]
 */
const textField = (name, label, attributes = {}) => h("label", null, label, h("input", { name, ...attributes }));

/**
 * @param {string} name
 * @param {string} label
 * @param {readonly (readonly [value: string, text: string])[]} options
 */
const choice = (name, label, options) =>
  h(
    "label",
    null,
    label,
    h(
      "select",
      { name },
      options.map(([value, text]) => h("option", { value }, text)),
    ),
  );

/**
 * @param {string} action the route, and for what
 * @param {string} button
 * @param {...import("#web/assets/dom.js").Content} fields
 */
const form = (action, button, ...fields) =>
  h("form", { "data-action": action }, fields, h("button", { class: "quiet" }, button));

/**
 * @param {Incident} incident
 * @param {IncidentResponse} response
 */
const forms = ({ service, suspect }, { acknowledged, silence }) => {
  /** @type {[string, string][]} */
  const targets = [
    ["incident", "this incident"],
    ["service", service],
  ];
  if (suspect.service && suspect.service !== service) targets.push(["pair", `${service} / ${suspect.service}`]);
  /** @type {[string, string][]} */
  const causes = [["", "unknown"], .../** @type {[string, string][]} */ (Object.entries(CAUSES))];
  return [
    live.user?.name ? null : textField("by", "Your name", { maxlength: 200, value: readPreference(NAME) ?? "" }),
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
      : form(
          "silence",
          "Silence",
          choice("target", "Incidents of", targets),
          choice("duration", "For", DURATIONS),
          textField("comment", "Comment", { maxlength: 500 }),
        ),
    h("h3", null, "Feedback on the suspected cause"),
    form(
      "feedback",
      "Send feedback",
      choice("verdict", "Verdict", /** @type {[string, string][]} */ (Object.entries(FEEDBACK))),
      choice("cause", "Real cause class", causes),
      h("label", null, "Real cause", h("input", { name: "service", list: "respond-services", maxlength: 200 })),
      h(
        "datalist",
        { id: "respond-services" },
        (live.topology?.services ?? []).map(({ id }) => h("option", { value: id })),
      ),
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
        h("li", null, timeElement(at, now), h("span", null, text.map(clauseText), by ? ` by ${by}` : "")),
      ),
    ),
    h("p", { id: "respond-problem", class: "critical", role: "alert" }),
    isReadOnly || !mayRespond() ? null : forms(incident, response),
    isReadOnly ? h("p", { class: "muted" }, "Past times are read-only: go back to live to respond.") : null,
    isReadOnly || mayRespond()
      ? null
      : h("p", { class: "muted" }, "You can read this incident. Responding needs the role responder."),
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
  const { target, ...body } = Object.fromEntries(Object.entries(fields).filter(([, text]) => text.trim()));
  if (action.startsWith("end ")) return ["DELETE", `/api/silences/${action.slice(4)}`, {}];
  if (action === "acknowledge") return ["POST", `${path}/acknowledge`, {}];
  if (action === "withdraw") return ["POST", `${path}/acknowledge`, { acknowledged: false }];
  if (action === "me") return ["POST", `${path}/assign`, {}];
  if (action !== "silence" || target === "incident") return ["POST", `${path}/${action}`, body];
  return ["POST", "/api/silences", { ...body, service, ...(target === "pair" && { noisy_neighbor: suspect.service }) }];
};

/** @param {SubmitEvent} event */
const onSubmit = async (event) => {
  const { target } = event;
  const box = target instanceof HTMLFormElement ? target.closest("#respond") : null;
  if (!(box instanceof HTMLDialogElement) || !(target instanceof HTMLFormElement) || !target.dataset.action) return;
  event.preventDefault();
  const name = box.querySelector('[name="by"]');
  if (name instanceof HTMLInputElement) storePreference(NAME, name.value.trim());
  const incident = incidentWith(box.dataset.incident ?? "");
  if (!incident) return;
  const fields = /** @type {Record<string, string>} */ (Object.fromEntries(new FormData(target)));
  if (await send(...requestOf(target.dataset.action, fields, incident))) {
    target.reset();
    box.close();
    toast("Saved.");
  }
};

/** @param {() => void} refreshPage requests the page's values again */
export const startRespond = async (refreshPage) => {
  refresh = refreshPage;
  document.addEventListener("click", (event) => {
    const acknowledged = closest(event, "[data-acknowledge]");
    if (acknowledged) acknowledge(acknowledged.dataset.acknowledge ?? "");
    const opened = closest(event, "[data-respond]");
    if (opened) open(opened);
  });
  document.addEventListener("submit", onSubmit);
  live.user = await currentUser();
};
