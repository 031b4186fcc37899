"""Process that sends the requests of users: `python -m foreshock_lab.load.generator CONFIG`.

CONFIG is a JSON file: url, seed, rate, entries (operation and share), control (JSON file with rate_factor,
prompt_factor, output_factor), and results (CSV: Unix time, operation, seconds, whether it was answered well).
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import httpx

from foreshock_lab.load.shape import Arrivals, day_factor

STEP_SECONDS = 0.05
ITEMS = 2000
PROMPT_TOKENS, OUTPUT_TOKENS = 800, 120
"""Longest prompt and answer at factor 1; the trace's are scaled down by `SCALE`."""
SCALE = 0.25
TIMEOUT_SECONDS = 60.0


class Users:
    """Sends requests and writes what they saw."""

    def __init__(self, config: dict[str, Any], results: IO[str]) -> None:
        self._config, self._results = config, results
        self._rng = random.Random(config["seed"])  # noqa: S311 - not for secrets
        self._arrivals = Arrivals(config["seed"])
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=20)
        self._client = httpx.AsyncClient(limits=limits, timeout=TIMEOUT_SECONDS, trust_env=False)
        self._pending: set[asyncio.Task[None]] = set()
        self._control_path = Path(config["control"])
        self._control, self._modified = {"rate_factor": 1.0, "prompt_factor": 1.0, "output_factor": 1.0}, 0

    async def run(self) -> None:
        """Send until the process ends."""
        began = last = time.monotonic()
        while True:
            await asyncio.sleep(STEP_SECONDS)
            now = time.monotonic()
            control = self._read_control()
            rate = self._config["rate"] * control["rate_factor"] * day_factor(now - began)
            for arrival in self._arrivals.until((now - last) * rate):
                entry = self._rng.choices(
                    [item["operation"] for item in self._config["entries"]],
                    [item["share"] for item in self._config["entries"]],
                )[0]
                prompt = min(PROMPT_TOKENS, arrival.prompt_tokens * SCALE) * control["prompt_factor"]
                output = min(OUTPUT_TOKENS, arrival.generated_tokens * SCALE) * control["output_factor"]
                params = {"item": self._item(), "prompt": int(prompt) + 1, "output": int(output) + 1}
                task = asyncio.create_task(self._send(entry, params))
                self._pending.add(task)
                task.add_done_callback(self._pending.discard)
            last = now

    def _item(self) -> int:
        """An item; a few are requested often (Pareto with exponent 1)."""
        return min(ITEMS, int(self._rng.paretovariate(1.0) * 10))

    async def _send(self, operation: str, params: dict[str, int]) -> None:
        began, clock = time.time(), time.monotonic()
        try:
            answer = await self._client.get(f"{self._config['url']}/{operation}", params=params)
            succeeded = answer.status_code < 500
        except httpx.HTTPError:
            succeeded = False
        self._results.write(f"{began:.3f},{operation},{time.monotonic() - clock:.4f},{int(succeeded)}\n")

    def _read_control(self) -> dict[str, float]:
        with suppress(FileNotFoundError):
            if (modified := self._control_path.stat().st_mtime_ns) != self._modified:
                self._control |= json.loads(self._control_path.read_text())
                self._modified = modified
        return self._control


def main() -> None:
    """Send until a signal."""
    config = json.loads(Path(sys.argv[1]).read_text())
    with Path(config["results"]).open("a", buffering=1) as results:
        asyncio.run(Users(config, results).run())


if __name__ == "__main__":
    main()
