"""The command foreshock-exporter."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence

from foreshock_exporter.common.log import configure_logging, log
from foreshock_exporter.common.version import version
from foreshock_exporter.daemon import Daemon, build
from foreshock_exporter.options import OptionError, Options, parse
from foreshock_exporter.web.server import Server, serve
from foreshock_exporter.web.yaml_file import ConfigError

ONCE_SECONDS = 1.5
"""Seconds that --once samples: what happens meanwhile is what most counters count."""
CLOSE_TIMEOUT_SECONDS = 0.8
"""Seconds that closing takes at most; what hangs longer is left behind."""
DRIVER_CHECK_SECONDS = 5.0
"""Seconds between two looks whether the driver was replaced under this process."""
MIN_UPTIME_SECONDS = 60.0
"""Seconds that a process lives at least before it begins anew for that."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the exporter. 0 after --once or a signal to stop, 1 where it cannot listen, 2 where an option is wrong."""
    try:
        options = parse(argv, os.environ)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 2
    configure_logging(options.log_level, options.log_format)
    stop = threading.Event()
    _stop_on_signals(stop)
    try:
        daemon = build(options, steady_clock())
    except OptionError as error:
        log.error("%s", error)
        return 2
    if options.once:
        return _once(daemon, stop)
    host, port = options.listen
    try:
        server = serve(daemon.exporter, host, port, metrics_path=options.metrics_path, web_config=options.web_config)
    except ConfigError as error:
        log.error("--web.config.file: %s", error)
        return 2
    except OSError as error:
        why = error.strerror or str(error)
        log.error("cannot listen on %s:%d: %s; choose another address with --web.listen-address", host, port, why)
        return 1
    if _serve(daemon, server, options, stop):
        log.warning("the NVIDIA driver was replaced under this process; beginning anew")
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - this very command
    return 0


def steady_clock(
    wall: Callable[[], float] = time.time, steady: Callable[[], float] = time.monotonic
) -> Callable[[], float]:
    """Unix seconds that do not jump when the system's clock is set: counters must not either."""
    offset = wall() - steady()
    return lambda: steady() + offset


def _once(daemon: Daemon, stop: threading.Event) -> int:
    """Print the metrics; 1 where they cannot be written."""
    daemon.exporter.start()
    stop.wait(ONCE_SECONDS)
    try:
        sys.stdout.buffer.write(daemon.exporter.render())
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader had enough; Python flushes again
    except (OSError, AttributeError, ValueError) as error:  # no space left, or a standard output that is closed
        log.error("the metrics cannot be written to standard output: %s", error)
        return 1
    finally:
        _close(daemon.exporter.close)
    return 0


def _serve(daemon: Daemon, server: Server, options: Options, stop: threading.Event) -> bool:
    """Serve until a signal to stop, or true once only a new process can use the driver again."""
    host = options.listen[0]
    log.info(
        "foreshock-exporter %s listens on %s://%s:%d%s%s",
        version(),
        "https" if server.secure else "http",
        f"[{host}]" if ":" in host else host or "0.0.0.0",  # noqa: S104 - says so, opens nothing
        server.port,
        options.metrics_path,
        " (simulated readings)" if options.mock else "",
    )
    daemon.start(options.period)
    again = _wait(daemon, stop)
    log.info("stopping")
    _close(server.close, *daemon.closers())
    return again


def _close(*closers: Callable[[], None]) -> None:
    """Close all at once; what has not ended in time hangs, and is left behind."""
    threads = [threading.Thread(target=closer, daemon=True) for closer in closers]
    deadline = time.monotonic() + CLOSE_TIMEOUT_SECONDS
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))


def _wait(daemon: Daemon, stop: threading.Event) -> bool:
    """Until a signal to stop, or true once only a new process can use the driver again."""
    began = time.monotonic()
    while not stop.wait(DRIVER_CHECK_SECONDS):
        if time.monotonic() - began >= MIN_UPTIME_SECONDS and daemon.outdated():
            return True
    return False


def _stop_on_signals(stop: threading.Event) -> None:
    """SIGTERM and Ctrl-C end the command; only a main thread may say so, others stop by themselves."""
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
