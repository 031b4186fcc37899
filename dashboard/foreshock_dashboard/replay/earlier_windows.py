"""Whether evidence below the gate is stronger than at any earlier time: a quiet system needs less of it.

The gate has to hold on systems where something is always odd. The same question, asked about earlier times of a system,
shows how odd it normally is: this is a permutation test of the present against the past, without an assumption about
distributions (compare conformal p-values, Vovk et al., 2005).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from foreshock_dashboard.analysis.root_cause import parameters as use
from foreshock_dashboard.analysis.root_cause.deviation import AnalysisWindow
from foreshock_dashboard.analysis.root_cause.rank_signals import SignalRanker
from foreshock_dashboard.analysis.root_cause.signal_rows import SignalRow
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats


def was_less_anomalous(
    rows: Sequence[SignalRow], window: AnalysisWindow, affected: Service | None, strength: float
) -> bool:
    """Whether the evidence about a service, or about all, was weaker than `strength` in all earlier windows.

    False without `EARLIER_WINDOWS` of them.
    """
    if not use.LOWERED_GATE_Z <= strength < use.GATE_Z:
        return False
    number = 0
    for past_rows, past_window in _past(rows, window):
        if SignalRanker(past_rows, past_window).ranking(affected).strength >= strength:
            return False
        number += 1
    return number >= use.EARLIER_WINDOWS


def _past(rows: Sequence[SignalRow], window: AnalysisWindow) -> Iterator[tuple[list[SignalRow], AnalysisWindow]]:
    """`EARLIER_WINDOWS` earlier windows, the newest first, each with the rest of the baseline before it; else none."""
    end, step = window.baseline_end, window.step
    before = max(1, round(use.BEFORE.at(step) / step))
    length = before + max(1, round(use.LATE.at(step) / step))
    starts = np.linspace(end - length, 0, use.EARLIER_WINDOWS).astype(int).tolist()
    if starts[0] - starts[1] < length / 2:
        return
    for start in starts:
        own = slice(start, start + length)
        times = np.concatenate([window.times[:end], window.times[own]])
        yield (
            [
                row._replace(
                    values=_moved(row.values, end, own),
                    counts=row.counts if row.counts is None else _moved(row.counts, end, own),
                )
                for row in rows
            ],
            AnalysisWindow(times, end, end, float(window.times[start + before])),
        )


def _moved(values: Floats, end: int, own: slice) -> Floats:
    """The values before `end` without those of a window, and these after them."""
    rest = values[:end].copy()
    rest[own] = np.nan
    return np.concatenate([rest, values[own]])
