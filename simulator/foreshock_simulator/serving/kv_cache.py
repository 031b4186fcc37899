"""The blocks in which a language model's server keeps keys and values (paged attention; vLLM's default block size)."""

from __future__ import annotations

BLOCK_TOKENS = 16


def blocks(tokens: int) -> int:
    """Blocks that so many tokens of one request fill or begin."""
    return -(-tokens // BLOCK_TOKENS)


class KvCache:
    """Counts blocks exactly without looking at each request at each step.

    A request that generates writes one token a step, so it needs a new block at every sixteenth step. `_due[r]` is the
    number of requests that need one at steps r, r + 16, …: all there is to know of them.
    """

    __slots__ = ("_due", "_members", "total", "used")

    def __init__(self, total: int) -> None:
        self.total, self.used = total, 0
        self._due = [0] * BLOCK_TOKENS
        self._members = 0

    @property
    def free(self) -> int:
        """Blocks that nobody holds."""
        return self.total - self.used

    def hold(self, tokens: int) -> None:
        """Take the blocks of a prompt."""
        self.used += blocks(tokens)

    def release(self, tokens: int) -> None:
        """Give the blocks of a request back that does not generate."""
        self.used -= blocks(tokens)

    def join(self, tokens: int, step: int) -> None:
        """A request whose blocks are held begins to write a token a step, the first at `step`."""
        self._due[(step - tokens) % BLOCK_TOKENS] += 1
        self._members += 1

    def leave(self, tokens: int, step: int) -> None:
        """A request that generates, with so many tokens before `step`, ends; its blocks are free."""
        self._due[(step - tokens) % BLOCK_TOKENS] -= 1
        self._members -= 1
        self.used -= blocks(tokens)

    def needed(self, step: int, steps: int) -> int:
        """Blocks that those who generate need more for so many steps from `step` on."""
        due, start = self._due, step % BLOCK_TOKENS
        if steps == 1:
            return due[start]
        end = start + steps % BLOCK_TOKENS
        more = sum(due[start:end])
        if end > BLOCK_TOKENS:
            more += sum(due[: end - BLOCK_TOKENS])
        return steps // BLOCK_TOKENS * self._members + more

    def lacks(self, step: int) -> bool:
        """Whether those who generate need more blocks for one step than are free."""
        return self._due[step % BLOCK_TOKENS] > self.total - self.used

    def advance(self, step: int, steps: int) -> None:
        """They have taken so many steps."""
        self.used += self.needed(step, steps)

    def steps_within(self, step: int, limit: int) -> int:
        """Steps from `step` on for which the free blocks suffice, `limit` at most."""
        free = self.total - self.used
        # Nobody needs more than one block in sixteen steps, begun ones included.
        if self._members * (limit // BLOCK_TOKENS + 1) <= free:
            return limit
        steps = min(limit, free // self._members * BLOCK_TOKENS)
        left = free - self.needed(step, steps)
        while steps < limit:
            left -= self._due[(step + steps) % BLOCK_TOKENS]
            if left < 0:
                break
            steps += 1
        return steps
