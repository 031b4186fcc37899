// The card of actions: rows, and commands that a shell reads as they are shown.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";
import { emptyMain } from "./document.js";

const { put } = await import("#web/assets/dom.js");
const { actionCard, commandLines } = await import("#web/assets/timeline/action_card.js");

const LIMIT =
  'kubectl -n product patch backendtrafficpolicy/assistant-feature --type=json --patch \'[{"op":"add","path":"/spec/rateLimit","value":{}}]\'';

test("a long command has a line per option with JSON and per command, which a shell reads as one", () => {
  const shown = commandLines(LIMIT);
  assert.deepEqual(
    shown.split("\n").map((line) => line.trim().split(" ")[0]),
    ["kubectl", "--patch"],
  );
  const words = (/** @type {string} */ command) =>
    execFileSync("sh", ["-c", `printf '%s|' ${command}`], { encoding: "utf8" });
  assert.equal(words(shown), words(LIMIT));
  const both = `${LIMIT} && kubectl get pods`;
  assert.equal(words(commandLines(both).replace(" &&\n", ";: ")), words(both.replace(" && ", ";: ")));
  assert.equal(commandLines("kubectl -n ml get pods"), "kubectl -n ml get pods");
  const saved = commandLines(`test -s a.1 || kubectl get x -o yaml > a.1 && ${LIMIT}`).split("\n");
  assert.deepEqual(saved.slice(0, 2), ["test -s a.1 ||", "kubectl get x -o yaml > a.1 &&"]);
});

test("what to know before a command stands above it, its rollback below, and each button says what it copies", () => {
  const main = emptyMain();
  const texts = {
    text: "Limit shop/front",
    clauses: [],
    effect: null,
    outcome: null,
    enough: null,
    how: "LiteLLM only",
    how_kind: "note",
  };
  put(main, actionCard(/** @type {any} */ ([{ ...texts, command: LIMIT, revert_command: "kubectl x" }])));
  assert.deepEqual(
    [...main.querySelectorAll("dt")].map((name) => name.textContent),
    ["Note", "Command", "Rollback"],
  );
  assert.deepEqual(
    [...main.querySelectorAll("button")].map((button) => button.getAttribute("aria-label")),
    ["Copy: Limit shop/front", "Copy rollback: Limit shop/front"],
  );
  for (const [kind, command, names] of /** @type {const} */ ([
    ["how", null, ["How"]],
    ["revert", LIMIT, ["Command", "Rollback"]], // what to do instead of a command
  ])) {
    put(main, actionCard(/** @type {any} */ ([{ ...texts, how_kind: kind, command, revert_command: null }])));
    assert.deepEqual(
      [...main.querySelectorAll("dt")].map((name) => name.textContent),
      names,
    );
  }
});

test("rows name the effect, the time to effect, and the side effect; the service of the headline is not repeated", () => {
  const action = {
    ...{ clauses: [{ text: "Rate-limit shop/front", kind: "" }], effect: {}, outcome: null, enough: true, why: null },
    ...{
      change: "shop/chat load 81% → 61% (safe limit 76%)",
      when: "within 1 min",
      side_effect: "About 38% get HTTP 429",
    },
    ...{ command: LIMIT, revert_command: null, how: "For Envoy Gateway", how_kind: "revert", too_late: false },
  };
  const rows = (/** @type {string} */ service) => {
    const main = emptyMain();
    put(main, actionCard(/** @type {any} */ ([action]), undefined, false, service));
    const texts = [...main.querySelectorAll("dt, dd")].map((part) => part.textContent?.replaceAll("\u00a0", " "));
    return texts.slice(0, 6);
  };
  const effect = "load 81% → 61% (safe limit 76%)";
  const rest = ["Takes effect", "within 1 min", "Side effect", "About 38% get HTTP 429."];
  assert.deepEqual(rows("shop/chat"), ["Effect", effect, ...rest]);
  assert.deepEqual(rows("shop/front"), ["Effect", `shop/chat ${effect}`, ...rest]);
});
