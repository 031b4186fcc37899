// The npm packages of the tools: pinned, and the lock names no host.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

test("every package is pinned to one version", () => {
  const { devDependencies } = JSON.parse(readFileSync("package.json", "utf8"));
  for (const version of Object.values(devDependencies)) assert.match(version, /^\d+\.\d+\.\d+$/);
});

test("the lock file names versions and hashes, and no host", () => {
  const lock = readFileSync("package-lock.json", "utf8");
  assert.equal(lock.includes("://"), false, "run `npm run lock`");
  for (const [path, entry] of Object.entries(JSON.parse(lock).packages)) {
    if (path) assert.match(entry.integrity, /^sha512-/, path);
  }
});

test("the served morphdom is that of the pinned package", () => {
  const served = "dashboard/foreshock_dashboard/web/assets";
  const read = (/** @type {string} */ path) => readFileSync(path, "utf8");
  assert.equal(read(`${served}/morphdom.js`), read("node_modules/morphdom/dist/morphdom-esm.js"));
  assert.equal(read(`${served}/morphdom.LICENSE`), read("node_modules/morphdom/LICENSE"));
  assert.equal(
    JSON.parse(read("node_modules/morphdom/package.json")).version,
    JSON.parse(read("package.json")).devDependencies.morphdom,
  );
});
