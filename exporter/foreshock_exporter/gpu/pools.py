"""Pools of GPUs, as whoever runs the host names them: what the option says, and what it comes to on the GPUs there are.

A rule is `NAME=0,1` or `NAME=GPU-…`, by indexes as nvidia-smi shows them or by UUIDs, those of MIG instances as well;
`NAME` alone is for the GPUs that no other rule names. Rules are parted by `;`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from foreshock_exporter.common.labels import MAX_LABEL_CHARS, label_value

RULE_SEPARATOR = ";"
"""Parts one rule from the next."""
_INDEX = re.compile(r"[0-9]{1,4}")
_UUID = re.compile(r"(GPU|MIG)-\S{1,120}")

MismatchReason = Literal["not_found", "overruled"]


@dataclass(frozen=True, slots=True)
class Pools:
    """The rules. `named`: pools by index or UUID; `others`: the pool of every GPU that is not named, "" for none."""

    named: Mapping[str, str] = field(default_factory=dict)
    others: str = ""

    def __bool__(self) -> bool:
        """Whether there is any rule."""
        return bool(self.named or self.others)

    def of(self, index: str, uuid: str) -> str:
        """The pool of a GPU, "" where no rule names it. Its UUID says more than its index, which may shift."""
        return self.named.get(uuid) or self.named.get(index) or self.others


class PoolMember(NamedTuple):
    """A GPU that is known: `gpu` is its index as it last was; `instances` are UUIDs of MIG instances that it shows."""

    gpu: str
    uuid: str
    instances: tuple[str, ...] = ()


class UnmatchedRule(NamedTuple):
    """An index or UUID that a rule names in vain: the host shows none such, or the GPU's UUID is in another pool."""

    named: str
    pool: str
    reason: MismatchReason


def parse_pools(text: str) -> Pools:
    """Read rules.

    Raises:
        ValueError: a rule cannot be read, or two of them are for the same GPU; the message says which.
    """
    named: dict[str, str] = {}
    others = ""
    for rule in (part.strip() for part in text.split(RULE_SEPARATOR)):
        name, equals, list_of = (part.strip() for part in rule.partition("="))
        _check(rule, name)
        if not equals:
            if others:
                raise ValueError(f"{others!r} and {rule!r} are both for all GPUs; say which one of them has: NAME=0,1")
            others = name
            continue
        for each in _listed(rule, list_of):
            if each in named:
                raise ValueError(f"GPU {each} is named twice, for {named[each]!r} and for {name!r}; leave one out")
            named[each] = name
    return Pools(named, others)


def _check(rule: str, name: str) -> None:
    if not name:
        raise ValueError(f"{rule!r} names no pool; write NAME, NAME=0,1 or NAME=GPU-…")
    if "," in name or label_value(name) != name:
        raise ValueError(
            f"{name!r} is no name for a pool: printable characters, {MAX_LABEL_CHARS} at most, no comma; write NAME=0,1"
        )


def _listed(rule: str, text: str) -> tuple[str, ...]:
    """The indexes, written without zeros in front, and UUIDs of a rule."""
    found = []
    for each in (part.strip() for part in text.split(",")):
        if not _INDEX.fullmatch(each) and not _UUID.fullmatch(each):
            raise ValueError(
                f"{rule!r} has {each!r}, which is neither an index as nvidia-smi shows it nor a UUID, GPU-… or MIG-…"
            )
        found.append(str(int(each)) if _INDEX.fullmatch(each) else each)
    return tuple(found)


def assigned_pools(pools: Pools, gpus: Iterable[PoolMember]) -> dict[str, str]:
    """Pools by UUID, of GPUs that a rule is for and of MIG instances that one names themselves."""
    found: dict[str, str] = {}
    for gpu in gpus:
        found[gpu.uuid] = pools.of(gpu.gpu, gpu.uuid)
        found |= {uuid: pools.named.get(uuid, "") for uuid in gpu.instances}
    return {uuid: pool for uuid, pool in found.items() if pool}


def unmatched_rules(
    pools: Pools,
    gpus: Collection[PoolMember],
    seen: Collection[PoolMember],
    count: int,
    before: Collection[UnmatchedRule] = (),
) -> tuple[UnmatchedRule, ...]:
    """What rules name in vain on a host whose driver names `count` GPUs.

    gpus: those that answer. seen: all that ever did, as they last were: a GPU that was lost is told elsewhere. before:
    what was found last, which holds for a UUID while a GPU does not answer: that may be the one.
    """
    uuids = {uuid for gpu in (*seen, *gpus) for uuid in (gpu.uuid, *gpu.instances)}
    by_index = {gpu.gpu: gpu.uuid for gpu in (*seen, *gpus)}
    found = []
    for named, pool in pools.named.items():
        missing = UnmatchedRule(named, pool, "not_found")
        if _INDEX.fullmatch(named):
            if int(named) >= count and named not in by_index:
                found.append(missing)
            elif pools.named.get(by_index.get(named, ""), pool) != pool:
                found.append(UnmatchedRule(named, pool, "overruled"))
        elif named not in uuids and (len(gpus) >= count or missing in before):
            found.append(missing)
    return tuple(found)
