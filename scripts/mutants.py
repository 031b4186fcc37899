"""Print mutants of Python files, made by the operators of Cosmic Ray, as lines of JSON; part of `make mutation`.

  .venv-mutation/bin/python scripts/mutants.py FILE...

Each line is [file, line, kind of operator, changed source]. Left out are those that only change annotations, which are
never evaluated, or how parameters may be passed, and those that do not compile.
"""

from __future__ import annotations

import ast
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import cosmic_ray.ast
import cosmic_ray.plugins
from cosmic_ray.mutating import mutate_code

OPERATORS = [name for name in cosmic_ray.plugins.operator_names() if "Variable" not in name]
"""All operators of which the arguments need no choice."""


class WithoutAnnotations(ast.NodeTransformer):
    """Removes annotations and keeps everything else."""

    def visit_arg(self, node: ast.arg) -> ast.AST:
        """Of an argument."""
        node.annotation = None
        return node

    def visit_arguments(self, node: ast.arguments) -> ast.AST:
        """Of a function: `*` and `/` become equal, or an operator would replace one by the other."""
        node.args, node.posonlyargs, node.kwonlyargs = [*node.posonlyargs, *node.args, *node.kwonlyargs], [], []
        return self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        """Of a result."""
        node.returns = None
        return self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        """Of an attribute or variable."""
        node.annotation = ast.Constant(None)
        return self.generic_visit(node)


def evaluated(source: str) -> str | None:
    """Return what Python evaluates of a source; None if it is not valid."""
    try:
        return ast.dump(WithoutAnnotations().visit(ast.parse(source)))
    except SyntaxError:
        return None


def main(files: Sequence[str]) -> None:
    """Print the mutants of all files."""
    for file in files:
        source = Path(file).read_text(encoding="utf-8")
        seen = {None, evaluated(source)}
        for name in OPERATORS:
            operator = cosmic_ray.plugins.get_operator(name)()
            places = [
                position
                for node in cosmic_ray.ast.ast_nodes(cosmic_ray.ast.get_ast(source))
                for position in operator.mutation_positions(node)
            ]
            for number, ((line, _), _) in enumerate(places):
                try:
                    changed = mutate_code(source, operator, number)
                except AttributeError:  # Cosmic Ray 8.7 cannot replace an exception with a dotted name
                    continue
                if (key := evaluated(changed)) not in seen:
                    seen.add(key)
                    print(json.dumps([file, line, name.split("/")[1].split("_")[0], changed]))


if __name__ == "__main__":
    main(sys.argv[1:])
