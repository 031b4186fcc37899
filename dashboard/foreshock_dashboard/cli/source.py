"""Sources of the reading commands: the API of a hub, or of an own hub over a recording."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack, closing
from functools import cached_property, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec

import click
import httpx

from foreshock_dashboard.common.addresses import without_credentials
from foreshock_dashboard.common.reloading_file import FileError
from foreshock_dashboard.model.query import SourceError
from foreshock_dashboard.model.types import Json
from foreshock_dashboard.render.rules.rule_files import HUB_URL
from foreshock_dashboard.render.words.panels import HISTORY_BEING_READ
from foreshock_dashboard.settings.option_types import parse_url
from foreshock_dashboard.settings.settings import Settings, SettingsError, parse_flag
from foreshock_dashboard.settings.times import parse_time
from foreshock_dashboard.sources import http_client
from foreshock_dashboard.sources.http_config.client import ReloadingClient
from foreshock_dashboard.sources.http_config.reading import read_http_config
from foreshock_dashboard.sources.http_config.values import HttpConfig

if TYPE_CHECKING:
    from foreshock_dashboard.sources.prometheus.api import PrometheusSource

TIMEOUT_SECONDS = 60.0
MAX_BODY_BYTES = 64 * 2**20
"""A trace of 5,000 spans is about 15 MB; the hub sends fewer spans if they are larger."""

P = ParamSpec("P")


class AnswerError(SourceError):
    """The source has no answer. The message names what is missing and the remedy. status: of HTTP, 0 without one."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class Source:
    """API of a hub, or of an own hub over a recording, which starts with the first query.

    Attributes:
        recording: the folder; None for a hub.
        name: URL or folder, for messages.
        cluster: the only one that is read; "" for all.
    """

    def __init__(self, place: str, http_config: Path | None = None, cluster: str | None = None) -> None:
        """Raises SettingsError if the place is neither a URL nor a folder, or the configuration cannot be used."""
        self.recording = Path(place) if "://" not in place and Path(place).is_dir() else None
        self.cluster = cluster or ""
        self._probed = self._is_warned = False
        self._opened = ExitStack()
        self._config = HttpConfig()
        if self.recording:
            self.name = f"recording {place}"
            return
        try:
            self._url = parse_url(place)
        except ValueError:
            shown = without_credentials(place)
            raise SettingsError(
                f"--from: {shown!r} is neither a folder nor a valid URL; use a URL such as {HUB_URL}"
            ) from None
        self.name = without_credentials(self._url)
        if self.name != self._url:
            raise SettingsError(
                f"--from: {self.name!r} contains credentials, which the process list would expose. Use --http-config."
            )
        if http_config:
            try:
                self._config = read_http_config(http_config)
            except FileError as error:
                raise SettingsError(f"--http-config: {error}") from None

    def close(self) -> None:
        """Stop the own hub."""
        self._opened.close()

    @cached_property
    def _base(self) -> str:
        """Address of the API. Raises RecordingError if the folder is no recording."""
        if self.recording is None:
            return self._url
        from foreshock_dashboard.common.clock import clock_at  # the hub is slow to import, and not needed for a URL
        from foreshock_dashboard.hub.hub import Hub
        from foreshock_dashboard.replay.recording_hub import open_recording

        options = Settings(port=0, otlp_grpc_port=0, otlp_http_port=0, recording=self.recording)
        settings, recording = self._opened.enter_context(open_recording(options))
        hub = self._opened.enter_context(closing(Hub(settings, clock_at(settings.at), recording=recording)))
        hub.start()
        return hub.web.url.rstrip("/")

    @cached_property
    def _client(self) -> ReloadingClient:
        """The client of the API. Raises SettingsError if a file of the configuration cannot be used."""
        try:
            client = ReloadingClient(self._config, timeout=TIMEOUT_SECONDS)
        except FileError as error:
            raise SettingsError(f"--http-config: {error}") from None
        return self._opened.enter_context(closing(client))

    def prometheus(self, match: str) -> PrometheusSource | None:
        """The Prometheus at the URL, limited to series that match; None for a hub or a recording. Closed with this.

        Raises SettingsError if only one cluster is wanted, which a Prometheus does not know.
        """
        if self.recording is not None:
            return None
        opened = closing(prometheus_source(self._url, self._config, match, "--http-config"))
        source = self._opened.enter_context(opened)
        self._probed = True
        try:
            if not source.answers():
                return None
        except SourceError:
            return None  # `get` names the problem
        if self.cluster:
            raise SettingsError(
                f"--cluster: not supported with Prometheus ({self.name}). Select the cluster with --match."
            )
        return source

    def get(self, path: str, *keys: str, **parameters: str | None) -> Json:
        """The JSON object at `path` of the API, with at least these keys. None leaves a parameter out.

        Raises:
            AnswerError: the hub cannot be reached, is no hub, or answers with an error.
        """
        cluster = {"cluster": self.cluster} if self.cluster else {}
        given = {name: text for name, text in {**parameters, **cluster}.items() if text is not None}
        answer = self._object(self._fetch("GET", path, given), keys)
        if answer.get("preview") and not self._is_warned:
            self._is_warned = True
            click.echo(f"{self.name}: {HISTORY_BEING_READ}", err=True)
        return answer

    def send(self, method: str, path: str, body: Mapping[str, object], *keys: str) -> Json:
        """Send a JSON object to `path` of the API, and return the answer, with at least these keys.

        The cluster limits only what is read.

        Raises:
            AnswerError: as `get`.
        """
        return self._object(self._fetch(method, path, {}, body), keys)

    def _object(self, answer: tuple[int, bytes], keys: Collection[str]) -> Json:
        """The JSON object of an answer. Raises AnswerError."""
        status, body = answer
        try:
            content = json.loads(body)
        except ValueError:
            content = None
        if isinstance(content, dict) and status == 200 and set(keys) <= content.keys():
            return content
        if status == 401 or (status == 403 and not isinstance(content, dict)):
            raise AnswerError(
                f"{self.name}: authentication required. Pass --http-config FILE with credentials, such as "
                "authorization or basic_auth."
            )
        if isinstance(content, dict) and isinstance(content.get("error"), str):
            raise AnswerError(f"{self.name}: {content['error']}", status)
        expected = "a foreshock hub or a Prometheus" if self._probed else "a foreshock hub"
        raise AnswerError(f"{self.name}: unexpected response (HTTP {status}). Check that --from points to {expected}.")

    def _fetch(
        self, method: str, path: str, parameters: Mapping[str, str], sent: Mapping[str, object] | None = None
    ) -> tuple[int, bytes]:
        """Status and body. sent: the JSON object to send."""
        client = self._client.current()  # an agent's server runs for days, and tokens are renewed
        try:
            with client.stream(method, f"{self._base}{path}", params=parameters, json=sent) as response:
                return response.status_code, self._read(response)
        except AnswerError:
            raise
        except SourceError as error:
            raise AnswerError(f"{self.name}: {error}") from None
        except httpx.HTTPError as error:
            reason = http_client.error_text(error)
            raise AnswerError(f"{self.name}: no response ({reason}). Start a hub, or pass --from URL|DIR.") from None

    def _read(self, response: httpx.Response) -> bytes:
        """The body. Raises AnswerError if it is too large."""
        body = b""
        for piece in response.iter_bytes():
            body += piece
            if len(body) > MAX_BODY_BYTES:
                size = f"{MAX_BODY_BYTES >> 20} MiB"
                raise AnswerError(
                    f"{self.name}: the response is larger than {size}. Check that --from points to a foreshock hub."
                )
        return body


def prometheus_source(url: str, config: HttpConfig, match: str, option: str) -> PrometheusSource:
    """A Prometheus. match: PromQL matchers of the series to read, with or without braces; "" for all.

    option: the one that takes credentials, for messages.

    Raises:
        SettingsError: the URL or the configuration cannot be used.
    """
    from foreshock_dashboard.sources.prometheus.api import PrometheusSource  # not needed for a hub

    matchers = match.strip().removeprefix("{").removesuffix("}")
    try:
        return PrometheusSource(url, config=config, config_option=option, match=matchers)
    except (ValueError, FileError) as error:
        raise SettingsError(f"--from: {error}") from None


match_option = click.option(
    "--match",
    default="",
    metavar="MATCHERS",
    help="PromQL label matchers for the series to read from Prometheus, such as 'namespace=\"shop\"' (default: all)",
)


cluster_option = click.option("--cluster", metavar="NAME", help="cluster to include (default: all)")


def reads(
    places: str, *, has_cluster: bool = True, no_recording: str = ""
) -> Callable[[Callable[Concatenate[Source, P], Any]], Callable[..., Any]]:
    """Decorator: options of the source, which is the command's first argument. places: help of `--from`.

    has_cluster: whether the command reads things of clusters; the others have no `--cluster`.
    no_recording: why `--from` may be no recording, as SettingsError says then, such as "is read-only"; "" if it may.
    """

    def with_cluster(command: Callable[..., Any]) -> Callable[..., Any]:
        return cluster_option(command) if has_cluster else command

    def decorate(function: Callable[Concatenate[Source, P], Any]) -> Callable[..., Any]:
        @click.option(
            "--from",
            "place",
            envvar="FORESHOCK_HUB",
            default=HUB_URL,
            metavar="URL" if no_recording else "URL|DIR",
            help=f"{places} (default: {HUB_URL}) [env var: FORESHOCK_HUB]",
        )
        @click.option(
            "--http-config",
            envvar="FORESHOCK_HUB_HTTP_CONFIG",
            type=click.Path(path_type=Path),
            metavar="FILE",
            help="credentials, TLS, headers, and parameters for the URL, YAML in Prometheus http_config format "
            "[env var: FORESHOCK_HUB_HTTP_CONFIG]",
        )
        @with_cluster
        @wraps(function)
        def command(
            place: str, http_config: Path | None, cluster: str | None = None, *args: P.args, **kwargs: P.kwargs
        ) -> Any:  # noqa: ANN401
            with closing(Source(place, http_config, cluster)) as source:
                if source.recording and no_recording:
                    raise SettingsError(
                        f"--from: {source.name} {no_recording}. Pass the URL of a hub, such as {HUB_URL}."
                    )
                return function(source, *args, **kwargs)

        return command

    return decorate


reads_source = reads("hub URL or recording folder")


def check_time(_: click.Context, param: click.Parameter, text: str | None) -> str | None:
    """The text of a time option, which counts from the time of the hub or recording.

    Raises SettingsError if it is no time.
    """
    if text is not None:
        parse_flag(param.opts[0], lambda word: parse_time(word, time.time()), text)
    return text


at_option = click.option(
    "--at",
    metavar="TIME",
    callback=check_time,
    help="point in time, such as 2026-11-25T10:00:00Z or now-15m (default: now)",
)
