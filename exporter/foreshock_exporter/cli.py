"""The command foreshock-exporter."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence

from foreshock_exporter.exporter import Exporter, version
from foreshock_exporter.host import host_id, host_name
from foreshock_exporter.http import serve
from foreshock_exporter.log import log
from foreshock_exporter.mock import HOST_ID, HOST_NAME, MockDriver, MockNetwork, MockPressure, mock_service
from foreshock_exporter.network import ProcNetwork
from foreshock_exporter.nvml import nvml_driver
from foreshock_exporter.options import Options, parse
from foreshock_exporter.pressure import ProcPressure
from foreshock_exporter.service_of import ProcResolver


def main(argv: Sequence[str] | None = None) -> int:
    """Run the exporter. 0 after --once or a signal to stop, 1 where it cannot listen, 2 where an option is wrong."""
    try:
        options = parse(argv, os.environ)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 2
    logging.basicConfig(
        stream=sys.stderr, level=options.log_level.upper(), format="%(asctime)s %(levelname)s %(message)s", force=True
    )
    stop = threading.Event()
    _stop_on_signals(stop)
    exporter = build(options, steady_clock())
    try:
        return _once(exporter, options, stop) if options.once else _serve(exporter, options, stop)
    finally:
        exporter.close()


def build(options: Options, now: Callable[[], float]) -> Exporter:
    """The exporter that these options ask for. Reads who the host is, and nothing else yet."""
    if options.mock:
        return Exporter(
            MockDriver(now),
            mock_service,
            host_id=options.host_id or HOST_ID,
            host_name=options.host_name or HOST_NAME,
            now=now,
            mock=True,
            network=MockNetwork(now) if options.network else None,
            pressure=MockPressure(now) if options.pressure else None,
        )
    name = options.host_name or host_name(options.rootfs)
    return Exporter(
        nvml_driver(),
        ProcResolver(options.procfs, options.rootfs, environ=options.environ),
        host_id=options.host_id or host_id(options.rootfs, fallback=name),
        host_name=name,
        now=now,
        network=ProcNetwork(options.procfs, options.sysfs, options.network_exclude) if options.network else None,
        pressure=ProcPressure(options.procfs) if options.pressure else None,
    )


def steady_clock(
    wall: Callable[[], float] = time.time, steady: Callable[[], float] = time.monotonic
) -> Callable[[], float]:
    """Unix seconds that do not jump when the system's clock is set: counters must not either."""
    offset = wall() - steady()
    return lambda: steady() + offset


def _once(exporter: Exporter, options: Options, stop: threading.Event) -> int:
    """Two samples, because what happened between them is what most counters count."""
    exporter.sample()
    stop.wait(options.period)
    exporter.sample()
    try:
        sys.stdout.buffer.write(exporter.render())
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader had enough; Python flushes again
    return 0


def _serve(exporter: Exporter, options: Options, stop: threading.Event) -> int:
    host, port = options.listen
    try:
        server = serve(exporter, host, port, metrics_path=options.metrics_path)
    except OSError as error:
        log.error(
            "cannot listen on %s:%d: %s; choose another address with --web.listen-address", host, port, error.strerror
        )
        return 1
    try:
        log.info(
            "foreshock-exporter %s listens on http://%s:%d%s%s",
            version(),
            f"[{host}]" if ":" in host else host or "0.0.0.0",  # noqa: S104 - says so, opens nothing
            server.port,
            options.metrics_path,
            " (simulated readings)" if options.mock else "",
        )
        exporter.start(options.period)
        stop.wait()
        log.info("stopping")
    finally:
        server.close()
    return 0


def _stop_on_signals(stop: threading.Event) -> None:
    """SIGTERM and Ctrl-C end the command; only a main thread may say so, others stop by themselves."""
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
