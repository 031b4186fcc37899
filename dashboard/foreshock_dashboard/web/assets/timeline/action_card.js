// The recommended actions of an incident: what each changes, what else it does, when it takes effect, and its commands.
import { clausesText } from "#web/assets/clock.js";
import { fact, h, unbrokenWords } from "#web/assets/dom.js";
import { inWords, unbroken } from "#web/assets/format.js";
import { live } from "#web/assets/state.js";
import * as timeRange from "#web/assets/widgets/time_range.js";
import { ACTION_TEXTS } from "#web/assets/words.js";

/** @typedef {import("#web/assets/dom.js").Content} Content */
/** @typedef {import("#web/assets/payload.d.ts").Action} Action */

const NARROW = matchMedia("(max-width: 600px)");
/** Characters of a command that fit on one line, as in `action_card.css`. */
const MAX_LINE_LENGTH = 112;

/**
 * A command as shown: a long one continues on a line per command and before its patch, so that no JSON breaks. A phone
 * breaks all lines.
 * @param {string} command
 */
export const commandLines = (command) =>
  NARROW.matches || command.length <= MAX_LINE_LENGTH
    ? command
    : command.replaceAll(/ (&&|\|\|) /g, " $1\n").replaceAll(/ (?=--(?:patch|json) )/g, " \\\n  ");

/**
 * A command with the button that copies it, in one line.
 * @param {string} name
 * @param {string} command
 * @param {string} copy what the button says
 * @param {string} text of the action, in the name of the button: a page has several
 */
const commandFact = (name, command, copy, text) =>
  fact(
    name,
    h(
      "div",
      { class: "command" },
      h(
        "code",
        { title: ACTION_TEXTS.names, ...(NARROW.matches ? { tabindex: "0" } : {}) }, // scrolls, also by keys
        unbrokenWords(commandLines(command)),
      ),
      h(
        "button",
        { type: "button", class: "quiet", title: command, "aria-label": `${copy}: ${text}`, "data-copy": command },
        copy,
      ),
    ),
  );

/**
 * @param {Content} summary
 * @param {...Content} content
 */
const unfolds = (summary, ...content) => h("details", null, h("summary", null, summary), content);

/**
 * Facts below their name, which unfold on a phone: it has no room for them.
 * @param {string} name
 * @param {Content} row
 */
const folded = (name, row) => {
  const list = h("dl", { class: "facts" }, row);
  return NARROW.matches ? unfolds(name, list) : list;
};

/**
 * What an action changes, as rows; a service that the headline names already is not named again.
 * @param {Action} action
 * @param {string} service of the headline
 * @param {Content} [more] after the effect
 */
const effectRows = ({ change, when, side_effect }, service, more = null) => {
  const named = change?.startsWith(`${inWords(service)} `) ? change.slice(inWords(service).length + 1) : change;
  return h(
    "dl",
    { class: "facts effects" },
    named ? fact(ACTION_TEXTS.effect, unbroken(named), more) : null,
    when ? fact(ACTION_TEXTS.when, h("span", null, unbroken(when)), named ? null : more) : null,
    side_effect ? fact(ACTION_TEXTS.side_effect, `${side_effect}.`) : null,
  );
};

/**
 * How to take an action, or what to know before its command is copied, and the command with its rollback.
 * @param {Action} action
 */
const commandRows = ({ text, command, revert_command: revert, how, how_kind: kind }) => {
  const noted = how ? fact(ACTION_TEXTS[kind], `${how}.`) : null;
  const list = (/** @type {Content} */ row) => (row ? h("dl", { class: "facts" }, row) : null);
  if (!command) return list(noted);
  const label = ACTION_TEXTS.revert;
  const rollback = revert ? commandFact(label, revert, ACTION_TEXTS.copy_revert, text) : noted;
  return [
    revert ? list(noted) : null,
    h(
      "div",
      { class: "commands" },
      list(commandFact(ACTION_TEXTS.command, command, ACTION_TEXTS.copy, text)),
      rollback ? folded(label, rollback) : null,
    ),
  ];
};

/** Why commands are not to be run, where what is shown does not happen now; else null. */
const caution = () => {
  const { simulated, bounds } = live.data ?? {};
  if (!simulated && !bounds && timeRange.isLive()) return null;
  return h("p", { class: "caution" }, simulated ? ACTION_TEXTS.simulated : ACTION_TEXTS.replay);
};

/**
 * An action. On a phone, all but the first unfold, so that the services next at risk are in sight.
 * @param {readonly Action[]} actions
 * @param {number} i its place among them
 * @param {object} options
 * @param {string | null} options.joint what several steps achieve together
 * @param {number} options.steps place of the last action that is needed beside the first
 * @param {boolean} options.isOptional
 * @param {string} options.service of the headline
 */
const actionItem = (actions, i, { joint, steps, isOptional, service }) => {
  const [action, first] = [actions[i], actions[0]];
  if (!action || !first) return null;
  const isAlternative = i > steps && typeof first.enough === "boolean";
  const kind = { class: isAlternative || (!steps && typeof first.enough === "boolean") ? "alternative" : null };
  const title = [
    isAlternative ? h("span", { class: "muted" }, `${ACTION_TEXTS.alternative} `) : null,
    h("b", null, clausesText(action.clauses)),
  ];
  const followed = !i && !isOptional && action.enough === false && actions.length > 1;
  const next = followed
    ? [". ", actions[1]?.why ? `${actions[1].why}. ` : null, joint ? null : h("b", null, ACTION_TEXTS.next_step)]
    : null;
  const rows =
    isOptional && !action.effect
      ? h(
          "p",
          null,
          ACTION_TEXTS.no_effect + (actions.some(({ outcome }) => outcome) ? ` ${ACTION_TEXTS.both_steps}` : ""),
        )
      : effectRows(action, service, next);
  const outcome =
    action.outcome && action.outcome !== joint && !isAlternative
      ? h("p", { class: "outcome" }, unbroken(`${action.outcome}.`))
      : null;
  const commands = commandRows(action);
  if (NARROW.matches && i) {
    const takes = h("span", { class: "unbroken" }, ACTION_TEXTS.takes_effect);
    const when = action.when ? h("span", { class: "muted" }, ", ", takes, ` ${unbroken(action.when)}`) : null;
    return h("li", kind, unfolds([title, when], rows, outcome, commands));
  }
  return h(
    "li",
    kind,
    h("p", { class: "action-title" }, title),
    NARROW.matches && joint ? unfolds(ACTION_TEXTS.own_effect, rows) : rows,
    outcome,
    i && action.too_late && action.command ? unfolds(ACTION_TEXTS.commands, commands) : commands,
  );
};

/**
 * The recommended actions against an incident, in order of their time to effect, with their commands.
 * @param {readonly Action[]} actions
 * @param {string} [title]
 * @param {boolean} [isOptional] whether they reduce a risk of which nothing is affected yet
 * @param {string} [service] of the headline above the card
 */
export const actionCard = (
  actions,
  title = actions.length > 1 ? ACTION_TEXTS.several : ACTION_TEXTS.one,
  isOptional = false,
  service = "",
) => {
  const lastOutcome = actions.findLastIndex(({ outcome }) => outcome);
  const steps = actions[0]?.enough === false ? Math.max(1, lastOutcome) : 0;
  const hasSteps = steps > 0 || typeof actions[0]?.enough !== "boolean";
  const joint = isOptional || !hasSteps ? null : (actions.slice(1).find(({ outcome }) => outcome)?.outcome ?? null);
  return h(
    "div",
    { class: actions[0]?.enough === false ? "action steps" : "action" },
    h(
      "div",
      { class: "action-head" },
      h("h2", { class: "visually-hidden" }, title),
      actions.some(({ command }) => command) ? caution() : null,
    ),
    joint ? h("p", { class: "outcome" }, unbroken(`${joint}.`)) : null,
    actions.length
      ? h(
          "ol",
          null,
          actions.map((_, i) => actionItem(actions, i, { joint, steps, isOptional, service })),
        )
      : h("p", null, ACTION_TEXTS.none),
  );
};
