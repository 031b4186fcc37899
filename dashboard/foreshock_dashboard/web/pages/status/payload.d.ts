// The values of the Status page, as the hub's JSON has them.
import type { Clause, LivePayload } from "#web/assets/payload.d.ts";

export interface Signal {
  name: string;
  available: boolean;
  count: number;
  /** The kind of object that is counted. */
  kind: string;
  /** The features that need it. */
  features: string;
  /** The question that stays unanswerable without it. */
  unknown: string;
  remedy: string;
}

export interface Target {
  instance: string;
  job: string;
  stale: boolean;
  up: boolean | null;
  /** Seconds since the last scrape. */
  age: number | null;
  scrape_seconds: number | null;
  samples: number | null;
  error: string;
}

/** A model server that belongs to no service with requests. */
export interface Unjoined {
  server: string;
  job: string;
  model: string;
  /** The service that it is shown as. */
  service: string;
  remedy: string;
}

/** A receiver of notifications: an Alertmanager, or a channel. */
export interface Receiver {
  name: string;
  kind: string;
  waiting: number;
  /** Unix seconds. */
  last_success: number | null;
  sent: number;
  failed: number;
  dropped: number;
  error: string;
}

export interface Sources {
  metrics?: string;
  traces?: string;
  retention_metrics?: number | null;
  retention_size?: number | null;
  retention_traces?: number;
  otlp_http_port?: number;
  otlp_grpc_port?: number;
  /** Accepted authentication methods. */
  authentication?: string[];
}

export interface StoreStatus {
  disk_bytes: number | null;
  series: number;
  series_limit: number;
  spans: number;
  blocks: number;
  block_bytes: number;
  wal_rows: number;
  oldest: number | null;
  dropped_samples: number;
  dropped_spans: number;
  corrupt: number;
  last_error: string;
}

export interface AuditEvent {
  /** Unix seconds. */
  time: number;
  action: string;
  /** "" if unknown. */
  principal: string;
  method: string;
  role: string;
  address: string;
  request: string;
  /** Of HTTP. */
  status: number;
}

export interface StatusData extends LivePayload {
  version: string;
  past: boolean;
  health: { state: string; headline: string; clauses: Clause[]; problems: string[] };
  /** Age of the newest values in seconds. */
  data_age: number | null;
  /** Unix seconds at which the newest trace began; null without one in 5 min. */
  newest_trace: { age: number | null; note: string };
  /** Seconds between evaluations. */
  step: number | null;
  learning: { have: number; need: number; done: boolean };
  hub: {
    sources?: Sources;
    store?: StoreStatus;
    notifications?: { error: string; channels: Receiver[] };
    shared?: { place: string; leads: boolean; problem: string } | null;
    shard?: { part: string; clusters: string[] } | null;
    journal?: { durable: boolean; rows: Record<string, number> };
    memory?: { resident_bytes: number; limit_bytes: number; warning: string };
    receiver?: {
      requests?: number;
      accepted_spans?: number;
      /** By reason. */
      refused_spans?: Record<string, number>;
      refused_requests?: Record<string, number>;
    };
    spans?: {
      counts?: Record<string, number>;
      series?: number;
      series_limit?: number;
      warning?: string;
    };
  };
  signals: Signal[];
  targets: Target[];
  unjoined: Unjoined[];
  /** Null unless for an admin. */
  audit: AuditEvent[] | null;
  /** Targets that are left out. */
  hidden: number;
  missing: string[];
}
