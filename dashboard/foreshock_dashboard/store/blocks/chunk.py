"""What was accepted at once, as columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

Columns = dict[str, NDArray[Any]]
Body = bytes


@dataclass(frozen=True, slots=True)
class Chunk:
    """The rows of one inbox row as columns; `start` and `end` in the kind's unit of time; `refused` were not taken.

    Of spans only:
        texts: what the numbers in columns of texts stand for (see `Texts`).
        body: the blocks that the rows' places point into, as they lie in the inbox.
    """

    columns: Columns
    rows: int
    start: int
    end: int
    bytes: int
    refused: int = 0
    texts: Sequence[str | None] = ()
    body: Body = b""
