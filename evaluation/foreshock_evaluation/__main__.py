"""`python -m foreshock_evaluation` runs the command; with `explain` or `capacity` as first argument, the one
for explanations or for the capacity forecast."""

from __future__ import annotations

import sys

from foreshock_evaluation import capacity_command, command, explain_command

if __name__ == "__main__":
    arguments = sys.argv[1:]
    other = {"explain": explain_command.main, "capacity": capacity_command.main}.get("".join(arguments[:1]))
    sys.exit(other(arguments[1:]) if other else command.main(arguments))
