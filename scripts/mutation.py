"""Mutation score of the store, its WAL recovery, the receivers, and authentication; `make mutation` prints the table.

  .venv/bin/python scripts/mutation.py [--mutants 150] [--seed 1] [--group NAME] [--show]

A mutant is a small change of the source (scripts/mutants.py). It is killed if a test fails, and survives if none does.
The mutants are a random sample of the places that can be changed, with one change of each place. Each runs in a fork,
with the tests that execute its line, up to 30 s of them, the fastest first.
"""

from __future__ import annotations

import argparse
import importlib.machinery
import importlib.util
import json
import os
import pickle
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import CodeType
from typing import NamedTuple

import coverage
import duckdb  # noqa: F401 - so that no fork needs to import it
import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "dashboard"
STORE = "foreshock_dashboard/store"
WAL = [f"{STORE}/{name}.py" for name in ("wal", "wal_recovery", "sqlite_pages")]


class Group(NamedTuple):
    """Sources, as patterns, and the tests of them that need no other process."""

    sources: Sequence[str]
    tests: Sequence[str]


GROUPS = {
    "WAL recovery": Group(WAL, ["tests/store/test_store_recovery.py", "tests/store/test_store_damage.py"]),
    "authentication": Group(
        ["foreshock_dashboard/access/*.py", "foreshock_dashboard/web/http/authentication.py"],
        ["tests/access", "tests/ingest/test_otlp_auth.py"]
        + [f"tests/web/test_web_{name}.py" for name in ("authentication", "roles", "tls")],
    ),
    "receivers": Group(
        ["foreshock_dashboard/sources/otlp/*.py"],
        [f"tests/ingest/test_{name}.py" for name in ("admission", "otlp_auth", "otlp_limits", "otlp_listeners")]
        + ["tests/ingest/test_hostile_connections.py", "tests/ingest/test_otlp_decoding.py"],
    ),
    "store": Group(
        [f"{STORE}/*.py", f"{STORE}/blocks/*.py"],
        [f"tests/store/test_store_{name}.py" for name in ("bounds", "damage", "engine", "failures", "folder", "series")]
        + ["tests/store/test_retention_clock.py", "tests/store/test_journal.py", "tests/store/test_store_recovery.py"],
    ),
}
TESTS_SECONDS = 30.0
CPU_SECONDS = 120
MIN_SCORE = 0.85


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
    """Return `count` mutants of a group: places at random, and a change of each."""
    command = [str(ROOT / ".venv-mutation/bin/python"), str(ROOT / "scripts/mutants.py"), *map(str, sources(group))]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    places = defaultdict[tuple[str, int, str], list[Mutant]](list)
    for line in printed.splitlines():
        mutant = Mutant(*json.loads(line))
        places[mutant[:3]].append(mutant)
    chance = random.Random(seed)  # noqa: S311 - no secret
    return [chance.choice(places[place]) for place in chance.sample(sorted(places), min(count, len(places)))]


def in_fork(seconds: int, output: Path, run: object, *arguments: object) -> int:
    """Call `run` in a fork with its output in a file. Return its exit status; 2 if it took too long."""
    assert callable(run)
    if pid := os.fork():
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        return status if status >= 0 else 2
    os.setsid()
    with output.open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    signal.alarm(20 * seconds)
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
        started = time.monotonic()
        self._data.switch_context(item.nodeid)
        result = yield
        self._data.switch_context("")
        self.seconds[item.nodeid] = time.monotonic() - started
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


def run_tests(mutant: Mutant, tests: Sequence[str]) -> int:
    """Run tests against a mutant. Return the status of pytest."""
    sys.meta_path.insert(0, Finder(Path(mutant.path), mutant.source))
    return int(pytest.main([*OPTIONS, *tests]))


def chosen(mutant: Mutant, executed: Executed) -> list[str]:
    """Return the tests that execute the line of a mutant; of a line that runs at import only, those of its file."""
    name = str(Path(mutant.path).relative_to(SOURCE))
    found = executed.tests.get((name, mutant.line), set())
    if not found:
        found = set().union(*(tests for (path, _), tests in executed.tests.items() if path == name))
    total, kept = 0.0, []
    for test in sorted(found, key=lambda test: executed.seconds[test]):
        total += executed.seconds[test]
        if total < TESTS_SECONDS:
            kept.append(test)
    return kept


def main() -> int:
    """Print the table; returns 1 if a score is below the minimum."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutants", type=int, default=150, help="mutants of all groups together")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--group", choices=GROUPS, action="append")
    parser.add_argument("--show", action="store_true", help="print each survivor")
    options = parser.parse_args()
    os.chdir(ROOT)
    groups = options.group or list(GROUPS)
    print("| part | lines | mutants | killed | score |\n|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        output, file, reached = Path(folder) / "output", Path(folder) / "executed", True
        for group in groups:
            if in_fork(3_600, output, record, group, file):
                sys.exit(output.read_text()[-3_000:])
            executed: Executed = pickle.loads(file.read_bytes())  # noqa: S301 - written above
            found = Counter[bool]()
            for mutant in sample(group, options.mutants // len(groups), options.seed):
                tests = chosen(mutant, executed)
                killed = bool(tests) and in_fork(CPU_SECONDS, output, run_tests, mutant, tests) != 0
                found[killed] += 1
                print(f"{found[True]} of {found.total()} killed", file=sys.stderr, flush=True)
                if options.show and not killed:
                    print(survivor(mutant, len(tests)), file=sys.stderr, flush=True)
            lines = sum(len(path.read_text().splitlines()) for path in sources(group))
            score = found[True] / found.total()
            reached &= score >= MIN_SCORE
            print(f"| {group} | {lines:,} | {found.total()} | {found[True]} | {score:.0%} |", flush=True)
    return 0 if reached else 1


def survivor(mutant: Mutant, tests: int) -> str:
    """Return the changed lines of a mutant."""
    path = Path(mutant.path)
    before, after = path.read_text().splitlines(), mutant.source.splitlines()
    changed = next(n for n, (a, b) in enumerate(zip(before, after, strict=False)) if a != b)
    place = f"{path.relative_to(SOURCE)}:{changed + 1}"
    return f"{place} {mutant.operator} ({tests} tests)\n  - {before[changed].strip()}\n  + {after[changed].strip()}"


if __name__ == "__main__":
    sys.exit(main())
