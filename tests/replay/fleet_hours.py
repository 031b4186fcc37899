"""A day of a small fleet: a busy service, a notebook that holds a GPU without a process, a MIG pod, and a free GPU."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from foreshock_dashboard.model.samples import Sample, SampleBatch, labels_of
from foreshock_dashboard.model.service import Service

END = 1_796_040_000.0
"""A full hour, Unix seconds."""
HOURS = 26
CHAT, NOTEBOOK, EMBED = Service("serving", "chat"), Service("ml", "notebook"), Service("serving", "embed")
TARGET = {"job": "foreshock-exporter", "instance": "host-1:10877"}
MODELS = ("NVIDIA H100 80GB HBM3", "NVIDIA H100 80GB HBM3", "NVIDIA A100-SXM4-80GB", "NVIDIA L40S")
POOLS = ("chat", "dev", "chat", "spare")
PODS = (("serving", "chat-0", ""), ("ml", "notebook-0", ""), ("serving", "embed-0", "MIG-1"))
WATTS = (400.0, 80.0, 120.0, 60.0)


def _add(into: list[Sample], metric: str, value: float, **labels: str) -> None:
    into.append(Sample(metric, labels_of({**TARGET, **labels}), value))


def scrapes(step: float = 240.0) -> Iterator[SampleBatch]:
    """Samples of one exporter. chat is busy half of the time, with an SM activity of 40% meanwhile, and waits 10%."""
    start = END - HOURS * 3600
    for time in np.arange(start, END + step, step).tolist():
        t, samples = time - start, list[Sample]()
        add = partial(_add, samples)
        add("up", 1.0)
        add("target_info", 1.0, host_name="host-1")
        add("gpu_allocatable_devices", 4.0, resource="nvidia.com/gpu")
        for i, (model, pool, watts) in enumerate(zip(MODELS, POOLS, WATTS, strict=True)):
            gpu = {"gpu": str(i), "uuid": f"GPU-{i}"}
            add("gpu_info", 1.0, model=model, **gpu)
            add("gpu_pool_info", 1.0, uuid=f"GPU-{i}", pool=pool)
            if i != 2:  # not supported with MIG
                add("gpu_busy_seconds_total", t / 2 if i == 0 else 0.0, **gpu)
            add("gpu_energy_joules_total", watts * t, **gpu)
            add("gpu_memory_used_bytes", 20e9, **gpu)
            add("gpu_memory_total_bytes", 80e9, **gpu)
        add("gpu_mig_info", 1.0, gpu="2", uuid="GPU-2", mig_uuid="MIG-1", profile="3g.40gb")
        for i, (namespace, pod, mig) in enumerate(PODS):
            add(
                "gpu_allocation_info", 1.0, gpu=str(i), uuid=f"GPU-{i}", mig_uuid=mig, resource="nvidia.com/gpu",
                k8s_namespace_name=namespace, k8s_pod_name=pod, k8s_container_name="main",
                k8s_workload_name=pod.rpartition("-")[0],
            )  # fmt: skip
        chat = {"gpu": "0", "uuid": "GPU-0", "service_name": CHAT.name, "service_namespace": CHAT.namespace}
        add("gpu_service_busy_seconds_total", t / 2, **chat)
        add("gpu_service_wait_seconds_total", t / 10, **chat)
        add("gpu_service_memory_used_bytes", 20e9, **chat)
        add("gpu_sm_active_seconds_total", t / 5, gpu="0", uuid="GPU-0")
        yield SampleBatch(time, "host-1:10877", tuple(samples))
