"""What OpenAPI says of each address: its summary, its parameters and the shape of its answer."""

from __future__ import annotations

from typing import Any

from foreshock_dashboard.web.state.params import MOST_SPANS

_NUMBER: dict[str, Any] = {"type": ["number", "null"]}
_TEXT: dict[str, Any] = {"type": "string"}
_ENVELOPE: dict[str, Any] = {
    "time": {"type": "number", "description": "the hub's time, Unix seconds"},
    "seq": {"type": "integer", "description": "grows by one with each tick"},
    "simulated": {"type": "boolean", "description": "some of the data is not from the real world"},
    "learning": {
        "type": "object",
        "description": "history the analysis has and needs, seconds",
        "properties": {"have": _NUMBER, "need": _NUMBER, "done": {"type": "boolean"}},
    },
    "data_time": _NUMBER | {"description": "the instant the figures are of, Unix seconds"},
    "error": _TEXT | {"description": "why the last tick could not read its source; empty when it could"},
    "bounds": {
        "type": ["array", "null"],
        "description": "a hub that stands in the past: the Unix seconds between which `at` can be; else null",
    },
}
_SUMMARIES = {
    "services": "Every service: requests per second, share failed, p50, p95, p99, retries; every call edge",
    "gpus": "Every GPU: utilization, contention, memory, power, temperature, and the services on it",
    "contention": "Which service waits for which, on which GPUs, for which share of time",
    "warnings": "The incidents that are open, the worst first",
    "incidents": "Every incident that is remembered, also those that are over",
    "report": "A post-mortem of one incident: Markdown, and its plots as SVG",
    "pools": "Which GPUs tiers share, and the fewest GPUs that carry each tier, bursts included",
    "health": "How a service is for those who call it: ok, degraded or shed, and when to come again",
    "headroom": "Pools and replicas by the load that they can still take, bursts included",
    "now": "All values of the Now page; indexes point into /api/topology",
    "topology": "Who and what there is, and the layout of the service map",
    "page_contention": "All values of the Contention page",
    "page_exemplars": "Traces of a victim that waited longest for an aggressor, among its 40 slowest",
    "page_cascade": "All values of the Cascade page: lanes, early signs, time to breaches, how it spread",
    "page_fleet": "All values of the Fleet page: one byte a GPU, rows of the inventory, the GPU that is open",
    "page_services": "All values of the Services page",
    "page_service": "All about one service: objective, GPUs and neighbours, calls, model servers, replicas, incidents",
    "page_status": "Whether the pages can be trusted: targets, signals, what was dropped, store",
    "csv": "A list as CSV: services, edges, gpus, pairs, incidents, traces or targets",
    "runbooks": "Every alert rule that comes along, with what it means and the address of its runbook",
    "status": "The hub's own health: targets, store, receiver",
    "traces": "Traces that have a matching span",
    "trace": "All spans of one trace, what ran on its GPUs meanwhile, and how long it waited for them",
}
_MISSING = {
    "page_exemplars": "service",
    "page_service": "service",
    "csv": "list",
    "trace": "trace",
    "health": "service",
    "headroom": "service",
    "report": "incident",
}
"""What an address answers 404 for."""
_LISTS = {
    "services": ("services", "edges"),
    "gpus": ("gpus",),
    "contention": ("pairs",),
    "warnings": ("warnings",),
    "incidents": ("incidents",),
    "headroom": ("pools", "replicas"),
    "pools": ("tiers", "mixed"),
    "runbooks": ("runbooks",),
    "traces": ("traces",),
    "trace": ("spans", "lanes"),
}
_TIME = "Unix seconds, ISO 8601 with a time zone, now, or now-15m"
_LENGTH = "such as 250ms, 1.5s or plain seconds"
_NAMED = "namespace/name, or name where no two services of today have it"
_AT = {"at": f"as it was then: {_TIME}; may take seconds where it is hours ago"}
_PARAMETERS = {
    **dict.fromkeys(
        ("services", "gpus", "contention", "pools", "warnings", "incidents", "now", "topology"),
        _AT,
    ),
    "report": {"at": _AT["at"], "as": "json (default), or zip: the Markdown and its plots as one file"},
    "headroom": {"service": f"only of this one: {_NAMED}"},
    "page_contention": {"at": _AT["at"], "victim": "of the pair that is open", "aggressor": "of the pair that is open"},
    "page_exemplars": {
        "victim": _NAMED,
        "aggressor": _NAMED,
        "start": f"{_TIME}; default 30 minutes before end",
        "end": f"{_TIME}; default now",
        "waits": "true: each row tells gpu_wait_seconds, as far as there is time to read it",
    },
    "page_cascade": {
        "at": _AT["at"],
        "from": f"since when lanes are drawn: {_TIME}; 30 minutes before the end by default",
        "incident": "the id of one incident; all that are open by default",
        "service": "whose room is shown",
    },
    "page_fleet": {
        "at": _AT["at"],
        "metric": "what the grid shows: busy, contended, memory, power, temperature, throttled, nvlink or errors",
        "gpu": "the GPU that is open: host/gpu-index, or its UUID",
        **(
            _INVENTORY := {
                "q": "only GPUs with this text in their name, UUID, model, pool or services",
                "sort": "a column of the inventory, - before it for the largest first; default -contended",
            }
        ),
    },
    "page_services": _AT,
    "page_service": _AT,
    "csv": {"at": _AT["at"]} | {name: f"of gpus: {text}" for name, text in _INVENTORY.items()},
    "traces": {
        "service": "namespace/name, /name for one without, or name where no two services of today have it",
        "operation": "name of a span",
        "attribute": "KEY=VALUE: an attribute of the span, or else of its resource; once for each key",
        "min_duration": f"shortest duration of the trace, that is of its root span, {_LENGTH}",
        "max_duration": f"longest duration of the trace, {_LENGTH}",
        "min_gpu_wait": f"shortest time waited for a GPU, {_LENGTH}; looks at the 500 slowest that match",
        "status": "only traces with a span of this status: error, ok or unset",
        "errors": "true: the same as status=error",
        "order": "newest (default) or slowest, among all that match; gpu_wait: the longest wait for a GPU first",
        "limit": "1 to 1000, default 50",
        "start": f"{_TIME}; default 15 minutes before end",
        "end": f"{_TIME}; default now",
    },
    "trace": {
        "limit": f"spans in this answer, 1 to {MOST_SPANS}, default {MOST_SPANS}; large ones are fewer",
        "offset": "spans left out before them, by start; default 0. See next_offset",
    },
}
_SECONDS = {"type": "number"}
_BY = {"type": "object", "additionalProperties": _SECONDS, "description": "seconds that others held it, by service"}
_HELD = {
    "waited_seconds": _SECONDS | {"description": "what others held: the sum of by"},
    "by": _BY,
    "own_seconds": _SECONDS | {"description": "what the service itself used"},
    "idle_seconds": _SECONDS | {"description": "nobody's, while two or more services were active"},
    "unshared_seconds": _SECONDS | {"description": "no two services were active"},
    "quality": {"enum": ["measured", "inferred"]},
}
_ROOM = {
    "service": _TEXT,
    "load_ratio": _NUMBER | {"description": "what is asked of it over what it can do"},
    "safe_ratio": _NUMBER | {"description": "up to which its bursts do no harm"},
    "spare_ratio": _NUMBER | {"description": "the difference; negative where it has too much"},
}
_EXTRA: dict[str, dict[str, Any]] = {
    "warnings": {"version": {"type": "integer", "description": "of the form of an incident"}},
    "incidents": {"version": {"type": "integer", "description": "of the form of an incident"}},
    "health": {
        "service": _TEXT,
        "state": {"enum": ["ok", "degraded", "shed"]},
        "retry_after": {"type": ["integer", "null"], "description": "seconds, as in the header Retry-After"},
        "reason": _TEXT | {"description": "why it is not ok, or not known"},
        "known": {"type": "boolean", "description": "false: no fresh data; it is then told as ok"},
    },
    "report": {
        "id": _TEXT,
        "markdown": _TEXT | {"description": "each plot is an image NAME.svg"},
        "plots": {"type": "object", "additionalProperties": _TEXT, "description": "SVG by name"},
    },
    "headroom": {
        "pools": {
            "type": "array",
            "description": "each service on its pool, the most room first",
            "items": {"type": "object", "properties": _ROOM | {"pool": {"type": ["string", "null"]}}},
        },
        "replicas": {
            "type": "array",
            "description": "each replica, the most room first",
            "items": {"type": "object", "properties": _ROOM | {"instance": _TEXT, "requests": _NUMBER}},
        },
    },
    "traces": {
        "candidates": {
            "type": "object",
            "description": "with order=gpu_wait or min_gpu_wait: among how many traces the list was picked",
            "properties": {
                "looked_at": {"type": "integer"},
                "bound": {"type": "integer"},
                "bound_reached": {"type": "boolean"},
            },
        }
    },
    "trace": {
        "start": _NUMBER | {"description": "of the earliest span, Unix seconds; offsets count from it"},
        "duration_seconds": _NUMBER | {"description": "of the root span; of the longest where the root is missing"},
        "extent_seconds": _NUMBER | {"description": "first start to last end, each by the clock of its own host"},
        "total": {"type": "integer", "description": "spans of the trace"},
        "offset": {"type": "integer", "description": "spans before those given"},
        "left_out": {"type": "integer", "description": "spans after those given"},
        "next_offset": {"type": ["integer", "null"], "description": "offset of the next page; null after the last"},
        "skewed": {"type": "boolean", "description": "spans lie outside their parents: clocks of hosts differ"},
        "clocks": {
            "type": "array",
            "description": "the hosts whose clocks differ from that of the root's host",
            "items": {
                "type": "object",
                "properties": {"host": _TEXT, "ahead_seconds": _NUMBER, "within_seconds": _NUMBER},
            },
        },
        "clock_note": _TEXT | {"description": "the same as a sentence; empty where the clocks agree"},
        "note": _TEXT | {"description": "why spans may be missing; empty where none is known to be"},
        "sentence": _TEXT | {"description": "how long it waited for a GPU and who held it; empty if not known"},
        "gpu_wait_seconds": _NUMBER | {"description": "the longest wait for one GPU, each moment counted once"},
        "critical_seconds": {
            "type": "object",
            "additionalProperties": _SECONDS,
            "description": "seconds of the critical path by service, the most first",
        },
        "lanes_settled": {"type": "boolean", "description": "false: what ran in its last seconds may still come"},
        "lanes_left_out": {"type": "integer", "description": "minutes of which not all GPUs were read"},
        "lanes_error": _TEXT | {"description": "why what ran on GPUs could not be read; empty if it could"},
        "lanes_note": _TEXT
        | {"description": "what is missing where nothing is known of any GPU, once settled; empty else"},
        "lanes": {
            "type": "array",
            "description": "one for each GPU on which spans of the trace ran",
            "items": {
                "type": "object",
                "properties": {
                    "gpu": _TEXT,
                    "uuid": _TEXT,
                    "own": _TEXT | {"description": "the trace's service on it"},
                    "spans": {"type": "array", "items": _TEXT, "description": "span ids"},
                    **_HELD,
                    "intervals": {"type": "array", "items": {"type": "object"}, "description": "who ran when"},
                },
            },
        },
        "spans": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "gpu": {
                        "type": ["object", "null"],
                        "description": "what it had of its GPU; null where it is not known to have run on a shared one",
                        "properties": {
                            "gpus": {"type": "array", "items": _TEXT, "description": "several: which is not known"},
                            **_HELD,
                            "found_by": {"enum": ["process", "container", "service"]},
                            "resolution_seconds": _SECONDS,
                            "upper_bound": {"type": "boolean"},
                        },
                    }
                },
            },
        },
    },
}
_ERROR = {"application/json": {"schema": {"type": "object", "properties": {"error": _TEXT}}}}


def document(name: str) -> dict[str, Any]:
    """Arguments of FastAPI's add_api_route that describe the address `name`."""
    properties = _ENVELOPE | {key: {"type": "array", "items": {"type": "object"}} for key in _LISTS.get(name, ())}
    properties |= _EXTRA.get(name, {})
    answers: dict[int | str, dict[str, Any]] = {
        200: {
            "description": "the answer",
            "content": {"text/csv": {"schema": _TEXT}}
            if name == "csv"
            else {"application/json": {"schema": {"type": "object", "properties": properties}}},
        },
        400: {"description": "a parameter cannot be used; the message names it and the remedy", "content": _ERROR},
    }
    if name in ("traces", "trace"):
        answers[503] = {"description": "the trace source cannot answer", "content": _ERROR}
    if name in _MISSING:
        answers[404] = {"description": f"no such {_MISSING[name]}", "content": _ERROR}
    parameters = [
        {"name": key, "in": "query", "required": False, "description": text, "schema": _TEXT}
        for key, text in _PARAMETERS.get(name, {}).items()
    ]
    extra: dict[str, Any] = {"responses": answers}
    if parameters:
        extra["parameters"] = parameters
    return {
        "summary": _SUMMARIES[name],
        "methods": ["GET"],
        "operation_id": name,
        "response_model": None,
        "openapi_extra": extra,
    }
