"""Targets among the pods of a Kubernetes cluster: a list, then a watch of its changes.

The labels are those of Prometheus' role `pod`: a target for each declared port of each container.
"""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

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
"""Time after which a watch ends and the pods are listed again."""
TIMEOUT_SECONDS = 30.0
MAX_PODS = 20_000
MAX_LINE_BYTES = 256 << 20
"""Largest list of pods."""
ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where a pod has the token of its service account."""
_INVALID = re.compile(r"[^a-zA-Z0-9_]")
_POD = "__meta_kubernetes_pod_"

Json = Mapping[str, Any]


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
            raise FileError("kubernetes_sd_configs: no cluster around. Run in one, or set api_server")
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

    def follow(self, publish: Callable[[list[Labels]], None], stop: threading.Event) -> None:
        """List the pods, publish their targets, and again after each change, until the watch ends.

        Raises:
            DiscoveryError: the API refuses or cannot be reached.
        """
        try:
            listed = json.loads(b"".join(self._lines({}, TIMEOUT_SECONDS)))
            pods = {_key(pod): list(pod_targets(pod)) for pod in listed.get("items") or ()}
            if len(pods) > MAX_PODS:
                raise DiscoveryError(
                    f"Kubernetes: {len(pods):,} pods (limit {MAX_PODS:,}). Set namespaces or selectors"
                )
            publish([target for targets in pods.values() for target in targets])
            version = listed.get("metadata", {}).get("resourceVersion", "")
            parameters = {"watch": "1", "resourceVersion": version, "timeoutSeconds": str(WATCH_SECONDS)}
            for line in self._lines(parameters, WATCH_SECONDS + TIMEOUT_SECONDS):
                event = json.loads(line)
                if stop.is_set() or event["type"] == "ERROR":  # the list is too old to be continued
                    return
                pod = event["object"]
                pods.pop(_key(pod), None)
                if event["type"] != "DELETED":
                    pods[_key(pod)] = list(pod_targets(pod))
                publish([target for targets in pods.values() for target in targets])
        except (httpx.HTTPError, SourceError) as error:
            reason = error_text(error)
            raise DiscoveryError(f"Kubernetes: cannot be reached ({reason}). Check the API server") from None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DiscoveryError(f"Kubernetes: unexpected answer ({type(error).__name__}). Check api_server") from None

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
