"""YAML as a tree of nodes, bounded in size, depth, and expansion of aliases, and the problems of a file."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

import yaml

MAX_LISTED_PROBLEMS = 10
"""Problems listed in one error; the others are counted."""

MAX_BYTES = 1_000_000
MAX_DEPTH = 60
MAX_NODES = 100_000
"""Bound with aliases expanded."""


class ScenarioError(ValueError):
    """An invalid scenario. The message has lines `FILE:LINE: problem; remedy`."""


class Problems:
    """The problems of one file with their lines, from 1."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._problems: dict[tuple[int, str], None] = {}
        self.count = 0
        """Number of problems, including repetitions by aliases."""

    def add(self, line: int, problem: str, remedy: str) -> None:
        """Add a problem. Equal problems on one line are listed once."""
        self._problems[line, f"{problem}; {remedy}"] = None
        self.count += 1

    def raise_if_any(self) -> None:
        """Report the problems in order of lines.

        Raises:
            ScenarioError: there are problems.
        """
        if not self._problems:
            return
        problems = sorted(self._problems)
        lines = [f"{self._file}:{line}: {text}" for line, text in problems[:MAX_LISTED_PROBLEMS]]
        if len(problems) > MAX_LISTED_PROBLEMS:
            lines.append(f"{self._file}: and {len(problems) - MAX_LISTED_PROBLEMS} more")
        raise ScenarioError("\n".join(lines))


def alternatives(unknown: str, known: Iterable[str]) -> str:
    """A remedy for an unknown name: the most similar known name, or a list of known names."""
    names = sorted(known)
    similar = get_close_matches(unknown, names, n=1, cutoff=0.6)
    if similar:
        return f"did you mean {similar[0]!r}?"
    if not names:
        return "none exist"
    shown = ", ".join(names[:12])
    return f"known: {shown}" + (f" and {len(names) - 12} more" if len(names) > 12 else "")


class _Loader(yaml.SafeLoader):
    """Limits the depth to MAX_DEPTH, since the composer is recursive."""

    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.MarkedYAMLError(problem=f"is nested deeper than {MAX_DEPTH}", problem_mark=mark)
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1


def compose(text: str, problems: Problems) -> yaml.Node | None:
    """The root of the document; None if it is unusable, with the reason in `problems`."""
    if len(text) > MAX_BYTES:
        problems.add(1, f"the file has {len(text):,} characters", f"a scenario has at most {MAX_BYTES:,}")
        return None
    try:
        loader = _Loader(text)
        try:
            root = loader.get_single_node()
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problems.add(mark.line + 1 if mark else 1, f"not YAML: {error.problem}", "fix the syntax here or just above")
        return None
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # the scanner passes on some errors of int() and chr()
        problems.add(1, f"not YAML: {' '.join(str(error).split())}", "save it as plain UTF-8 text")
        return None
    if root is None:
        problems.add(1, "the file is empty", "begin with 'description: a sentence'")
        return None
    return root if _bounded(root, problems) else None


def line(node: yaml.Node) -> int:
    """Line number of a node, from 1."""
    return int(node.start_mark.line) + 1


def _bounded(root: yaml.Node, problems: Problems) -> bool:
    """Whether the document stays within the bounds with aliases expanded; a recursive alias never does."""
    stack = [(root, 1)]
    nodes = 0
    while stack:
        node, depth = stack.pop()
        nodes += 1
        if nodes > MAX_NODES or depth > MAX_DEPTH:
            problems.add(line(node), "with its aliases written out, the file is too large", "use fewer aliases")
            return False
        if isinstance(node, yaml.MappingNode):
            stack += [(part, depth + 1) for pair in node.value for part in pair]
        elif isinstance(node, yaml.SequenceNode):
            stack += [(part, depth + 1) for part in node.value]
    return True
