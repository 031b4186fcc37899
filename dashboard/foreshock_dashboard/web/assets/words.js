// The catalog of words. Generated from render/words by `make golden`: change it there.

export const SEVERITIES = /** @type {const} */ ({
  critical: "Critical",
  warning: "Early warning",
});

export const STATES = /** @type {const} */ ({
  firing: "firing",
  recovering: "recovering",
  resolved: "resolved",
});

export const CAUSES = /** @type {const} */ ({
  overload: "Overload",
  scale_up_lag: "Scale-up lag",
  gpu_contention: "GPU contention",
  retry_storm: "Retry storm",
  network: "Network",
  dependency: "Failing dependency",
  kv_cache_pressure: "KV cache pressure",
  load_imbalance: "Load imbalance",
  hardware: "Hardware fault",
  change: "Change",
});

export const LOCAL_CAUSES = /** @type {const} */ ({
  dependency: "Local fault",
});

export const CONFIDENCE_LEVELS = /** @type {const} */ ({
  low: "low confidence",
  medium: "medium confidence",
  high: "high confidence",
});

export const QUALITIES = /** @type {const} */ ({
  measured: "measured",
  sampled: "sampled data",
  inferred: "inferred",
});

export const FEEDBACK = /** @type {const} */ ({
  correct: "Correct cause",
  wrong_cause: "Wrong cause",
  not_useful: "Not useful",
});

export const HEALTHS = /** @type {const} */ ({
  ok: "Healthy",
  warning: "Warning",
  critical: "Critical",
  idle: "No requests seen",
  unknown: "No data",
});

export const STAGES = /** @type {const} */ ({
  healthy: "Healthy",
  early_warning: "Anomalous",
  degraded: "Degraded",
  breached: "SLO breach",
});

export const PAST_STAGES = /** @type {const} */ ({
  healthy: "",
  early_warning: "was anomalous",
  degraded: "was degraded",
  breached: "had breached SLO",
});

export const CONDITIONS = /** @type {const} */ ({
  healthy: "Healthy",
  affected: "Affected",
  recovering: "Recovering",
  at_risk: "At risk",
  suspected_cause: "Suspected cause",
  errors: "Errors",
  anomalous: "Anomalous",
  degraded: "Degraded",
  slo_breach: "SLO breach",
  low_traffic: "Low traffic",
  no_baseline: "No baseline yet",
  no_traffic: "No requests seen",
  no_data: "No data",
});

export const ROLES = /** @type {const} */ ({
  suspect: "suspected cause",
  affected: "affected",
  at_risk: "at risk",
});

export const RISKS = /** @type {const} */ ({
  latent: "Latent risk",
});

export const VERDICTS = /** @type {const} */ ({
  healthy: "Healthy",
  warning: "Warning",
  unknown: "Unknown",
  learning: "Learning",
  empty: "No data",
  error: "Error",
});

export const EMPTY = /** @type {const} */ ({
  services: "No services: the hub received no spans and sees no GPU process. Send spans or run foreshock-exporter.",
  requests: "No services with requests: the hub received no spans. Send OTLP spans to port 4317 (gRPC) or 4318 (HTTP).",
  gpus: "No GPUs: no target exports gpu_info.",
  own_gpus: "No GPUs found for this service.",
  neighbors: "No other service uses the GPUs of this service.",
  pairs: "No services share a GPU.",
  gpu_wait: "No data on GPU wait.",
  calls: "No calls: the hub received no client or server spans. Send OTLP spans to port 4317 (gRPC) or 4318 (HTTP).",
  callers: "No callers observed.",
  dependencies: "No calls to other services observed.",
  replicas: "No recent data for the replicas of this service.",
  incidents: "No incidents in the last hour.",
  timeline: "No anomalies in this time range.",
  signals: "No anomalous signals.",
  breaches: "No SLO breach forecast in the next 30 min.",
  first_evaluation: "No data yet.",
});

export const ACTION_TEXTS = /** @type {const} */ ({
  one: "Action",
  several: "Actions",
  none: "No mitigation identified.",
  alternative: "Alternatively:",
  effect: "Effect",
  when: "Takes effect",
  takes_effect: "takes effect",
  side_effect: "Side effect",
  how: "How",
  command: "Command",
  copy: "Copy",
  copy_revert: "Copy rollback",
  revert: "Rollback",
  next_step: "Also do step 2.",
  commands: "Commands",
  own_effect: "Effect of this step alone",
  no_effect: "Little effect by itself.",
  both_steps: "Do both steps.",
  names: "Service names come from telemetry: verify them in the cluster.",
  simulated: "Simulated data: not objects of your cluster.",
  replay: "Replay: do not run these commands.",
});

export const ROLLBACKS = /** @type {const} */ ({
  limit_rate: "Rollback, if there was no limit before",
  shed_load: "Rollback, if there was no fault before",
});

export const COURSE = /** @type {const} */ ({
  load: "Extra load since ",
  anomaly: "Started ",
  anomaly_and_warning: "Started with an early warning ",
  vulnerable: "Vulnerable since ",
  ago: " ago",
  warning: " → early warning ",
  breach: " → first SLO breach ",
  paged: " → paged ",
  of: " for ",
  when: " when ",
  breached: " breached its SLO",
  updated: ", cause updated with evidence since ",
  recovering: " → recovering since ",
});

export const NOW_TEXTS = /** @type {const} */ ({
  next_at_risk: "At risk next",
  none_at_risk: "No SLO breach is forecast in the next 30 min",
  no_other_at_risk: "No other service is forecast to breach its SLO in the next 30 min",
  further: "Also open",
  since: "since",
  further_more: "more incident",
  either: "Either",
  or: "or",
  latent_risk: "Latent risk (separate from this incident)",
  values_at: "Values as of",
  past_values: ", when they last supported the cause. The table of services has those of now.",
  no_impact: "No impact now.",
  next_shortage: "Next shortage",
  last_incident: "Last incident",
  last_warning: "Last early warning",
  reduce_risk: "To reduce the latent risk (optional)",
  open_for: "open for",
  last_data: "Last data",
  other_gpus: "Contended GPUs of other services:",
  see_services: "See the timeline.",
  signals_at: "at",
  recommended: "Recommended",
  newest_data: "Newest data",
  share: "Used",
  limit: "Limit",
  changes: "around the first anomaly:",
  more: "more",
  all: "All",
  all_services: "services",
  evidence_of: "Evidence of",
  incident: "incident",
  no_anomalies: "No lasting anomaly in the last",
  timeline: "Timeline: last",
  timeline_of_incident: "Incident timeline",
  and_forecast: "forecast",
  times: "Times",
  impact: "Impact",
  also_in_breach: "Also in breach",
  in_breach: "In breach",
  degraded: "Also degraded",
  breached_before: "breached before",
  suspected_cause: "Suspected cause:",
  uncertain: "Cause uncertain",
  candidates: "Possible causes",
  confidence: "confidence",
  affected: "Services in this incident",
  closest: "Services closest to their limits",
  services: "Services",
});

export const SIGNAL_NOTES = /** @type {const} */ ({
  first_token: "answered requests only",
  flight: "finished requests only",
  gpu_wait: "on a full GPU, the neighbor's share",
});

export const SIGNAL_MEANINGS = /** @type {const} */ ({
  first_token: "p95 also covers requests that were rejected or timed out. Time to first token does not.",
  flight: "This is an estimate from finished requests (rate × p50). More requests may be queued.",
  gpu_wait: "On a full GPU, a service waits while its neighbor runs: GPU wait is about the neighbor's share of time.",
});

export const GRID_TEXTS = /** @type {const} */ ({
  wait: "GPU wait",
  waits: "Share of time that a service waits for this GPU",
  waiting: "with GPU wait of at least 10%",
  no_waits: "no data on GPU wait",
});

export const TIMELINE_TEXTS = /** @type {const} */ ({
  assigned: "Assigned to",
  order: "Order of first anomaly",
  change: "Change",
  change_at: "Change at",
  forecast: "SLO breach forecast: tick = median, bar = 80% interval",
  longer: ", › = longer",
  ahead: "Forecast",
  breach: "SLO breach forecast,",
  began: "first anomaly",
  for: "for",
  ago: "ago",
  picture: "Timeline of the cascade",
});

export const EVENTS = /** @type {const} */ ({
  warning: "Early warning",
  paged: "Critical",
  recovering: "Recovering",
});

export const BREACH_BUCKETS = /** @type {const} */ ({
  60: "imminent",
  300: "likely within 5 min",
  900: "likely within 15 min",
  1800: "likely within 30 min",
});

export const BREACH_TEXTS = /** @type {const} */ ({
  beyond: "> 30 min",
  none: "none expected",
});

export const SLO_COUNTS = /** @type {const} */ ({
  breached: "breached",
  degraded: "degraded",
  at_risk: "at risk",
  within: "within SLO",
  few: "with low traffic",
  without: "without an SLO",
  unknown: "without data",
});

export const TILE_TEXTS = /** @type {const} */ ({
  met: "Within SLO now",
  learned: "SLOs learned from normal operation.",
  learned_slo: "Learned SLO: a limit above normal values, frozen during incidents. Set one with --slo NAME=P95.",
  set_slos: "SLOs are learned from normal operation. Set SLOs with --slo NAME=P95.",
  some_learned: "of the SLOs are learned from normal operation. Set SLOs with --slo NAME=P95.",
  no_errors: "No errors",
  before: "now; peak",
  request_load: "Incoming work as a share of the replicas' capacity. This is not GPU utilization.",
  no_baseline: "No baseline yet",
  no_data: "No data",
  all_services: "in all services with an SLO",
  normal: "not anomalous",
  of_capacity: "of capacity;",
  within: "within SLO",
  others_within: "others within SLO",
  of: "of",
});

export const LOAD_KINDS = /** @type {const} */ ({
  requests: "requests/s",
  tokens: "generated tokens/s",
  kv_cache: "KV cache usage",
  queue: "queued requests",
  gpu_busy: "busy GPUs",
  gpu_quota: "GPUs used from the quota",
});

export const CAPACITY_TEXTS = /** @type {const} */ ({
  today: "today",
  tomorrow: "tomorrow",
  at: "at",
  now: "now",
  of_safe: "of hourly safe limit",
  upper: "80% upper bound",
  no_capacity: "no capacity",
  none: "none in 7 days",
  expired: "expired",
  may_be: "may be",
  recent: "exceeded in the last 7 days",
  unknown: "unknown",
  past: "No forecast for past times. Choose a time range that ends now.",
  replay: "A replay has no forecast: a forecast needs at least 24 h of live history.",
  no_slow_burns: "No resource fills up or runs out within 7 days.",
  no_limit: "no hourly safe limit known",
  at_limit: "at the limit",
  peak: "peak",
  point_at_hour: "Point at an hour, or use the arrow keys, for its values. Select a strip for its chart.",
  tap_hour: "Tap an hour for its values and chart.",
  what_if: "What if",
});

export const HOLDINGS = /** @type {const} */ ({
  service: "service",
  unallocated: "unallocated",
  unknown: "unknown use",
});

export const GROUPINGS = /** @type {const} */ ({
  service: "service and pool",
  namespace: "namespace",
  owner: "owner",
  pool: "pool",
});

export const COST_TEXTS = /** @type {const} */ ({
  no_owner: "no owner",
  no_namespace: "no namespace",
  no_pool: "no pool",
  unknown_service: "unknown service",
  no_unused: "No service holds a GPU that is unused for 30 min or longer.",
  so_far: "so far",
  in_range: "in",
  reduce: "Check whether it needs all its GPUs.",
  per_day: "per day",
  measured: "from allocations and counters",
  sampled: "from samples",
  inferred: "an estimate, without allocation data",
});

export const SPLIT_NAMES = /** @type {const} */ ({
  busy: "Busy",
  waiting: "Lost to neighbors",
  idle: "Allocated, idle",
  unallocated: "Unallocated",
  unknown: "Unknown use",
});
