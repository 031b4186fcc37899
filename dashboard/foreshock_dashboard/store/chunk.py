"""What was accepted at once, as the columns that DuckDB takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

Columns = dict[str, NDArray[Any]]
Body = bytes

SPANS = 64
"""Spans in a block at most: few enough to read a block for one of them, enough to compress well.

A span's place is the byte at which its block begins, times this, plus its number in the block.
"""


@dataclass(frozen=True, slots=True)
class Chunk:
    """The rows of one inbox row as columns; `start` and `end` in the kind's unit of time; `refused` were not taken.

    `body`: spans only: the blocks that the rows' places point into, as they lie in the inbox.
    """

    columns: Columns
    rows: int
    start: int
    end: int
    bytes: int
    refused: int = 0
    body: Body = b""
