"""Each fuzz target accepts every input that was kept, and mutations of them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.fuzz.targets import MAX_BYTES, TARGETS

CORPUS = Path(__file__).parent / "corpus"
MUTATIONS = 20
"""Of each input: enough to notice a parser that refuses wrongly. `make fuzz` searches."""
SPECIAL = (
    b"",
    b"\0",
    b"\xff",
    b"\n",
    b"{",
    b"[" * 200,
    b'"',
    b"9" * 400,
    b"1e999",
    "\u2028\u202e".encode(),
    b"\xed\xa0\x80",
)


def mutations(data: bytes, others: list[bytes], rng: random.Random) -> Iterator[bytes]:
    """The input with bits flipped, parts removed, repeated, or replaced by those of others."""
    for _ in range(MUTATIONS):
        mutated = bytearray(data)
        for _ in range(rng.randint(1, 4)):
            start, end = sorted(rng.randint(0, len(mutated)) for _ in range(2))
            other = rng.choice(others)
            match rng.randint(0, 4):
                case 0 if mutated:
                    mutated[rng.randrange(len(mutated))] ^= 1 << rng.randint(0, 7)
                case 1:
                    del mutated[start:end]
                case 2:
                    mutated[start:start] = mutated[start:end]
                case 3:
                    mutated[start:end] = rng.choice(SPECIAL)
                case _:
                    mutated[start:end] = other[: rng.randint(0, len(other))]
        yield bytes(mutated[:MAX_BYTES])


@pytest.mark.parametrize("name", TARGETS)
def test_a_parser_refuses_malformed_input_with_its_own_errors_only(name: str) -> None:
    kept = [path.read_bytes() for path in sorted((CORPUS / name).iterdir())]
    rng = random.Random(name)
    for data in kept:
        TARGETS[name](data)
        for mutated in mutations(data, kept, rng):
            try:
                TARGETS[name](mutated)
            except Exception as error:
                error.add_note(f"input: {mutated!r}")
                raise


def test_every_kept_input_is_small_and_belongs_to_a_target() -> None:
    assert {path.name for path in CORPUS.iterdir()} == set(TARGETS)
    assert [str(path) for path in CORPUS.rglob("*") if path.is_file() and path.stat().st_size > MAX_BYTES] == []
