// The values of the Contention page, as the hub's JSON has them. Shares and ratios are of time; null without data.
import type {
  Action,
  Allocated,
  ChangeMark,
  Clause,
  ConfidenceLevel,
  IncidentState,
  LivePayload,
  Severity,
} from "#web/assets/payload.d.ts";

/** The part of a pair in an open incident; "reverse" is the pair in the other direction. */
export type PairRole = "critical" | "warning" | "recovering" | "reverse" | "";

/** Services by index. */
export type WaitPair = [victim: number, aggressor: number, ratio: number | null, gpus: number, role: PairRole];

/** The use of GPU time; busy is uncontended and contended. */
export interface GpuTime {
  uncontended: number | null;
  contended: number | null;
  idle: number | null;
}

export interface RankedGpu extends GpuTime {
  gpu: string;
  services: { service: string; busy: number | null; wait: number | null }[];
  allocated: Allocated[];
}

export interface PairIncident {
  id: string;
  severity: Severity;
  state: IncidentState;
  since: number;
  opened: number;
  paged: number | null;
  confidence: number;
  confidence_level: ConfidenceLevel;
  quality: string;
  suspicion_clauses: Clause[];
  actions: Action[];
}

export interface OpenPair {
  victim: string;
  aggressor: string;
  summary: string;
  summary_clauses: Clause[];
  ratio: number | null;
  incident: PairIncident | null;
  changes: ChangeMark[];
  no_changes: string;
  gpus: { gpu: string; wait: number | null; victim_busy: number | null; aggressor_busy: number | null }[];
}

export interface WaitingTrace {
  trace_id: string;
  start: number;
  service: string;
  operation: string;
  sentence: string;
  aggressor_wait_seconds: number;
  gpu_seconds: number;
  duration_seconds: number | null;
}

export interface Tiers {
  tiers: string[];
  pools: string[];
  /** GPUs of a tier in a pool, and those of them that have another tier too; null where there are none. */
  cells: ([gpus: number, shared: number] | null)[][];
  shared: number;
  configured: boolean;
}

/** A resource at whose limit a service lost time. */
export interface LimitRow {
  service: string;
  resource: "dram" | "pcie" | "nvlink" | "power" | "cpu" | "cpu_limit" | "storage" | "host_memory" | "steal";
  name: string;
  step: string;
  /** A GPU, or for CPUs a host. */
  place: string;
  saturated_ratio: number | null;
  wait_ratio: number;
  shared_with: string[];
}

export interface ContentionData extends LivePayload {
  headline_clauses: Clause[];
  /** What the headline's wait has to do with the open incident; empty without one. */
  detail_clauses: Clause[];
  pair: OpenPair | null;
  services: string[];
  pairs: WaitPair[];
  /** Indexes of services, the longest wait first. */
  victims: number[];
  aggressors: number[];
  /** Services without requests. */
  batch: number[];
  hidden: number;
  missing: string[];
  gpus: RankedGpu[];
  gpu_count: number;
  groups: { by: "pool" | "host"; rows: (GpuTime & { name: string; gpus: number })[] };
  tiers: Tiers;
  limits: { rows: LimitRow[]; hidden: number; error: string };
}
