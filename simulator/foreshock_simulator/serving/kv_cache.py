"""The KV cache of a language model server in blocks (paged attention, with the default block size of vLLM)."""

from __future__ import annotations

BLOCK_TOKENS = 16


def block_count(tokens: int) -> int:
    """Blocks for the tokens of one request."""
    return -(-tokens // BLOCK_TOKENS)


class KvCache:
    """Exact number of used blocks, with a cost per step that does not depend on the number of requests.

    A generating request writes one token per step, so it needs a new block at every 16th step. `_due[r]` is the number
    of requests that need one at steps r, r + 16, …
    """

    __slots__ = ("_due", "_generating", "total", "used")

    def __init__(self, total: int) -> None:
        self.total, self.used = total, 0
        self._due = [0] * BLOCK_TOKENS
        self._generating = 0

    @property
    def free(self) -> int:
        """Free blocks."""
        return self.total - self.used

    def hold(self, tokens: int) -> None:
        """Allocate the blocks of a prompt."""
        self.used += block_count(tokens)

    def release(self, tokens: int) -> None:
        """Free the blocks of a request that does not generate."""
        self.used -= block_count(tokens)

    def join(self, tokens: int, step: int) -> None:
        """Register a request that holds its blocks: it writes one token per step from `step` on."""
        self._due[(step - tokens) % BLOCK_TOKENS] += 1
        self._generating += 1

    def leave(self, tokens: int, step: int) -> None:
        """Remove a generating request that has `tokens` before `step`, and free its blocks."""
        self._due[(step - tokens) % BLOCK_TOKENS] -= 1
        self._generating -= 1
        self.used -= block_count(tokens)

    def needed(self, step: int, steps: int) -> int:
        """Additional blocks that the generating requests need for `steps` steps from `step` on."""
        due, start = self._due, step % BLOCK_TOKENS
        if steps == 1:
            return due[start]
        end = start + steps % BLOCK_TOKENS
        partial = sum(due[start:end])
        if end > BLOCK_TOKENS:
            partial += sum(due[: end - BLOCK_TOKENS])
        return steps // BLOCK_TOKENS * self._generating + partial

    def is_short(self, step: int) -> bool:
        """Whether the generating requests need more blocks for one step than are free."""
        return self._due[step % BLOCK_TOKENS] > self.total - self.used

    def advance(self, step: int, steps: int) -> None:
        """Allocate the blocks of `steps` steps."""
        self.used += self.needed(step, steps)

    def steps_until_full(self, step: int, limit: int) -> int:
        """Steps from `step` on for which the free blocks suffice, up to `limit`."""
        free = self.total - self.used
        # A request needs at most one block per 16 steps or part of them.
        if self._generating * (limit // BLOCK_TOKENS + 1) <= free:
            return limit
        steps = min(limit, free // self._generating * BLOCK_TOKENS)
        remaining = free - self.needed(step, steps)
        while steps < limit:
            remaining -= self._due[(step + steps) % BLOCK_TOKENS]
            if remaining < 0:
                break
            steps += 1
        return steps
