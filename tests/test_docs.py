"""The documents say what the code does."""

from __future__ import annotations

import re
from itertools import groupby
from pathlib import Path

import pytest

from foreshock_dashboard.hub import self_metrics
from foreshock_dashboard.hub.analysis_loop import evaluation_durations
from foreshock_dashboard.hub.memory import MemoryUsage
from foreshock_dashboard.hub.status import HubStats
from foreshock_dashboard.ingest.span_metrics import names as span_families
from foreshock_dashboard.ingest.span_metrics.registry import Family
from foreshock_dashboard.model.incident import Learning
from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.render.words.incidents import CAUSES
from foreshock_dashboard.settings.settings import OPTIONS
from foreshock_dashboard.shared.state import SharedState
from foreshock_dashboard.sources.otlp.receiver import ReceiverStats
from foreshock_dashboard.store import JournalStats, Retention, StoreLimits, StoreStats
from foreshock_simulator.scenarios.load import names

ROOT = Path(__file__).parent.parent
DOCS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def text(name: str) -> str:
    """A document."""
    return (ROOT / name).read_text()


def options_tables() -> str:
    """The tables of the hub's options by topic, as docs/reference/hub.md has them."""
    tables = []
    for group, items in groupby(OPTIONS, key=lambda item: item.group):
        rows = [f"| `{item.flag}` | `{item.key}` | {item.default or '-'} | {item.help} |" for item in items]
        head = [f"### {group}", "", "| flag | YAML key | default | description |", "|---|---|---|---|"]
        tables.append("\n".join([*head, *rows]))
    return "\n\n".join(tables)


def hub_metrics_table() -> str:
    """The table of the hub's own metrics, as docs/reference/metrics.md has it."""
    families = [family for family in vars(span_families).values() if isinstance(family, Family)]
    rows: list[tuple[str, str, str]] = [(family.name, family.type, family.help) for family in families]
    suffix = {"counter": "_total", "info": "_info"}
    rows += [
        (family.name + suffix.get(family.type, ""), family.type.replace("info", "gauge"), family.documentation)
        for family in self_metrics.metric_families(VITALS)
    ]
    lines = [f"| `{name}` | {kind} | {text} |" for name, kind, text in rows]
    return "\n".join(["| metric | type | meaning |", "|---|---|---|", *lines])


VITALS = HubStats(
    version="0",
    time=0.0,
    snapshot=Snapshot(0, None, (), Learning(0.0, 1.0)),
    evaluation_seconds=0.0,
    durations=evaluation_durations(),
    store=StoreStats(0, 0, 0, 0, 0, 0, 0, 0, None, 0, 0, 0, 0, ""),
    journal=JournalStats(True, {"incident": 0}, 0, 0, "", ""),
    receiver=ReceiverStats(0, 0, {}, {}, 0),
    scrapes=(),
    memory=MemoryUsage(0, 0),
    shared=SharedState("", leads=True, problem=""),
)


def test_every_metric_of_the_hub_is_documented() -> None:
    """Name, type and meaning, as on /metrics."""
    assert hub_metrics_table() in text("docs/reference/metrics.md")


def test_every_option_of_the_hub_is_documented_with_its_default() -> None:
    """Flag, variable, key, default and purpose."""
    assert options_tables() in text("docs/reference/hub.md")


def test_the_glossary_lists_every_class_of_causes() -> None:
    (row,) = [line.lower() for line in text("docs/glossary.md").splitlines() if line.startswith("| cause |")]
    assert [label for label in CAUSES.values() if label.lower() not in row] == []


def test_every_scenario_is_documented() -> None:
    """By its name."""
    assert [name for name in names() if f"`{name}`" not in text("docs/internals/scenarios.md")] == []


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_links_between_documents_lead_somewhere(path: Path) -> None:
    """Every relative link and picture exists."""
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text())

    assert [link for link in links if not (path.parent / link).exists()] == []


def test_the_readme_fits_three_screens() -> None:
    """A newcomer reads it to the end."""
    assert len(text("README.md").splitlines()) <= 142


def test_the_index_lists_every_document() -> None:
    """A reader finds each by its subject."""
    index, docs = text("docs/index.md"), ROOT / "docs"
    paths = [path.relative_to(docs).as_posix() for path in docs.rglob("*.md")]
    assert [path for path in paths if f"({path}" not in index] == ["index.md"]


def test_every_make_target_that_documents_name_exists() -> None:
    """`make demo` and its like."""
    targets = set(re.findall(r"^([a-z-]+):", text("Makefile"), re.MULTILINE))
    named = {name for path in DOCS for name in re.findall(r"(?:^|`)make ([a-z]+)", path.read_text(), re.MULTILINE)}

    assert named - targets == set()


def test_the_document_of_the_store_gives_its_bounds() -> None:
    """As they are by default."""
    retention, limits = Retention(), StoreLimits()
    days = retention.metrics_seconds / 86_400, retention.spans_seconds / 86_400
    bounds = [
        f"| age of samples, of spans | {days[0]:g} d, {days[1]:g} d |",
        f"| size of all blocks | {retention.max_bytes >> 30} GiB |",
        f"| size or age of a head table | {limits.block_bytes >> 20} MiB or {limits.block_seconds / 60:g} min |",
        f"| size of all heads | {limits.max_head_bytes >> 20} MiB |",
        f"| samples of one query | {limits.max_query_samples:,} |",
        f"| series × steps of one query | {limits.max_query_cells:,} |",
        f"| spans of one trace | {limits.max_trace_spans:,} |",
        f"| series in the head | {limits.max_series:,} |",
    ]
    assert [bound for bound in bounds if bound not in text("docs/internals/store.md")] == []
