"""Print a random sample of mutants of Python files, made by the operators of Cosmic Ray; part of `make mutation`.

  .venv-mutation/bin/python scripts/testing/mutants.py COUNT SEED FILE...

Each line is JSON: [file, line, kind of operator, changed source]. The sample is of places, with one change of each.
Left out is what no test of behavior can see: annotations, how parameters may be passed, `slots` and `frozen` of
dataclasses, `strict` of zip, decorators for the type checker, log messages, a change of a module constant of ten or
more by one, and what has the same result for certain (`Equal`).
"""

from __future__ import annotations

import ast
import json
import random
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence, Set
from pathlib import Path

import cosmic_ray.ast
import cosmic_ray.plugins
from cosmic_ray.mutating import mutate_code

OPERATORS = [name for name in cosmic_ray.plugins.operator_names() if "Variable" not in name]
"""All operators of which the arguments need no choice."""
CHECKER_DECORATORS = {"override", "final", "overload", "abstractmethod"}
UNSEEN_KEYWORDS = {"slots", "frozen", "strict"}
LOG_METHODS = {"debug", "info", "warning", "error", "exception", "critical"}
MIN_BOUND = 10
SMALL_NUMBERS = range(-5, 257)
"""CPython has one object of each (https://docs.python.org/3/c-api/long.html)."""


class Visible(ast.NodeTransformer):
    """Removes what no test of behavior can see."""

    def visit_arg(self, node: ast.arg) -> ast.AST:
        """Without its annotation."""
        node.annotation = None
        return node

    def visit_arguments(self, node: ast.arguments) -> ast.AST:
        """`*` and `/` become equal, or an operator would replace one by the other."""
        node.args, node.posonlyargs, node.kwonlyargs = [*node.posonlyargs, *node.args, *node.kwonlyargs], [], []
        node.defaults, node.kw_defaults = [*node.defaults, *filter(None, node.kw_defaults)], []
        return self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        """Without the annotation of its result, and decorators for the type checker."""
        node.returns = None
        node.decorator_list = [found for found in node.decorator_list if ast.unparse(found) not in CHECKER_DECORATORS]
        return self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        """Without the annotation of an attribute or variable."""
        node.annotation = ast.Constant(None)
        return self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        """Without the message of a log, and without `slots`, `frozen`, and `strict`."""
        if (
            isinstance(node.func, ast.Attribute)
            and node.func.attr in LOG_METHODS
            and "log" in ast.unparse(node.func.value)
        ):
            node.args, node.keywords = [], []
        node.keywords = [keyword for keyword in node.keywords if keyword.arg not in UNSEEN_KEYWORDS]
        return self.generic_visit(node)

    def visit_If(self, node: ast.If) -> ast.AST | None:
        """Not the imports of the type checker."""
        return None if ast.unparse(node.test).endswith("TYPE_CHECKING") else self.generic_visit(node)

    def visit_Module(self, node: ast.Module) -> ast.AST:
        """Bounds are rounded: nothing that is promised depends on the last digit of one."""
        for statement in node.body:
            if isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None:
                statement.value = Rounded().visit(statement.value)
        return self.generic_visit(node)


class Rounded(ast.NodeTransformer):
    """Makes numbers of ten or more equal to those beside them."""

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        """Any large one is the same."""
        if isinstance(node.value, int | float) and node.value >= MIN_BOUND - 1:
            return ast.Constant("bound")
        return node


class Equal(ast.NodeTransformer):
    """Writes expressions that have the same result for certain in the same way.

    enumerations: names of subclasses of `Enum` that do not define `==`.
    """

    def __init__(self, enumerations: Set[str]) -> None:
        self._enumerations = enumerations

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        """`==` is `is` for what there is once, and a length is never below 0."""
        self.generic_visit(node)
        match node:
            case ast.Compare(
                ops=[ast.Eq() | ast.NotEq()],
                comparators=[ast.Constant(value=None) | ast.Attribute(value=ast.Name()) as other],
            ) if isinstance(other, ast.Constant) or ast.unparse(other.value) in self._enumerations:
                node.ops = [ast.Is() if isinstance(node.ops[0], ast.Eq) else ast.IsNot()]
            case ast.Compare(
                left=ast.Call(func=ast.Name(id="len")), ops=[operator], comparators=[ast.Constant(value=int(bound))]
            ) if bound in SMALL_NUMBERS:
                node.ops, node.comparators = length(operator, bound)
        return node

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        """Of numbers without a common bit, `|`, `^`, and `+` are equal."""
        self.generic_visit(node)
        match node:
            case ast.BinOp(
                left=ast.BinOp(op=ast.LShift(), right=ast.Constant(value=int(shift))),
                op=ast.BitXor() | ast.Add(),
                right=ast.BinOp(op=ast.BitAnd(), right=ast.Constant(value=int(mask))),
            ) if 0 <= mask < 1 << shift:
                node.op = ast.BitOr()
        return node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        """The size of a cache of results changes none."""
        if ast.unparse(node.func) in {"lru_cache", "functools.lru_cache"}:
            node.args, node.keywords = [], []
        return self.generic_visit(node)


def length(operator: ast.cmpop, bound: int) -> tuple[list[ast.cmpop], list[ast.expr]]:
    """Return the usual comparison of a length with a small number: `==` and `!=` for `is` and for one with 0."""
    match operator, bound:
        case (ast.Is(), _) | (ast.LtE(), 0):
            operator = ast.Eq()
        case (ast.IsNot(), _) | (ast.Gt(), 0):
            operator = ast.NotEq()
        case ast.Lt(), 1:
            operator, bound = ast.Eq(), 0
        case ast.GtE(), 1:
            operator, bound = ast.NotEq(), 0
    return [operator], [ast.Constant(bound)]


def enumerations(sources: Iterable[str]) -> set[str]:
    """Return the names of plain enumerations: not of those whose members are numbers or texts as well."""
    classes = [node for source in sources for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ClassDef)]
    return {
        found.name
        for found in classes
        if [ast.unparse(base) for base in found.bases] in (["Enum"], ["enum.Enum"])
        and not any(isinstance(part, ast.FunctionDef) and part.name == "__eq__" for part in found.body)
    }


def visible(source: str, enumerations: Set[str]) -> str | None:
    """Return what tests can see of a source; None if it is not valid."""
    try:
        return ast.dump(Equal(enumerations).visit(Visible().visit(ast.parse(source))))
    except SyntaxError:
        return None


def places(files: Sequence[str]) -> dict[tuple[str, int, str], list[tuple[str, int]]]:
    """Return the operators, and the number of the occurrence, by file, line, and kind of operator."""
    found = defaultdict[tuple[str, int, str], list[tuple[str, int]]](list)
    for file in files:
        nodes = list(cosmic_ray.ast.ast_nodes(cosmic_ray.ast.get_ast(Path(file).read_text(encoding="utf-8"))))
        for name in OPERATORS:
            operator = cosmic_ray.plugins.get_operator(name)()
            positions = [position for node in nodes for position in operator.mutation_positions(node)]
            for number, ((line, _), _) in enumerate(positions):
                found[file, line, name.split("/")[1].split("_")[0]].append((name, number))
    return found


def mutants(files: Sequence[str], chance: random.Random) -> Iterator[tuple[str, int, str, str]]:
    """Yield a mutant of each place that has one, in random order."""
    originals = {file: Path(file).read_text(encoding="utf-8") for file in files}
    enums = enumerations(originals.values())
    unchanged = {None, *(visible(source, enums) for source in originals.values())}
    found = places(files)
    for file, line, kind in chance.sample(sorted(found), len(found)):
        for name, number in chance.sample(found[file, line, kind], len(found[file, line, kind])):
            try:
                changed = mutate_code(originals[file], cosmic_ray.plugins.get_operator(name)(), number)
            except AttributeError:  # Cosmic Ray 8.7 cannot replace an exception with a dotted name
                continue
            if visible(changed, enums) not in unchanged:
                yield file, line, kind, changed
                break


def main(count: int, seed: int, files: Sequence[str]) -> None:
    """Print up to `count` mutants."""
    for mutant, _ in zip(mutants(files, random.Random(seed)), range(count), strict=False):  # noqa: S311 - no secret
        print(json.dumps(mutant))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
