"""Texts as small numbers: most are the same few over and over, and numbers are kept, sorted and compared for less."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.uint32]
NONE = 0
"""The number of no text."""


class Texts(dict[str | None, int]):
    """The number of each text, given when it is first asked for with `[]`: `list(texts)[number]` is the text."""

    def __init__(self) -> None:
        super().__init__({None: NONE})

    def __missing__(self, text: str | None) -> int:
        number = self[text] = len(self)
        return number

    def codes(self, texts: Sequence[str | None]) -> Codes:
        """The number of each."""
        return np.fromiter(map(self.__getitem__, texts), np.uint32, len(texts))
