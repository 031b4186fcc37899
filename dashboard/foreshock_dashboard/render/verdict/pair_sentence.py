"""The wait of one service on another for the GPUs that they share, in a sentence."""

from __future__ import annotations

from foreshock_dashboard.model.service import Service
from foreshock_dashboard.render.clause import Text, filled, joined_text, place, text, time
from foreshock_dashboard.render.units import counted, percent
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


def no_shared_gpu(waiting: str | Service, neighbor: str | Service) -> str:
    """That two services share no GPU."""
    return joined_text(filled(PAIR_TEXTS["no_gpu"], waiting=place(str(waiting)), neighbor=place(str(neighbor))))
