"""All GPUs of a host: one collector per GPU, lost GPUs, XID errors, and pools."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from foreshock_exporter.common.log import ProblemLog
from foreshock_exporter.gpu.collector import GpuCollector, GpuOptions, GpuRecord
from foreshock_exporter.gpu.pools import MismatchReason, PoolMember, UnmatchedRule, assigned_pools, unmatched_rules
from foreshock_exporter.gpu.snapshot import GpuSnapshot, GpuState
from foreshock_exporter.gpu.watchdog import CallKey
from foreshock_exporter.gpu.xids import XidCounter
from foreshock_exporter.model.device import DeviceError, Driver, Identity
from foreshock_exporter.model.service import Resolver
from foreshock_exporter.model.xid import KernelMessage

_MISMATCH_MESSAGES: dict[MismatchReason, str] = {
    "not_found": "this host has no such GPU; nvidia-smi -L lists those that it has",
    "overruled": "another --pool names the UUID of this GPU, and that holds; leave one of them out",
}


class Sampler:
    """Owns one `GpuCollector` per GPU. Has no thread and no clock; `collectors` may be read from other threads."""

    def __init__(
        self, driver: Driver, resolver: Resolver, problems: ProblemLog | None = None, options: GpuOptions | None = None
    ) -> None:
        options = options or GpuOptions()
        self._driver = driver
        self._problems = problems or ProblemLog()
        self._records: dict[str, GpuRecord] = {}
        self._options = options
        self._expected = options.expected()
        self._pools = options.pools
        self._unmatched_rules: tuple[UnmatchedRule, ...] = ()
        self._instances: dict[str, tuple[str, ...]] = {}  # of each GPU, as it last showed them
        self._xids = XidCounter(self._records)
        self._new_collector: Callable[[int], GpuCollector] = lambda index: GpuCollector(
            index, driver, resolver, self._records, self._problems, options
        )
        self._all_collectors: list[GpuCollector] = []
        self.collectors: tuple[GpuCollector, ...] = ()
        """Collectors of the GPUs that the driver lists now."""

    def count_gpus(self) -> bool:
        """Match the number of collectors to the number of GPUs. False if a driver fails or lists no expected GPU.

        A collector is created once per index and never replaced: a thread may still hang in it.
        """
        try:
            count = self._driver.count()
        except DeviceError as error:
            self._problems.report("GPU driver", str(error))
            return False
        if count != len(self.collectors):
            self._all_collectors.extend(self._new_collector(index) for index in range(len(self._all_collectors), count))
            self.collectors = tuple(self._all_collectors[:count])
            for collector in self._all_collectors:
                collector.reidentify()
        self._expected = max(self._expected, count, self._options.expected())
        self._check_pools()
        if count == 0 and self._expected > 0:
            self._problems.report(
                "GPU driver", f"no GPU is responding, but the host has {self._expected}; check nvidia-smi and dmesg"
            )
            return False
        self._problems.resolve("GPU driver")
        return all(self._options.drivers_up().values())

    def sample(self, time: float) -> bool:
        """Collect all GPUs at `time`, in seconds of a monotonic clock. False if any call failed."""
        success = self.count_gpus()
        for collector in self.collectors:
            collector.collect(time)
        return success and not any(collector.failed for collector in self.collectors)

    def collect_xids(self, wall: Callable[[], float], timeout: float) -> None:
        """Count the XIDs reported within `timeout` seconds; `wall` returns Unix seconds.

        Raises:
            DeviceError: the driver does not report XIDs.
        """
        for event in self._driver.xids(timeout):
            self._xids.add_event(event, wall())

    def add_kernel_messages(self, messages: Iterable[KernelMessage], now: float) -> None:
        """Count the errors in messages of the kernel, read at the Unix time `now`."""
        self._xids.add_messages(messages, now)

    def _check_pools(self) -> None:
        """Log rules without effect. Does nothing before the driver lists GPUs."""
        if not self._pools or not self.collectors:
            return
        answering_members = [
            _pool_member(state.identity, state) for collector in self.collectors if (state := collector.state)
        ]
        self._instances |= {member.uuid: member.instances for member in answering_members}
        records = self._records.copy()
        known_members = [
            PoolMember(gpu.identity.gpu, uuid, self._instances.get(uuid, ())) for uuid, gpu in records.items()
        ]
        rules_before = {_rule_text(unmatched): unmatched for unmatched in self._unmatched_rules}
        self._unmatched_rules = unmatched_rules(
            self._pools, answering_members, known_members, len(self.collectors), self._unmatched_rules
        )
        for unmatched in self._unmatched_rules:
            self._problems.report(_rule_text(unmatched), _MISMATCH_MESSAGES[unmatched.reason])
        for rule in rules_before.keys() - {_rule_text(unmatched) for unmatched in self._unmatched_rules}:
            self._problems.resolve(rule)

    def snapshot(self, is_fresh: Callable[[GpuCollector], bool], call_ages: Mapping[CallKey, float]) -> GpuSnapshot:
        """Snapshot of the GPUs for which `is_fresh` is true."""
        states = {
            state.identity.uuid: state
            for collector in self.collectors
            if (state := collector.state) and is_fresh(collector)
        }
        records = self._records.copy()
        return GpuSnapshot(
            expected=max(self._expected, len(records)),
            gpus=tuple(states.values()),
            lost={uuid: (gpu.identity, uuid not in states) for uuid, gpu in records.items()},
            xids=self._xids.counts(),
            service_xids=self._xids.by_service(),
            sxids=self._xids.sxids(),
            call_ages=call_ages,
            pools=assigned_pools(
                self._pools, [_pool_member(gpu.identity, states.get(uuid)) for uuid, gpu in records.items()]
            ),
            unmatched_rules=self._unmatched_rules,
            drivers_up=self._options.drivers_up(),
        )


def _pool_member(identity: Identity, state: GpuState | None) -> PoolMember:
    return PoolMember(
        identity.gpu, identity.uuid, tuple(instance.uuid for instance in state.reading.instances) if state else ()
    )


def _rule_text(unmatched: UnmatchedRule) -> str:
    return f"--pool {unmatched.pool}={unmatched.named}"
