// The values of the Cascade page, as the hub's JSON has them.
import type { AtRisk, Clause, Incident, LivePayload, Percentiles, Stage, Timeline } from "#web/assets/payload.d.ts";
import type { Health } from "#web/assets/timeline/signs.js";
import type { CONDITIONS } from "#web/assets/words.js";

/** Rates are per second, times in seconds; null without data. */
export type EdgeValue = [
  client: string,
  server: string,
  rate: number | null,
  errorRate: number | null,
  p95: number | null,
  attempts: number | null,
];

export interface MapService {
  id: string;
  stage: Stage | null;
  health: Health;
  word: string;
  suspect: boolean;
  /** The place in the order of first anomaly, from 1; null where it was not affected. */
  order: number | null;
  condition: keyof typeof CONDITIONS;
  rate: number | null;
  p95: number | null;
  error_rate: number | null;
}

export interface PropagationStep {
  from: string;
  to: string;
  via: "gpu" | "load" | "call" | "forecast";
  /** The id of its incident. */
  incident: string;
}

export interface MapData {
  services: MapService[];
  edges: EdgeValue[];
  /** Share of time that one service waits on another, and the number of shared GPUs. */
  gpu_waits: [victim: string, aggressor: string, ratio: number, gpus: number][];
  propagation: PropagationStep[];
  /** Steps that are expected, the soonest first. */
  forecast_steps: PropagationStep[];
  at_risk: AtRisk[];
  selected: Incident[];
  /** The condition of the first one, and its suspected cause. */
  headline: Clause[];
  suspected: Clause[];
}

export interface Breach {
  service: string;
  probability: number | null;
  seconds: Percentiles;
}

export interface Signal {
  service: string;
  entity: string;
  signal: string;
  /** Why it matters. */
  meaning: string;
  /** Whether it changes before users notice. */
  leading: boolean;
  value: number;
  baseline: number;
  threshold: number;
  unit: string;
  since: number;
  /** When the value was, where it is not current. */
  at: number | null;
}

export interface CascadeData extends LivePayload, MapData {
  /** Of the last hour, with affected services. */
  incidents: Incident[];
  /** All open ones. */
  open_incidents: Incident[];
  /** The id in the address. */
  incident: string | null;
  learning: { done: boolean };
  /** Why nothing is known. */
  unknown_reason: string | null;
  timeline: Timeline;
  breaches: Breach[];
  signals: Signal[];
  /** Of the oldest anomaly, where its signal is no longer anomalous. */
  recovered_since: number | null;
  /** Services with known replicas or load, and the one that the charts show. */
  capacity_services: string[];
  capacity_service: string | null;
  /** GPUs of the pool of that service. */
  quota: { pool: string; used: number; limit: number } | null;
}
