"""`foreshock serve`: runs the hub."""

from __future__ import annotations

import argparse
import logging

from foreshock_dashboard.cli.commands import Command
from foreshock_dashboard.common.clock import clock_at
from foreshock_dashboard.common.process import stop_on_signals, tune_process
from foreshock_dashboard.hub.hub import Hub
from foreshock_dashboard.replay.recording_hub import open_recording
from foreshock_dashboard.settings.settings import add_flags, load_settings

DESCRIPTION = """\
Runs the hub: takes in what exporters and services tell, judges it every few seconds, and shows the page, the JSON API
and its own metrics.

  foreshock serve --targets host-1:10877,host-2:10877      scrape these exporters, keep everything in the embedded store
  foreshock serve --prometheus-url http://prometheus:9090      read metrics from a fleet's own Prometheus instead
  foreshock serve --recording DIR                          stand at the end of a recording

Services send their spans to the OTLP ports. Every option is a flag, an environment variable and a key of the YAML
file."""


def run_serve(arguments: argparse.Namespace) -> int:
    """Run the hub until SIGINT or SIGTERM."""
    settings = load_settings(arguments)
    logging.basicConfig(level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel("WARNING")  # it logs a line per scrape
    with stop_on_signals() as stop, open_recording(settings) as (settings, recording):
        tune_process()
        hub = Hub(settings, clock_at(settings.at), recording=recording)
        try:
            hub.start()
            print(f"page       {hub.web.url}", flush=True)
            if recording is None:
                host = settings.otlp_host or settings.host
                print(f"OTLP/gRPC  {host}:{hub.grpc.port}", flush=True)
                scheme = "https" if settings.otlp_tls_cert else "http"
                print(f"OTLP/HTTP  {scheme}://{host}:{hub.http.port}/v1/traces", flush=True)
            stop.wait()
        finally:
            hub.close()
    return 0


COMMAND = Command(run_serve, add_flags, DESCRIPTION)
