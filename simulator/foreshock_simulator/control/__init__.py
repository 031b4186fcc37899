"""The control plane: autoscalers, pools of GPUs with quotas, and the pods of services.

Imports: `core`, `foreshock_exporter.model`, `spec`.
"""
