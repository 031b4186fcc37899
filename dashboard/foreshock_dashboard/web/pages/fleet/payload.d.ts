// The values of the Fleet page, as the hub's JSON has them.
import type { Clause, LivePayload } from "#web/assets/payload.d.ts";

/** What the grid can show. */
export type Metric = "busy" | "contended" | "memory" | "power" | "temperature" | "throttled" | "nvlink" | "errors";

export interface FleetIncident {
  id: string;
  phase: string;
  cause: string;
  victims: string[];
  /** The service that it is about. */
  of: string;
  gpus: number;
}

export interface OpenGpu {
  /** Its label; empty where no GPU has the name that the address asks for. */
  gpu: string;
  name: string;
  model: string;
  pool: string;
  uuid: string;
  figures: Record<Metric, number | null>;
  throttled_by: [reason: string, share: number][];
  memory_errors: { corrected: number | null; uncorrected: number | null };
  nvlinks: { up: number | null; all: number | null };
  sick: boolean | null;
  verdict: string;
  incidents: { id: string; phase: string; summary: Clause[] }[];
  pairs: { victim: string; aggressor: string; stalled: number }[];
  xids: { xid: number; means: string; times: number; last: number | null }[];
  services: {
    service: string;
    colour: number;
    busy: number | null;
    stalled: number | null;
    memory: number | null;
  }[];
}

export type InventoryRow = Record<Metric, number | null> & {
  gpu: string;
  pool: string;
  model: string;
  lost: boolean;
  services: string[];
};

export interface FleetData extends LivePayload {
  counts: {
    gpus: number;
    hosts: number;
    contended: number | null;
    throttled: number | null;
    errors: number | null;
    lost: number | null;
    silent: number;
  };
  incidents: FleetIncident[];
  metrics: { name: Metric; title: string; known: boolean }[];
  metric: Metric;
  unit: string;
  low: number;
  high: number;
  values: { bdata: string };
  contended: string | null;
  marked: number[];
  lost: number[];
  open: OpenGpu | null;
  /** GPUs that the filter lets through; `rows` are the first of them. */
  found: number;
  rows: InventoryRow[];
}
