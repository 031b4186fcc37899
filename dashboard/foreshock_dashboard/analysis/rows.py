"""Readings → rows: series are named by what they are of, and arranged as one row per thing."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TypeVar

import numpy as np

from foreshock_dashboard.model.query import Floats, Matrix
from foreshock_dashboard.model.readings import service_at
from foreshock_dashboard.model.service import Service

Key = TypeVar("Key", bound=Hashable)
Named = Mapping[str, str]
Target = tuple[str, str]


def rows_of(
    matrix: Matrix, keys: Sequence[Key], key_of: Callable[[Named], Key | None], *, copies: bool = False
) -> Floats:
    """Arrange a matrix as one row per key; NaN where a key has no sample. Shape (keys, times).

    Series that share a key are summed, or, where they are `copies` of one thing (a host scraped by two jobs, or under
    another address than before), the first that has a sample counts. Series whose key is None or unknown are left out.
    """
    place = {key: i for i, key in enumerate(keys)}
    out = np.full((len(keys), len(matrix.times)), np.nan)
    layers: list[tuple[list[int], list[int]]] = []  # the first series of every key, the second of those that have two…
    seen: dict[int, int] = {}
    for i, labels in enumerate(matrix.labels):
        key = key_of(dict(labels))
        row = None if key is None else place.get(key)
        if row is None:
            continue
        depth = seen.get(row, 0)
        seen[row] = depth + 1
        if depth == len(layers):
            layers.append(([], []))
        layers[depth][0].append(row)
        layers[depth][1].append(i)
    for rows, series in layers:
        values, there = matrix.values[series], out[rows]
        out[rows] = np.where(np.isnan(there), values, there if copies else there + np.nan_to_num(values))
    return out


def keys_of(matrices: Sequence[Matrix], key_of: Callable[[Named], Key | None]) -> list[Key]:
    """What the series are of, sorted."""
    found = {key_of(dict(labels)) for matrix in matrices for labels in matrix.labels}
    return sorted((key for key in found if key is not None), key=repr)


def target_of(labels: Named) -> Target:
    """The scraped target."""
    return labels.get("job", ""), labels.get("instance", "")


def hosts_of(host: Matrix) -> dict[Target, str]:
    """Names of hosts by target."""
    named = (dict(labels) for labels in host.labels)
    return {target_of(labels): labels["host_name"] for labels in named if labels.get("host_name")}


def service_of(labels: Named) -> Service | None:
    """The service that labels name, if any."""
    service = service_at(labels)
    return service if service.name else None


def while_up(matrix: Matrix, up: Matrix) -> Matrix:
    """Without what rates still tell of a target after it went down: the window empties, the figure only fades."""
    there = {target_of(dict(labels)): values > 0 for labels, values in zip(up.labels, up.values, strict=True)}
    always = np.ones(len(matrix.times), dtype=bool)
    rows = zip(matrix.labels, matrix.values, strict=True)
    return Matrix.of(
        matrix.times,
        {labels: np.where(there.get(target_of(dict(labels)), always), values, np.nan) for labels, values in rows},
    )


def share(values: Floats) -> Floats:
    """A share of time: extrapolation may carry a rate a little past 1."""
    return np.minimum(values, 1.0)


def ratio(part: Floats, whole: Floats) -> Floats:
    """Their ratio; NaN where there is nothing to have a part of."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(whole > 0, part / whole, np.nan)
