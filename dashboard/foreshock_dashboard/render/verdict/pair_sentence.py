"""The wait of one service on another for the GPUs that they share, in a sentence."""

from __future__ import annotations

from foreshock_dashboard.model.incident import Incident
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.render.clause import Text, filled, in_sentence, joined_text, place, text, time
from foreshock_dashboard.render.incident_summary import cause_name
from foreshock_dashboard.render.units import counted, duration, percent
from foreshock_dashboard.render.words.gpus import PAIR_TEXTS
from foreshock_dashboard.render.words.panels import ABSENT


def wait_clauses(
    waiting: Service,
    neighbor: Service,
    ratio: float,
    gpus: int,
    *,
    baseline: float | None = None,
    is_serving: bool = True,
    since: float | None = None,
) -> Text:
    """`llm waits on train 46% of the time (baseline 3%, mean of 2 GPUs) since 12:34:56 UTC.`

    ratio, baseline: shares of time, 0 to 1. gpus: number of GPUs that the wait is the mean of. is_serving: whether the
    service that waits has requests. since: Unix seconds.
    """
    known = "" if baseline is None else f"baseline {percent(baseline)}, "
    of = f"mean of {gpus} GPUs" if gpus > 1 else counted(gpus, "GPU")
    who = text(waiting, "" if is_serving else f" ({ABSENT['requests']})")
    said = filled(PAIR_TEXTS["waits"], waiting=who, neighbor=neighbor, share=percent(ratio), of=known + of)
    return text(said, text(" since ", time(since)) if since is not None else (), ".")


def pair_clauses(waiting: Service, neighbor: Service, ratio: float | None, gpus: int, latency: Text = ()) -> Text:
    """The wait of a pair, 0 for none, or that nothing is known of it. latency: of the service that waits."""
    if ratio:
        return text(wait_clauses(waiting, neighbor, ratio, gpus), latency)
    said = PAIR_TEXTS["unknown" if ratio is None else "no_wait"]
    return text(
        filled(said, waiting=waiting, neighbor=neighbor, gpus=counted(gpus, "GPU")), () if ratio is None else latency
    )


def latency_text(p95: float, median: float) -> Text:
    """` p95 2.40 s (median 1.20 s).`, in seconds."""
    return text(f" p95 {duration(p95)} (median {duration(median)}).")


def no_contention(pairs: int) -> Text:
    """That no service waits, of so many pairs that share GPUs."""
    return filled(PAIR_TEXTS["no_contention"], pairs=counted(pairs, "pair"))


def other_cause(incident: Incident) -> Text:
    """That a wait is not the suspected cause of the open incident of its service."""
    return filled(PAIR_TEXTS["other_cause"], cause=in_sentence(cause_name(incident)))


def no_shared_gpu(waiting: str | Service, neighbor: str | Service) -> str:
    """That two services share no GPU."""
    return joined_text(filled(PAIR_TEXTS["no_gpu"], waiting=place(str(waiting)), neighbor=place(str(neighbor))))
