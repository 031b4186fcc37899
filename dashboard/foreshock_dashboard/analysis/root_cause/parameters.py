"""All parameters of the root-cause ranking in one table.

Every duration is given in seconds and in points of the data, and the larger one counts: ten seconds or five minutes may
lie between two points. The values were set on development data only; `docs/internals/analysis.md` names the sets.
"""

from __future__ import annotations

from collections.abc import Mapping

from foreshock_dashboard.model.explanation import SignalKind
from foreshock_dashboard.stats.duration import Duration

# Windows around the given time.
BEFORE = Duration(120.0, 2)
"""Analyzed time before the given one, which may be when the problem was first noticed."""
AFTER = Duration(600.0, 2)
"""Analyzed time after it, which may be when the cause began, and takes minutes to show."""
EARLY = Duration(60.0, 1)
"""Time before the given one in which a deviation counts in full; earlier ones count less, by `ONSET_DECAY`."""
LATE = Duration(120.0, 2)
"""Time after it in which a deviation counts in full; later ones count less, by `ONSET_DECAY`."""
GAP = Duration(900.0, 2)
"""Time before the analyzed one that is neither: the problem may have been noticed late. Left out of short histories."""
RECENT = Duration(120.0, 2)
"""Time just before the analyzed one: what stays of an earlier incident shows there."""
BASELINE = Duration(3600.0, 720)
"""Longest baseline: an hour at 1 s, two hours at 10 s, two and a half days at 300 s."""
MIN_BASELINE_POINTS = 5
"""Fewest points of a baseline."""
SUSTAINED = Duration(60.0, 1)
"""Duration for which a deviation must last."""
SMOOTHED_STEP_SECONDS = 30.0
"""Distance of points up to which gauges are smoothed by a median of three; beyond, it would dilute short faults."""

RESOURCE_SUSTAINED = Duration(120.0, 1)
"""The same for resources, which have bursts of a sample."""

# The normal range.
TAIL_QUANTILE = 0.98
"""Quantile of the normal period that is worth `TAIL_SCALES`, so that recurring peaks are not an anomaly."""
TAIL_SCALES = 2.33
"""Scales of the tail quantile: those of a normal distribution's 99% quantile."""
MAX_TAIL_RATIO = 3.0
"""Most that the tail widens the scale of a latency: the history holds earlier incidents, too."""
LASTING_SCALES = 6.0
"""Scales of the middle from which an excursion at the end of the past is not part of the baseline."""
PAST_QUANTILE = 0.9
"""Share of past windows, as long as the present one, whose largest deviation is ordinary. Half of a window overlaps."""
ORDINARY_Z = 2.0
"""Scales that what is reached in the other windows is worth: by a signal without a number of requests, which has no
sampling error, and by any resource of the same metric."""
MIN_PAST_WINDOWS = 11
"""Fewest past windows from which this is known, so that the largest of them does not decide."""
MIN_FREEDOM = 2.0
"""Least number of independent points of a scale."""
MIN_LATENCY_SCALE = 0.06
"""Least scale of the logarithm of a latency."""
MIN_TRAFFIC_SCALE = 0.12
"""Least scale of the logarithm of a request rate."""
MIN_ERROR_SCALE = 0.004
"""Least scale of an error rate."""
MIN_SCALE_TO_LEVEL_RATIO = 0.05
"""Least scale of other metrics over their level: a change of a few percent is never an anomaly."""
MIN_SCALE_TO_PEAK_RATIO = 0.02
"""Least scale over the largest value: a series that was always 0 scores at most 50."""
MIN_SHARE_SCALE = 0.02
"""Least scale of shares, as of the CPU of a limit or of a host that is used."""
DECREASE_WEIGHT = 0.5
"""Weight of a decrease of a resource against an increase: a failing service makes others idle."""

# Counts before conclusions: standard error of a statistic of n requests, times the root of n, as log ratio.
MEAN_NOISE, QUANTILE_NOISE, TAIL_NOISE = 1.3, 1.5, 2.2
"""Of the mean, of quantiles up to p95, and of p99, of latencies somewhat more spread than exponential ones."""
TRAFFIC_NOISE = 1.5
"""Of a count of requests, or of connections and files, which come in bursts, over that of a Poisson process."""

# The joint gate.
MODERATE_Z = 2.0
"""Scales from which the asked service is moderately anomalous."""
GATE_Z = 4.2
"""Scales from which there is an incident: root of the sum of squares of the strongest own deviation of a candidate,
and of what the asked service shows times `SYMPTOM_WEIGHT`."""
LOWERED_GATE_Z = 3.8
"""The same where no earlier window of the baseline reached as much, of `EARLIER_WINDOWS`: the system is quiet."""
EARLIER_WINDOWS = 19
"""Earlier windows that are compared, half of one overlaps: the present is the most anomalous of twenty."""
SYMPTOM_WEIGHT = 0.4
"""Weight of the asked service in the gate: it is the same for all candidates."""
MIN_SYMPTOM_Z = 1.0
"""Scales that the asked service has to show, or else only candidates that it reaches by calls count."""
INHERITED_WEIGHT = 0.5
"""Weight in the gate of a latency where the own excess of its service is known."""
RESOURCE_GATE_WEIGHT, OTHER_GATE_WEIGHT = 0.5, 0.25
"""Weights in the gate of resources and of metrics of unknown meaning: alone they are weak evidence."""
LIMIT_RATIO, THROTTLED_RATIO = 0.9, 0.25
"""Usage over its limit, and share of throttled CPU periods, from which a limit is reached: then it counts in full."""
GATE_WEIGHTS: Mapping[SignalKind, float] = {"resource": RESOURCE_GATE_WEIGHT, "other": OTHER_GATE_WEIGHT}
ANOMALOUS_Z = 3.0
"""Scales from which a series is named as a reason, and a service is a candidate without calls."""

# The flow of suspicion.
CONFIDENCE_SCALES = 2.5
"""Scales at which the confidence in an anomaly is 1 - 1/e."""
ONSET_DECAY = Duration(120.0, 1)
"""Time constant of the weight of a cause that begins after its effect."""
ONSET_TOLERANCE_POINTS = 1
"""Points by which a cause may be seen later than its effect without loss: bins start at different times."""
UNINSTRUMENTED_WEIGHT = 0.2
"""Weight of external hosts, virtual nodes, and hosts of services against services that report themselves."""
CLIENT_ONLY_PRIOR = 0.7
"""Share given to the callee of an excess that only the client measures, where no other calls show which side it is."""
TIMEOUT_SLOWDOWN = 3.0
"""Slowdown of a callee from which its timeouts may be the errors of a caller that is slow as well."""
TIMEOUT_WEIGHT = 0.5
"""Weight of that explanation."""
UNREPORTED_ERRORS_WEIGHT = 0.3
"""Weight of failed calls that a service received without reporting errors: its client times out early."""
INDUCED_WEIGHT = 0.3
"""Weight of changed calls of a service with slow or failing callees: what follows them is not called."""
EXONERATED_WEIGHT = 0.2
"""Weight of an anomalous resource of a service whose own latency and errors are normal."""
LEAST_OWN_Z = 0.3
"""Scales that a service without an own deviation counts with: suspicion weighs by the square of the own deviation."""
MIN_SUSPECT_SHARE = 0.07
"""Share of the suspicion, before it is weighted, from which a candidate counts in the gate."""
SERVING_WEIGHT = 0.25
"""Weight of an anomalous service that the flow does not reach, and whose latency is known: it would show in calls."""
UNREACHED_EXPONENT = 3.0
"""Power of the ratio of strengths by which such services are compared with those reached: maps are incomplete."""
MAX_UNREACHED_MASS = 2.0
"""Most suspicion of such a service, over that of all services reached."""

# The mass of excess latency.
CALLEE_PRIOR, CALLER_PRIOR = 0.3, 0.15
"""Weights with which the callee and the caller of a call start to share what only the caller measures."""
MIN_MEAN_SCALE = 0.1
"""Least standard error of a mean over its level."""
HALF_MASS_RATIO = 0.05
"""Excess over the seconds that all services normally spend at which the mass weighs as much as the flow."""

# Robust scores without a map of calls.
TOP_METRICS = 3
"""Metrics of a service that count, and that are reported."""
PROPAGATING_WEIGHT = 0.7
"""Weight of latency, errors, and traffic, which propagate along calls, against CPU, memory, and disk."""
MAX_WEAK_CANDIDATES = 5
"""Services reported where the gate does not pass."""
