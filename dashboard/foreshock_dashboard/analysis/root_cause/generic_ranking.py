"""Which service is to blame for what another one suffers, from nothing but how odd each is and who calls whom."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from foreshock_dashboard.analysis.root_cause.metric_anomalies import ODD, Oddity
from foreshock_dashboard.model.action import Reason
from foreshock_dashboard.model.incident import Candidate
from foreshock_dashboard.model.service import Service

SUFFERS = 2.0
"""Score from which a service may suffer by one that is `VERY_ODD`; by itself it does from `ODD` on."""
VERY_ODD = 5.0
PATIENCE = 120.0
"""Seconds by which one that becomes odd after the victim loses most of its blame: causes come first."""
BESIDE = 0.25
"""Weight of what is only odd beside what is known: those that no call leads to may share what nobody tells of."""
PASSES = 20
"""Rounds of passing blame on; a chain of calls is seldom longer, and a cycle ends."""
SIGNS = 3
"""Metrics that count, and that are named."""
_SPREADS = re.compile(
    r"latenc|duration|response|elapsed|error|fail|timeout|abort|5xx|request|calls|load|qps|rps|throughput"
)
SPREADING = 0.7
"""Weight of durations, errors and requests: they spread along calls, while processor, memory and disk are one's own."""


_LOAD = re.compile(
    r"(requests?|calls|queries|messages|tokens|events|received|sent)(_total|_count|s)?$|_(count|load|qps|rps|throughput)$|^load$"
)


class Suspect(NamedTuple):
    """A service with its metrics, the oddest first; score is that one's."""

    service: Service
    score: float
    signs: tuple[Oddity, ...]


def suspects(found: Iterable[Oddity], known: Iterable[Service] = ()) -> Mapping[Service, Suspect]:
    """Every service with what is odd about it.

    A service without a namespace is the only one of its name that has one, also among those `known` otherwise.
    """
    listed: dict[Service, list[Oddity]] = {}
    for oddity in found:
        listed.setdefault(oddity.service, []).append(oddity)
    full: dict[str, set[Service]] = {}
    for who in {*listed, *known}:
        if who.namespace:
            full.setdefault(who.name, set()).add(who)
    for who in [who for who in listed if not who.namespace and len(full.get(who.name, ())) == 1]:
        (same,) = full[who.name]
        listed.setdefault(same, []).extend(listed.pop(who))
    out = {}
    for who, signs in listed.items():
        signs.sort(key=lambda sign: (-sign.score, sign.metric))
        out[who] = Suspect(who, signs[0].score, tuple(signs))
    return out


def blended(first: tuple[Candidate, ...], then: tuple[Candidate, ...]) -> tuple[Candidate, ...]:
    """Candidates by what is known of the metrics, and besides, with the weight `BESIDE`, by how odd they are."""
    scores: dict[Service, float] = {}
    reasons: dict[Service, tuple[Reason, ...]] = {}
    for candidates, weight in ((first, 1 - BESIDE), (then, BESIDE)):
        for candidate in candidates:
            scores[candidate.service] = scores.get(candidate.service, 0.0) + weight * candidate.score
            reasons[candidate.service] = reasons.get(candidate.service, ()) + candidate.reasons
    total = sum(scores.values())
    order = sorted(scores, key=lambda who: (-scores[who], who))
    return tuple(Candidate(who, scores[who] / total, reasons[who]) for who in order)


def ranked(
    victim: Service, known: Mapping[Service, Suspect], calls: Mapping[Service, tuple[Service, ...]], step: float
) -> tuple[Candidate, ...]:
    """Who is to blame for what `victim` suffers, the likeliest first; scores sum to 1. Empty where nothing is wrong.

    calls: whom each service calls, as far as that is known: blame then flows along calls and stops where nothing
    further down is odd. step: the grid's, in seconds.
    """
    own = known.get(victim)
    odd = {who: found for who, found in known.items() if found.score >= ODD}
    if own is None or not odd:
        return ()
    suffers = max((sign.score for sign in own.signs if not _asked_more(sign)), default=0.0)
    if suffers < ODD and (suffers < SUFFERS or max(found.score for found in odd.values()) < VERY_ODD):
        return ()
    began = _since(own) if own.score >= ODD else math.inf
    weight = {who: _odd(found) * _early(_since(found) - began, step) for who, found in odd.items()}
    if calls.get(victim):
        mass = _flow(victim, weight, calls)
        weight = {who: mass.get(who, 0.0) + BESIDE * value / sum(weight.values()) for who, value in weight.items()}
    total = sum(weight.values())
    order = sorted(weight, key=lambda who: (-weight[who], who))
    return tuple(Candidate(who, weight[who] / total, reasons(odd[who])) for who in order if weight[who] > 0)


def _asked_more(sign: Oddity) -> bool:
    """To be asked more is no harm by itself; it may be what harms others."""
    return sign.now > sign.usual and _LOAD.search(sign.metric.lower()) is not None


def _since(suspect: Suspect) -> float:
    return min(sign.since for sign in suspect.signs if sign.score >= ODD)


def _odd(suspect: Suspect) -> float:
    """The oddest sign and the breadth of the few oddest: what is at fault shows it in more ways than one.

    In logarithms, for scores of different metrics compare only roughly.
    """
    worth = sorted((_worth(sign) for sign in suspect.signs), reverse=True)[:SIGNS]
    return (worth[0] + sum(worth) / len(worth)) / 2


def _worth(sign: Oddity) -> float:
    return math.log1p(sign.score) * (SPREADING if _SPREADS.search(sign.metric.lower()) else 1.0)


def _early(later: float, step: float) -> float:
    return math.exp(-max(0.0, later - 2 * step) / max(PATIENCE, 2 * step))


def _flow(
    victim: Service, weight: Mapping[Service, float], calls: Mapping[Service, tuple[Service, ...]]
) -> Mapping[Service, float]:
    """An absorbing walk: each passes on to the odd ones it calls as much as they are as odd, and keeps the rest."""
    kept: dict[Service, float] = {}
    moving = {victim: 1.0}
    for _ in range(PASSES):
        onward: dict[Service, float] = {}
        for who, mass in moving.items():
            mine = weight.get(who, 0.0)
            shares = {
                callee: min(1.0, weight[callee] / mine) if mine else 1.0
                for callee in calls.get(who, ())
                if callee in weight and callee != who
            }
            passed = max(shares.values(), default=0.0)
            kept[who] = kept.get(who, 0.0) + mass * (1 - passed)
            for callee, share in shares.items():
                onward[callee] = onward.get(callee, 0.0) + mass * passed * share / sum(shares.values())
        moving = onward
    for who, mass in moving.items():
        kept[who] = kept.get(who, 0.0) + mass
    return kept


def reasons(suspect: Suspect) -> tuple[Reason, ...]:
    """Its most anomalous metrics."""
    told = dict.fromkeys(sign.metric for sign in suspect.signs if sign.score >= ODD)
    by_name = {sign.metric: sign for sign in reversed(suspect.signs)}
    return tuple(
        Reason("metric", suspect.service, name, by_name[name].now, by_name[name].usual, by_name[name].since)
        for name in list(told)[:SIGNS]
    )
