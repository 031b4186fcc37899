"""Words of incidents: severities, states, causes, roles, and the course."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from foreshock_dashboard.model.incident import Cause, ConfidenceLevel, Quality, Severity, State
from foreshock_dashboard.response.values import FeedbackVerdict

SEVERITIES: Mapping[Severity, str] = {"critical": "Critical incident", "warning": "Early warning"}
"""Of incidents. The states of services, such as `At risk`, are conditions."""
STATES: Mapping[State, str] = {"firing": "firing", "recovering": "recovering", "resolved": "resolved"}
CAUSES: Mapping[Cause, str] = {
    "overload": "Overload",
    "scale_up_lag": "Scale-up lag",
    "gpu_contention": "GPU contention",
    "retry_storm": "Retry storm",
    "network": "Network",
    "dependency": "Failing dependency",
    "kv_cache_pressure": "KV cache pressure",
    "load_imbalance": "Load imbalance",
    "hardware": "Hardware fault",
    "change": "Change",
}
LOCAL_CAUSES: Mapping[Literal["dependency"], str] = {"dependency": "Local fault"}
"""Causes where the suspected service is the affected one itself."""
CONFIDENCE_LEVELS: Mapping[ConfidenceLevel, str] = {
    "low": "low confidence",
    "medium": "medium confidence",
    "high": "high confidence",
}
UNCERTAIN = "Cause uncertain"
"""Instead of the cause, where its confidence is low."""
NO_REASON = "none of its signals is anomalous"
"""Why a service is a candidate that shows no anomaly itself."""
QUALITIES: Mapping[Quality, str] = {"measured": "measured", "sampled": "sampled data", "inferred": "inferred"}
FEEDBACK: Mapping[FeedbackVerdict, str] = {
    "correct": "Correct cause",
    "wrong_cause": "Wrong cause",
    "not_useful": "Not useful",
}
NOTIFIED: Mapping[str, str] = {
    "early_warning": "early warning",
    "page": "page",
    "cause": "new cause",
    "resolved": "resolution",
}
"""What a notification was about, by its event in the journal."""
Role = Literal["suspect", "affected", "at_risk"]
ROLES: Mapping[Role, str] = {"suspect": "suspected cause", "affected": "affected", "at_risk": "at risk"}
"""Roles of services in an incident."""
TOO_FEW = ", too few requests to count"
"""After an SLO that a value exceeds without a breach."""
RISKS: Mapping[Literal["latent"], str] = {"latent": "Latent risk"}
"""Incidents that affect no service yet."""
COURSE: Mapping[str, str] = {
    "load": "Extra load began ",
    "anomaly": "First anomaly ",
    "anomaly_and_warning": "First anomaly and early warning ",
    "vulnerable": "Vulnerable since ",
    "ago": " ago",
    "warning": " → early warning ",
    "breach": " → first SLO breach ",
    "paged": " → paged ",
    "of": " for ",
    "when": " when ",
    "breached": " breached its SLO",
    "updated": "; cause revised based on evidence since ",
    "recovering": " → recovering since ",
}
"""The course of an incident, between its times."""
EVENTS: Mapping[str, str] = {"warning": SEVERITIES["warning"], "paged": "Paged", "recovering": "Recovering"}
"""Events of incidents on the timeline."""
REPORT_TEXTS: Mapping[str, str] = {
    "about": "Times are UTC. Values are {quality}.",
    "simulated": "Simulated platform. Times are UTC. Values are {quality}.",
    "not_paged": "no page sent",
    "no_page": "No page was sent.",
    "suspected": "{cause} ({confidence}).",
    "suspected_then": "Suspected cause when the page was sent: {cause}.",
    "no_evidence": "No evidence recorded.",
    "past_values": "Values as of {time}.",
    "no_impact": "Impact unknown: no entry service observed.",
    "impact": (
        "Measured over {minutes} min. Failed requests are those above the baseline error rate. "
        "Slowed requests (estimate): {slowed}."
    ),
    "saved": "Action within {minutes} min of the page would have saved up to {requests} requests.",
}
"""Sentences of a postmortem. `{names}` in braces stand for values."""
BREACH_BUCKETS: Mapping[int, str] = {
    60: "imminent",
    300: "median < 5 min",
    900: "median < 15 min",
    1800: "median < 30 min",
}
"""When an SLO breach is forecast, by the seconds that its median is below: half of the probability is after it."""
BREACH_TEXTS: Mapping[Literal["now", "beyond", "later", "interval", "none"], str] = {
    "now": "in breach",
    "beyond": "> 30 min",
    "later": "median > 30 min",
    "interval": "80% interval:",
    "none": "unlikely",
}
"""The same of a breach that lasts, of a time and of a median beyond the horizon, and where a breach is unlikely."""
