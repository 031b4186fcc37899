// The values of the Now page, as the hub's JSON has them.
import type { AtRisk, Clause, Health, Incident, LivePayload, Stage, Timeline } from "#web/assets/payload.d.ts";

export interface Evidence {
  /** "" for the affected service itself. */
  entity: string;
  signal: string;
  /** Its name in the analysis; null for a figure of one detector. */
  metric: string | null;
  value: number;
  baseline: number | null;
  unit: string;
  since: number;
  /** The XID error that the figure counts; null for other figures. */
  xid: { text: string } | null;
}

export interface NowIncident extends Incident {
  evidence: Evidence[];
  at_risk: { service: string }[];
  candidates: { service: string; score: number; why: string | null }[];
}

/** A metric of a service beside its limit. */
export interface Reading {
  service: string;
  metric: "p95" | "error rate" | "load";
  value: number;
  limit: number;
  limit_kind: "SLO" | "safe limit";
  unit: "s" | "ratio";
  /** value / limit */
  usage: number;
  status: "critical" | "warning" | "ok" | "unknown";
}

export interface Situation {
  incident: NowIncident;
  /** The service of the headline and of the reading. */
  service: string;
  reading: Reading | null;
  /** The value of the headline beside its limit; "" for a forecast. */
  figure: string;
  /** Of the forecast in the headline; empty without one. */
  interval: string;
  /** Whether its SLO is learned. */
  learned: boolean;
  /** Severity and state. */
  badge: string;
  /** Of a recovery: whether the SLO was breached. */
  badge_note: string;
  /** How bad it is. */
  lead: Clause[];
  suspected: Clause[];
  /** Whether GPU contention is ruled out, where that is not the cause; else empty. */
  gpu_wait: Clause[];
  recovery_text: Clause[];
  /** What to do while it recovers. */
  action_text: Clause[];
  /** The reading of the incident's own service, if that is another one. */
  origin: Reading | null;
  origin_text: string;
  /** Of whichever service. */
  first_breach: { service: string; since: number } | null;
  /** Other services that breach their SLO: those that fail most requests first, then the furthest beyond it. */
  breached: { service: string; reading: Reading | null; fails: boolean; figure: string; limit: string }[];
  /** Those that do not breach it, but are degraded. */
  degraded: Situation["breached"];
  at_risk: AtRisk[];
  /** The text without services at risk. */
  none_at_risk: string;
  /** From half an hour before the first anomaly on, the newest first; the newest of `change_count`. */
  changes: Clause[][];
  change_count: number;
  /** Why no changes are listed. */
  no_changes: string;
  /** The most urgent other open incidents, and the number of those that are left out. */
  further: {
    id: string;
    status: "critical" | "warning" | "recovering";
    badge: string;
    clauses: Clause[];
    since: number;
  }[];
  more: number;
}

export interface Verdict {
  state: string;
  clauses: Clause[];
  /** The headline without values, of an incident. */
  title: string;
  /** The counts behind the headline, without an incident. */
  lead: string;
  /** The data on which a healthy verdict rests. */
  coverage: Clause[];
  notes: Clause[][];
  /** Latent ones, which affect no service yet. */
  risks: Clause[][];
  /** The first action against them. */
  remedy: Clause[];
  since: number | null;
  situation: Situation | null;
  closest: Reading[];
  facts: { label: string; clauses: Clause[] }[];
  resolved: NowIncident | null;
}

export interface Tile {
  name: string;
  value: number | null;
  unit: string;
  slo: {
    breached: number;
    degraded: number;
    at_risk: number;
    within: number;
    without: number;
    few: number;
    unknown: number;
    learned: number;
  } | null;
  who: string;
  href: string;
  limit: number | null;
  limit_kind: string;
  /** value / limit, of a limit; null for a baseline. */
  usage: number | null;
  status: Reading["status"];
  spark: (number | null)[];
  /** The largest value of the sparkline, of one with a limit. */
  peak: { service: string; at: number; value: number; limit: number } | null;
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
  /** GPUs with a wait as in the grid that no cell counts. */
  other_gpus: number;
}

export interface ServiceRow {
  id: string;
  health: Health;
  condition: string;
  stage: Stage | null;
  word: string;
  /** The suspected cause of an open incident. */
  suspected: boolean;
  rate: number | null;
  error_rate: number | null;
  p95: number | null;
  slo: number | null;
  learned: boolean;
  closest: Reading | null;
  /** Why a p95 above the SLO is no breach; "" for none. */
  note: string;
  /** When it breached its SLO during the incident, where it does not now. */
  past_breach: Clause[];
  spark: (number | null)[];
}

export interface NowData extends LivePayload {
  /** Seconds between evaluations. */
  step?: number;
  verdict: Verdict;
  /** Covered by the sparklines. */
  spark_seconds: number;
  tiles: Tile[];
  timeline: Timeline;
  matrix: Matrix | null;
  open_incidents: NowIncident[];
  resolved: NowIncident[];
  services: ServiceRow[];
  /** A p95 above the SLO that too few requests show to be a breach. */
  uncounted: { service: string; since: number; seconds: number; requests: number; needed: number }[];
  hidden: number;
  missing: string[];
  marked: number[];
  learning: { done: boolean };
  no_stages: string;
  gpus: { busy: string; gpu_wait: string };
  tenants: { busy: string; gpu_wait: string };
}
