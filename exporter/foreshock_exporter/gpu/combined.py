"""GPUs of several vendors' drivers as those of one driver."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from foreshock_exporter.common.log import ProblemLog
from foreshock_exporter.model import device


class CombinedDriver:
    """`Driver` over drivers by name. Indexes count on from driver to driver.

    They shift as the number of an earlier driver's GPUs changes. Calls go to the GPU that `identity` last found at an
    index, so that nothing is counted for another GPU before it is identified. A driver that fails keeps its number.

    Args:
        drivers: names and drivers.
        expected: lower bound of the number of GPUs by name of a driver.
    """

    def __init__(self, drivers: Sequence[tuple[str, device.Driver]], expected: Mapping[str, int] | None = None) -> None:
        self._drivers = tuple(driver for _, driver in drivers)
        self._names = tuple(name for name, _ in drivers)
        self._expected = expected or {}
        self._counts = (0,) * len(self._drivers)
        self._up: Mapping[str, bool] = {}
        self._routes: dict[int, tuple[device.Driver, int]] = {}
        self._problems = ProblemLog()

    def count(self) -> int:
        """Number of GPUs of all drivers. Raises DeviceError if a driver fails and the others have no GPU."""
        counts: list[int] = []
        errors: dict[str, device.DeviceError] = {}
        for driver, name, before in zip(self._drivers, self._names, self._counts, strict=True):
            try:
                counts.append(driver.count())
            except device.DeviceError as error:
                counts.append(before)
                errors[name] = error
        self._counts = tuple(counts)
        missing = [
            name for name, count in zip(self._names, counts, strict=True) if not count and self._expected.get(name)
        ]
        problems = dict.fromkeys(missing, "lists no GPU, although the PCI bus has some") | {
            name: str(error) for name, error in errors.items()
        }
        known = {name for name, count in zip(self._names, counts, strict=True) if count} | problems.keys()
        self._up = {name: name not in problems for name in self._names if name in known}
        if errors and not sum(counts):
            raise next(iter(errors.values()))
        for name in self._names if sum(counts) else ():
            if name in problems:
                self._problems.report(f"GPU driver {name}", problems[name])
            else:
                self._problems.resolve(f"GPU driver {name}")
        return sum(counts)

    def drivers_up(self) -> Mapping[str, bool]:
        """Whether each driver with GPUs could list them at the last count, by name."""
        return self._up

    def identity(self, gpu: int) -> device.Identity:
        local = gpu
        for driver, count in zip(self._drivers, self._counts, strict=True):
            if local < count:
                identity = driver.identity(local)
                self._routes[gpu] = driver, local
                return replace(identity, gpu=str(gpu))
            local -= count
        raise device.DeviceError("not_found", f"no GPU has the index {gpu}")

    def utilization(self, gpu: int, since_us: int) -> Sequence[device.UtilizationSample]:
        driver, local = self._routes[gpu]
        return driver.utilization(local, since_us)

    def process_utilization(self, gpu: int, since_us: int) -> Sequence[device.ProcessUtilization]:
        driver, local = self._routes[gpu]
        return driver.process_utilization(local, since_us)

    def read(self, gpu: int) -> device.Reading:
        driver, local = self._routes[gpu]
        return driver.read(local)

    def counters(self, gpu: int, only: Collection[str] = ()) -> device.Counters:
        driver, local = self._routes[gpu]
        return driver.counters(local, only)

    def activity(self, gpu: int, instances: Collection[int]) -> device.Activity | None:
        driver, local = self._routes[gpu]
        return driver.activity(local, instances)

    def health(self, gpu: int) -> device.Health:
        driver, local = self._routes[gpu]
        return driver.health(local)

    def processes(self, gpu: int) -> device.Processes:
        driver, local = self._routes[gpu]
        return driver.processes(local)

    def xids(self, timeout: float) -> Sequence[device.Xid]:
        """XIDs of the first driver with GPUs, which is NVIDIA's if it has any."""
        for driver, count in zip(self._drivers, self._counts, strict=True):
            if count:
                return driver.xids(timeout)
        raise device.DeviceError("not_found", "there is no GPU to report errors")

    def close(self) -> None:
        for driver in self._drivers:
            driver.close()
