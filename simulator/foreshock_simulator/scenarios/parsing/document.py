"""YAML as a tree of nodes with line numbers, bounded in size, depth, and expansion of aliases."""

from __future__ import annotations

import yaml

from foreshock_simulator.scenarios.parsing.problems import Problems

MAX_BYTES = 1_000_000
MAX_DEPTH = 60
MAX_NODES = 100_000
"""Bound with aliases expanded."""


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
        problems.add(mark.line + 1 if mark else 1, f"not YAML: {error.problem}", "mend the syntax here or just above")
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
