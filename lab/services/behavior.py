"""What a fault changes in a service while it runs: a JSON file, read again when it changes."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

Json = dict[str, Any]


class Behavior:
    """The current content of a control file; empty while there is none."""

    def __init__(self, path: Path) -> None:
        self._path, self._modified = path, 0
        self._content: Json = {}

    def number(self, key: str, default: float) -> float:
        """A value that applies to all operations."""
        return float(self.of("").get(key) or default)

    def of(self, operation: str) -> Json:
        """What applies to a request of an operation."""
        try:
            modified = self._path.stat().st_mtime_ns
        except FileNotFoundError:
            return {}
        if modified != self._modified:
            self._content, self._modified = json.loads(self._path.read_text()), modified
        operations = self._content.get("operations")
        return self._content if not operations or operation in operations else {}


def strikes(behavior: Json, key: str, default: float = 0.0) -> bool:
    """Whether a share of requests, such as `error_ratio`, includes this one."""
    return random.random() < float(behavior.get(key, default))  # noqa: S311 - not for secrets
