"""Who may import whom: the arrows of the architecture, read from the code."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HUB = "foreshock_dashboard"
LAYERS = ("model", "analysis", "sources", "store", "recording", "web", "evaluation")

ALLOWED = {
    "model": {"model"},
    "analysis": {"analysis", "model"},
    "store": {"store", "model"},
    "sources": {"sources", "model"},
    "recording": {"recording", "sources", "store", "model"},
    "web": {"web", "model", "analysis"},
    "evaluation": {"evaluation", "recording", "analysis", "model"},
}
ONLY_IN = {
    "pynvml": {"exporter/foreshock_exporter/nvml/"},
    "duckdb": {"store/", "recording/"},
    "sqlite3": {"store/"},
    "dash": {"web/"},
    "opentelemetry.proto": {
        "sources/otlp/codec.py",
        "sources/otlp/json_request.py",
        "model/otlp/",
        "ingest/otlp/detail.py",
    },
}


def imports(path: Path) -> set[str]:
    """Every module that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def files(package: str) -> list[Path]:
    """The package's modules."""
    return sorted((ROOT / package).rglob("*.py"))


@pytest.mark.parametrize("layer", LAYERS)
def test_arrows_between_the_hubs_layers_go_one_way(layer: str) -> None:
    """web → analysis → model ← sources, store."""
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in files(f"dashboard/{HUB}/{layer}")
        for name in imports(path)
        for other in LAYERS
        if name.startswith(f"{HUB}.{other}") and other not in ALLOWED[layer]
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("package", "forbidden"),
    [
        ("exporter/foreshock_exporter", ("foreshock_dashboard", "foreshock_simulator", "numpy", "dash", "duckdb")),
        ("simulator/foreshock_simulator", ("foreshock_dashboard",)),
    ],
)
def test_a_package_does_not_know_those_above_it(package: str, forbidden: tuple[str, ...]) -> None:
    """The exporter imports none of the others; the simulator only the exporter."""
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in files(package)
        for name in imports(path)
        if name.split(".")[0] in forbidden
    ]
    assert wrong == []


def test_only_the_command_line_wires_the_simulator_in() -> None:
    """No layer of the hub can tell a simulated platform from a real one."""
    knows = {
        path.name
        for path in files(f"dashboard/{HUB}")
        if any(name.startswith("foreshock_simulator") for name in imports(path))
    }
    wiring = {
        "counterfactual.py",
        "demo.py",
        "evaluate_command.py",
        "past.py",
        "scenarios_command.py",
        "simulate_command.py",
    }
    assert knows == wiring


@pytest.mark.parametrize("library", ONLY_IN)
def test_a_librarys_types_stop_where_they_enter(library: str) -> None:
    """NVML, OTLP, DuckDB and Dash each have one home."""
    wrong = [
        str(path.relative_to(ROOT))
        for package in ("exporter", "simulator", "dashboard")
        for path in files(package)
        if any(name == library or name.startswith(f"{library}.") for name in imports(path))
        and not any(home in str(path.relative_to(ROOT)) for home in ONLY_IN[library])
    ]
    assert wrong == []
