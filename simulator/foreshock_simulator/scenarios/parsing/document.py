"""YAML as a tree of nodes that know their lines; bounded in size, depth, and in what its aliases expand to."""

from __future__ import annotations

import yaml

from foreshock_simulator.scenarios.parsing.problems import Problems

MAX_BYTES = 1_000_000
MAX_DEPTH = 60
MAX_NODES = 100_000
"""With each alias counted as what it stands for."""


class _Loader(yaml.SafeLoader):
    """Composes no deeper than MAX_DEPTH: the composer recurses."""

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
    """The root of the document, or None where there is none that can be used; `problems` then says why."""
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
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # the scanner lets some of int() and chr() through
        problems.add(1, f"not YAML: {' '.join(str(error).split())}", "save it as plain UTF-8 text")
        return None
    if root is None:
        problems.add(1, "the file is empty", "begin with 'description: a sentence'")
        return None
    return root if _bounded(root, problems) else None


def line(node: yaml.Node) -> int:
    """Where it begins, from 1."""
    return int(node.start_mark.line) + 1


def _bounded(root: yaml.Node, problems: Problems) -> bool:
    """Whether it stays within the bounds with its aliases written out; one within itself never does."""
    waiting = [(root, 1)]
    seen = 0
    while waiting:
        node, depth = waiting.pop()
        seen += 1
        if seen > MAX_NODES or depth > MAX_DEPTH:
            problems.add(line(node), "with its aliases written out, the file is too large", "use fewer aliases")
            return False
        if isinstance(node, yaml.MappingNode):
            waiting += [(part, depth + 1) for pair in node.value for part in pair]
        elif isinstance(node, yaml.SequenceNode):
            waiting += [(part, depth + 1) for part in node.value]
    return True
