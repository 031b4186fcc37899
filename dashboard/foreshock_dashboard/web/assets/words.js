// The catalog of words. Generated from render/words by `make golden`: change it there.

export const SEVERITIES = /** @type {const} */ ({
  critical: "Critical incident",
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
  idle: "No inbound requests",
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
  no_traffic: "No inbound requests",
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
  services:
    "No services: the hub has received no spans and sees no GPU processes. Send spans or run foreshock-exporter.",
  requests:
    "No services with requests: the hub has received no spans. Send OTLP spans to port 4317 (gRPC) or 4318 (HTTP).",
  gpus: "No GPUs: no target exports gpu_info. Run foreshock-exporter on the GPU hosts and list them in --targets.",
  own_gpus: "No GPUs found for this service.",
  neighbors: "No other service uses the GPUs of this service.",
  pairs: "No services share a GPU.",
  gpu_wait: "No GPU wait data.",
  calls:
    "No calls: the hub has received no client or server spans. Send OTLP spans to port 4317 (gRPC) or 4318 (HTTP).",
  callers: "No callers observed.",
  dependencies: "No calls to other services observed.",
  replicas: "No recent data for the replicas of this service.",
  incidents: "No incidents in the last hour.",
  incidents_learning: "Incidents are not detected until the baseline is built.",
  incidents_unknown: "Incidents are not detected without fresh data.",
  timeline: "No anomalies in this time range.",
  signals: "No anomalous signals.",
  breaches: "No SLO breach forecast in the next 30 min.",
  first_evaluation: "Waiting for the first evaluation.",
  other_incidents: "No services are affected. Open incidents:",
  unknown_incident:
    "No incident {id} at the selected time. It may have resolved more than an hour earlier. Choose another time.",
  contended: "No GPU is contended.",
  tenants: "No services on this GPU.",
  traces: "No traces in this time range.",
  matching_traces: "No traces match {filters} in this time range.",
  service_traces: "No traces of {service} in this time range.",
  shared_traces: "None of the {count} slowest traces of {service} ran on a shared GPU.",
  targets: "No scrape targets. Set --targets or --targets-file, or --prometheus-url for an existing Prometheus.",
  store: "No store data.",
  matches: "No matches.",
  silences: "No silences or maintenance windows.",
  chart: "No data in this time range.",
  service_chart: "No data for this service in this time range.",
  gpu_chart: "No data for this GPU in this time range.",
  signal: "No data for {signal} in this time range.",
  traffic: "No requests in this time range.",
  service_traffic: "No requests to {service} in this time range.",
  service_gpus: "{service} is not running on any known GPU.",
  model_servers: "{service} has no model servers.",
  not_reported: "Not reported by {service} in this time range.",
  no_model_servers: "No model servers: add their metrics endpoints to --targets.",
  server_load: "Load of {service} is unknown: too few samples from its model servers.",
  no_replicas: "No replica data: add kube-state-metrics as a scrape target.",
  service_replicas: "No replica data for {service}: add kube-state-metrics as a scrape target.",
  unknown_service: "Unknown service {service}.",
  no_page: "No page at this address.",
});

export const ACTION_TEXTS = /** @type {const} */ ({
  one: "Action",
  several: "Actions",
  none: "No mitigation identified.",
  alternative: "Alternative:",
  effect: "Effect",
  when: "Takes effect",
  takes_effect: "takes effect",
  side_effect: "Side effect",
  how: "How",
  note: "Note",
  command: "Command",
  copy: "Copy",
  copy_revert: "Copy rollback",
  revert: "Rollback",
  next_step: "Also do step 2.",
  commands: "Commands",
  own_effect: "Effect of this step alone",
  no_effect: "Little effect on its own.",
  both_steps: "Do both steps.",
  names: "Names are reported by the workloads and may be wrong: verify them in the cluster.",
  simulated: "Simulated: these objects do not exist in your cluster.",
  replay: "Replay: do not run these commands.",
});

export const COURSE = /** @type {const} */ ({
  load: "Extra load began ",
  anomaly: "First anomaly ",
  anomaly_and_warning: "First anomaly and early warning ",
  vulnerable: "Vulnerable since ",
  ago: " ago",
  warning: " → early warning ",
  breach: " → first SLO breach ",
  paged: " → paged ",
  of: " for ",
  when: " when ",
  breached: " breached its SLO",
  updated: "; cause revised based on evidence since ",
  recovering: " → recovering since ",
});

export const NOW_TEXTS = /** @type {const} */ ({
  next_at_risk: "Next to breach",
  none_at_risk: "No SLO breach is forecast in the next 30 min",
  no_other_at_risk: "No other service is forecast to breach its SLO in the next 30 min",
  further: "Also open",
  first_anomaly: "first anomaly",
  further_more: "more incident",
  either: "Either",
  or: "or",
  latent_risk: "Latent risk (separate from this incident)",
  values_at: "Values as of",
  values_at_page: "Values when paged, at",
  another_incident: "Separate incident:",
  tightest_limit: "Tightest limit",
  past_values: ". The services table shows current values.",
  no_impact: "No impact now.",
  postmortem: "Postmortem",
  draft_report: "Incident report (draft)",
  next_shortage: "Next shortage",
  last_incident: "Last incident",
  last_warning: "Last early warning",
  reduce_risk: "To reduce the latent risk (optional)",
  open_for: "open for",
  last_data: "Last data",
  other_gpus: "Other GPUs with at least 10% GPU wait:",
  see_services: "See the timeline.",
  signals_at: "at",
  recommended: "Hardening (not urgent)",
  newest_data: "Newest data",
  share: "Used",
  limit: "Limit",
  changes: "around the first anomaly:",
  more: "more",
  all: "All",
  all_services: "services",
  evidence_of: "Evidence of",
  no_anomalies: "No sustained anomalies in the last",
  timeline: "Timeline: last",
  timeline_of_incident: "Incident timeline",
  and_forecast: "forecast",
  times: "Times",
  impact: "Impact",
  also_in_breach: "Also in breach",
  in_breach: "In breach",
  degraded: "Also degraded",
  breached_before: "breached before",
  suspected_cause: "Suspected cause: {cause} ({confidence}).",
  possible_causes: "Possible causes: {cause} ({confidence}).",
  uncertain: "Cause uncertain",
  candidates: "Possible causes",
  confidence: "confidence",
  affected: "Services in this incident",
  closest: "Services closest to their limits",
  services: "Services",
});

export const SIGNAL_NOTES = /** @type {const} */ ({
  at_caller: "measured by the caller",
  first_token: "answered requests only",
  flight: "finished requests only",
  gpu_wait: "on a saturated GPU: the neighbor's share of GPU time",
});

export const SIGNAL_MEANINGS = /** @type {const} */ ({
  at_caller: "A caller counts the requests that it sends. The request rate of a service counts those it receives.",
  first_token: "p95 also covers requests that were rejected or timed out. Time to first token does not.",
  flight: "This is an estimate from finished requests (rate × p50). More requests may be queued.",
  gpu_wait:
    "On a saturated GPU, a service waits while its neighbor runs: GPU wait is roughly the neighbor's share of GPU time.",
});

export const GRID_TEXTS = /** @type {const} */ ({
  wait: "GPU wait",
  waits: "Share of time that each service waits for this GPU (upper bound)",
  waiting: "with at least 10% GPU wait",
  in_incident: "in an open incident",
  all_in_incident: "all of them in an open incident",
  some_in_incident: "{gpus} of them in an open incident",
  keys: "GPUs by host. Use the arrow keys to move between GPUs, and Enter to open one.",
  no_waits: "no GPU wait data",
});

export const TIMELINE_TEXTS = /** @type {const} */ ({
  assigned: "Assigned to",
  order: "Order of first anomaly",
  change: "Change",
  change_at: "Change at",
  forecast: "SLO breach forecast: tick = median, bar = 80% interval",
  longer: ", › = longer",
  ahead: "Forecast",
  breach: "SLO breach forecast:",
  began: "first anomaly",
  cause_began: "cause began",
  for: "for",
  ago: "ago",
  picture: "Timeline of the cascade",
});

export const EVENTS = /** @type {const} */ ({
  warning: "Early warning",
  paged: "Paged",
  recovering: "Recovering",
});

export const BREACH_BUCKETS = /** @type {const} */ ({
  60: "imminent",
  300: "median < 5 min",
  900: "median < 15 min",
  1800: "median < 30 min",
});

export const BREACH_TEXTS = /** @type {const} */ ({
  now: "in breach",
  beyond: "> 30 min",
  later: "median > 30 min",
  interval: "80% interval:",
  none: "unlikely",
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
  learned_slo:
    "Learned SLO: at least 1.6 times the baseline p95, or more if p95 varies widely. It does not change during an incident. To set your own, use --slo NAME=P95.",
  set_slos: "SLOs are learned from normal operation. Set SLOs with --slo NAME=P95.",
  some_learned: "of the SLOs are learned from normal operation. Set SLOs with --slo NAME=P95.",
  no_errors: "No errors",
  before: "now; peak",
  request_load: "Incoming work as a share of the replicas' capacity. This is not GPU utilization.",
  no_baseline: "No baseline yet",
  no_data: "No data",
  all_services: "across all services with an SLO",
  normal: "not anomalous",
  of_capacity: "of capacity;",
  above: "above",
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

export const SAFE_LIMIT_NOTES = /** @type {const} */ ({
  capacity: "",
  bursts: "bursty load",
  peak: "own peak",
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
  past: "No capacity forecast for past times. Choose a time range that ends now.",
  no_forecast: "No capacity forecast for this service.",
  replay: "Replays have no capacity forecast, because it needs at least 24 h of live history.",
  no_slow_burns: "No resource is forecast to fill up or run out within 7 days.",
  no_limit: "no hourly safe limit known",
  not_listed: "Not listed: {services} without a model server ({names}). Capacity is learned from model servers.",
  not_learned: "limit not learned",
  not_learned_of: "Limit not learned: {services}. {why}",
  no_limit_metrics: "Missing from the model servers: {metrics}.",
  no_load_range: "Not enough samples under varying load yet.",
  ready: "Ready",
  ready_narrow: "{ready} ready",
  room_narrow: "pool has room for {room}",
  no_room_narrow: "room in pool unknown",
  enough: "enough",
  in_all: "{needed} in total",
  data_of: "{time} of data",
  in_all_short: "{needed} in total, {short} short",
  needed_peak: "Needed at peak of {time}",
  needed_peak_start: "Needed at peak since start of data ({time})",
  needed_peak_hint:
    "replicas to add to stay within the safe limit at that peak; if a shortage is forecast, the peak is that of the first day with a shortage",
  more_traffic: "Traffic x 1.3",
  more_traffic_hint: "replicas to add if that peak were 1.3 times as high",
  host_lost: "One host lost at peak",
  host_lost_hint:
    "replicas to add on other hosts to survive, at that peak, the loss of the host that runs most of them; existing replicas stay where they are",
  room: "Pool has room for",
  room_hint: "additional replicas that the pool has free GPUs for",
  at_limit: "at the limit",
  overloaded: "overloaded",
  safe_limit:
    "highest two-minute mean load that still leaves room for bursts; higher for bursty load, and for a service that has handled more",
  peak: "peak",
  point_at_hour: "Point at an hour or use the arrow keys to see its values. Select a strip to see its chart.",
  tap_hour: "Tap an hour to see its values and chart.",
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
  unknown_service: "unknown service",
  no_unused: "No service holds a GPU that is unused for 30 min or longer.",
  so_far: "so far",
  in_range: "in",
  reduce: "Check whether it needs all its GPUs.",
  per_day: "per day",
  measured: "from allocations and counters",
  sampled: "from samples",
  inferred: "an estimate without allocation data",
});

export const SPLIT_NAMES = /** @type {const} */ ({
  busy: "Busy",
  waiting: "Lost to neighbors",
  idle: "Allocated, idle",
  unallocated: "Unallocated",
  unknown: "Unknown use",
});

export const ABSENT = /** @type {const} */ ({
  cluster: "no cluster",
  data: "no data",
  errors: "no errors",
  evaluation: "no evaluation yet",
  gpu_metrics: "no GPU metrics",
  gpu_wait: "no GPU wait",
  incident: "no open incident",
  namespace: "no namespace",
  occupancy: "no GPU occupancy spans",
  owner: "no owner",
  pool: "no pool",
  requests: "no requests",
  retries: "retries unknown",
  services: "no services",
  shared_gpu: "no shared GPU",
  tier: "no tier",
  timestamp: "no timestamp",
});

export const ACTIVITIES = /** @type {const} */ ({
  work: "self time",
  queue: "queue time",
  failed_calls: "failed calls",
});

export const AUDIT_ACTIONS = /** @type {const} */ ({
  sign_in: "Sign-in",
  sign_in_failed: "Failed sign-in",
  sign_out: "Sign-out",
  denied: "Denied",
  rate_limited: "Rate limited",
  download: "Download",
  change: "Change",
});

export const CASCADE_TEXTS = /** @type {const} */ ({
  gpu: "GPU contention",
  load: "extra load",
  call: "degraded dependency",
  forecast: "SLO breach",
  older: "Older anomalies have ended. First anomaly: ",
  calls_key: "calls (width: request rate, measured by the caller)",
  gpu_wait_key: "GPU wait, from noisy neighbor to affected service (width: share of time)",
});

export const CONNECTION_STATES = /** @type {const} */ ({
  loading: "Loading",
  no_page: "No page",
  no_connection: "No connection",
  paused: "Paused",
  lost: "Connection lost",
  past: "Past",
  replay: "Replay",
  simulated: "Replay of simulated data",
  stale: "Stale",
  live: "Live",
});

export const CONNECTION_TEXTS = /** @type {const} */ ({
  age: "data is {age} old",
  no_data: "no data yet",
  reason: " Hub: {reason}.",
  retrying: " Retrying.",
  retrying_in: " Retrying in {seconds} s.",
  no_response: "No response from the hub.",
  retries: "No response from the hub. Retrying.",
  try_again: "No response from the hub. Try again.",
  reload: "No response from the hub. Check that it is running, then reload the page.",
  timed_out: "The list timed out. Choose a shorter time range.",
  script_lost: "This page's script could not be loaded. Reload the page.",
  see_above: "No data: see the message above.",
  unreadable: "Cannot read the source: {error}",
});

export const CONNECT_NOTES = /** @type {const} */ ({
  exporter: "Then list the hosts: foreshock serve --targets HOST,HOST. Or let Prometheus scrape port 10877.",
  otlp: "Works with any OpenTelemetry SDK or Collector. gRPC uses port {port}.",
  prometheus: "Reads metrics from Prometheus instead of the embedded store.",
  traces: "For Jaeger, use --jaeger-url http://jaeger:16686.",
  rules: "Generates rules that read this hub's /metrics and link to its pages.",
});

export const GPU_COUNTS = /** @type {const} */ ({
  contended: "contended",
  throttled: "throttled (thermal, power)",
  errors: "with errors (15 min)",
  lost: "lost (off the bus)",
  no_data: "without data",
});

export const GPU_FAULTS = /** @type {const} */ ({
  lost: "lost",
  failing: "failing",
  throttled: "throttled",
});

export const GPU_SHARING = /** @type {const} */ ({
  "time-slicing": "shared by time-slicing",
  mps: "shared by MPS",
  mig: "divided by MIG",
  concurrent: "shared concurrently",
  partitioned: "partitioned",
});

export const GPU_TEXTS = /** @type {const} */ ({
  waits_too: "On a saturated GPU, each service waits while the others run: the noisy neighbor waits too.",
  averages: "GPU wait: 30 s averages. Busy, contended, power: 1 min averages.",
  contention_averages: "GPU wait: 30 s averages. Busy, contended: 1 min averages.",
  contended: "contended: busy while 2 or more services want the GPU",
  bound: "Upper bound: 30 s average over the shared GPUs.",
  limits:
    "Time lost is an upper bound and not measured per service. Resources and GPU wait overlap, so do not add them up.",
  serving_rows: "Rows: services with requests.",
  batch: "Services without requests raise no alerts when they wait.",
  shared_tiers: "{gpus} shared by several {groups}.",
  cut: "{rows} x {columns} shown. The CSV has all pairs.",
  missing: "Missing metrics: {names}.",
  upper_bound: "GPU wait: share of time (upper bound).",
  up_to: "up to {share} of the time",
  no_wait: "No shared GPU, or no wait",
  no_process: "no process seen",
  unknown_gpu: "No GPU {name}.",
  no_match: "No GPU matches {filter}.",
});

export const INCIDENT_MARKS = /** @type {const} */ ({
  critical: "critical incident",
  warning: "early warning",
  recovering: "recovering incident",
});

export const QUALITY_MEANINGS = /** @type {const} */ ({
  measured: "counted at the source",
  sampled: "sampled every few seconds",
  inferred: "derived from other signals",
});

export const RANGE_FAULTS = /** @type {const} */ ({
  time: "is not a valid time. Use now-6h, now/d, 2026-11-26T03:00:00Z, or Unix milliseconds",
  short: "is less than a minute before the end time. Use a longer range",
  long: "is more than 360 days before the end time. Use a shorter range",
  interval: "is not a valid interval. Use 5s, 1m, or off",
});

export const RESPONSE_TEXTS = /** @type {const} */ ({
  acknowledged: "Acknowledged.",
  not_acknowledged: "Not acknowledged",
  saved: "Saved.",
  read_only: "Past times are read-only. Go back to live to respond.",
  needs_role: "You can view this incident. Responding requires the responder role.",
  silencing: "Silencing requires the responder role and a live hub.",
  silence: "Silences all incidents of a service, or only those caused by a noisy neighbor on its GPUs.",
});

export const SERVICE_HINTS = /** @type {const} */ ({
  load: "offered load of its model servers divided by their capacity",
  gpu_wait: "share of time spent waiting on other services (upper bound, averaged over its shared GPUs)",
  retries: "attempts per call beyond the first",
  not_judged: "dotted line: low traffic, not judged",
});

export const SHELL_TEXTS = /** @type {const} */ ({
  copied: "Copied.",
  first_rows: "Showing the first {shown} of {count}.",
  shorter_range: "Showing the first {shown} of {count}. Choose a shorter time range to see more.",
  default: "{name}={value} {reason}. The default is used instead. ",
  unknown_parameter: "Unknown parameter {names} (allowed: {known}). ",
  dash: "A dash (–) means no data. Missing data is never shown as zero.",
});

export const SLO_NAMES = /** @type {const} */ ({
  set: "SLO",
  learned: "learned SLO",
});

export const SPAN_COUNTS = /** @type {const} */ ({
  foreshock_spans_late_total: "Too late for span metrics",
  foreshock_spans_early_total: "Start time in the future",
  foreshock_spans_duplicate_total: "Duplicates",
  foreshock_spans_clamped_total: "End before start",
  foreshock_spans_uncounted_total: "Stored, not in span metrics",
  foreshock_service_graph_dropped_spans_total: "Unpaired (buffer full)",
  foreshock_span_metrics_overflow_total: "Over the series limit",
});

export const STATUS_TEXTS = /** @type {const} */ ({
  degraded: "Degraded: {problem}.",
  no_notifications: "Notifications are off: no alerts are sent. Set --alertmanager-url or --notify-file.",
  no_sign_in:
    "Sign-in is not required. To require it, set --auth-basic-file, --auth-token-file, --auth-header, or --oidc-issuer.",
  simulated: "The data is simulated.",
  past: "Targets and signals are shown as of the selected time. Ingestion and storage show current values.",
  unjoined:
    "These model servers do not belong to any service with requests, so their queues are shown separately from request latency.",
  no_samples: "No samples for {metrics}: {names}.",
  no_targets: "none configured",
  replayed: "replayed from a recording",
});

export const TARGET_STATES = /** @type {const} */ ({
  up: "up",
  down: "down",
  stale: "stale",
});

export const TRACE_TEXTS = /** @type {const} */ ({
  in_service: "{activity} in {service}",
  not_read: "GPU wait becomes available {seconds} s after a trace ends.",
  wait_unknown: "GPU wait unknown: {reason}.",
  not_final: "GPU wait is not final: the last GPU samples are still arriving.",
  no_shared_gpu: "No span ran on a shared GPU.",
  outlasting: "GPU work continued after the client received a response or timed out.",
  outlasting_counts: "GPU wait also includes GPU work that continued after the client span ended.",
  slowest_only: "GPU wait is computed only for the {count} slowest traces. Choose a shorter time range.",
  examined: "Selected from the {count} slowest traces.",
  samples_not_read: "GPU samples for {minutes} were not read (limit reached).",
  bar_height: "Bar height: share of the GPU.",
  inferred: "Hatched: inferred from counters, averaged over their scrape interval.",
  unplaced: "GPU wait (position within the span unknown)",
  wait_of: "GPU wait up to {wait} in {total} of GPU work",
  unsearchable: "this source cannot search by {attribute}",
  root_missing: "root span missing",
  parent_missing: "parent span missing",
  clamped: "end before start (clock error): shown as 0 s",
  clear_filters: "Clear the filters, or choose a longer time range.",
  send_spans: "Choose a longer time range, or send spans over OTLP.",
});
