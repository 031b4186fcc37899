"""The arrows of the architecture: each folder says in its docstring which folders its modules may import."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = {
    "foreshock_exporter": ROOT / "exporter",
    "foreshock_simulator": ROOT / "simulator",
    "foreshock_dashboard": ROOT / "dashboard",
    "foreshock_evaluation": ROOT / "evaluation",
    "foreshock_lab": ROOT / "lab",
}
ONLY_IN = {
    "pynvml": {"foreshock_exporter.nvml"},
    "duckdb": {"foreshock_dashboard.store", "foreshock_dashboard.recording"},
    "sqlite3": {"foreshock_dashboard.store"},
    "dash": {"foreshock_dashboard.web"},
    "apprise": {"foreshock_dashboard.notify"},
    "mcp": {"foreshock_dashboard.mcp"},
    "opentelemetry.proto": {"foreshock_dashboard.sources.otlp", "foreshock_dashboard.ingest.otlp"},
    "argparse": {
        "foreshock_exporter.cli",
        "foreshock_exporter.common.option_table",
        "foreshock_exporter.options",
        "foreshock_simulator.live",
        "foreshock_dashboard.cli",
        "foreshock_dashboard.settings",
        "foreshock_dashboard.simulated",
        "foreshock_evaluation.command",
        "foreshock_evaluation.explain_command",
        "foreshock_evaluation.capacity_command",
        "foreshock_lab",
    },
    "foreshock_simulator": {
        "foreshock_simulator",
        "foreshock_dashboard.simulated",
        "foreshock_dashboard.cli",
        "foreshock_evaluation",
        "foreshock_lab",
    },
}
"""Libraries, and packages of ours, whose types stop in these modules and folders."""
MAX_FILES = 15


def _dotted(path: Path, source: Path) -> str:
    return ".".join(path.relative_to(source).with_suffix("").parts).removesuffix(".__init__")


MODULES = {
    _dotted(path, source): path for name, source in SOURCES.items() for path in sorted((source / name).rglob("*.py"))
}
FOLDERS = sorted(name for name, path in MODULES.items() if path.name == "__init__.py")


def folder_of(module: str) -> str:
    """The folder in which a module lies; a package is its own folder."""
    return module if module in FOLDERS else module.rpartition(".")[0]


def _imported_names(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@cache
def imported_names(module: str) -> frozenset[str]:
    """Every name that a module imports, wherever in it, also for types only."""
    return frozenset(_imported_names(MODULES[module]))


@cache
def imported_modules(module: str) -> set[str]:
    """The modules of ours that a module imports."""
    found = set()
    for name in imported_names(module):
        owner = name if name in MODULES else name.rpartition(".")[0]
        if owner in MODULES:
            found.add(owner)
    return found - {module}


@cache
def graph() -> Mapping[str, set[str]]:
    """The modules of ours that each imports; reading them takes two seconds, which collecting the tests need not."""
    return {module: imported_modules(module) for module in MODULES}


def declared(folder: str) -> set[str]:
    """The folders named in the line `Imports: …` of a folder's docstring, with their package."""
    docstring = ast.get_docstring(ast.parse(MODULES[folder].read_text())) or ""
    line = re.search(r"^Imports: (.+)", docstring, re.MULTILINE | re.DOTALL)
    assert line, f"{folder}: its docstring has no line `Imports: …`"
    names = re.findall(r"`([\w.]+)`", line[1])
    package = folder.partition(".")[0]
    return {name if name.partition(".")[0] in SOURCES else f"{package}.{name}" for name in names}


def sentence(folder: str) -> str:
    """What belongs into a folder, as its docstring says."""
    docstring = ast.get_docstring(ast.parse(MODULES[folder].read_text())) or ""
    return " ".join(docstring.partition("\n\n")[0].split())


def tree() -> str:
    """Every folder with its sentence, as docs/internals/architecture.md shows it."""
    lines = []
    for folder in FOLDERS:
        depth = folder.count(".")
        name = f"{'  ' * depth}{folder.rpartition('.')[2]}/"
        lines.append(f"{name:<30} {sentence(folder)}")
    return "\n".join(lines)


def covers(folder: str, module: str) -> bool:
    """Whether a module lies in a folder or below it."""
    return module == folder or module.startswith(f"{folder}.")


def first_cycle(graph: Mapping[str, set[str]]) -> list[str]:
    """A way that leads back to its start; empty where there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_imports_only_the_folders_that_it_declares(folder: str) -> None:
    """Every module counts, and every import in it, also inside functions and under TYPE_CHECKING."""
    allowed = declared(folder)
    wrong = [
        f"{module} imports {other}"
        for module in MODULES
        if folder_of(module) == folder
        for other in sorted(imported_modules(module))
        if folder_of(other) not in (folder, folder.partition(".")[0])
        and not any(covers(name, other) for name in allowed)
    ]
    assert wrong == []


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_declares_no_import_that_it_does_not_need(folder: str) -> None:
    """A declaration that is wider than the code says nothing."""
    used = {other for module in MODULES if folder_of(module) == folder for other in imported_modules(module)}
    assert {name for name in declared(folder) if not any(covers(name, other) for other in used)} == set()


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_fits_on_one_screen(folder: str) -> None:
    """More files than a reader can survey want a folder of their own."""
    assert sum(folder_of(module) == folder and module != folder for module in MODULES) <= MAX_FILES


@pytest.mark.parametrize("library", ONLY_IN)
def test_the_types_of_a_library_stop_where_they_enter(library: str) -> None:
    """NVML, OTLP, DuckDB and Dash each have one home; no room of the hub knows the simulator."""
    wrong = {
        module
        for module in MODULES
        if any(covers(library, name) for name in imported_names(module))
        and not any(covers(home, module) for home in ONLY_IN[library])
    }
    assert wrong == set()


@pytest.mark.parametrize(
    ("package", "others"),
    [
        ("foreshock_exporter", ("foreshock_dashboard", "foreshock_simulator", "numpy", "dash", "duckdb")),
        ("foreshock_simulator", ("foreshock_dashboard",)),
        ("foreshock_dashboard", ("foreshock_evaluation", "foreshock_lab")),
    ],
)
def test_a_package_does_not_know_those_above_it(package: str, others: tuple[str, ...]) -> None:
    """The exporter imports none of the others, the simulator only the exporter, and no package the evaluation."""
    wrong = [
        f"{module} imports {name}"
        for module in MODULES
        if covers(package, module)
        for name in imported_names(module)
        if any(covers(other, name) for other in others)
    ]
    assert wrong == []


def test_golden_map_shows_every_folder(request: pytest.FixtureRequest) -> None:
    """docs/internals/architecture.md has the tree with the sentences of the folders; `make golden` rewrites it."""
    path = ROOT / "docs" / "internals" / "architecture.md"
    text = path.read_text(encoding="utf-8")
    before, _, rest = text.partition("<!-- folders -->\n")
    shown = f"```\n{tree()}\n```\n"
    expected = f"{before}<!-- folders -->\n{shown}<!-- /folders -->\n{rest.partition('<!-- /folders -->' + chr(10))[2]}"
    if request.config.getoption("--golden"):
        path.write_text(expected, encoding="utf-8")
    assert text == expected


def defined(module: str) -> set[str]:
    """Top-level names of a module, and methods as `Class.method`."""
    names = set()
    for node in ast.parse(MODULES[module].read_text()).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            names |= {f"{node.name}.{part.name}" for part in node.body if isinstance(part, ast.FunctionDef)}
    return names


@pytest.mark.parametrize("title", ["A GPU sample, from NVML to a pixel", "A span, from the socket to the verdict"])
def test_a_walk_has_at_most_forty_stops_and_each_exists(title: str) -> None:
    """A stop is written `path/file.py:Name` or `path/file.js`, from the root of its package."""
    text = (ROOT / "docs" / "internals" / "architecture.md").read_text(encoding="utf-8")
    chapter = text.partition(f"## {title}\n")[2].partition("\n## ")[0]
    stops = re.findall(r"`([\w/]+\.(?:py|js))(?::([\w.]+))?`", chapter)
    missing = []
    for path, name in stops:
        places = [(package, source / package / path) for package, source in SOURCES.items()]
        found = [(package, place) for package, place in places if place.exists()]
        module = ".".join((found[0][0], *Path(path).with_suffix("").parts)) if found else ""
        if not found or (name and name not in defined(module)):
            missing.append(f"{path}:{name}")
    assert missing == []
    assert 10 < len(stops) <= 40


def test_no_module_is_part_of_an_import_cycle() -> None:
    """Imports for types count as well: a module of a cycle cannot be read alone."""
    assert first_cycle(graph()) == []


def test_no_folder_is_part_of_an_import_cycle() -> None:
    """Modules directly in a folder form one node; the folders below it are others."""
    folders: dict[str, set[str]] = {}
    for module, others in graph().items():
        if module not in FOLDERS:
            folders.setdefault(folder_of(module), set()).update(folder_of(other) for other in others - set(FOLDERS))
    assert first_cycle({folder: others - {folder} for folder, others in folders.items()}) == []
