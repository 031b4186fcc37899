"""The catalog of words as a JavaScript module."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import get_args

import pytest

import foreshock_dashboard
from foreshock_dashboard.model import incident, types
from foreshock_dashboard.render.words import (
    actions,
    capacity,
    cost,
    gpus,
    incidents,
    panels,
    services,
    shell,
    status,
    traces,
)

MODULES = (actions, capacity, cost, gpus, incidents, panels, services, shell, status, traces)
TABLES = (
    "SEVERITIES",
    "STATES",
    "CAUSES",
    "LOCAL_CAUSES",
    "CONFIDENCE_LEVELS",
    "QUALITIES",
    "FEEDBACK",
    "HEALTHS",
    "STAGES",
    "PAST_STAGES",
    "CONDITIONS",
    "ROLES",
    "RISKS",
    "VERDICTS",
    "EMPTY",
    "ACTION_TEXTS",
    "COURSE",
    "NOW_TEXTS",
    "SIGNAL_NOTES",
    "SIGNAL_MEANINGS",
    "GRID_TEXTS",
    "TIMELINE_TEXTS",
    "EVENTS",
    "BREACH_BUCKETS",
    "BREACH_TEXTS",
    "SLO_COUNTS",
    "TILE_TEXTS",
    "LOAD_KINDS",
    "SAFE_LIMIT_NOTES",
    "CAPACITY_TEXTS",
    "HOLDINGS",
    "GROUPINGS",
    "COST_TEXTS",
    "SPLIT_NAMES",
    "ABSENT",
    "ACTIVITIES",
    "AUDIT_ACTIONS",
    "CASCADE_TEXTS",
    "CONNECTION_STATES",
    "CONNECTION_TEXTS",
    "CONNECT_NOTES",
    "GPU_COUNTS",
    "GPU_FAULTS",
    "GPU_SHARING",
    "GPU_TEXTS",
    "INCIDENT_MARKS",
    "QUALITY_MEANINGS",
    "RANGE_FAULTS",
    "RESPONSE_TEXTS",
    "SERVICE_HINTS",
    "SHELL_TEXTS",
    "SLO_NAMES",
    "SPAN_COUNTS",
    "STATUS_TEXTS",
    "TARGET_STATES",
    "TRACE_TEXTS",
)
"""Of the catalog, what the pages' scripts use, in the order of the module."""
MAX_LINE = 120
"""Characters, as in `biome.json`."""


def words_module() -> str:
    """The catalog as the JavaScript module `web/assets/words.js`."""
    catalog = {name: table for module in MODULES for name, table in vars(module).items()}
    lines = ["// The catalog of words. Generated from render/words by `make golden`: change it there."]
    for name in TABLES:
        entries = [_entry(_key(key), word) for key, word in catalog[name].items()]
        lines += ["", f"export const {name} = /** @type {{const}} */ ({{", *entries, "});"]
    return "\n".join(lines) + "\n"


def _entry(key: str, word: str) -> str:
    """A member of an object, as Biome formats it: the text is below its key where they are too long for a line."""
    line = f'  {key}: "{word}",'
    return line if len(line) <= MAX_LINE else f'  {key}:\n    "{word}",'


def _key(name: object) -> str:
    """A key of an object: a name in quotes where it is no identifier or number."""
    text = str(name)
    return text if text.isidentifier() or text.isdecimal() else f'"{text}"'


def test_golden_module_is_the_catalog(golden: Callable[[str, str], None]) -> None:
    """Scripts have no words of their own for what the catalog names."""
    golden("../../dashboard/foreshock_dashboard/web/assets/words.js", words_module())


def test_texts_name_their_values_as_the_scripts_do() -> None:
    """In braces, without a format: Python and JavaScript fill them in the same way (`filled`)."""
    tables = (table for module in MODULES for table in vars(module).values() if isinstance(table, Mapping))
    texts = [text for table in tables for text in table.values() if isinstance(text, str)]
    assert [text for text in texts if re.search(r"[{}]", re.sub(r"\{\w+\}", "", text))] == []


@pytest.mark.parametrize(
    ("table", "values"),
    [
        (incidents.SEVERITIES, incident.Severity),
        (incidents.STATES, incident.State),
        (incidents.CAUSES, incident.Cause),
        (incidents.CONFIDENCE_LEVELS, incident.ConfidenceLevel),
        (incidents.QUALITIES, incident.Quality),
        (services.HEALTHS, types.Health),
        (services.STAGES, types.Stage),
        (services.PAST_STAGES, types.Stage),
        (services.CONDITIONS, types.ConditionKind),
        (incidents.ROLES, incidents.Role),
        (panels.VERDICTS, panels.Verdict),
    ],
)
def test_every_value_of_an_enumeration_has_a_label(table: Mapping[str, str], values: object) -> None:
    assert table.keys() == set(get_args(values))


def test_labels_of_enumerations_are_written_in_the_catalog_alone() -> None:
    """Sentences, commands, messages, and tools take them from there, so that each has one word."""
    labels = {
        text
        for table in (incidents.SEVERITIES, incidents.STATES, incidents.CAUSES, services.CONDITIONS, services.STAGES)
        for text in table.values()
        if " " in text  # one word may be anything
    }
    folder = Path(foreshock_dashboard.__file__).parent
    read = [path for name in ("render", "cli", "notify", "mcp", "analysis") for path in (folder / name).rglob("*.py")]
    found = [
        (path.name, node.value)
        for path in read
        if path.parent.name != "words"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and node.value in labels
    ]
    assert found == []
