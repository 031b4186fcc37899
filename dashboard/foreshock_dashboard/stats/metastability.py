"""Metastable failures: whether retries keep a service down after a short loss of capacity.

Bronson et al., HotOS 2021; Huang et al., OSDI 2022. With at most a attempts per call, each failing with probability
p = P(W > timeout), a call costs A(p) = (1 − pᵃ)/(1 − p) attempts, and the load is λ = λ₀·A(p(λ)). Where λ₀·a exceeds
the capacity, this has a second root at which nearly every attempt fails: the service stays there after the trigger is
gone. The *margin* is the shortest loss of all capacity that leads there.
"""

from __future__ import annotations

import math
from typing import NamedTuple

MAX_OUTAGE_SECONDS = 120.0
"""Longest outage considered; a longer one is another problem."""
TIMEOUT_SPREAD_RATIO = 0.15
"""Width of P(W > timeout) around the timeout, as a share of it: requests differ, and so do their waits."""
MAX_OUTAGE_TIMEOUTS = 30
"""Longest outage considered, in timeouts: by then retries have reached their full rate."""
MAX_ATTEMPTS = 8.0
"""Attempts per call, over all layers, beyond which more change nothing: the load is many times the capacity."""
RECOVERY_TIMEOUTS = 12
"""Timeouts simulated after the outage to see whether the service recovers."""
STEPS_PER_TIMEOUT = 6
"""Simulation steps per timeout."""
BISECTION_STEPS = 6
"""Halvings of the interval of the margin: a resolution of two seconds."""
DECIDED_RATIO = 1e-6
"""Excess of the final queue over the slack, as a share of the slack, that decides early without more steps."""


class RetryLoop(NamedTuple):
    """A service and the retries of its callers.

    `load`: first attempts over capacity. `attempts`: maximum per call over all layers, the first included. `slack`:
    seconds that a request may wait before its client times out. `timeout`: seconds until the client times out.
    `cancels`: whether the service drops requests whose client timed out, instead of processing them.
    """

    load: float
    attempts: float
    slack: float
    timeout: float
    cancels: bool = False


def attempts_per_call(failing: float, attempts: float) -> float:
    """A(p) = (1 − pᵃ)/(1 − p): attempts per call where a share `failing` of attempts fails, at most `attempts`."""
    return attempts if failing >= 1 else (1 - failing**attempts) / (1 - failing)


def timeout_probability(wait: float, slack: float) -> float:
    """P(W > timeout) at a mean wait of `wait` seconds; logistic."""
    return 1 / (1 + math.exp(-max(-50.0, min(50.0, (wait - slack) / (TIMEOUT_SPREAD_RATIO * slack)))))


def can_stay_down(loop: RetryLoop) -> bool:
    """Whether the load would exceed the capacity if every attempt failed: λ₀·A(1) > μ."""
    return loop.load * attempts_per_call(1.0, loop.attempts) > 1


def stays_down(loop: RetryLoop, outage: float) -> bool:
    """Whether the service is still down `RECOVERY_TIMEOUTS` after losing all capacity for `outage` seconds.

    A fluid model with one FIFO queue, in seconds of work. Timed-out attempts are still processed (most servers do not
    learn of the timeout) unless the service cancels them, and come back one timeout later until their attempts are used
    up. With cancellation no request waits longer than the slack; one that waits as long fails as often as not. The
    simulation ends early once the remaining time cannot change the answer.
    """
    step = loop.timeout / STEPS_PER_TIMEOUT
    attempts = min(loop.attempts, MAX_ATTEMPTS)
    layers = math.ceil(attempts)
    last = attempts - (layers - 1)
    retries = [[0.0] * (layers - 1) for _ in range(STEPS_PER_TIMEOUT)]  # due at each step: 2nd attempts, 3rd, ...
    queue = 0.0
    steps = math.ceil(outage / step) + RECOVERY_TIMEOUTS * STEPS_PER_TIMEOUT
    spare = 1 - loop.load  # most work that one step removes from the queue
    stable = spare >= timeout_probability(0.0, loop.slack)  # an empty queue stays empty without a burst of retries
    for i in range(steps):
        lost = min(max(outage / step - i, 0.0), 1.0)
        wait = queue + lost * step
        failing = timeout_probability(wait, loop.slack)
        due = retries[i % STEPS_PER_TIMEOUT]
        arrivals = sum(due, loop.load)
        if due:
            retries[i % STEPS_PER_TIMEOUT] = [rate * failing for rate in (loop.load, *due[:-1])]
            retries[i % STEPS_PER_TIMEOUT][-1] *= last
        queue = max(0.0, queue + (arrivals - 1 + lost) * step)
        if loop.cancels:
            queue = min(queue, loop.slack)
        if queue - max(spare, 0.0) * (steps - 1 - i) * step > (1 + DECIDED_RATIO) * loop.slack:
            return True
        if stable and not queue and (i + 1) * step >= outage and max(map(sum, retries)) <= spare:
            return False
    return timeout_probability(queue, loop.slack) > 0.5 or (loop.cancels and queue >= loop.slack)


def max_outage_seconds(loop: RetryLoop) -> float:
    """Longest outage for which the margin is computed, in seconds."""
    return min(MAX_OUTAGE_SECONDS, MAX_OUTAGE_TIMEOUTS * loop.timeout)


def outage_margin_seconds(loop: RetryLoop) -> float:
    """Shortest loss of all capacity, in seconds, after which the service stays down; by bisection.

    0 where its load alone keeps it down. Infinite where it recovers from `max_outage_seconds`, or where the loop is
    not fully known. Takes about a millisecond.
    """
    if not (loop.load > 0 and loop.slack > 0 and loop.timeout > 0) or not can_stay_down(loop):
        return math.inf
    if stays_down(loop, 0.0):
        return 0.0
    low, high = 0.0, max_outage_seconds(loop)
    if not stays_down(loop, high):
        return math.inf
    for _ in range(BISECTION_STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if stays_down(loop, middle) else (middle, high)
    return high
