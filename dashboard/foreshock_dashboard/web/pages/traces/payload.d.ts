// Traces, as the hub's JSON has them. Times are Unix seconds, offsets are seconds since the trace began.

export interface TraceRow {
  trace_id: string;
  start: number;
  service: string;
  operation: string;
  color: number;
  duration_seconds: number | null;
  /** Absent until it is read; null where no span is known to have run on a shared GPU. */
  gpu_wait_seconds?: number | null;
  /** Whether its first span was seen. */
  root: boolean;
  spans: number;
  errors: number;
  services: string[];
}

export interface TraceQuery {
  start: number;
  end: number;
  limit: number;
  order: "newest" | "slowest" | "gpu_wait";
  service?: string;
  operation?: string;
  attributes?: Record<string, string>;
  min_duration?: number;
  max_duration?: number;
  min_gpu_wait?: number;
  status?: "error" | "ok" | "unset";
}

export interface TraceList {
  time: number;
  traces: TraceRow[];
  query: TraceQuery;
  candidates?: { limit_reached: boolean; examined: number };
  note?: string | null;
}

/** The time of a span on its GPUs. */
export interface SpanGpu {
  gpus: string[];
  by: Record<string, number>;
  waited_seconds: number;
  own_seconds: number;
  idle_seconds: number;
  unshared_seconds: number;
  resolution_seconds: number;
  upper_bound: boolean;
  quality: string;
  matched_by: string;
}

export interface Span {
  span_id: string;
  /** "" for a root. */
  parent_id: string;
  service: string;
  name: string;
  kind: string;
  status: string;
  status_message?: string;
  color: number;
  offset_seconds: number;
  duration_seconds: number;
  /** Whether it ended before it started by its own clock. */
  clamped?: boolean;
  gpu?: SpanGpu | null;
  /** Stretches on the critical path. */
  critical?: [offset: number, seconds: number][];
  /** Stretches that no span covers. */
  gaps?: [offset: number, seconds: number][];
  attributes: Record<string, unknown>;
  events: { name: string; offset_seconds: number | null; attributes: Record<string, unknown> }[];
  links: { trace_id: string; span_id: string }[];
  resource: Record<string, unknown>;
  scope: string;
  scope_version: string;
  scope_attributes?: Record<string, unknown>;
  scope_schema_url: string;
  flags: number | null;
  trace_state: string;
  dropped_attributes_count?: number;
  dropped_events_count?: number;
  dropped_links_count?: number;
}

/** A GPU of the trace, and the services on it over time. */
export interface GpuLane {
  gpu: string;
  /** The service of the trace's spans on it. */
  own: string;
  by: Record<string, number>;
  quality: string;
  waited_seconds: number;
  own_seconds: number;
  idle_seconds: number;
  unshared_seconds: number;
  intervals: {
    service: string;
    color: number;
    share: number;
    quality: string;
    offset_seconds: number;
    duration_seconds: number;
  }[];
}

/** What one service spent on one activity. */
export interface TimePart {
  activity: "failed_calls" | "queue" | "work";
  service: string;
  color: number;
  seconds: number;
  /** Failed calls. */
  calls: number;
}

export interface Trace {
  trace_id: string;
  start: number;
  duration_seconds: number;
  /** Seconds from the first span's start to the last one's end. */
  extent_seconds: number;
  spans: Span[];
  total?: number;
  left_out?: number;
  note?: string | null;
  clock_note?: string | null;
  /** Start of the span that has the duration. */
  root_offset_seconds: number;
  critical_seconds?: Record<string, number>;
  /** They add up to the duration. */
  parts: TimePart[];
  gpu_wait_seconds: number | null;
  sentence?: string | null;
  lanes?: GpuLane[];
  lanes_error?: string | null;
  lanes_note?: string | null;
  /** Whether its last GPU samples have arrived. */
  lanes_settled?: boolean;
  lanes_left_out?: number;
}
