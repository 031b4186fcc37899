// How the modules of the page are laid out, and what they may import.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { basename } from "node:path";
import { test } from "node:test";

const WEB = "dashboard/foreshock_dashboard/web";
const IMPORT = /^(?:import|export) [^;]*?from "([^"]+)";$/gm;
/** A page's script is imported when the page is shown. */
const PAGE_IMPORT = /await import\("([^"]+)"\)/g;
const files = /** @type {string[]} */ (readdirSync(WEB, { recursive: true })).filter((path) => path.endsWith(".js"));
const modules = files.filter((path) => basename(path) !== "theme.js");
/** @type {Map<string, string[]>} */
const imports = new Map(
  modules.map((path) => {
    const text = readFileSync(`${WEB}/${path}`, "utf8");
    return [
      path,
      [...text.matchAll(IMPORT), ...text.matchAll(PAGE_IMPORT)].map(([, name = ""]) => name.replace("#web/", "")),
    ];
  }),
);
/** @param {string} path */
const room = (path) =>
  path
    .split("/")
    .slice(0, path.startsWith("pages/") ? 2 : 1)
    .join("/");

test("a module imports modules of the page by their path below web/", () => {
  for (const [path, names] of imports) {
    for (const name of names) assert.ok(modules.includes(name), `${path} imports ${name}`);
  }
});

test("assets import assets, a page its own folder and assets, the shell all", () => {
  for (const [path, names] of imports) {
    const allowed = room(path) === "shell" ? null : ["assets", room(path)];
    for (const name of names) assert.ok(!allowed || allowed.includes(room(name)), `${path} imports ${name}`);
  }
});

test("no module imports itself through others", () => {
  /** @type {Set<string>} */
  const done = new Set();
  const visit = (/** @type {string} */ path, /** @type {string[]} */ way) => {
    assert.ok(!way.includes(path), [...way, path].join(" → "));
    if (done.has(path)) return;
    for (const name of imports.get(path) ?? []) visit(name, [...way, path]);
    done.add(path);
  };
  for (const path of modules) visit(path, []);
});

test("every module is reached from the entry", () => {
  /** @type {Set<string>} */
  const reached = new Set();
  const visit = (/** @type {string} */ path) => {
    if (reached.has(path)) return;
    reached.add(path);
    for (const name of imports.get(path) ?? []) visit(name);
  };
  visit("shell/main.js");
  assert.deepEqual(
    modules.filter((path) => !reached.has(path)),
    [],
  );
});

test("names of files are unique: all are served from one folder", () => {
  assert.equal(new Set(files.map((path) => basename(path))).size, files.length);
});

test("lines have at most 120 characters", () => {
  const written = files.filter((name) => !["morphdom.js", "words.js"].includes(basename(name)));
  for (const path of written) {
    const long = readFileSync(`${WEB}/${path}`, "utf8")
      .split("\n")
      .find((line) => line.length > 120);
    assert.equal(long, undefined, path);
  }
});
