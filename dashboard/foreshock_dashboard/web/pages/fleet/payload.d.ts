// The values of the Fleet page, as the hub's JSON has them.
import type { GpuFault } from "#web/assets/gpu_grid/grid_values.js";
import type { Allocated, Incident, LivePayload } from "#web/assets/payload.d.ts";
import type { IncidentStatus } from "#web/assets/timeline/incident.js";

/** What the grid can show. */
export type Metric = "busy" | "contended" | "memory" | "power" | "temperature" | "throttled" | "nvlink" | "errors";

export interface FleetIncident {
  /** The service that it is about. */
  service: string;
  /** Number of GPUs on which it acts. */
  gpus: number;
}

export interface OpenGpu {
  /** Its label; null where no GPU has the name in the address. */
  gpu: string | null;
  name: string;
  vendor: string | null;
  model: string;
  pool: string;
  uuid: string;
  values: Record<Metric, number | null>;
  throttled_by: [reason: string, share: number][];
  memory_errors: { corrected: number | null; uncorrected: number | null };
  /** Shares of SMs with work, of time in tensor operations, and of DRAM bandwidth. */
  activity: { sm: number | null; tensor: number | null; dram: number | null };
  /** Why busy is not used, or "". */
  idle_sms: string;
  nvlinks: { up: number | null; total: number | null };
  /** Whether the hardware has a fault; null where unknown. */
  faulty: boolean | null;
  health: string;
  incidents: Pick<Incident, "id" | "severity" | "state" | "affected" | "summary" | "summary_clauses">[];
  pairs: { victim: string; aggressor: string; wait: number }[];
  xids: { xid: number; description: string; events: number; last: number | null; services: string[] }[];
  services: {
    service: string;
    busy: number | null;
    wait: number | null;
    memory: number | null;
    /** Its MPS clients and their limits; null without one. */
    mps: { clients: number; sm_limit_ratio: number | null; memory_limit_bytes: number | null } | null;
  }[];
  /** time-slicing, mps, mig, concurrent, partitioned, or unknown; null without data. */
  sharing: string | null;
  mps: { state: "running" | "server_ended" | "control_daemon_gone" | "unknown"; text: string } | null;
  /** Services with CPUs on other NUMA nodes, a sentence each. */
  far_cpus: string[];
  allocated: Allocated[];
}

export type InventoryRow = Record<Metric, number | null> & {
  gpu: string;
  fault: GpuFault | null;
  pool: string | null;
  vendor: string | null;
  model: string | null;
  services: string[];
  allocated: string[];
};

export interface FleetData extends LivePayload {
  counts: {
    gpus: number;
    hosts: number;
    contended: number | null;
    throttled: number | null;
    errors: number | null;
    lost: number | null;
    no_data: number;
  };
  /** Those that affect services, the most urgent first. */
  incidents: FleetIncident[];
  /** Of the worst incident that acts on `incident_gpus`. */
  mark_status: IncidentStatus | null;
  metrics: { name: Metric; title: string; available: boolean }[];
  metric: Metric;
  unit: string;
  low: number;
  high: number;
  values: { bdata: string };
  incident_gpus: number[];
  faults: [gpu: number, fault: GpuFault][];
  open: OpenGpu | null;
  /** Number of GPUs that the filter selects; `rows` are the first of them. */
  matches: number;
  rows: InventoryRow[];
}
