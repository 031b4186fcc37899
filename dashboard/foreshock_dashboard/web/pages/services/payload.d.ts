// The values of the pages of services, as the hub's JSON has them.
import type {
  Action,
  ChangeMark,
  Clause,
  Health,
  Incident,
  LivePayload,
  Ownership,
  Percentiles,
  Stage,
} from "#web/assets/payload.d.ts";

/** The targets of a service: p95 latency in seconds and error rate. */
export interface Slo {
  p95: number;
  error_rate: number;
  /** From the baseline; else configured. */
  learned: boolean;
}

/** Rates are per second, shares are of time or requests; null where nothing is known. */
export interface ServiceValues {
  rate: number | null;
  error_rate: number | null;
  p95: number | null;
  slo: Slo | null;
  /** Share of time that it waits on others, mean over its shared GPUs, an upper bound; null if it shares none. */
  wait: number | null;
  /** Status of the open incident of GPU contention that affects it. */
  wait_status: "critical" | "warning" | "recovering" | null;
  /** GPUs that it is on, and those of them that it shares with others. */
  gpus: number;
  shared_gpus: number;
  load: number | null;
  safe_load: number | null;
  /** Within ten minutes. */
  breach_probability: number | null;
  /** Seconds until an expected SLO breach, 0 in one; null where none is expected. */
  breach_seconds: Percentiles | null;
}

export interface ServiceRow extends ServiceValues {
  /** The cause of its condition, or the service that it comes from; empty for none. */
  reason: string;
  id: string;
  health: Health;
  condition: string;
  stage: Stage | null;
  word: string;
  /** Of the worst open incident of this service; a recovering one is in its word. */
  incident_status: "critical" | "warning" | "recovering" | null;
  /** Whether it has or had requests. */
  serving: boolean;
  /** The suspected cause of an open incident. */
  suspected: boolean;
  /** Value over SLO target; above 1 in an SLO breach. */
  slo_usage: number | null;
  /** p95 of the last 30 minutes. */
  spark: (number | null)[];
  /** The same where there were enough requests to judge it. */
  judged: (number | null)[];
  busy: number | null;
  attempts: number | null;
}

export interface ServicesData extends LivePayload {
  /** All services in one sentence. */
  summary: string;
  services: ServiceRow[];
  hidden: number;
}

export interface Neighbor {
  id: string;
  color: number;
  /** Share of time that the service waits on it. */
  wait: number | null;
  /** Share of time that it waits on the service. */
  caused_wait: number | null;
  gpus: string[];
}

export interface Call {
  id: string;
  /** Whether the service has a page. */
  known: boolean;
  connection: string | null;
  rate: number | null;
  error_rate: number | null;
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
  desired: number | null;
  pending: number | null;
  max: number | null;
}

export interface ServiceData extends LivePayload, ServiceValues {
  /** Of the incident of the banner: the worst open one with a role for the service. */
  incident_status: "critical" | "warning" | "recovering" | null;
  /** Whether that one is a risk that affects no service yet. */
  is_latent: boolean;
  service: string;
  health: Health;
  condition: string;
  /** The state of the service in words. */
  word: string;
  stage: Stage | null;
  summary: string;
  summary_clauses: Clause[];
  /** Empty where there is nothing beyond the summary. */
  detail_clauses: Clause[];
  /** A sentence on CPUs on another NUMA node than the GPU, or none. */
  far_cpus: string[];
  actions: Action[];
  tier: string | null;
  ownership?: Ownership;
  neighbors: Neighbor[];
  callers: Call[];
  dependencies: Call[];
  inference: { replicas: Replica[]; stale: number } | null;
  capacity: Capacity | null;
  /** Load of the busiest replica over the mean. */
  imbalance: number | null;
  gpu_list: {
    gpu: string;
    model: string;
    pool: string;
    wait: number | null;
    busy: number | null;
    memory: number | null;
  }[];
  incidents: Incident[];
  changes: ChangeMark[];
  no_changes: string;
}
