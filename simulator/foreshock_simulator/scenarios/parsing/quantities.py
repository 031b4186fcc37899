"""Units and ranges of numbers in a scenario, by field name.

Field names of the spec state their quantity (`timeout`, `memory_bytes`, `ratio`), so one table serves all classes.
"""

from __future__ import annotations

import math
import re
from typing import NamedTuple

_NUMBER = re.compile(r"([+-]?(?:\d[\d_]*(?:\.\d*)?|\.\d+)(?:e[+-]?\d{1,3})?)\s*([a-z%/]*)", re.IGNORECASE)
_SECONDS = {"": 1.0, "us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86_400.0}
_BYTES = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}
_SIZES = {prefix + suffix: float(factor) for prefix, factor in _BYTES.items() for suffix in ("", "b", "b/s")}
_SHARES = {"": 1.0, "%": 0.01}
_PLAIN = {"": 1.0}
UNLIMITED = 1e15


class Quantity(NamedTuple):
    """A kind of quantity: factors by unit, range, and whether the lower bound is exclusive (`above`).

    `words` describes it.
    """

    words: str
    units: dict[str, float]
    low: float = 0.0
    high: float = UNLIMITED
    above: bool = False

    def read(self, text: str) -> float:
        """Parse a number into base units (seconds, bytes, ratios).

        Raises:
            ValueError: not a number, or out of range; the message follows the text.
        """
        match = _NUMBER.fullmatch(text.strip())
        unit = match[2].lower() if match else None
        if match is None or unit not in self.units:
            raise ValueError(f"is not {self.words}")
        value = float(match[1].replace("_", "")) * self.units[unit]
        self.check(value)
        return value

    def check(self, value: float) -> None:
        """Check a number in base units.

        Raises:
            ValueError: out of range.
        """
        if not math.isfinite(value) or value < self.low or value > self.high or (self.above and value == self.low):
            raise ValueError(f"is out of range; it is {self.words}, {self._range()}")

    def _range(self) -> str:
        low = f"more than {self.low:g}" if self.above else f"{self.low:g} or more"
        return low if self.high == UNLIMITED else f"{low}, at most {self.high:g}"


DURATION = Quantity("a duration such as 30s, 5m or 1h", _SECONDS, high=31 * 86_400.0)
SPAN = DURATION._replace(above=True)
SIZE = Quantity("a size such as 40GB or 512MiB", _SIZES)
SOME_BYTES = SIZE._replace(above=True)
SHARE = Quantity("a share such as 0.05 or 5%", _SHARES, high=1.0)
NUMBER = Quantity("a number", _PLAIN, high=1e9)
POSITIVE = NUMBER._replace(above=True)
COUNT = Quantity("a whole number", _PLAIN, high=1e7)
ONE_OR_MORE = COUNT._replace(low=1.0)

_FIELDS = (
    (DURATION, "at ramp pause backoff breaker_open provisioning down_window cold_start checkpoint_seconds"),
    (DURATION, "median seconds seconds_per_token swap"),
    (SPAN, "duration timeout latency sync period work uptime leak"),
    (SIZE, "gradient_bytes request_bytes response_bytes"),
    (SOME_BYTES, "memory_bytes nic_bytes_per_second bytes_per_second kv_bytes_per_token"),
    (SHARE, "probability hit_ratio failing ratio objective sm dram diurnal"),
    (SHARE._replace(above=True), "memory_share"),
    (NUMBER, "spread retry_budget spare"),
    (POSITIVE, "rate factor slower prompts timeouts answers parameters target refill"),
    (COUNT, "backlog quota slice prompt_tokens generated_tokens xid gpu"),
    (
        ONE_OR_MORE,
        "attempts unit max_sequences max_batched_tokens max_waiting max_batch minimum maximum failures",
    ),
    (ONE_OR_MORE, "workers repeats tensor_parallel slots checkpoint_every"),
    (ONE_OR_MORE._replace(high=10_000.0), "replicas threads"),
    (COUNT._replace(high=16.0), "gpus"),
    (ONE_OR_MORE._replace(high=20.0), "breaker"),
    (ONE_OR_MORE._replace(high=7.0), "mig_slices"),
    (NUMBER._replace(high=24.0), "peak_hour"),
    (NUMBER._replace(high=10.0), "weekend"),
    (NUMBER._replace(low=0.05, high=100.0), "cv"),
    (NUMBER._replace(high=100.0), "celsius"),
    (SHARE._replace(high=2.0, above=True), "load"),
    (SHARE._replace(high=0.99), "cached"),
)
QUANTITIES = {name: quantity for quantity, names in _FIELDS for name in names.split()}
"""Quantity of each field."""
