"""How a service is, in one sentence for its owner. Pure."""

from __future__ import annotations

from foreshock_dashboard.model.incident import Incident
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.model.types import Json
from foreshock_dashboard.render.clause import Text, text, time
from foreshock_dashboard.render.incident_summary import summary_clauses
from foreshock_dashboard.render.units import duration, percent
from foreshock_dashboard.web.state.conditions import open_incidents

SOON = 0.5
"""Chance of missing its objective within ten minutes from which that is the news."""


def worst(snapshot: Snapshot, who: Service) -> Incident | None:
    """The gravest of the open incidents that it has a part in."""
    parts = ((item, (item.service, item.aggressor, *item.victims)) for item in open_incidents(snapshot))
    return next((item for item, named in parts if who in named), None)


def sentence(snapshot: Snapshot, who: Service, told: Json) -> Text:
    """The worst that is known of it. `told`: its figures, as `service.service` has them."""
    if item := worst(snapshot, who):
        return summary_clauses(item)
    if told["health"] != "unknown" and told["rate"] and told["promise"] is None:
        return text(f"{_figures(who, told)}. ", _unpromised(snapshot))
    return text(_state(who, told))


def _state(who: Service, told: Json) -> str:
    if told["health"] == "unknown":
        return f"Nothing fresh is known of {who}: what follows is the last that it told."
    if not told["rate"]:
        gpus = told["gpus"]
        doing = f"it works on {gpus} GPU{'s' if gpus > 1 else ''}" if gpus else "nothing of it is seen on a GPU"
        return f"{who} gets no requests that are known; {doing}."
    promise = told["promise"]
    word = "misses" if (told["used"] or 0.0) > 1 else "keeps"
    text = f"{who} {word} its {'usual level' if promise['learned'] else 'objective'}: {_against(told, promise)}."
    if word == "keeps" and (told["risk"] or 0.0) >= SOON and told["breach"] is not None:
        text = f"{who} may miss its objective in {told['breach'] / 60:.0f} min: {_against(told, promise)}."
    if told["load"] is not None and told["safe"] is not None and told["load"] > told["safe"]:
        text += f" It is asked for {percent(told['load'])} of what it can do; {percent(told['safe'])} is safe."
    return text


def _against(told: Json, promise: Json) -> str:
    parts = []
    if told["p95"] is not None:
        parts.append(f"p95 {duration(told['p95'])} of at most {duration(promise['seconds'])}")
    if told["failed"] is not None:
        parts.append(f"{percent(told['failed'])} failed of at most {percent(promise['failed'])}")
    return ", ".join(parts) or "no request ended lately"


def _figures(who: Service, told: Json) -> str:
    p95 = f"p95 {duration(told['p95'])}" if told["p95"] is not None else "no duration known"
    failed = f", {percent(told['failed'])} failed" if told["failed"] is not None else ""
    return f"{who}: {p95}{failed}"


def _unpromised(snapshot: Snapshot) -> Text:
    if not snapshot.learning.done:
        have, need = snapshot.learning.have / 60, snapshot.learning.need / 60
        return text(
            f"What is usual is still being learned ({have:.0f} of {need:.0f} min); --objectives sets a promise."
        )
    at = (" at ", time(snapshot.world.time)) if snapshot.world else ()
    return text("Nothing is promised for it and too little known of it", *at, " to learn what is usual.")
