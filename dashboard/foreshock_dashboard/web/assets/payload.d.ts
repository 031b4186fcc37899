// The hub's values that several pages show, as its JSON has them. Times are Unix seconds.
import type { Health, Stage } from "#web/assets/timeline/signs.js";
import type { CAUSES } from "#web/assets/words.js";

/** What the values of every page have in common. */
export interface LivePayload {
  seq: number;
  ready: boolean;
  error: string | null;
  simulated: boolean;
  data_time: number | null;
  /** The reach of the recording that is shown; null for a live hub. */
  bounds: [start: number, end: number] | null;
  /** Where there are several. */
  clusters?: string[];
  /** The id of the topology whose indices the values use. */
  topology: string;
  /** The most urgent open incident that affects services. */
  worst_incident?: {
    id: string;
    severity: Incident["severity"];
    state: Incident["state"];
    service: string;
    cause: string;
    /** Its key metric beside the limit; "" if unknown. */
    figure: string;
    /** The first recommended action while it fires; else "". */
    action: string;
    /** Unix seconds of the first anomaly. */
    since: number;
    /** Further open incidents that affect services. */
    others: number;
  };
  /** What people did about the incidents of the page, by id. */
  responses?: Record<string, IncidentResponse>;
  /** The known owners of the services of incidents. */
  owners?: Record<string, Ownership>;
  verdict?: { state?: string; title?: string };
}

export interface User {
  name: string;
  role: string;
}

/** A silence or maintenance window; all of `incident`, `service`, and `noisy_neighbor` are null for all incidents. */
export interface Silence {
  id: number;
  start: number | null;
  end: number | null;
  incident: string | null;
  service: string | null;
  noisy_neighbor: string | null;
  comment: string;
  maintenance: boolean;
  by: string;
}

export interface IncidentResponse {
  acknowledged: { by: string; at: number } | null;
  assignment: { assignee: string; by: string; at: number } | null;
  /** The silence that the incident is under now. */
  silence: { id: number; end: number; by: string; comment: string; maintenance: boolean } | null;
  /** Whether Alertmanager inhibits its alert. */
  inhibited: boolean;
  timeline: { at: number; kind: string; by: string; text: Clause[] }[];
}

export interface Ownership {
  owner: string;
  tier: string;
  /** URLs by name. */
  links: Record<string, string>;
}

/** A container with a GPU of whose service no process is seen on it. */
export interface Allocated {
  /** `namespace/name`. */
  pod: string;
  container: string;
  service: string | null;
}

export interface Topology {
  id: string;
  services: { id: string; color: number }[];
  hosts: { name: string; gpus: string[] }[];
  pools?: { names: string[]; of: number[] };
  /** Index of each tenant's GPU, less that of the tenant before, and index of its service. */
  tenants: [gpuStep: number, service: number][];
  map: ServiceMap;
}

export interface ServiceMap {
  nodes: { id: string; kind: string; color: number; column: number; row: number }[];
  edges: MapEdge[];
  /** Rows of each column. */
  heights: number[];
  hidden: number;
}

export interface MapEdge {
  client: string;
  server: string;
  back: boolean;
  /** Columns and rows that the edge passes. */
  points: [column: number, row: number][];
}

/** A service that is expected to breach its SLO. */
export interface AtRisk {
  service: string;
  /** "degraded", or "". */
  state: string;
  breach_seconds: Percentiles;
}

/** Seconds until an event: percentiles, null beyond the horizon. */
export interface Percentiles {
  p10: number;
  p20: number;
  p50: number | null;
  p80: number | null;
  p90: number | null;
}

/** A part of a text: words, or what they name. */
export interface Clause {
  text: string;
  kind: "" | "service" | "gpus" | "pair" | "evidence" | "time" | "minute" | "moment";
  services: string[];
  gpus: string[];
  at: number | null;
}

/** A recommended action. */
export interface Action {
  kind: string;
  text: string;
  clauses: Clause[];
  /** The next two in one. */
  expected: string | null;
  /** What it would change: `llm load 82% → 59% (safe limit 76%)`. */
  change: string | null;
  /** When it takes effect: `within 7 min, likely too late`. */
  when: string | null;
  effect: { signal: string; entity: string; now: number | null } | null;
  /** What it and the actions before it achieve in the end. */
  outcome: string | null;
  /** Whether it suffices alone; null if unknown. */
  enough: boolean | null;
  /** Why it is recommended. */
  why: string | null;
  /** Whether an SLO breach is forecast before it takes effect. */
  too_late: boolean;
  /** For a shell. */
  command: string | null;
  /** Ends a stopgap. */
  revert_command: string | null;
  /** What it changes besides. */
  side_effect: string | null;
  /** By its kind: how to take it without a command, what to know before the command, or how to revert it. */
  how: string | null;
  how_kind: "how" | "note" | "revert";
}

export type Cause = keyof typeof CAUSES;
export type Severity = "warning" | "critical";
export type IncidentState = "firing" | "recovering" | "resolved";
export type ConfidenceLevel = "low" | "medium" | "high";

/** The suspected cause, and where it acts; empty at low confidence. */
export interface Suspect {
  service: string | null;
  gpus: string[];
  pool: string | null;
  edge: string | null;
  host: string | null;
  text: string;
  clauses: Clause[];
  change: { at: number; text: string } | null;
}

export interface Incident {
  id: string;
  /** What causes the trouble since the suspected cause ended. */
  later: { service: string; clauses: Clause[] } | null;
  severity: Severity;
  state: IncidentState;
  stage: "healthy" | "early_warning" | "degraded" | "breached" | null;
  cascading: boolean;
  /** Null at low confidence. */
  cause: Cause | null;
  service: string;
  suspect: Suspect;
  affected: string[];
  since: number;
  opened: number;
  paged: number | null;
  /** Of which it paged. */
  paged_service: string | null;
  recovering_since: number | null;
  evidence_at: number | null;
  ranked_at: number | null;
  resolved: number | null;
  headline: string;
  summary: string;
  summary_clauses: Clause[];
  actions: Action[];
  confidence: number;
  confidence_level: ConfidenceLevel;
  quality: "measured" | "sampled" | "inferred";
}

export type LaneForecast = Percentiles;

export interface Lane {
  service: string;
  part: "suspect" | "affected" | "at_risk";
  /** The place among the affected services, from 1. */
  order: number;
  first: number;
  /** Unix seconds at which the recovery of a suspected cause began. */
  until: number | null;
  why: string | null;
  /** The metric that is furthest beyond its SLO, during a breach. */
  slo: string;
  sign: { text: string; value: number; baseline: number; unit: string } | null;
  forecast: LaneForecast | null;
  /** The state of the service at the last point; null where it is not known. */
  state: {
    health: "ok" | "warning" | "critical" | "idle" | "unknown";
    condition: string;
    word: string;
    stage: import("#web/assets/timeline/signs.js").Stage | null;
  } | null;
  /** Intervals of one stage, by index of the timeline's stages. */
  intervals: [start: number, end: number, stage: number][];
}

/** A change as a mark of a timeline; Unix seconds. */
export interface ChangeMark {
  at: number;
  service: string | null;
  text: string;
  details: string;
  link: string;
}

export interface Timeline {
  start: number;
  now: number;
  end: number;
  past?: boolean;
  stages: Stage[];
  lanes: Lane[];
  hidden: number;
  changes: ChangeMark[];
  /** When an incident warned or paged, or the last one began to recover, Unix seconds. */
  events: { at: number; kind: "warning" | "paged" | "recovering" }[];
}

export type { Health, Stage };
