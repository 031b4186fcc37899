"""Problems of a scenario file, collected and reported together."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

MAX_LISTED_PROBLEMS = 10
"""Problems listed in one error; the others are counted."""


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
        return "there is none to name"
    shown = ", ".join(names[:12])
    return f"known: {shown}" + (f" and {len(names) - 12} more" if len(names) > 12 else "")
