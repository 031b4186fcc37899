"""Words of actions: the imperative, the reason, the limit, and how to take them."""

from __future__ import annotations

from collections.abc import Mapping

from foreshock_dashboard.model.action import ActionKind, LimitKind, ReasonKind

# Templates name fields of an `Action` or a `Reason`. `[a|b]` stands for the first alternative without an unknown field.
ACTIONS: Mapping[ActionKind, str] = {
    "add_replicas": "[Scale {service} from {current} ({ready} ready) to {total} replicas"
    "|Scale {service} from {current} to {total} replicas|Add replicas of {service}]"
    "[ (raise HPA maximum from {exceeded} to {total})| in GPU pool {target}][ before {at}]",
    "balance_load": "Balance load on {service} by outstanding requests",
    "cancel_abandoned": "Cancel abandoned requests at {service}",
    "cap_gpu_share": "Cap {service}[ at {amount} of GPU time] on {gpus} (restarts its pods)",
    "cap_retries": "Cap retries from {service} to {callee}[ at {amount} of calls]",
    "check_first": "Check {candidates} first",
    "dedicate_pool": "Give tier {target} a dedicated GPU pool",
    "dedicate_replicas": "Give [{requests} from {service}|{service}] dedicated replicas of {callee}",
    "degrade": "Degrade {callers} gracefully (timeout, circuit breaker, cached response)",
    "drain_gpus": "Drain {gpus} and reschedule {service}",
    "drain_host": "Drain host {target}",
    "drain_replica": "Drain replica {target}",
    "inspect_deploys": "Check for a recent deploy of {service}",
    "inspect_gpus": "Check {gpus} for errors, throttling, and power",
    "inspect_links": "Check the network between {service} and {callee}[, starting with host {target}]",
    "inspect_replicas": "Check why {service} replicas are not ready",
    "limit_batch": "[Limit {service} to {amount} concurrent requests per replica (now {current}; "
    "restarts pods)|Limit the concurrent requests of {service} (restarts its pods)]",
    "limit_calls": "Rate-limit [{requests} from|calls from] {service} to {callee}[ to {amount}]",
    "limit_length": "Limit the {requests} length of requests from {service}",
    "limit_rate": "Rate-limit {service}[ to {amount} (now {current})| to {amount}]",
    "move_off_gpus": "Move {service} off {gpus}",
    "pause": "Scale {service} [from {current} ]to 0 replicas (terminates its pods)",
    "raise_quota": "Raise the quota of GPU pool {target} for [{amount}|replicas] of {service}",
    "raise_replica_limit": "Raise the HPA maximum of {service}[ (now {current} replicas)]",
    "restart": "Restart {service}",
    "restore_timeout": "Restore the previous timeout of {service} for {callee}",
    "roll_back": "[Roll back {service} to {target}|Roll back the last deploy of {service}]",
    "set_retry_budget": "Set a retry budget from {service} to {callee}[ ({amount} of calls)]",
    "shed_load": "[Shed {amount} of requests to {service} with HTTP 503|Shed load at {service}]"
    "[, then roll back when new replicas are ready ({until})"
    "|, then roll back when p95 is below {slo}"
    "|, then roll back when {queue} is empty"
    "|, then roll back when the remaining load is below {rollback_load}]",
}
"""The action alone."""
SUSPICIONS: Mapping[ReasonKind, str] = {
    "called_in": "called in {value} of requests of {service}",
    "calls_failed": "failed calls to {service} [{baseline} → {now}|+{value}][ since {since}]",
    "calls_grew": "calls to {service} {value}x baseline",
    "cause": "{name}[ of {service}]",
    "changed": "changed[ to {name}] at {since}",
    "failures_grew": "error rate [{baseline} → {now}|+{value}][ since {since}]",
    "metric": "{name} {before} → {after}[ since {since}]",
    "no_anomaly": "no local anomaly",
    "requests_grew": "request rate {value}x baseline",
    "slower": "[{name} {before} → {after}|latency {value}x baseline][ since {since}]",
}
"""Why a service is suspected."""
REASONS: Mapping[ReasonKind, str] = {
    "abandoned_calls": "{service} abandons calls even though they are answered at baseline latency{value}",
    "gpu_share": "{service} gets {value} of GPU time (baseline {baseline})",
    "idle_gpus": "Requests wait while {gpus} are {value} idle",
    "lost_capacity": "{service} has lost {value} of its capacity",
    "more_tokens": "Incoming tokens are {value}x baseline, retries included",
    "recurring_load": "In previous days or weeks, load at that time was {value}x the load two hours earlier",
    "short_outage": "Retries would make [an outage of {value}|any outage] permanent",
    "unexplained": "No external cause found",
    "xid": "XID {value}: NVIDIA recommends that you {name}",
}
"""Why an action is recommended."""
LIMITS: Mapping[LimitKind, str] = {
    "safe_limit": "safe limit",
    "slo": "SLO",
    "baseline": "baseline",
    "needed": "needed",
}
HOW_TO: Mapping[ActionKind, str] = {
    "balance_load": "On the load balancer, use least-request balancing (Envoy LEAST_REQUEST, NGINX least_conn)",
    "cancel_abandoned": "On the server, abort requests when the client disconnects, and propagate deadlines",
    "cap_gpu_share": "Lower its batch size or concurrency or, under MPS, its CUDA_MPS_ACTIVE_THREAD_PERCENTAGE",
    "cap_retries": "On the client or in the service mesh, set a retry budget, with exponential backoff and jitter",
    "dedicate_pool": "Taint a node pool, and add the toleration and a node selector to this tier only",
    "dedicate_replicas": "Create a second deployment, and route these requests to it",
    "degrade": "On the callers, shorten the timeout below their own SLO, and open the circuit breaker",
    "drain_replica": "On the load balancer, take the replica out of rotation, then replace it",
    "inspect_links": "On the hosts, check retransmits and drops (nstat, ethtool -S) and the route between them",
    "limit_batch": "On the model server, lower the number of sequences in a batch (vLLM --max-num-seqs)",
    "limit_calls": "At the gateway or mesh, rate-limit this route",
    "limit_length": "At the gateway, cap the prompt length and max_tokens of these requests",
    "limit_rate": "At the gateway or mesh, rate-limit this client",
    "raise_quota": "In the ResourceQuota of the service's namespace, raise requests.nvidia.com/gpu",
    "restore_timeout": "In the client's configuration, restore the previous timeout",
    "set_retry_budget": "On the client or in the service mesh, set a retry budget, with exponential backoff and jitter",
    "shed_load": "At the gateway, return HTTP 503 for {share} of requests to {service} only",
}
"""Where and how to take the actions without a command, by kind."""
GATEWAYS: Mapping[ActionKind, str] = {
    "limit_rate": "Envoy Gateway only (Istio: EnvoyFilter; NGINX: limit_req). First set ENVOY_REPLICAS to the number "
    "of Envoy replicas: without it, the command changes nothing. Replaces an existing limit; run the rollback in the "
    "same directory to restore it",
    "shed_load": "Envoy Gateway only (Istio: HTTP fault abort; NGINX: return 503). Replaces an existing fault; run the "
    "rollback in the same directory to restore it",
}
"""Before a command for Envoy Gateway is run: the setting of other gateways, and what it replaces, by kind."""
LITELLM = (
    "LiteLLM only, with its lite command. Replaces an existing limit: note it down first, because the rollback removes "
    "it"
)
"""The same of a limit per team."""
NO_ROLLBACK = "Scale to the number of replicas that the first command shows"
"""Instead of the command that ends a pause."""
SIDE_EFFECTS: Mapping[ActionKind, str] = {
    "limit_calls": "Excess requests get HTTP 429",
    "limit_rate": "{rejected} get HTTP 429",
}
"""What actions change besides their effect, by kind."""
COMMAND_SIDE_EFFECTS: Mapping[ActionKind, str] = {
    "drain_gpus": "Restarts the pods of {service}. No new pods start on {hosts} until rollback",
    "drain_host": "Evicts all pods from {target}. No new pods start there until rollback",
    "move_off_gpus": "Restarts the pods of {service}. No new pods start on {hosts} until rollback",
}
"""The same of those with a command."""
ACTION_TEXTS: Mapping[str, str] = {
    "one": "Action",
    "several": "Actions",
    "none": "No mitigation identified.",
    "alternative": "Alternative:",
    "effect": "Effect",
    "when": "Takes effect",
    "takes_effect": "takes effect",
    "side_effect": "Side effect",
    "how": "How",
    "note": "Note",
    "command": "Command",
    "copy": "Copy",
    "copy_revert": "Copy rollback",
    "revert": "Rollback",
    "next_step": "Also do step 2.",
    "commands": "Commands",
    "own_effect": "Effect of this step alone",
    "no_effect": "Little effect on its own.",
    "both_steps": "Do both steps.",
    "names": "Names are reported by the workloads and may be wrong: verify them in the cluster.",
    "simulated": "Simulated: these objects do not exist in your cluster.",
    "replay": "Replay: do not run these commands.",
}
"""Texts around the actions of an incident."""
