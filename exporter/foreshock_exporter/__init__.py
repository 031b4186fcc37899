"""foreshock-exporter: the daemon of GPU hosts, which says what each service does to each GPU.

Imports: `attribution`, `exposition`, `gpu`, `host`, `model`, `nvml`, `otlp`, `script`, `web`.
"""
