"""What adds and removes replicas: autoscalers, pools of GPUs with quotas, and the pods between them.

Imports: `core`, `foreshock_exporter.model`, `spec`.
"""

from foreshock_simulator.control.autoscaler import Autoscaler, Scalable
from foreshock_simulator.control.capacity import Capacity
from foreshock_simulator.control.deployment import Deployment

__all__ = ["Autoscaler", "Capacity", "Deployment", "Scalable"]
