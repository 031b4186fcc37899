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
  busy_gpu_hours: number | null;
  waiting_gpu_hours: number | null;
  idle_gpu_hours: number | null;
  unallocated_gpu_hours: number | null;
  unknown_gpu_hours: number | null;
  unused_gpu_hours: number | null;
  borrowed_gpu_hours: number | null;
  /** An upper bound; no part of gpu_hours. */
  gpu_wait_gpu_hours: number | null;
  sm_active_ratio: number | null;
  energy_kwh: number | null;
  /** Of what has a price, whose share is priced_ratio. */
  priced_ratio: number | null;
  cost: number | null;
  idle_cost: number | null;
  waiting_cost: number | null;
  unallocated_cost: number | null;
  quality: "measured" | "sampled" | "inferred";
}

/** GPUs of a service without any kernel. Per day: null before 24 h. */
export interface Unused {
  service: string | null;
  pool: string;
  model: string;
  owner: string;
  on: string[];
  gpus: number | null;
  seconds: number | null;
  gpu_hours: number | null;
  cost: number | null;
  gpu_hours_per_day: number | null;
  cost_per_day: number | null;
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
  idle?: string;
  notes?: string[];
  currency?: string;
  by?: string;
  covered?: string;
  total?: CostRow | null;
  unused?: Unused[];
  hidden_unused?: number;
  rows?: CostRow[];
  hidden?: number;
}
