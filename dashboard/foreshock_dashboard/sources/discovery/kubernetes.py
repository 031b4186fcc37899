"""Targets among the pods of a Kubernetes cluster: a list, then a watch of its changes.

The labels are those of Prometheus' role `pod`: a target for each declared port of each container.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from foreshock_dashboard.common.reloading_file import FileError
from foreshock_dashboard.sources.discovery.scrape_config import KubernetesSd
from foreshock_dashboard.sources.discovery.sources import DiscoveryError, Labels

WATCH_SECONDS = 300
"""Time after which a watch ends and the pods are listed again."""
TIMEOUT_SECONDS = 30.0
MAX_PODS = 20_000
OWN_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_INVALID = re.compile(r"[^a-zA-Z0-9_]")
_META = "__meta_kubernetes_"

Pod = Mapping[str, Any]


class PodWatch:
    """The pods of a configuration.

    Raises:
        FileError: the library is not installed, or there is neither a cluster nor a kubeconfig file.
    """

    def __init__(self, config: KubernetesSd) -> None:
        try:
            from kubernetes import client, config as clusters  # noqa: I001 - an extra
        except ModuleNotFoundError:
            raise FileError("kubernetes_sd_configs: a library is missing. Install foreshock[kubernetes]") from None
        settings = client.Configuration()
        try:
            if config.kubeconfig_file:
                clusters.load_kube_config(str(config.kubeconfig_file), client_configuration=settings)
            else:
                clusters.load_incluster_config(client_configuration=settings)
        except clusters.ConfigException as error:
            raise FileError(f"kubernetes_sd_configs: {error}. Run in a cluster, or set kubeconfig_file") from None
        self._api = client.CoreV1Api(client.ApiClient(settings))
        selector = config.selectors[0] if config.selectors else None
        self._selectors = {
            name: text
            for name, text in (
                ("label_selector", selector.label if selector else ""),
                ("field_selector", selector.field if selector else ""),
            )
            if text
        }
        self._namespaces = [*config.namespaces.names]
        if config.namespaces.own_namespace:
            self._namespaces.append(OWN_NAMESPACE.read_text().strip())

    def follow(self, publish: Callable[[list[Labels]], None], stop: threading.Event) -> None:
        """List the pods, publish their targets, and again after each change, until the watch ends.

        Raises:
            DiscoveryError: the API refuses or cannot be reached.
        """
        from kubernetes.client.rest import ApiException
        from urllib3.exceptions import HTTPError

        try:
            self._follow(publish, stop)
        except ApiException as error:
            if error.status == 410:  # the version of the list is too old: list again
                return
            remedy = "Allow get, list, and watch of pods" if error.status in (401, 403) else "Check the API server"
            raise DiscoveryError(f"Kubernetes: returned {error.status} {error.reason}. {remedy}") from None
        except (HTTPError, OSError) as error:
            raise DiscoveryError(f"Kubernetes: cannot be reached ({type(error).__name__}). Check the API server") from None

    def _follow(self, publish: Callable[[list[Labels]], None], stop: threading.Event) -> None:
        from kubernetes import watch

        pods: dict[tuple[str, str], list[Labels]] = {}
        calls = [self._call(name) for name in self._namespaces] or [self._call("")]
        versions = []
        for call in calls:
            page = self._json(call(**self._selectors, limit=0, _request_timeout=TIMEOUT_SECONDS, _preload_content=False))
            versions.append(page.get("metadata", {}).get("resourceVersion", ""))
            for pod in page.get("items") or ():
                pods[_key(pod)] = list(pod_targets(pod))
        if len(pods) > MAX_PODS:
            raise DiscoveryError(f"Kubernetes: {len(pods):,} pods (limit {MAX_PODS:,}). Set namespaces or selectors")
        publish([target for targets in pods.values() for target in targets])
        call, version = calls[0], versions[0]
        # Several namespaces: the first is watched, and the others are listed again when the watch ends.
        seconds = WATCH_SECONDS if len(calls) == 1 else 30
        follower = watch.Watch()
        for event in follower.stream(
            call, **self._selectors, resource_version=version, timeout_seconds=seconds, _request_timeout=seconds + 30
        ):
            if stop.is_set():
                follower.stop()
                return
            pod = event["raw_object"]
            if event["type"] == "DELETED":
                pods.pop(_key(pod), None)
            else:
                pods[_key(pod)] = list(pod_targets(pod))
            publish([target for targets in pods.values() for target in targets])
