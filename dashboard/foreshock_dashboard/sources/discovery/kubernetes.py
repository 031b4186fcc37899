"""Targets among the pods of a Kubernetes cluster: a list, then a watch of its changes.

The labels are those of Prometheus' role `pod`: a target for each declared port of each container.
"""

from __future__ import annotations

import json
import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import httpx

from foreshock_dashboard.common.reloading_file import FileError
from foreshock_dashboard.model.query import SourceError
from foreshock_dashboard.sources.discovery.scrape_config import KubernetesSd, KubernetesSelector
from foreshock_dashboard.sources.discovery.sources import DiscoveryError, Labels
from foreshock_dashboard.sources.http_client import error_text
from foreshock_dashboard.sources.http_config.client import ReloadingClient
from foreshock_dashboard.sources.http_config.reading import secret_text
from foreshock_dashboard.sources.http_config.values import Authorization, HttpConfig, TlsConfig

WATCH_SECONDS = 60
"""Time after which a watch ends; the next one continues at the last change."""
SHORTEST_WATCH_SECONDS = 1.0
"""A watch without events that ends before has failed."""
TIMEOUT_SECONDS = 30.0
MAX_PODS = 20_000
PODS_PER_PAGE = 500
MAX_LINE_BYTES = 64 << 20
"""Largest page of pods."""
ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where a pod has the token of its service account."""
_INVALID = re.compile(r"[^a-zA-Z0-9_]")
_POD = "__meta_kubernetes_pod_"

Json = Mapping[str, Any]
_Target = TypeVar("_Target")


def pod_watches(config: KubernetesSd) -> list[PodWatch]:
    """A watch for each namespace of a configuration, or one for all namespaces.

    Raises:
        FileError: the hub runs in no cluster and `api_server` is missing, or a file cannot be used.
    """
    url = str(config.api_server or "")
    http: HttpConfig = config
    if not url:
        host, port = (os.environ.get(f"KUBERNETES_SERVICE_{name}", "") for name in ("HOST", "PORT"))
        if not host:
            raise FileError("kubernetes_sd_configs: not in a Kubernetes cluster. Run in one, or set api_server")
        url = f"https://{f'[{host}]' if ':' in host else host}:{port}"
        token = Authorization(credentials_file=ACCOUNT / "token")
        http = HttpConfig(authorization=token, tls_config=TlsConfig(ca_file=ACCOUNT / "ca.crt"))
    namespaces = [*config.namespaces.names]
    if config.namespaces.own_namespace:
        namespaces.append(secret_text(None, ACCOUNT / "namespace"))
    return [PodWatch(ReloadingClient(http, base_url=url, trust_env=False), config, name) for name in namespaces or [""]]


class PodWatch:
    """The pods of one namespace, or of all if it is ""."""

    def __init__(self, client: ReloadingClient, config: KubernetesSd, namespace: str) -> None:
        self._client = client
        self._path = f"/api/v1/namespaces/{namespace}/pods" if namespace else "/api/v1/pods"
        selector = config.selectors[0] if config.selectors else KubernetesSelector()
        given = {"labelSelector": selector.label, "fieldSelector": selector.field}
        self._selectors = {name: text for name, text in given.items() if text}

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def follow(
        self,
        target: Callable[[Labels], _Target | None],
        publish: Callable[[list[_Target]], None],
        succeed: Callable[[], None],
        stop: threading.Event,
    ) -> None:
        """List the pods, publish their targets, and again after each change, until the API forgets the last one.

        Args:
            target: makes a target of its labels; None drops it.
            publish: called with all targets.
            succeed: called while changes are followed.
            stop: ends it.

        Raises:
            DiscoveryError: the API refuses, or cannot be reached, or ends each watch at once.
        """
        try:
            pods: dict[str, list[_Target]] = {}
            found, version = _all(pods), ""
            for page in self._pages():
                pods |= {_key(pod): _targets(pod, target) for pod in page.get("items") or ()}
                found, version = _all(pods), page["metadata"]["resourceVersion"]
            publish(found)
            while not stop.is_set():
                began, is_empty = time.monotonic(), True
                for event in self._events(version):
                    kind, pod, is_empty = event["type"], event["object"], False
                    if stop.is_set() or (kind == "ERROR" and pod.get("code") == httpx.codes.GONE):
                        return
                    if kind == "ERROR":
                        raise DiscoveryError(f"Kubernetes: the watch failed: {pod['message']}. Check the API server")
                    version = pod["metadata"]["resourceVersion"]
                    if kind != "BOOKMARK":
                        pods.pop(_key(pod), None)
                        if kind != "DELETED":
                            pods[_key(pod)] = _targets(pod, target)
                        publish(_all(pods))
                    succeed()
                if is_empty and time.monotonic() - began < SHORTEST_WATCH_SECONDS:
                    raise DiscoveryError(
                        "Kubernetes: the watch ends immediately. Configure proxies not to buffer events"
                    )
                succeed()
        except (httpx.HTTPError, SourceError) as error:
            reason = error_text(error)
            raise DiscoveryError(f"Kubernetes: cannot be reached ({reason}). Check the API server") from None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DiscoveryError(f"Kubernetes: unexpected answer ({type(error).__name__}). Check api_server") from None

    def _pages(self) -> Iterator[Json]:
        """The list of pods in pages, all of one version."""
        parameters = {"limit": str(PODS_PER_PAGE)}
        while True:
            page = json.loads(b"".join(self._lines(parameters, TIMEOUT_SECONDS)))
            yield page
            parameters["continue"] = page["metadata"].get("continue", "")
            if not parameters["continue"]:
                return

    def _events(self, version: str) -> Iterator[Json]:
        """Changes since a version, until the watch ends."""
        seconds = {"timeoutSeconds": str(WATCH_SECONDS)}
        parameters = {"watch": "1", "resourceVersion": version, "allowWatchBookmarks": "true", **seconds}
        return map(json.loads, self._lines(parameters, WATCH_SECONDS + TIMEOUT_SECONDS))

    def _lines(self, parameters: Mapping[str, str], timeout: float) -> Iterator[bytes]:
        """The lines of a response, as they arrive."""
        rest = b""
        query = {**self._selectors, **parameters}
        with self._client.current().stream("GET", self._path, params=query, timeout=timeout) as response:
            if response.status_code != 200:
                status = response.status_code
                remedy = "Allow get, list, and watch of pods" if status in (401, 403) else "Check the API server"
                raise DiscoveryError(f"Kubernetes: returned {status}. {remedy}")
            for chunk in response.iter_bytes():
                *lines, rest = (rest + chunk).split(b"\n")
                if len(rest) > MAX_LINE_BYTES:
                    raise DiscoveryError(
                        f"Kubernetes: more than {MAX_LINE_BYTES >> 20} MiB. Set namespaces or selectors"
                    )
                yield from lines
        if rest:
            yield rest


def _key(pod: Json) -> str:
    return str(pod["metadata"]["uid"])


def _all(pods: Mapping[str, list[_Target]]) -> list[_Target]:
    if len(pods) > MAX_PODS:
        raise DiscoveryError(f"Kubernetes: more than {MAX_PODS:,} pods. Set namespaces or selectors")
    return [found for targets in pods.values() for found in targets]


def _targets(pod: Json, target: Callable[[Labels], _Target | None]) -> list[_Target]:
    return [found for found in map(target, pod_targets(pod)) if found]


def pod_targets(pod: Json) -> Iterator[Labels]:
    """Labels of the targets of a pod in the JSON of the API; a pod without an address has none."""
    meta, spec, status = pod["metadata"], pod.get("spec", {}), pod.get("status", {})
    address = status.get("podIP")
    if not address:
        return
    owner: Json = next((item for item in meta.get("ownerReferences") or () if item.get("controller")), {})
    ready = next((item["status"] for item in status.get("conditions") or () if item["type"] == "Ready"), "unknown")
    labels = {
        "__meta_kubernetes_namespace": meta.get("namespace", ""),
        f"{_POD}name": meta["name"],
        f"{_POD}ip": address,
        f"{_POD}uid": meta["uid"],
        f"{_POD}ready": ready.lower(),
        f"{_POD}phase": status.get("phase", ""),
        f"{_POD}node_name": spec.get("nodeName", ""),
        f"{_POD}host_ip": status.get("hostIP", ""),
        f"{_POD}controller_kind": owner.get("kind", ""),
        f"{_POD}controller_name": owner.get("name", ""),
    }
    for kind in ("label", "annotation"):
        for name, value in (meta.get(f"{kind}s") or {}).items():
            labels[f"{_POD}{kind}_{_INVALID.sub('_', name)}"] = value
            labels[f"{_POD}{kind}present_{_INVALID.sub('_', name)}"] = "true"
    host = f"[{address}]" if ":" in address else address
    for container in spec.get("containers") or ():
        of_container = labels | {
            f"{_POD}container_name": container["name"],
            f"{_POD}container_image": container.get("image", ""),
        }
        ports = container.get("ports") or ()
        if not ports:
            yield of_container | {"__address__": host}
        for port in ports:
            yield of_container | {
                "__address__": f"{host}:{port['containerPort']}",
                f"{_POD}container_port_name": port.get("name", ""),
                f"{_POD}container_port_number": str(port["containerPort"]),
                f"{_POD}container_port_protocol": port.get("protocol", "TCP"),
            }
