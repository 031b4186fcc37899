// Program of a service on Node.js: the same steps as ../service.py, with express, pg, and redis.
// Its environment says which service it is; see ../service.py.
"use strict";

const { createHash } = require("node:crypto");
const fs = require("node:fs");
const http = require("node:http");
const { performance } = require("node:perf_hooks");
const { setTimeout: sleep } = require("node:timers/promises");
const express = require("express");
const pg = require("pg");
const prometheus = require("prom-client");
const redis = require("redis");

const SIGMA = 0.3;
const RETRY_SECONDS = 0.05;
const SERVICE_PORT = 8080;

const env = process.env;
const spec = JSON.parse(fs.readFileSync(env.LAB_SPEC, "utf8"));

class CallError extends Error {}
class PoolTimeoutError extends Error {}

// --- what a fault changes, read again when the file changes

let behavior = {};
let modified = 0;

function behaviorOf(operation) {
  const stat = fs.statSync(env.LAB_CONTROL, { throwIfNoEntry: false });
  if (!stat) return {};
  if (stat.mtimeMs !== modified) {
    behavior = JSON.parse(fs.readFileSync(env.LAB_CONTROL, "utf8"));
    modified = stat.mtimeMs;
  }
  const names = behavior.operations ?? [];
  return names.length === 0 || names.includes(operation) ? behavior : {};
}

// --- stores

const uses = (steps, kind) => steps.some((step) => step.kind === kind || uses(step.steps ?? [], kind));
const steps = spec.operations.flatMap((operation) => operation.steps);
const timeoutMs = spec.timeout * 1000;
const pool = uses(steps, "query")
  ? new pg.Pool({
      connectionString: env.LAB_DSN,
      max: spec.pool_size,
      connectionTimeoutMillis: timeoutMs,
      query_timeout: timeoutMs,
    })
  : null;
const cache = uses(steps, "cache")
  ? redis.createClient({ url: env.LAB_CACHE_URL, disableOfflineQueue: true, socket: { connectTimeout: timeoutMs } })
  : null;
pool?.on("error", (error) => console.error(`pool: ${error.message}`));
cache?.on("error", (error) => console.error(`cache: ${error.message}`));

prometheus.collectDefaultMetrics();
let waitSeconds;
let timeouts;
if (pool) {
  const gauge = (name, help, labelNames, collect) => new prometheus.Gauge({ name, help, labelNames, collect });
  gauge("db_client_connections_usage", "Connections by state.", ["pool_name", "state"], function () {
    this.set({ pool_name: "postgres", state: "used" }, pool.totalCount - pool.idleCount);
    this.set({ pool_name: "postgres", state: "idle" }, pool.idleCount);
  });
  gauge("db_client_connections_pending_requests", "Requests that wait.", ["pool_name"], function () {
    this.set({ pool_name: "postgres" }, pool.waitingCount);
  });
  gauge("db_client_connections_max", "Limit of connections.", ["pool_name"]).set(
    { pool_name: "postgres" },
    spec.pool_size,
  );
  timeouts = new prometheus.Counter({
    name: "db_client_connections_timeouts_total",
    help: "Requests that got no connection in time.",
    labelNames: ["pool_name"],
  });
  waitSeconds = new prometheus.Histogram({
    name: "db_client_connections_wait_time_seconds",
    help: "Time until a connection was free.",
    labelNames: ["pool_name"],
    buckets: [0.001, 0.01, 0.1, 1, 10],
  });
}

async function withConnection(use) {
  const began = performance.now();
  let connection;
  try {
    connection = await pool.connect();
  } catch (error) {
    timeouts.inc({ pool_name: "postgres" });
    throw new PoolTimeoutError(error.message);
  } finally {
    waitSeconds.observe({ pool_name: "postgres" }, (performance.now() - began) / 1000);
  }
  try {
    return await use(connection);
  } finally {
    connection.release();
  }
}

// --- steps of a request

const kept = [];
const strikes = (ratio) => Math.random() < ratio;

function around(seconds) {
  const normal = Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
  return seconds * 1000 * Math.exp(SIGMA * normal - SIGMA ** 2 / 2);
}

function compute(seconds) {
  const block = Buffer.alloc(4096, "x");
  const before = process.cpuUsage();
  const used = () => {
    const { user, system } = process.cpuUsage(before);
    return (user + system) / 1e6;
  };
  while (used() < seconds) createHash("sha256").update(block).digest();
}

async function disturb(current) {
  if (current.leak_bytes) kept.push(Buffer.alloc(current.leak_bytes, "x"));
  if (current.fill_bytes) await fs.promises.appendFile(env.LAB_VOLUME, Buffer.alloc(current.fill_bytes, "x"));
  if (current.cpu_seconds) compute(current.cpu_seconds);
  if (current.delay_seconds && strikes(current.delay_ratio ?? 1)) await sleep(around(current.delay_seconds));
  if (current.hold_connection_seconds && pool) {
    await withConnection(() => sleep(around(current.hold_connection_seconds)));
  }
  if (strikes(current.exception_ratio ?? 0)) throw new Error(`unexpected state of ${spec.name}`);
}

async function run(list, request, current) {
  for (const step of list) await runStep(step, request, current);
}

async function runStep(step, request, current) {
  switch (step.kind) {
    case "compute":
      return compute(step.seconds);
    case "sleep":
      return sleep(around(step.seconds));
    case "query":
      return query(current.query_sql ?? step.sql, request, current);
    case "cache":
      return cached(step, request, current);
    case "parallel":
      return Promise.all(step.steps.map((item) => runStep(item, request, current)));
    default:
      return maybeCall(step, request, current);
  }
}

async function query(sql, request, current) {
  await withConnection(async (connection) => {
    for (let count = 0; count < (current.query_repeat ?? 1); count++) {
      await connection.query(sql, sql.includes("$1") ? [Number(request.item ?? 1)] : []);
    }
  });
}

async function cached(step, request, current) {
  const key = `${step.prefix}:${request.item ?? 1}`;
  if ((await cache.get(key)) !== null) return;
  await run(step.steps, request, current);
  await cache.set(key, "x".repeat(200), { EX: step.ttl });
}

async function maybeCall(step, request, current) {
  if (current.skip_calls?.includes(step.service) || !strikes(step.ratio)) return;
  try {
    await call(step, request, current);
  } catch (error) {
    if (step.required || !(error instanceof CallError)) throw error;
  }
}

async function call(step, request, current) {
  const url = `http://${step.service}:${SERVICE_PORT}/${step.operation}?${new URLSearchParams(request)}`;
  const timeout = 1000 * (current.timeout_seconds ?? spec.timeout);
  const attempts = 1 + (current.retries ?? spec.retries);
  let problem = "";
  for (let attempt = 0; attempt < attempts; attempt++) {
    if (attempt) await sleep(RETRY_SECONDS * attempt * 1000);
    try {
      const answer = await fetch(url, { signal: AbortSignal.timeout(timeout) });
      await answer.arrayBuffer();
      if (answer.status < 500) return;
      problem = `status ${answer.status}`;
    } catch (error) {
      problem = error.name;
    }
  }
  throw new CallError(`${step.service}: ${problem}`);
}

// --- servers

let free = spec.workers;
const waiting = [];

async function worker() {
  if (free > 0) free--;
  else await new Promise((resolve) => waiting.push(resolve));
}

function release() {
  const next = waiting.shift();
  if (next) next();
  else free++;
}

const app = express();
for (const operation of spec.operations) {
  app.all(`/${operation.name}`, async (request, response) => {
    const current = behaviorOf(operation.name);
    await worker();
    try {
      await disturb(current);
      await run(operation.steps, request.query, current);
    } catch (error) {
      if (error instanceof CallError) return response.status(502).send(error.message);
      if (error instanceof PoolTimeoutError) return response.status(503).send("no connection in time");
      throw error;
    } finally {
      release();
    }
    const failed = strikes(current.error_ratio ?? 0);
    response.status(failed ? 500 : 200).send(failed ? "injected" : "ok");
  });
}

async function main() {
  await cache?.connect();
  const metrics = http.createServer(async (_, response) => response.end(await prometheus.register.metrics()));
  metrics.listen(Number(env.LAB_METRICS_PORT), env.LAB_ADDRESS);
  app.listen(SERVICE_PORT, env.LAB_ADDRESS);
  process.on("SIGTERM", () => process.exit(0));
}

main();
