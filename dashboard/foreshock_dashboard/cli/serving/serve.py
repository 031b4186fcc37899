"""`foreshock serve`: runs the hub."""

from __future__ import annotations

import logging
from contextlib import ExitStack, closing
from typing import Any

import click

from foreshock_dashboard.cli.options import GroupedCommand, hub_settings
from foreshock_dashboard.common.clock import clock_at
from foreshock_dashboard.common.process import stop_on_signals, tune_process
from foreshock_dashboard.settings.settings import Settings, load_settings, unknown_variables

LOG = logging.getLogger(__name__)


@click.command(cls=GroupedCommand)
@hub_settings()
def serve(**flags: Any) -> None:  # noqa: ANN401 - texts of flags
    """Run the hub: collect metrics and spans, detect incidents, and serve pages, API, and metrics.

    Each option can also be set as an environment variable or YAML key: --scrape-interval, FORESHOCK_SCRAPE_INTERVAL,
    scrape_interval. Precedence: flag, environment variable, config file, default.

    \b
    Examples:
      foreshock serve --targets host-1,host-2                          scrape exporters into the embedded store
      foreshock serve --prometheus-url http://prometheus:9090          read metrics from Prometheus
      foreshock serve --config /etc/foreshock/hub.yml --slo llm-chat=20s:1%
      foreshock serve --recording incident                             serve the final state of a recording
      foreshock serve --shards http://hub-1:8050,http://hub-2:8050     list the incidents of several hubs
    """
    settings = load_settings(flags)
    logging.getLogger().setLevel(settings.log_level.upper())
    logging.getLogger("httpx").setLevel("WARNING")  # it logs a line per scrape
    for warning in unknown_variables():
        LOG.warning(warning)
    if settings.shards:
        _serve_front(settings)
        return
    # The libraries of the hub are imported in two steps, so that senders need not wait for those of the page, which
    # take longer. `serve --help` needs neither.
    from foreshock_dashboard.hub.intake import Intake
    from foreshock_dashboard.replay.recording_hub import open_recording

    with ExitStack() as opened:
        stop = opened.enter_context(stop_on_signals())
        stop.at_once = True
        settings, recording = opened.enter_context(open_recording(settings))
        tune_process()
        clock = clock_at(settings.at)
        intake = opened.enter_context(closing(Intake(settings, clock)))

        from foreshock_dashboard.hub.hub import Hub

        hub = opened.enter_context(closing(Hub(settings, clock, recording=recording, intake=intake)))
        hub.start()
        print(f"page       {hub.web.url}", flush=True)
        if recording is None:
            host = settings.otlp_host or settings.host
            print(f"OTLP/gRPC  {host}:{hub.grpc.port}", flush=True)
            scheme = "https" if settings.otlp_tls_cert else "http"
            print(f"OTLP/HTTP  {scheme}://{host}:{hub.http.port}/v1/traces", flush=True)
        stop.at_once = False
        stop.wait()


def _serve_front(settings: Settings) -> None:
    from foreshock_dashboard.front.front import Front

    with stop_on_signals() as stop, closing(Front(settings)) as front:
        front.start()
        print(f"page       {front.web.url}", flush=True)
        stop.wait()
