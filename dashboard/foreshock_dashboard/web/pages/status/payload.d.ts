// The values of the Status page, as the hub's JSON has them.
import type { Clause, LivePayload } from "#web/assets/payload.d.ts";

export interface Signal {
  name: string;
  there: boolean;
  count: number;
  /** What the count counts. */
  of: string;
  /** What it gives, which is lost without it. */
  lost: string;
  remedy: string;
}

export interface Target {
  instance: string;
  job: string;
  silent: boolean;
  up: boolean | null;
  /** Seconds since the last scrape. */
  age: number | null;
  took: number | null;
  samples: number | null;
  error: string;
}

export interface Reads {
  metrics?: string;
  traces?: string;
  retention?: number | null;
  retention_size?: number | null;
  trace_retention?: number;
  otlp_http_port?: number;
  otlp_grpc_port?: number;
  /** How visitors are authenticated. */
  asks?: string[];
}

export interface StoreStatus {
  disk_bytes: number | null;
  series: number;
  spans: number;
  segments: number;
  segment_bytes: number;
  inbox_rows: number;
  oldest: number | null;
  dropped: number;
  corrupt: number;
  last_error: string;
}

export interface StatusData extends LivePayload {
  version: string;
  past: boolean;
  trust: { state: string; headline: string; clauses: Clause[]; doubts: string[] };
  /** Age of the newest values in seconds. */
  lag: number | null;
  /** Seconds between evaluations. */
  step: number | null;
  learning: { have: number; need: number; done: boolean };
  hub: {
    reads?: Reads;
    store?: StoreStatus;
    receiver?: {
      spans?: number;
      requests?: number;
      rejected?: Record<string, number>;
      refused?: Record<string, number>;
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
  /** Targets that are left out. */
  hidden: number;
  missing: string[];
}
