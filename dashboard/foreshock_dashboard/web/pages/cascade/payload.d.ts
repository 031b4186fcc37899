// The values of the Cascade page, as the hub's JSON has them.
import type { Incident, LivePayload, Percentiles, Stage, Timeline } from "#web/assets/payload.d.ts";

/** Rates are per second, times in seconds; null where nothing is known. */
export type EdgeValue = [
  client: string,
  server: string,
  rate: number | null,
  failed: number | null,
  p95: number | null,
  attempts: number | null,
];

export interface MapService {
  id: string;
  stage: Stage | null;
  /** The place in the order of first hits, from 1; 0 or null where it was not hit. */
  order: number | null;
  word: string;
  rate: number | null;
  p95: number | null;
  failed: number | null;
}

export interface PropagationStep {
  from: string;
  to: string;
  via: "gpu" | "load" | "call";
}

export interface MapData {
  services: MapService[];
  edges: EdgeValue[];
  /** Which service waits for which on GPUs. */
  sharing: [victim: string, aggressor: string, ratio: number, gpus: number][];
  path: PropagationStep[];
  chosen: Incident[];
}

export interface Breach {
  service: string;
  colour: number;
  seconds: Percentiles;
}

export interface Signal {
  service: string;
  entity: string;
  colour: number;
  text: string;
  why: string;
  early: boolean;
  value: number;
  level: number;
  threshold: number;
  unit: string;
  since: number;
}

export interface CascadeData extends LivePayload, MapData {
  incidents: Incident[];
  /** The id that the address asks for. */
  wanted: string | null;
  learning: { done: boolean };
  /** Why nothing can be said. */
  untold: string | null;
  timeline: Timeline;
  breaches: Breach[];
  signs: Signal[];
  room: string[];
  focus: string | null;
}
