"""Command line of foreshock-exporter."""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from foreshock_exporter.common.log import configure_logging, log
from foreshock_exporter.common.option_table import InvalidOptionError
from foreshock_exporter.common.version import version
from foreshock_exporter.daemon import Daemon, build
from foreshock_exporter.options import Options, parse
from foreshock_exporter.web.server import Server, serve
from foreshock_exporter.web.yaml_file import ConfigError

M_ARENA_MAX = -8
"""Parameter of mallopt (malloc.h of glibc)."""
ONCE_SECONDS = 1.5
"""Collection time of `--once`; counters need two samples."""
CLOSE_TIMEOUT_SECONDS = 0.8
"""Longest time to close; parts that still hang are abandoned."""
DRIVER_CHECK_SECONDS = 5.0
"""Interval between checks for a replaced driver."""
MIN_UPTIME_SECONDS = 60.0
"""Shortest uptime before the process restarts itself for a replaced driver."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the exporter.

    Returns:
        0 after `--once` or a signal, 1 if it cannot listen, 2 for a wrong option.
    """
    try:
        options = parse(argv, os.environ)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 2
    _share_one_heap()
    configure_logging(options.log_level, options.log_format)
    stop = threading.Event()
    _stop_on_signals(stop)
    try:
        daemon = build(options, steady_clock())
    except InvalidOptionError as error:
        log.error("%s", error)
        return 2
    if options.once:
        return _once(daemon, stop)
    _exempt_from_collection()
    host, port = options.listen
    try:
        server = serve(
            daemon.exporter,
            host,
            port,
            metrics_path=options.metrics_path,
            web_config=options.web_config,
            connections=daemon.connections,
        )
    except ConfigError as error:
        log.error("--web.config.file: %s", error)
        return 2
    except OSError as error:
        why = error.strerror or str(error)
        log.error("cannot listen on %s:%d: %s; choose another address with --web.listen-address", host, port, why)
        return 1
    if _serve(daemon, server, options, stop):
        log.warning("the NVIDIA driver was replaced while this process ran; restarting")
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - this very command
    return 0


def _share_one_heap() -> None:
    """Let all threads allocate from one heap of the C library: Python's lock admits one at a time anyway.

    With one heap each, as glibc has it, what a thread frees stays its own.
    """
    with suppress(AttributeError):  # of another C library
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, 1)


def _exempt_from_collection() -> None:
    """Leave what exists now, mostly modules, out of garbage collections: a full one was the p99 of a scrape."""
    gc.collect()
    gc.freeze()


def steady_clock() -> Callable[[], float]:
    """Clock in Unix seconds that does not jump when the system clock is set."""
    offset = time.time() - time.monotonic()
    return lambda: time.monotonic() + offset


def _once(daemon: Daemon, stop: threading.Event) -> int:
    """Print the metrics once; 1 if standard output cannot be written."""
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
    """Serve until a signal. True if only a new process can use the driver."""
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
    began, outdated = time.monotonic(), False
    while not outdated and not stop.wait(DRIVER_CHECK_SECONDS):
        outdated = time.monotonic() - began >= MIN_UPTIME_SECONDS and daemon.outdated()
    log.info("stopping")
    _close(server.close, *daemon.closers())
    return outdated


def _close(*closers: Callable[[], None]) -> None:
    """Run all closers in parallel; abandon those that exceed the timeout."""
    threads = [threading.Thread(target=closer, daemon=True) for closer in closers]
    deadline = time.monotonic() + CLOSE_TIMEOUT_SECONDS
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))


def _stop_on_signals(stop: threading.Event) -> None:
    """Set `stop` on SIGTERM and SIGINT. Does nothing outside the main thread."""
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
