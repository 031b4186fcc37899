// The values of the Now page, as the hub's JSON has them.
import type { Clause, Health, Incident, LivePayload, Percentiles, Stage, Timeline } from "#web/assets/payload.d.ts";

export interface Evidence {
  /** "" for the affected service itself. */
  entity: string;
  signal: string;
  value: number;
  baseline: number | null;
  unit: string;
  since: number;
}

export interface NowIncident extends Incident {
  evidence: Evidence[];
  candidates: { service: string; score: number; why: string | null }[];
}

export interface NextHit {
  service: string | null;
  seconds: Percentiles;
  /** Services that miss their objective already. */
  missing: string[];
  objective: number | null;
}

export interface Verdict {
  state: string;
  clauses: Clause[];
  notes: Clause[][];
  since: number | null;
  incident: NowIncident | null;
  next: NextHit | null;
}

export interface Figure {
  name: string;
  value: number | null;
  unit: string;
  /** The number of which the value counts some. */
  of: number | null;
  usual: [low: number, high: number] | null;
  who: string | null;
  note: string | null;
  href: string;
  spark: (number | null)[];
}

export interface WaitCell {
  ratio: number | null;
  gpus: string[];
}

export interface Matrix {
  victims: string[];
  aggressors: string[];
  cells: (WaitCell | null)[][];
  /** Services that answer no requests. */
  jobs: string[];
  hidden: number;
}

export interface ServiceRow {
  id: string;
  health: Health;
  stage: Stage | null;
  word: string;
  rate: number | null;
  failed: number | null;
  p95: number | null;
  spark: (number | null)[];
}

export interface NowData extends LivePayload {
  verdict: Verdict;
  figures: Figure[];
  timeline: Timeline;
  matrix: Matrix;
  warnings: NowIncident[];
  over: NowIncident[];
  services: ServiceRow[];
  hidden: number;
  missing: string[];
  marked: number[];
  learning: { done: boolean };
  untold: string | null;
  gpus: { busy: string; contended: string };
  tenants: { busy: string; stalled: string };
}
