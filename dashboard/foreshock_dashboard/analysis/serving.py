"""Readings → what model servers tell, by service and by replica."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from foreshock_dashboard.analysis.rows import Named, keys_of, ratio, rows_of, service_of, while_up
from foreshock_dashboard.model.inference import Inference, Replica
from foreshock_dashboard.model.query import Floats, Matrix
from foreshock_dashboard.model.readings import Readings
from foreshock_dashboard.model.service import Service

TOLD = ("running", "waiting", "cache", "preempted", "finished", "prompt_tokens", "generated_tokens")
TIMED = ("queued", "per_token", "answered")


def inference_of(readings: Readings) -> Inference | None:
    """Arrange what model servers tell; None where there is none. A replica that is gone tells nothing."""
    told = {key: readings[key] for key in (*TOLD, *(f"{key}_{part}" for key in TIMED for part in ("sum", "count")))}
    alive = {key: while_up(matrix, readings["up"]) for key, matrix in told.items()}
    replicas = keys_of(list(alive.values()), _replica)
    if not replicas:
        return None
    services = sorted({replica.service for replica in replicas})
    by_replica = {key: rows_of(matrix, replicas, _replica) for key, matrix in alive.items()}
    there = ~np.isnan(by_replica["running"]) | ~np.isnan(by_replica["waiting"])
    if there.any():  # rates fade for a window after a replica has gone; its gauges end with it
        by_replica = {key: np.where(there, rows, np.nan) for key, rows in by_replica.items()}
    by_replica["cache"] = _mean_over_engines(alive["cache"], by_replica["cache"], replicas)
    place = {service: i for i, service in enumerate(services)}
    of = np.array([place[replica.service] for replica in replicas], np.intp)

    def total(key: str) -> Floats:
        return _totals(by_replica[key], of, len(services))

    def mean(key: str) -> Floats:
        return ratio(total(f"{key}_sum"), total(f"{key}_count"))

    busy = np.where(
        np.isnan(by_replica["running"]) & np.isnan(by_replica["waiting"]),
        np.nan,
        np.nan_to_num(by_replica["running"]) + np.nan_to_num(by_replica["waiting"]),
    )
    counted = _totals((~np.isnan(by_replica["cache"])).astype(np.float64), of, len(services))
    return Inference(
        services=tuple(services),
        running=total("running"),
        waiting=total("waiting"),
        cache=ratio(total("cache"), counted),
        preempted=total("preempted"),
        finished=total("finished"),
        queued=mean("queued"),
        first_token=rows_of(readings["first_token_p95"], services, _of_service, copies=True),
        per_token=mean("per_token"),
        prompt_tokens=total("prompt_tokens"),
        generated_tokens=total("generated_tokens"),
        replicas=tuple(replicas),
        replica_busy=busy,
        replica_finished=by_replica["finished"],
        replica_seconds=ratio(by_replica["answered_sum"], by_replica["answered_count"]),
    )


def _of_service(labels: Named) -> Service:
    """The service that a model server says it is, else its model's name, else its job's."""
    return service_of(labels) or Service("", labels.get("model_name") or labels.get("job", ""))


def _replica(labels: Named) -> Replica:
    return Replica(_of_service(labels), labels.get("instance", ""))


def _totals(rows: Floats, of: NDArray[np.intp], count: int) -> Floats:
    """Sums of the rows of each service; NaN where none has a sample."""
    out = np.zeros((count, rows.shape[1]))
    known = np.zeros((count, rows.shape[1]), dtype=bool)
    np.add.at(out, of, np.nan_to_num(rows))
    np.logical_or.at(known, of, ~np.isnan(rows))
    return np.where(known, out, np.nan)


def _mean_over_engines(cache: Matrix, total: Floats, replicas: Sequence[Replica]) -> Floats:
    """The engines of one server have a cache each; of their shares the mean counts."""
    told = Matrix(cache.times, cache.labels, (~np.isnan(cache.values)).astype(np.float64))
    return ratio(total, rows_of(told, replicas, _replica))
