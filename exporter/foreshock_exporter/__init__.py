"""foreshock-exporter: Prometheus metrics of GPU use, contention, and stalls by service, for one GPU host.

Imports: `attribution`, `common`, `drm`, `exposition`, `gpu`, `host`, `kubernetes`, `model`, `nvml`, `otlp`,
`script`, `web`.
"""
