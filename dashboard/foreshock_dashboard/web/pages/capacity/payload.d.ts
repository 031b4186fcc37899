// The values of the Capacity page, as the hub's JSON has them.
import type { Clause, LivePayload } from "#web/assets/payload.d.ts";

/** Needed replicas, those to add, and those of them that the pool cannot run. */
export interface Added {
  needed: number | null;
  added: number | null;
  short: number | null;
}

/** Replicas that a service needs to stay within its safe limit. */
export interface Need {
  /** At its peak. */
  peak: Added;
  /** At 1.3 times the peak. */
  more_traffic: Added;
  /** At the peak, also after the loss of the host with most of its replicas. */
  host_lost: Added;
  is_lower_bound: boolean;
}

/** A service on its pool, or a whole pool. Loads are shares of the hourly safe limit: 1 is the limit. */
export interface StripRow {
  /** null for a pool. */
  service: string | null;
  pool: string;
  kind: string;
  unit: string;
  now: number | null;
  peak: number | null;
  /** 80% interval. */
  peak_low: number | null;
  peak_high: number | null;
  peak_at: number | null;
  /** In `unit`. */
  safe: number | null;
  ready: number | null;
  /** Those that `safe` assumes: the most that the autoscaler may start and the pool has room for. */
  replicas_at_limit: number | null;
  /** Percent of the hourly safe limit; empty where that is unknown. */
  median: (number | null)[];
  upper: (number | null)[];
  /** Of the first shortage. */
  shortage_at: number | null;
  /** "recent" where load only exceeded the limit on the last days. */
  shortage_basis: "forecast" | "recent" | null;
  replicas: number | null;
  /** The autoscaler's maximum, if it is too low. */
  max_replicas: number | null;
  /** Further replicas for which the pool has free GPUs; free GPUs of a pool. */
  room: number | null;
  need: Need;
}

/** What fills up or runs out. */
export interface SlowBurn {
  kind: string;
  service: string | null;
  name: string;
  /** "ratio", "count", or "s" until the end. */
  unit: string;
  value: number | null;
  limit: number | null;
  /** Per second. */
  growth: number | null;
  at: number | null;
  clauses: Clause[];
}

/** The load of a service now, its safe limit (null where it is not learned), and its replicas. */
export interface CurrentRow {
  service: string;
  load: number | null;
  safe: number | null;
  /** What the safe limit rests on. */
  basis: "capacity" | "bursts" | "peak";
  /** As a share of the safe limit; negative above it. */
  headroom: number | null;
  status: "ok" | "warning" | "critical" | "unknown";
  /** Load of the last 30 minutes. */
  spark: (number | null)[];
  pool: string;
  ready: number | null;
  room: number | null;
  need: Need;
  /** Time that the measured peak covers. */
  peak_seconds: number | null;
  /** Why the limit is not learned; "" if it is. */
  unlearned: string;
}

export interface CapacityData extends LivePayload {
  state: string;
  clauses: Clause[];
  action?: Clause[];
  notes?: Clause[][];
  /** Unix seconds of the first hour of the strips. */
  start?: number | null;
  rows?: StripRow[];
  hidden?: number;
  slow_burns?: SlowBurn[];
  /** Without a forecast. */
  current?: CurrentRow[];
  /** Services without a model server. */
  unlimited?: string[];
  /** Time that the measured peaks cover. */
  peak_seconds?: number;
  /** These are all data. */
  is_since_start?: boolean;
  hosts?: string[];
  /** Services whose replicas may move to another of the pools. */
  movable?: { service: string; pool: string; ready: number }[];
  pools?: string[];
  /** Which what-if case the values are of; empty for the forecast. */
  case?: string;
}
