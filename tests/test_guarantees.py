"""Documents that name tests: each of these tests exists, and each claim has one."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCUMENTS = ("docs/internals/reliability.md", "docs/internals/threat-model.md", "docs/reference/guarantees.md")
TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


@cache
def names_in(path: str) -> frozenset[str]:
    """Names of the test functions in a file."""
    tree = ast.parse((ROOT / path).read_text())
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef))


def claims(text: str) -> list[str]:
    """Rows of the tables with a column `test`."""
    tables = re.findall(r"^\|.*\| test \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", text, re.MULTILINE)
    return [row for table in tables for row in table.splitlines()]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_claim_names_a_test_that_exists(document: str) -> None:
    rows = claims((ROOT / document).read_text())
    assert len(rows) > 10
    for row in rows:
        tests = TEST.findall(row)
        assert tests, row
        assert all(name in names_in(path) for path, name in tests), row


def test_the_security_policy_says_where_to_report_and_which_versions_it_supports() -> None:
    """It names commands that exist, and documents that make the claims."""
    policy, makefile = (ROOT / "SECURITY.md").read_text(), (ROOT / "Makefile").read_text()
    assert {"## Report a vulnerability", "## Supported versions"} <= set(policy.splitlines())
    assert all(f"\n{target}:" in makefile for target in re.findall(r"`make (\w+)`", policy))
    assert all((ROOT / path).exists() for path in re.findall(r"\]\(([^)#]+)", policy))
