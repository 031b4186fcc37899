// The values of the pages of services, as the hub's JSON has them.
import type { Action, Clause, Health, Incident, LivePayload } from "#web/assets/payload.d.ts";

/** The SLO of a service: p95 latency and error rate at most. */
export interface Objective {
  seconds: number;
  failed: number;
  learned: boolean;
}

/** Rates are per second, shares are of time or requests; null where nothing is known. */
export interface ServiceValues {
  rate: number | null;
  failed: number | null;
  p95: number | null;
  promise: Objective | null;
  /** GPU time in which others hold its GPUs. */
  wait: number | null;
  /** GPUs that it is on. */
  gpus: number;
  load: number | null;
  /** The load up to which bursts do no harm. */
  safe: number | null;
  /** Chance of an SLO breach within ten minutes. */
  risk: number | null;
}

export interface ServiceRow extends ServiceValues {
  id: string;
  colour: number;
  health: Health;
  word: string;
  /** Share of the SLO that is used; above 1 it is missed. */
  used: number | null;
  spark: (number | null)[];
  busy: number | null;
  attempts: number | null;
}

export interface ServicesData extends LivePayload {
  services: ServiceRow[];
  hidden: number;
}

export interface Neighbour {
  id: string;
  colour: number;
  waits: number | null;
  makes_wait: number | null;
  gpus: string[];
}

export interface Call {
  id: string;
  colour: number;
  /** Whether the service has a page. */
  known: boolean;
  connection: string | null;
  rate: number | null;
  failed: number | null;
  p95: number | null;
  server_p95: number | null;
  attempts: number | null;
}

export interface Replica {
  instance: string;
  requests: number | null;
  finished: number | null;
  seconds: number | null;
}

export interface Capacity {
  ready: number | null;
  wanted: number | null;
  pending: number | null;
  most: number | null;
}

export interface ServiceData extends LivePayload, ServiceValues {
  service: string;
  health: Health;
  summary: string;
  summary_clauses: Clause[];
  action: Action | null;
  tier: string | null;
  /** Seconds until the SLO is missed; 0 while it is. */
  breach: number | null;
  neighbours: Neighbour[];
  callers: Call[];
  callees: Call[];
  inference: { replicas: Replica[]; silent: number } | null;
  capacity: Capacity | null;
  /** The busiest replica's load over the mean. */
  uneven: number | null;
  on: {
    gpu: string;
    model: string;
    pool: string;
    wait: number | null;
    busy: number | null;
    memory: number | null;
  }[];
  incidents: Incident[];
}
