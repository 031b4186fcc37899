"""What is wrong with a scenario file: collected, so that all of it is said at once."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

MOST = 10
"""Problems that one error names; of the rest it says how many."""


class ScenarioError(ValueError):
    """A scenario cannot be used. Each line of the message reads `FILE:LINE: what is wrong; remedy`."""


class Problems:
    """What was found wrong so far in one file, each with its line (from 1)."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._found: dict[tuple[int, str], None] = {}
        self.noted = 0
        """How often something was wrong; an alias that stands twice is wrong twice."""

    def add(self, line: int, what: str, remedy: str) -> None:
        """Note a problem; the same one on the same line counts once."""
        self._found[line, f"{what}; {remedy}"] = None
        self.noted += 1

    def complain(self) -> None:
        """Say what was found, in the order of lines.

        Raises:
            ScenarioError: anything was.
        """
        if not self._found:
            return
        found = sorted(self._found)
        lines = [f"{self._file}:{line}: {text}" for line, text in found[:MOST]]
        if len(found) > MOST:
            lines.append(f"{self._file}: and {len(found) - MOST} more")
        raise ScenarioError("\n".join(lines))


def alternatives(wrong: str, known: Iterable[str]) -> str:
    """A remedy for a name that is not known: the nearest that is, or all where there are few."""
    names = sorted(known)
    near = get_close_matches(wrong, names, n=1, cutoff=0.6)
    if near:
        return f"did you mean {near[0]!r}?"
    if not names:
        return "there is none to name"
    shown = ", ".join(names[:12])
    return f"known: {shown}" + (f" and {len(names) - 12} more" if len(names) > 12 else "")
