"""GPU pools: parsing of the `--pool` rules and assignment of GPUs.

A rule is `NAME=0,1` or `NAME=GPU-…`, with indexes as shown by nvidia-smi or UUIDs of GPUs and MIG instances. `NAME`
alone applies to all GPUs without another rule. Rules are separated by `;`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from foreshock_exporter.model.family import MAX_LABEL_CHARS, label_value

RULE_SEPARATOR = ";"
"""Separator between rules."""
_INDEX = re.compile(r"[0-9]{1,4}")
_UUID = re.compile(r"(GPU|MIG)-\S{1,120}")

MismatchReason = Literal["not_found", "overruled"]


@dataclass(frozen=True, slots=True)
class Pools:
    """Parsed rules. `named`: pool by index or UUID; `others`: pool of all other GPUs, "" for none."""

    named: Mapping[str, str] = field(default_factory=dict)
    others: str = ""

    def __bool__(self) -> bool:
        """Whether there is any rule."""
        return bool(self.named or self.others)

    def of(self, index: str, uuid: str) -> str:
        """The pool of a GPU, "" where no rule names it. Its UUID says more than its index, which may shift."""
        return self.named.get(uuid) or self.named.get(index) or self.others


class PoolMember(NamedTuple):
    """GPU with its last index and the UUIDs of its MIG instances."""

    gpu: str
    uuid: str
    instances: tuple[str, ...] = ()


class UnmatchedRule(NamedTuple):
    """Index or UUID of a rule without effect: not on this host, or overruled by the rule of its UUID."""

    named: str
    pool: str
    reason: MismatchReason


def parse_pools(text: str) -> Pools:
    """Parse rules.

    Raises:
        ValueError: a rule is malformed, or two rules are for the same GPU; the message names the rule.
    """
    named: dict[str, str] = {}
    others = ""
    for rule in (part.strip() for part in text.split(RULE_SEPARATOR)):
        name, equals, gpus_text = (part.strip() for part in rule.partition("="))
        _check(rule, name)
        if not equals:
            if others:
                raise ValueError(f"{others!r} and {rule!r} both apply to all GPUs; list the GPUs of one: NAME=0,1")
            others = name
            continue
        for gpu in _parse_gpus(rule, gpus_text):
            if gpu in named:
                raise ValueError(f"GPU {gpu} is listed twice, for {named[gpu]!r} and {name!r}; remove one")
            named[gpu] = name
    return Pools(named, others)


def _check(rule: str, name: str) -> None:
    if not name:
        raise ValueError(f"{rule!r} names no pool; write NAME, NAME=0,1 or NAME=GPU-…")
    if "," in name or label_value(name) != name:
        raise ValueError(
            f"{name!r} is not a pool name (up to {MAX_LABEL_CHARS} printable characters, no comma); write NAME=0,1"
        )


def _parse_gpus(rule: str, text: str) -> tuple[str, ...]:
    """The indexes, written without zeros in front, and UUIDs of a rule."""
    result = []
    for gpu in (part.strip() for part in text.split(",")):
        if not _INDEX.fullmatch(gpu) and not _UUID.fullmatch(gpu):
            raise ValueError(
                f"{rule!r} has {gpu!r}, which is neither an index nor a UUID of nvidia-smi (GPU-... or MIG-...)"
            )
        result.append(str(int(gpu)) if _INDEX.fullmatch(gpu) else gpu)
    return tuple(result)


def assigned_pools(pools: Pools, gpus: Iterable[PoolMember]) -> dict[str, str]:
    """Pool by UUID, for GPUs with a rule and MIG instances with a rule of their own."""
    result: dict[str, str] = {}
    for gpu in gpus:
        result[gpu.uuid] = pools.of(gpu.gpu, gpu.uuid)
        result |= {uuid: pools.named.get(uuid, "") for uuid in gpu.instances}
    return {uuid: pool for uuid, pool in result.items() if pool}


def unmatched_rules(
    pools: Pools,
    gpus: Collection[PoolMember],
    seen: Collection[PoolMember],
    count: int,
    before: Collection[UnmatchedRule] = (),
) -> tuple[UnmatchedRule, ...]:
    """Rules without effect on a host with `count` GPUs.

    Args:
        gpus: GPUs that respond now.
        seen: all GPUs seen so far; a lost GPU is reported elsewhere.
        before: previous result. An unmatched UUID stays unmatched while a GPU does not respond.
    """
    uuids = {uuid for gpu in (*seen, *gpus) for uuid in (gpu.uuid, *gpu.instances)}
    by_index = {gpu.gpu: gpu.uuid for gpu in (*seen, *gpus)}
    result = []
    for named, pool in pools.named.items():
        missing = UnmatchedRule(named, pool, "not_found")
        if _INDEX.fullmatch(named):
            if int(named) >= count and named not in by_index:
                result.append(missing)
            elif pools.named.get(by_index.get(named, ""), pool) != pool:
                result.append(UnmatchedRule(named, pool, "overruled"))
        elif named not in uuids and (len(gpus) >= count or missing in before):
            result.append(missing)
    return tuple(result)
