"""Whether a service that is well would stay down after a short loss of capacity, because of its callers' retries.

Metastable failures (Bronson et al., HotOS 2021; Huang et al., OSDI 2022): with a attempts, of which each fails with
p = P(W > time-out), a call costs A(p) = (1 − pᵃ)/(1 − p) attempts, and the load is λ = λ₀·A(p(λ)). Where λ₀·a is more
than the capacity, this has a second root at which nearly everything fails: the service stays there after the trigger is
gone. How near it is tells the *margin*: the shortest loss of all capacity that takes it there.
"""

from __future__ import annotations

import math
from typing import NamedTuple

LONGEST = 120.0
"""Seconds: who loses all capacity for longer has another problem than retries."""
SOFT = 0.15
"""Width of P(W > time-out) about the time-out, as a share of it: requests differ, and so do their waits."""
TIMEOUTS = 30
"""The same in time-outs: by then all that is given up comes back as often as it ever will."""
MOST = 8.0
"""Attempts of a call, over all layers, beyond which more change nothing: the load is many times the capacity."""
PATIENCE = 12
"""Time-outs that the fluid runs on after the loss, to see whether it comes back."""
PER_TIMEOUT = 6
"""Steps of the fluid per time-out."""
HALVINGS = 6
"""Of the interval of the margin: to two seconds."""
DECIDED = 1e-6
"""Share of the slack by which a queue must be longer than it at the end, to be so without a look at every step."""


class Loop(NamedTuple):
    """A service and the retries of its callers. load: first attempts over capacity. attempts: of a call at most, over
    all layers, the first included. slack: seconds for which a request may wait before its client gives it up. timeout:
    seconds until it does."""

    load: float
    attempts: float
    slack: float
    timeout: float


def attempts_per_call(failing: float, attempts: float) -> float:
    """A(p) = (1 − pᵃ)/(1 − p), p the share 0…1 of attempts that fail, a the attempts of a call at most."""
    return attempts if failing >= 1 else (1 - failing**attempts) / (1 - failing)


def gives_up(wait: float, slack: float) -> float:
    """P(W > time-out) at a mean wait of so many seconds, logistic."""
    return 1 / (1 + math.exp(-max(-50.0, min(50.0, (wait - slack) / (SOFT * slack)))))


def has_high_root(loop: Loop) -> bool:
    """Whether the load would be more than the capacity if everything failed: λ₀·A(1) > μ."""
    return loop.load * attempts_per_call(1.0, loop.attempts) > 1


def stays_down(loop: Loop, seconds: float) -> bool:
    """Whether the fluid is still down long after all capacity was lost for so many seconds.

    One queue in seconds of work, first in, first out. What is given up is worked off all the same (most servers are not
    told), and comes back one time-out later until its attempts are used up. It ends early where nothing that is left
    of the time could change the answer.
    """
    step = loop.timeout / PER_TIMEOUT
    attempts = min(loop.attempts, MOST)
    layers = math.ceil(attempts)
    last = attempts - (layers - 1)
    coming = [[0.0] * (layers - 1) for _ in range(PER_TIMEOUT)]  # of each step: second attempts, third ones, …
    queue = 0.0
    steps = math.ceil(seconds / step) + PATIENCE * PER_TIMEOUT
    spare = 1 - loop.load  # what is worked off in a step at most
    calm = spare >= gives_up(0.0, loop.slack)  # whether an empty queue stays empty once no more than fits comes back
    for i in range(steps):
        gone = min(max(seconds / step - i, 0.0), 1.0)
        wait = queue + gone * step
        failing = gives_up(wait, loop.slack)
        again = coming[i % PER_TIMEOUT]
        arrived = sum(again, loop.load)
        if again:
            coming[i % PER_TIMEOUT] = [each * failing for each in (loop.load, *again[:-1])]
            coming[i % PER_TIMEOUT][-1] *= last
        queue = max(0.0, queue + (arrived - 1 + gone) * step)
        if queue - max(spare, 0.0) * (steps - 1 - i) * step > (1 + DECIDED) * loop.slack:
            return True
        if calm and not queue and (i + 1) * step >= seconds and max(map(sum, coming)) <= spare:
            return False
    return gives_up(queue, loop.slack) > 0.5


def longest(loop: Loop) -> float:
    """Seconds of a loss of capacity beyond which nothing is asked."""
    return min(LONGEST, TIMEOUTS * loop.timeout)


def margin(loop: Loop) -> float:
    """Seconds for which all capacity must be lost at least, to take the service down for good.

    0 where it is down by its load alone, infinite where it comes back from `LONGEST` or `TIMEOUTS`, or is not known. By
    bisection, about a millisecond.
    """
    if not (loop.load > 0 and loop.slack > 0 and loop.timeout > 0) or not has_high_root(loop):
        return math.inf
    if stays_down(loop, 0.0):
        return 0.0
    low, high = 0.0, longest(loop)
    if not stays_down(loop, high):
        return math.inf
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if stays_down(loop, middle) else (middle, high)
    return high
