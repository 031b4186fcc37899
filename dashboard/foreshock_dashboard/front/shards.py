"""What the hubs of a front answer, kept with its age, so that one that stops is visible."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace

import orjson

from foreshock_dashboard.common.log_on_change import LogOnChange
from foreshock_dashboard.model.query import SourceError
from foreshock_dashboard.model.types import Json
from foreshock_dashboard.sources.http_client import ApiClient
from foreshock_dashboard.sources.http_config.values import HttpConfig

log = logging.getLogger(__name__)

POLL_SECONDS = 5.0
"""Time between two questions to each hub."""
TIMEOUT_SECONDS = 4.0
STALE_SECONDS = 30.0
"""Age from which an answer no longer counts: the hub may have found an incident since."""
MAX_ANSWER_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class HubAnswer:
    """The newest answers of one hub.

    url: where it answers. part: such as "2/3"; "" for a hub that is not a shard. page: where browsers find it.
    clusters: those that it reads. gpus, services: how many. reason: why it is not ready, "" if it is. incidents: as
    from `/api/incidents`, and while it is not ready, open ones of before that it does not list: after a restart, it
    lists none until it has read the history. read_at: Unix seconds; None before the first answer. error: why there is
    no newer answer.
    """

    url: str
    part: str = ""
    page: str = ""
    clusters: tuple[str, ...] = ()
    gpus: int = 0
    services: int = 0
    reason: str = ""
    incidents: tuple[Json, ...] = ()
    read_at: float | None = None
    error: str = ""

    def problem(self, now: float) -> str:
        """Why its incidents may be incomplete; "" if they are not. now: Unix seconds."""
        if self.read_at is None:
            return self.error or "no answer yet"
        if now - self.read_at > STALE_SECONDS:
            return self.error or "no answer"
        return self.reason


class Shards:
    """Asks every hub again and again, each in its own thread, so that a slow one delays no other.

    Args:
        urls: of the hubs. config: credentials and TLS for all of them. now: Unix seconds.

    Raises:
        ValueError: a URL cannot be used. FileError: a file of the configuration cannot be used.
    """

    def __init__(self, urls: Sequence[str], config: HttpConfig, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._answers = {url: HubAnswer(url) for url in urls}
        self._ended = threading.Event()
        with ExitStack() as opened:
            self._clients = {
                url: opened.enter_context(
                    closing(
                        ApiClient(
                            "hub",
                            url,
                            smaller="check that the URL is that of a hub",
                            config=config,
                            config_option="--shards-config",
                            timeout=TIMEOUT_SECONDS,
                            max_seconds=TIMEOUT_SECONDS,
                            max_body=MAX_ANSWER_BYTES,
                        )
                    )
                )
                for url in urls
            }
            self._opened = opened.pop_all()
        self._threads = [threading.Thread(target=self._ask_repeatedly, args=(url,), daemon=True) for url in urls]

    @property
    def answers(self) -> tuple[HubAnswer, ...]:
        """The newest answers, in the order of the URLs."""
        return tuple(self._answers.values())

    def ask(self) -> None:
        """Ask all hubs once."""
        with ThreadPoolExecutor(len(self._clients)) as pool:
            list(pool.map(self._ask, self._clients))

    def start(self) -> None:
        """Ask in the background until closed."""
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Ask no more."""
        self._ended.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(2 * TIMEOUT_SECONDS)
        self._opened.close()

    def _ask_repeatedly(self, url: str) -> None:
        problem = LogOnChange(log, recovered=f"hub {url} answers again")
        while not self._ended.is_set():
            self._ask(url)
            problem.update(self._answers[url].error)
            self._ended.wait(POLL_SECONDS)

    def _ask(self, url: str) -> None:
        try:
            self._answers[url] = self._read(url)
        except (SourceError, KeyError, TypeError, ValueError) as error:
            text = str(error) if isinstance(error, SourceError) else f"hub {url}: unexpected answer. Update the hub"
            self._answers[url] = replace(self._answers[url], error=text)

    def _read(self, url: str) -> HubAnswer:
        shard, listed = (self._get(url, path) for path in ("/api/shard", "/api/incidents"))
        incidents = tuple(map(_checked, listed["incidents"]))
        if not shard["ready"]:
            incidents += unlisted(self._answers[url].incidents, incidents)
        return HubAnswer(
            url,
            str(shard["part"]),
            str(shard["url"]) or url,
            tuple(map(str, shard["clusters"])),
            int(shard["gpus"]),
            int(shard["services"]),
            "" if shard["ready"] else str(shard["reason"]),
            incidents,
            self._now(),
        )

    def _get(self, url: str, path: str) -> Json:
        response, body = self._clients[url].send("GET", path)
        if response.status_code != 200:
            raise self._clients[url].failed(response, body)
        answer: Json = orjson.loads(body)
        return answer


def unlisted(earlier: Iterable[Json], listed: Iterable[Json]) -> tuple[Json, ...]:
    """The open incidents of an earlier list that a later one lacks."""
    names = {item["id"] for item in listed}
    return tuple(item for item in earlier if item["id"] not in names and item["state"] != "resolved")


def _checked(item: Json) -> Json:
    """An incident as far as the front reads it. Raises KeyError, TypeError, or ValueError for one of another form."""
    opened = item["opened"]
    return {
        **item,
        **{name: str(item[name]) for name in ("id", "severity", "state", "headline", "service")},
        "opened": None if opened is None else float(opened),
        "suspect": {**item["suspect"], "text": str(item["suspect"]["text"])},
    }
