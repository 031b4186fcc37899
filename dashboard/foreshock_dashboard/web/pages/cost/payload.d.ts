// The values of the Cost page, as the hub's JSON has them.
import type { Clause, LivePayload } from "#web/assets/payload.d.ts";

/** GPU time of a service, namespace, owner, or pool, in GPU-hours. */
export interface CostRow {
  /** "" without one. */
  name: string;
  holding: "service" | "unallocated" | "unknown";
  pool: string;
  model: string;
  owner: string;
  /** Mean number at a time. */
  gpus: number | null;
  gpu_hours: number | null;
  known_ratio: number | null;
  busy_gpu_hours: number | null;
  waiting_gpu_hours: number | null;
  idle_gpu_hours: number | null;
  unused_gpu_hours: number | null;
  sm_active_ratio: number | null;
  energy_kwh: number | null;
  cost: number | null;
  idle_cost: number | null;
  waiting_cost: number | null;
  quality: "measured" | "sampled" | "inferred";
}

export interface Saving {
  service: string | null;
  pool: string;
  model: string;
  owner: string;
  gpus: number | null;
  seconds: number | null;
  gpu_hours_per_day: number | null;
  money_per_day: number | null;
  quality: "measured" | "sampled" | "inferred";
  text: string;
  clauses: Clause[];
  action: string;
  command: string | null;
}

export interface CostData extends LivePayload {
  state: string;
  reason: string;
  clauses?: Clause[];
  split?: string;
  notes?: string[];
  currency?: string;
  by?: string;
  range_hours?: number;
  total?: CostRow | null;
  unallocated?: CostRow | null;
  savings?: Saving[];
  rows?: CostRow[];
  hidden?: number;
}
