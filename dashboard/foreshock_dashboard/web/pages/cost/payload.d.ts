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

/** Idle GPUs of a service. */
export interface IdleGpus {
  service: string | null;
  pool: string;
  /** Mean number at a time. */
  gpus: number | null;
  /** Share of the GPU time of the service; of GPUs that are idle between kernels. */
  idle_ratio?: number;
  gpu_hours: number | null;
  cost: number | null;
  /** The part of the GPU time that the cost is of; of GPUs that are idle between kernels. */
  priced_ratio?: number | null;
  quality: "measured" | "sampled" | "inferred";
  action: string;
  owner?: string;
  on?: string[];
  /** Without any kernel. */
  seconds?: number | null;
  /** The seconds are all of the data. */
  at_least?: boolean;
  /** Per day: null before 24 h. */
  gpu_hours_per_day?: number | null;
  cost_per_day?: number | null;
  command?: string | null;
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
  unused?: IdleGpus[];
  hidden_unused?: number;
  /** The services with the most GPU time idle between kernels. */
  idle_rows?: IdleGpus[];
  rows?: CostRow[];
  hidden?: number;
}
