"""The requests of a language model's server that generate: one token each at every step, until each is finished."""

from __future__ import annotations

import heapq

from foreshock_simulator.serving.kv_cache import KvCache
from foreshock_simulator.serving.server import Job


class Decoding:
    """Keeps who generates, how many tokens they have in all, and who is finished when.

    `step` counts the steps of the server. Nothing is done for each request at each step.
    """

    __slots__ = ("_finish", "_kv", "_order", "context", "count", "step")

    def __init__(self, kv: KvCache) -> None:
        self._kv = kv
        self.step = self.count = self.context = self._order = 0
        self._finish: list[tuple[int, int, Job]] = []

    def join(self, job: Job, rest: int) -> None:
        """A request, whose blocks are held, begins to generate `rest` tokens."""
        job.finish_step = self.step + rest
        job.offset = job.target - self.step
        self._kv.join(job.target, self.step)
        self.count += 1
        self.context += job.target
        self._order += 1
        heapq.heappush(self._finish, (job.finish_step, self._order, job))

    def leave(self, job: Job) -> None:
        """A request ends, finished or not; its blocks are free."""
        tokens = job.offset + self.step
        self._kv.leave(tokens, self.step)
        self.count -= 1
        self.context -= tokens

    def advance(self, steps: int) -> int:
        """So many steps are done; gives the tokens of all together."""
        tokens = steps * self.count
        if tokens:
            self._kv.advance(self.step, steps)
            self.context += tokens
        self.step += steps
        return tokens

    def next_finish(self) -> int:
        """Steps until the first of them is finished; there is one."""
        finish = self._finish
        while finish[0][2].over or finish[0][2].finish_step != finish[0][0]:
            heapq.heappop(finish)
        return finish[0][0] - self.step

    def finished(self) -> list[Job]:
        """Those that are finished by now, and have left with that."""
        finish, done = self._finish, []
        while finish and finish[0][0] <= self.step:
            at, _, job = heapq.heappop(finish)
            if not job.over and job.finish_step == at:
                self.leave(job)
                done.append(job)
        return done
