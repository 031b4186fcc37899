"""Mutation score of the store, its WAL recovery, the receivers, and authentication; `make mutation` prints the table.

  .venv/bin/python -m scripts.testing.mutation [--mutants 60] [--seed 1] [--group NAME] [--coverage]

A mutant is a small change of the source. It is killed if a test fails or takes far too long, and survives if none does.
The mutants of each group are a random sample (mutants.py). Each runs in a fork, with the tests that execute its
line, up to 8 s of CPU time, the fastest first. Survivors are printed as they are found, and the table at the end, with
the 95% interval of each score. With --coverage no mutant runs, and the table has the branch coverage by these tests.
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import gc
import importlib.machinery
import importlib.util
import inspect
import io
import json
import math
import os
import pickle
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import CodeType, FunctionType
from typing import NamedTuple

import coverage
import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "dashboard"
STORE = "foreshock_dashboard/store"
WAL = [f"{STORE}/{name}.py" for name in ("wal", "wal_recovery", "sqlite_pages")]


class Group(NamedTuple):
    """Sources, as patterns, and the tests of them that need no other process."""

    sources: Sequence[str]
    tests: Sequence[str]


GROUPS = {
    "WAL recovery": Group(
        WAL,
        [f"tests/store/test_{name}.py" for name in ("wal", "sqlite_pages", "store_folder", "store_recovery")]
        + ["tests/store/faults/test_store_damage.py"],
    ),
    "authentication": Group(
        ["foreshock_dashboard/access/*.py"]
        + [f"foreshock_dashboard/web/http/{name}.py" for name in ("authentication", "oidc")],
        ["tests/access", "tests/ingest/receivers/test_otlp_auth.py"]
        + [f"tests/web/http/test_web_{name}.py" for name in ("access", "authentication", "oidc", "roles", "tls")]
        + ["tests/web/api/test_web_changes.py"],
    ),
    "receivers": Group(
        ["foreshock_dashboard/sources/otlp/*.py"],
        ["tests/ingest/receivers"]
        + [f"tests/ingest/otlp/test_otlp_{name}.py" for name in ("decoding", "metrics")]
        + ["tests/sources/http_config/test_remote_write.py"],
    ),
    "store": Group(
        [f"{STORE}/{folder}*.py" for folder in ("", "blocks/", "samples/", "spans/")],
        [f"tests/store/{folder}" for folder in ("blocks", "samples", "spans")]
        + [f"tests/store/test_{name}.py" for name in ("trusted_clock", "journal", "wal", "sqlite_pages")]
        + [f"tests/store/test_{name}.py" for name in ("group_commit", "health")]
        + [f"tests/store/test_store_{name}.py" for name in ("bounds", "folder", "recovery")]
        + [f"tests/store/faults/test_store_{name}.py" for name in ("damage", "disk", "failures")]
        + ["tests/notify/test_outbox.py"],
    ),
}
TESTS_SECONDS = 8.0
"""CPU time of the tests of a mutant, as measured without it."""
RECORD_SECONDS = 600
CPU_SECONDS, CPU_FACTOR = 15, 3
"""Each mutant may take these seconds, and so many times what its tests take without it."""
WALL_SECONDS, WALL_FACTOR = 60, 15
"""Likewise, on a loaded machine."""
MIN_SCORE, MIN_COVERAGE = 0.85, 0.95
Z_95 = 1.96


class Mutant(NamedTuple):
    """A change of a source. `operator` is its kind."""

    path: str
    line: int
    operator: str
    source: str


class Executed(NamedTuple):
    """What the tests execute: seconds by test, and tests by path and line."""

    seconds: dict[str, float]
    tests: dict[tuple[str, int], set[str]]


def sources(group: str) -> list[Path]:
    """Return the files of a group."""
    files = sorted(
        path for pattern in GROUPS[group].sources for path in SOURCE.glob(pattern) if path.name != "__init__.py"
    )
    return [path for path in files if group != "store" or str(path.relative_to(SOURCE)) not in WAL]


def sample(group: str, count: int, seed: int) -> list[Mutant]:
    """Return `count` mutants of a group."""
    script = [str(ROOT / ".venv-mutation/bin/python"), str(ROOT / "scripts/testing/mutants.py"), str(count), str(seed)]
    printed = subprocess.run([*script, *map(str, sources(group))], check=True, capture_output=True, text=True).stdout
    return [Mutant(*json.loads(line)) for line in printed.splitlines()]


def in_fork(expected: float, output: Path, run: object, *arguments: object) -> int:
    """Call `run` in a fork with its output in a file. Return its exit status; negative if it took too long.

    expected: seconds of CPU time without a change.
    """
    assert callable(run)
    if pid := os.fork():
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
        return status
    os.setsid()
    with output.open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    seconds = math.ceil(CPU_SECONDS + CPU_FACTOR * expected)
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    signal.alarm(math.ceil(WALL_SECONDS + WALL_FACTOR * expected))
    status = 3
    try:
        status = int(run(*arguments))
    except Exception:  # noqa: BLE001 - the fork ends here whatever happens
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(status)


class Recorder:
    """A plugin of pytest that writes down the tests of each line."""

    def __init__(self, data: coverage.Coverage) -> None:
        self._data = data
        self.seconds: dict[str, float] = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """Around a test."""
        started = time.process_time()
        self._data.switch_context(item.nodeid)
        result = yield
        self._data.switch_context("")
        self.seconds[item.nodeid] = time.process_time() - started
        return result


OPTIONS = ["-q", "-x", "-n", "0", "-p", "no:cacheprovider", "-m", "not soak", "--no-header", "--tb=line"]


def record(group: str, file: Path) -> int:
    """Run the tests of a group once, and write an `Executed`."""
    data = coverage.Coverage(data_file=None, source=[str(SOURCE)], branch=False, config_file=False)
    recorder = Recorder(data)
    data.start()
    status = pytest.main([*OPTIONS, *GROUPS[group].tests], plugins=[recorder])
    data.stop()
    executed = Executed(recorder.seconds, defaultdict(set))
    for path in data.get_data().measured_files():
        name = str(Path(path).relative_to(SOURCE))
        for line, tests in data.get_data().contexts_by_lineno(path).items():
            executed.tests[name, line].update(filter(None, tests))
    file.write_bytes(pickle.dumps(executed))
    return int(status)


class Mutated(importlib.machinery.SourceFileLoader):
    """Loads a changed source."""

    def __init__(self, name: str, path: Path, source: str) -> None:
        super().__init__(name, str(path))
        self._source = source

    def get_code(self, fullname: str) -> CodeType:
        """Compile it; a cached file would have the original."""
        assert fullname == self.name
        return compile(self._source, self.path, "exec", dont_inherit=True)


class Finder:
    """Finds a changed module before Python finds the original."""

    def __init__(self, path: Path, source: str) -> None:
        self._name = ".".join(path.relative_to(SOURCE).with_suffix("").parts)
        self._loader = Mutated(self._name, path, source)

    def find_spec(self, name: str, *_: object) -> importlib.machinery.ModuleSpec | None:
        """Of that module only."""
        if name != self._name:
            return None
        return importlib.util.spec_from_file_location(name, self._loader.path, loader=self._loader)


def bodies(code: CodeType) -> Iterator[CodeType]:
    """Yield the code of a module and of its classes, without that of functions."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType) and not constant.co_flags & inspect.CO_OPTIMIZED:
            yield from bodies(constant)


def functions(code: CodeType) -> list[CodeType]:
    """Return the code of the functions of a module and of its classes."""
    return [
        constant
        for body in bodies(code)
        for constant in body.co_consts
        if isinstance(constant, CodeType) and constant.co_flags & inspect.CO_OPTIMIZED
    ]


def own(code: CodeType) -> list[object]:
    """Return what a module and its classes execute when they are imported."""
    return [
        (body.co_name, body.co_code, body.co_names, [repr(c) for c in body.co_consts if not isinstance(c, CodeType)])
        for body in bodies(code)
    ]


def patched(mutant: Mutant) -> bool:
    """Give the functions of an imported module their changed code. Return whether that is the whole change."""
    path = ROOT / mutant.path
    before, after = (
        compile(source, path, "exec", dont_inherit=True) for source in (path.read_text(encoding="utf-8"), mutant.source)
    )
    changes = dict(pair for pair in zip(functions(before), functions(after), strict=False) if pair[0] != pair[1])
    if own(before) != own(after) or len(functions(before)) != len(functions(after)) or not changes:
        return False
    gc.unfreeze()
    found = [known for known in gc.get_objects() if isinstance(known, FunctionType) and known.__code__ in changes]
    if {function.__code__ for function in found} != set(changes):
        return False
    for function in found:
        function.__code__ = changes[function.__code__]
    return True


def run_tests(mutant: Mutant, tests: Sequence[str]) -> int:
    """Run tests against a mutant. Return the status of pytest."""
    if not patched(mutant):
        sys.meta_path.insert(0, Finder(Path(mutant.path), mutant.source))
        for name in [name for name in sys.modules if name.startswith(("foreshock_", "tests"))]:
            del sys.modules[name]
    return int(pytest.main([*OPTIONS, *tests]))


def chosen(mutant: Mutant, executed: Executed) -> list[str]:
    """Return the tests that execute the line of a mutant; of a line that runs at import only, those of its file."""
    name = str(Path(mutant.path).relative_to(SOURCE))
    found = executed.tests.get((name, mutant.line), set())
    if not found:
        found = set().union(*(tests for (path, _), tests in executed.tests.items() if path == name))
    total = 0.0
    kept: list[str] = []
    for test in sorted(found, key=lambda test: executed.seconds[test]):
        total += executed.seconds[test]
        if kept and total > TESTS_SECONDS:
            break
        kept.append(test)
    return kept


def interval(killed: int, total: int) -> tuple[float, float]:
    """Return the 95% interval of a share (Wilson 1927)."""
    share, weight = killed / total, Z_95**2 / total
    center = (share + weight / 2) / (1 + weight)
    half = math.sqrt(weight * share * (1 - share) + weight**2 / 4) / (1 + weight)
    return center - half, center + half


def measured(group: str, count: int, seed: int, folder: Path) -> tuple[float, str]:
    """Return the score of a group, and its row of the table."""
    output, file = folder / "output", folder / "executed"
    with contextlib.redirect_stdout(io.StringIO()):
        pytest.main([*OPTIONS, "--collect-only", *GROUPS[group].tests])  # so that no fork imports them again
    if in_fork(RECORD_SECONDS, output, record, group, file):
        sys.exit(output.read_text()[-3_000:])
    executed: Executed = pickle.loads(file.read_bytes())  # noqa: S301 - written above
    killed = late = total = 0
    for mutant in sample(group, count, seed):
        tests = chosen(mutant, executed)
        expected = sum(executed.seconds[test] for test in tests)
        status = in_fork(expected, output, run_tests, mutant, tests) if tests else 0
        killed, late, total = killed + (status != 0), late + (status < 0), total + 1
        print(f"{group}: {killed} of {total} killed", file=sys.stderr, flush=True)
        if status == 0:
            print(survivor(mutant, len(tests)), file=sys.stderr, flush=True)
    lines = sum(len(path.read_text().splitlines()) for path in sources(group))
    low, high = interval(killed, total)
    score = killed / total
    return score, f"| {group} | {lines:,} | {total} | {killed} | {late} | {score:.0%} ({low:.0%} to {high:.0%}) |"


def branch_coverage(group: str, file: Path) -> int:
    """Run the tests of a group once, and write the branch coverage of its sources and what it misses."""
    data = coverage.Coverage(data_file=None, branch=True, include=[str(path) for path in sources(group)])
    data.start()
    status = pytest.main([*OPTIONS, *GROUPS[group].tests])
    data.stop()
    missed = io.StringIO()
    percent = data.report(file=missed)
    file.write_bytes(pickle.dumps((percent / 100, missed.getvalue())))
    return int(status)


def covered(group: str, folder: Path) -> tuple[float, str]:
    """Return the branch coverage of a group, and its row of the table."""
    output, file = folder / "output", folder / "covered"
    if in_fork(RECORD_SECONDS, output, branch_coverage, group, file):
        sys.exit(output.read_text()[-3_000:])
    share, missed = pickle.loads(file.read_bytes())  # noqa: S301 - written above
    print(missed, file=sys.stderr, flush=True)
    return share, f"| {group} | {share:.1%} |"


def main() -> int:
    """Print the table; returns 1 if a score or the coverage is below the minimum."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutants", type=int, default=60, help="mutants of each group")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--group", choices=GROUPS, action="append")
    parser.add_argument("--coverage", action="store_true", help="print the branch coverage instead")
    options = parser.parse_args()
    os.chdir(ROOT)
    groups = options.group or list(GROUPS)
    with tempfile.TemporaryDirectory() as folder:
        if options.coverage:
            least, rows = MIN_COVERAGE, [covered(group, Path(folder)) for group in groups]
            head = "| part | branch coverage |\n|---|---|"
        else:
            least = MIN_SCORE
            rows = [measured(group, options.mutants, options.seed, Path(folder)) for group in groups]
            head = (
                "| part | lines | mutants | killed | of these, too late | score (95% interval) |\n" + "|---" * 6 + "|"
            )
    print(head, *(row for _, row in rows), sep="\n")
    return 0 if all(share >= least for share, _ in rows) else 1


def survivor(mutant: Mutant, tests: int) -> str:
    """Return the change of a mutant."""
    path = Path(mutant.path)
    diff = difflib.unified_diff(path.read_text().splitlines(), mutant.source.splitlines(), n=0, lineterm="")
    changed = [line for line in diff if not line.startswith(("---", "+++", "@@"))]
    return "\n".join([f"{path.relative_to(SOURCE)}:{mutant.line} {mutant.operator} ({tests} tests)", *changed])


if __name__ == "__main__":
    sys.exit(main())
