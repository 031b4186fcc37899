"""Metrics endpoints of the simulated model servers and the simulated cluster."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from foreshock_exporter.exposition.text_format import CONTENT_TYPE
from foreshock_exporter.model.family import Families, Family, HistogramSample, Sample

POD_LABEL = "k8s_pod_name"
RenderPage = Callable[[], bytes]


def merge_pages(pages: Mapping[str, Families]) -> Families:
    """Merge the families of several servers into one page, with the pod as a label. pages: by `pod:port`."""
    merged: dict[Family, list[Sample | HistogramSample]] = {}
    for server, page in pages.items():
        pod = server.rpartition(":")[0]
        for family, samples in page:
            merged.setdefault(family, []).extend(item._replace(labels=(pod, *item.labels)) for item in samples)
    return [(replace(family, labels=(POD_LABEL, *family.labels)), samples) for family, samples in merged.items()]  # type: ignore[misc]


@contextmanager
def serve_pages(pages: Mapping[str, RenderPage]) -> Iterator[str]:
    """Serve pages by path on a free loopback port; yields `http://host:port`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            page = pages.get(self.path)
            body = page() if page else b""
            self.send_response(200 if page else 404)
            self.send_header("Content-Type", CONTENT_TYPE)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the inherited name
            """Stay quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, name="demo-pages", daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
