// The values of the Contention page, as the hub's JSON has them. Shares and ratios are of time.
import type { Action, Clause, LivePayload } from "#web/assets/payload.d.ts";

/** Services by index; a ratio is null without data. */
export type WaitPair = [victim: number, aggressor: number, ratio: number | null, gpus: number, inWarning: boolean];

export interface Shares {
  useful: number | null;
  contended: number | null;
  idle: number | null;
}

export interface RankedGpu extends Shares {
  gpu: string;
  waiters: number;
  wait: number | null;
  services: { service: string; busy: number | null; stalled: number | null }[];
}

export interface PairIncident {
  id: string;
  phase: string;
  since: number;
  confidence: number;
  quality: string;
  action: Action | null;
}

export interface OpenPair {
  victim: string;
  aggressor: string;
  sentence: string;
  summary: Clause[];
  ratio: number | null;
  incident: PairIncident | null;
  gpus: { gpu: string; stalled: number | null; victim_busy: number | null; aggressor_busy: number | null }[];
}

export interface WaitingTrace {
  trace_id: string;
  start: number;
  service: string;
  operation: string;
  sentence: string;
  for_aggressor_seconds: number;
  gpu_seconds: number;
  duration_seconds: number | null;
}

export interface Tiers {
  tiers: string[];
  pools: string[];
  /** GPUs of a tier in a pool, and those of them that have another tier too; null where there are none. */
  cells: ([gpus: number, shared: number] | null)[][];
  mixed: number;
  configured: boolean;
}

export interface ContentionData extends LivePayload {
  headline: string;
  pair: OpenPair | null;
  services: [name: string, colour: number][];
  pairs: WaitPair[];
  /** Indices of services, those that wait or run most first. */
  victims: number[];
  aggressors: number[];
  /** Services that answer no requests. */
  jobs: number[];
  hidden: number;
  missing: string[];
  gpus: RankedGpu[];
  groups: { by: "pool" | "host"; rows: (Shares & { name: string; gpus: number })[] };
  tiers: Tiers;
}
