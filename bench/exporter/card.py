"""Cost of foreshock-exporter, nvitop-exporter, and dcgm-exporter on the NVIDIA GPUs of this host; part of `make card`.

dcgm-exporter is measured where it is in PATH. All run at once with a scrape every second; then each is scraped alone.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from contextlib import ExitStack

from bench.exporter.compare import HEAD, WARM_UP_SECONDS, alone, row, side_by_side
from bench.exporter.peers import Command, Running, nvitop, ours, running

COUNT = "import pynvml; pynvml.nvmlInit(); print(pynvml.nvmlDeviceGetCount())"
DCGM = "dcgm-exporter"


def gpu_count() -> int:
    """GPUs of the NVIDIA driver, counted in a separate process; 0 without a driver."""
    counted = subprocess.run([sys.executable, "-W", "ignore", "-c", COUNT], capture_output=True, check=False)
    return int(counted.stdout) if counted.returncode == 0 else 0


def commands() -> list[Command]:
    """Exporters at their default periods, and at equal ones."""
    found = [ours(0.1), ours(1.0), nvitop(1.0)]
    if program := shutil.which(DCGM):
        arguments = (program, "--address", "127.0.0.1:{port}", "--collect-interval", "1000")
        found.append(Command(DCGM, 1.0, True, arguments))
    return found


def main() -> int:
    """Print the table; returns 1 without a GPU."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--windows", type=int, default=3, help="how often to measure; medians are printed")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long each time")
    parser.add_argument("--blocks", type=int, default=3, help="repetitions of scrapes one by one; the median counts")
    parser.add_argument("--warm-up", type=float, default=WARM_UP_SECONDS, help="seconds before the first measurement")
    options = parser.parse_args()
    gpus = gpu_count()
    if not gpus:
        print("no NVIDIA driver lists a GPU here; run this on a host with one", file=sys.stderr)
        return 1
    with ExitStack() as stack:
        all_running: list[Running] = []
        for command in commands():
            try:
                all_running.append(stack.enter_context(running(command, None, gpus)))
            except RuntimeError as error:
                if not command.peer:
                    raise
                print(f"{command.name} is not measured: {error}")
        if not shutil.which(DCGM):
            print("dcgm-exporter is not in PATH, so it is not measured")
        print(f"{gpus} GPUs; {os.cpu_count()} cores; {options.windows} times {options.seconds:g} s")
        time.sleep(options.warm_up)
        for _ in range(options.windows):
            side_by_side(all_running, options.seconds, {"": 0.0})
        alone(all_running, options.blocks)
        print(HEAD, *map(row, all_running), sep="\n")
        print("CPU contains NVML itself; passes and library are not known of a real NVML")
    return 0


if __name__ == "__main__":
    sys.exit(main())
