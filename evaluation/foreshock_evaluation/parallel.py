"""Parallel work in processes of their own, with progress; a failure of one task leaves the others."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from typing import TypeVar

from foreshock_dashboard.common.progress import ProgressBar
from foreshock_dashboard.model.query import SourceError

log = logging.getLogger(__name__)

Task = TypeVar("Task")
Result = TypeVar("Result")


def run_parallel(
    work: Callable[[Task], Result], tasks: Sequence[tuple[str, Task]], jobs: int, bar: ProgressBar
) -> tuple[list[Result], list[tuple[str, str]]]:
    """Results of named tasks in the order of their completion, and the failures as (name, reason)."""
    results: list[Result] = []
    failed: list[tuple[str, str]] = []
    pool = ProcessPoolExecutor(jobs, mp_context=get_context("spawn"))
    try:
        names = {pool.submit(work, task): name for name, task in tasks}
        for i, future in enumerate(as_completed(names), 1):
            name = names[future]
            try:
                results.append(future.result())
            except SourceError as error:
                failed.append((name, str(error)))
            except Exception as error:  # outermost loop: the other tasks are done after any failure
                log.exception("%s cannot be scored", name)
                failed.append((name, f"{type(error).__name__}: {error}"))
            bar(f"{i} of {len(tasks)}: {name}", i / len(tasks))
    finally:
        pool.shutdown(cancel_futures=True)
    return results, sorted(failed)
