// Forms that change something at the hub, and what they send.
import { currentZone, zoneName } from "#web/assets/clock.js";
import { byId, h } from "#web/assets/dom.js";
import { errorMessage, sendJson } from "#web/assets/fetch_json.js";
import { readPreference, storePreference } from "#web/assets/preferences.js";
import { live } from "#web/assets/state.js";
import { toast } from "#web/assets/widgets/toast.js";
import { CONNECTION_TEXTS } from "#web/assets/words.js";

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
 * What the forms of a dialog do: true where it was done.
 * @typedef {(action: string, fields: Record<string, string>, box: HTMLDialogElement) => Promise<boolean>} Submit
 */
/** By the id of the dialog. @type {Map<string, Submit>} */
const submits = new Map();

/**
 * Send a change to the hub; its answer, or null after saying why it refused.
 * @param {string} method
 * @param {string} path
 * @param {Record<string, unknown>} body
 */
export const send = async (method, path, body) => {
  try {
    const by = live.user?.name ? {} : { by: readPreference(NAME) ?? "" };
    const answer = await sendJson(method, path, { ...by, ...body });
    if (answer.response && live.data?.responses) live.data.responses[answer.incident] = answer.response;
    refresh();
    return answer;
  } catch (error) {
    const problem = errorMessage(error, CONNECTION_TEXTS.try_again);
    const line = document.querySelector("dialog[open] .problem");
    if (line) line.textContent = problem;
    else toast(problem);
    return null;
  }
};

/** Where a dialog says why the hub refused. */
export const problemLine = () => h("p", { class: "critical problem", role: "alert" });

/**
 * @param {string} name
 * @param {string} label
 * @param {Record<string, string | number>} [attributes]
 */
export const textField = (name, label, attributes = {}) => h("label", null, label, h("input", { name, ...attributes }));

/** The name of the user of a hub without authentication. */
export const nameField = () =>
  live.user?.name ? null : textField("by", "Your name", { maxlength: 200, value: readPreference(NAME) ?? "" });

/**
 * A field that suggests the services of the page.
 * @param {string} name
 * @param {string} label
 * @param {Record<string, string>} [attributes]
 */
export const serviceField = (name, label, attributes = {}) => {
  const list = byId("known-services") ?? h("datalist", { id: "known-services" });
  list.replaceChildren(...(live.topology?.services ?? []).map(({ id }) => h("option", { value: id })));
  document.body.append(list);
  return textField(name, label, { list: list.id, maxlength: 200, ...attributes });
};

/**
 * @param {string} name
 * @param {string} label
 * @param {readonly (readonly [value: string, text: string])[]} options
 */
export const choice = (name, label, options) =>
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
 * A date and time in the shown zone.
 * @param {string} name
 * @param {string} label
 */
export const timeField = (name, label) => textField(name, `${label} (${zoneName()})`, { type: "datetime-local" });

/** How long a silence lasts, and why. */
export const periodFields = () => [
  choice("duration", "For", DURATIONS),
  timeField("end", "Or until"),
  textField("comment", "Comment", { maxlength: 500 }),
];

/**
 * @param {string} action the route, and for what
 * @param {string} button
 * @param {...import("#web/assets/dom.js").Content} fields
 */
export const form = (action, button, ...fields) =>
  h("form", { "data-action": action }, fields, h("button", { class: "quiet" }, button));

/**
 * A time of a field as the API takes it.
 * @param {string} text of the form 2026-11-25T14:00, in the shown zone
 */
const isoTime = (text) => new Date(currentZone() === "utc" ? `${text}Z` : text).toISOString();

/**
 * The filled-in fields as the API takes them; a time replaces a duration.
 * @param {Record<string, string>} fields
 * @returns {Record<string, string>}
 */
export const bodyOf = (fields) => {
  const filled = Object.fromEntries(Object.entries(fields).filter(([, text]) => text.trim()));
  for (const name of ["start", "end"]) if (filled[name]) filled[name] = isoTime(filled[name]);
  if (filled.end) delete filled.duration;
  return filled;
};

/**
 * Follow the forms of a dialog.
 * @param {string} id
 * @param {Submit} submit
 */
export const onForm = (id, submit) => {
  submits.set(id, submit);
};

/** @param {SubmitEvent} event */
const onSubmit = async ({ target }) => {
  if (!(target instanceof HTMLFormElement) || !target.dataset.action) return;
  const box = target.closest("dialog");
  const submit = box && submits.get(box.id);
  if (!box || !submit) return;
  const name = box.querySelector('[name="by"]');
  if (name instanceof HTMLInputElement) storePreference(NAME, name.value.trim());
  const fields = /** @type {Record<string, string>} */ (Object.fromEntries(new FormData(target)));
  if (await submit(target.dataset.action, fields, box)) target.reset();
};

/** @param {() => void} refreshPage requests the page's values again */
export const startForms = (refreshPage) => {
  refresh = refreshPage;
  document.addEventListener("submit", (event) => {
    if (event.target instanceof HTMLFormElement && event.target.dataset.action) event.preventDefault();
    onSubmit(event);
  });
};
