"""Fuzz the parsers of untrusted input with atheris, guided by coverage.

    make fuzz SECONDS=60 [TARGETS="otlp_json gzip"] [KEEP=1]

Each target runs for SECONDS from its corpus in tests/fuzz/corpus. A finding is an input that raises an undocumented
error, or takes more than MAX_CPU_SECONDS or MAX_RSS_MIB; it is written to build/fuzz. KEEP=1 adds the smallest inputs
that cover edges which the corpus does not.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
CORPUS, BUILD = ROOT / "tests/fuzz/corpus", ROOT / "build/fuzz"
MAX_CPU_SECONDS = 2.0
MAX_RSS_MIB = 1024
START_SECONDS = 300
"""Longest start of a fuzzer, which instruments all modules."""
MAX_KEPT_INPUTS = 32
"""Inputs of a target in the corpus, each of which `make test` mutates."""
MAX_KEPT_BYTES = 1024


class Outcome(NamedTuple):
    """What libFuzzer printed: executions, covered edges, and files of inputs with findings."""

    executions: int
    edges: int
    findings: list[str]
    output: str


def fuzz(name: str, seconds: int) -> Outcome:
    """Fuzz a target in a separate process: libFuzzer ends the process at a finding."""
    found = BUILD / name
    found.mkdir(parents=True, exist_ok=True)
    done = run(
        name, str(found), str(CORPUS / name), f"-max_total_time={seconds}", f"-rss_limit_mb={MAX_RSS_MIB}",
        f"-artifact_prefix={BUILD}/{name}-", "-print_final_stats=1", timeout=seconds + START_SECONDS,
    )  # fmt: skip
    output = done.stdout + done.stderr
    executions = re.search(r"number_of_executed_units: (\d+)", output)
    edges = re.findall(r" cov: (\d+) ", output)
    findings = [str(Path(path).relative_to(ROOT)) for path in re.findall(r"Test unit written to (\S+)", output)]
    failed = done.returncode != 0 and not findings
    problems = [f"exit code {done.returncode}"] if failed else findings
    return Outcome(int(executions[1]) if executions else 0, int(edges[-1]) if edges else 0, problems, output)


def keep(name: str) -> int:
    """Add to the corpus the smallest inputs that cover edges which it does not; return their number.

    libFuzzer's merge starts its own program again, which is Python here. So this does the outer half: a control file
    with the names of all inputs, to which the inner half adds the edges that each covers first.
    """
    kept = sorted((CORPUS / name).iterdir())
    found = sorted((BUILD / name).iterdir(), key=lambda path: (path.stat().st_size, path.name))
    inputs = [*kept, *(path for path in found if path.stat().st_size <= MAX_KEPT_BYTES)]
    control = BUILD / f"{name}.control"
    control.write_text(f"{len(inputs)}\n{len(kept)}\n" + "".join(f"{path}\n" for path in inputs))
    run(name, f"-merge_control_file={control}", "-merge_inner=1")
    lines = [line.split() for line in control.read_text().splitlines()[2 + len(inputs) :]]
    numbers = [int(number) for kind, number, *edges in lines if kind == "COV" and edges and int(number) >= len(kept)]
    new = [inputs[number] for number in numbers[: MAX_KEPT_INPUTS - len(kept)]]
    for path in new:
        shutil.copy(path, CORPUS / name / path.name[:16])
    return len(new)


def run(name: str, *arguments: str, timeout: float | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "scripts.testing.fuzz", "--libfuzzer", name, *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, errors="replace", cwd=ROOT, check=False, timeout=timeout
    )


def libfuzzer(name: str, arguments: Sequence[str]) -> None:
    """Run libFuzzer on a target. Does not return."""
    import atheris

    sys.path.insert(0, str(ROOT))
    with atheris.instrument_imports(include=["foreshock_dashboard", "foreshock_exporter"]):
        from tests.fuzz.targets import MAX_BYTES, TARGETS

    def timed(data: bytes) -> None:
        """libFuzzer's own timeout counts wall time, and its signal can end a Python process without a report."""
        began = time.process_time()
        TARGETS[name](data)
        seconds = time.process_time() - began
        if seconds > MAX_CPU_SECONDS:
            raise TimeoutError(f"{len(data)} bytes took {seconds:.1f} s")

    atheris.Setup([sys.argv[0], f"-max_len={MAX_BYTES}", *arguments], timed)
    atheris.Fuzz()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=60, help="time per target (default: 60)")
    parser.add_argument("--keep", action="store_true", help="add inputs that reach new code to the corpus")
    parser.add_argument("targets", nargs="*", default=sorted(path.name for path in CORPUS.iterdir()))
    options = parser.parse_args()
    if find_spec("atheris") is None:
        parser.error("needs atheris, which has wheels for Linux on x86-64 and Python before 3.14 only")
    failed = False
    print(f"{'target':20}{'executions':>12}{'per second':>12}{'edges':>8}{'kept':>6}  findings", flush=True)
    for name in options.targets:
        outcome = fuzz(name, options.seconds)
        kept = keep(name) if options.keep and not outcome.findings else 0
        rate = outcome.executions / options.seconds
        findings = " ".join(outcome.findings) or "none"
        print(f"{name:20}{outcome.executions:12,}{rate:12,.0f}{outcome.edges:8,}{kept:6}  {findings}", flush=True)
        if outcome.findings:
            failed = True
            print("\n".join(outcome.output.splitlines()[-60:]), file=sys.stderr)
    return int(failed)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--libfuzzer"]:
        libfuzzer(sys.argv[2], sys.argv[3:])
    else:
        sys.exit(main())
