"""Metrics pages of a GPU platform for `make bench`: exporters of hosts with eight GPUs, and vLLM model servers.

Each target is a further address of loopback, as each host has its own. Values grow with time.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

GPUS_PER_HOST = 8
SERVICES_PER_GPU = 2
MODEL_SERVER_SHARE = 5
"""One target in so many is a model server."""
GPU_METRICS = (
    *("utilization_ratio", "memory_used_bytes", "memory_free_bytes", "memory_reserved_bytes", "memory_total_bytes"),
    *("memory_active_ratio", "power_watts", "power_limit_watts", "energy_joules_total", "busy_seconds_total"),
    *("pcie_transmit_bytes_total", "pcie_receive_bytes_total", "pcie_replays_total", "pcie_link_width"),
    *("pcie_link_width_max", "pcie_link_generation", "pcie_link_generation_max", "nvlink_transmit_bytes_total"),
    *("nvlink_receive_bytes_total", "nvlink_links", "nvlink_links_up", "row_remap_pending", "row_remap_failed"),
    *("unattributed_busy_seconds_total", "contended_seconds_total", "utilization_sample_ratio_sum"),
    "utilization_sample_ratio_count",
)
GPU_METRICS_BY = {
    "temperature_celsius": ("sensor", ("gpu", "memory")),
    "clock_hertz": ("clock", ("sm", "memory")),
    "clock_max_hertz": ("clock", ("sm", "memory")),
    "throttled_seconds_total": ("reason", ("power", "thermal", "sync_boost", "hw_thermal", "power_brake")),
    "nvlink_errors_total": ("kind", ("crc", "replay", "recovery")),
    "ecc_errors_total": ("error_type", ("corrected", "uncorrected")),
    "remapped_rows": ("error_type", ("corrected", "uncorrected")),
    "utilization_sample_ratio_bucket": ("le", ("0.0", "0.5", "0.9", "0.98", "+Inf")),
}
SERVICE_METRICS = ("busy_seconds_total", "wait_seconds_total", "memory_used_bytes", "processes")
VLLM_HISTOGRAMS = (
    *("time_to_first_token_seconds", "inter_token_latency_seconds", "e2e_request_latency_seconds"),
    *("request_queue_time_seconds", "request_inference_time_seconds", "request_prefill_time_seconds"),
    *("request_decode_time_seconds", "request_prompt_tokens", "request_generation_tokens", "iteration_tokens_total"),
)
VLLM_METRICS = (
    *("num_requests_running", "num_requests_waiting", "kv_cache_usage_perc", "prompt_tokens_total"),
    *("generation_tokens_total", "num_preemptions_total", "prefix_cache_queries_total", "prefix_cache_hits_total"),
)
BUCKETS = (*(f"{10.0 ** (power / 6):.4g}" for power in range(-12, 11)), "+Inf")


def exporter_series(host: int) -> Iterator[str]:
    """Series of an exporter, as `foreshock-exporter` writes them."""
    yield f'target_info{{host_id="{host:032x}",host_name="gpu-host-{host}"}}'
    for gpu in range(GPUS_PER_HOST):
        own = f'gpu="{gpu}",uuid="GPU-{host:08x}-7c1e-4e0a-9d55-{gpu:012x}"'
        info = 'model="NVIDIA H100 80GB HBM3",driver_version="590.48.01",cuda_version="13.1",sharing="time-slicing"'
        yield f"gpu_info{{{own},{info}}}"
        yield from (f"gpu_{name}{{{own}}}" for name in GPU_METRICS)
        for name, (label, values) in GPU_METRICS_BY.items():
            yield from (f'gpu_{name}{{{own},{label}="{value}"}}' for value in values)
        names = [f"service-{(host + gpu + number) % 300}" for number in range(SERVICES_PER_GPU)]
        for name in names:
            service = f'{own},service_name="{name}",service_namespace="serving",source="kubernetes"'
            yield from (f"gpu_service_{metric}{{{service}}}" for metric in SERVICE_METRICS)
            for other in (*(other for other in names if other != name), ""):
                neighbor = f'aggressor_name="{other}",aggressor_namespace="{"serving" * bool(other)}"'
                yield f"gpu_service_wait_by_aggressor_seconds_total{{{service},{neighbor}}}"


def model_server_series(number: int) -> Iterator[str]:
    """Series of a vLLM server (docs.vllm.ai, "Production Metrics")."""
    own = f'engine="0",model_name="org/model-{number % 20}-8b-instruct"'
    yield from (f"vllm:{name}{{{own}}}" for name in VLLM_METRICS)
    yield from (f'vllm:request_success_total{{{own},finished_reason="{why}"}}' for why in ("stop", "length", "abort"))
    for name in VLLM_HISTOGRAMS:
        yield from (f'vllm:{name}_bucket{{{own},le="{bound}"}}' for bound in BUCKETS)
        yield from (f"vllm:{name}_{end}{{{own}}}" for end in ("sum", "count"))


class Targets:
    """Targets with `series` series together: hosts with GPUs, and model servers."""

    def __init__(self, series: int) -> None:
        self.pages: list[list[str]] = []
        self.series = 0
        while self.series < series:
            number = len(self.pages)
            is_model_server = number % MODEL_SERVER_SHARE == MODEL_SERVER_SHARE - 1
            self.pages.append([*(model_server_series if is_model_server else exporter_series)(number)])
            self.series += len(self.pages[-1])

    @cached_property
    def hosts(self) -> list[str]:
        """Address of each target without its port."""
        return [f"127.1.{number // 250}.{number % 250 + 1}" for number in range(len(self.pages))]

    def page(self, address: str) -> bytes:
        """Metrics page of a target."""
        value = time.time() % 1e6
        series = self.pages[self.hosts.index(address)]
        return "".join(f"{each} {value + place:.3f}\n" for place, each in enumerate(series)).encode()


@contextmanager
def served(targets: Targets) -> Iterator[list[str]]:
    """Serve the pages; gives `host:port` of each target."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = targets.page(self.headers["Host"].partition(":")[0])
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    class LoopbackServer(ThreadingHTTPServer):
        def server_bind(self) -> None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo")
            super().server_bind()

    with LoopbackServer(("0.0.0.0", 0), Handler) as server:  # noqa: S104 - all addresses, of loopback only
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield [f"{host}:{server.server_port}" for host in targets.hosts]
        finally:
            server.shutdown()
            thread.join()
