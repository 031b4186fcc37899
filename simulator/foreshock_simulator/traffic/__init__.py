"""Traffic from outside: recorded and modelled arrivals whose rate, prompts and answers can change at any moment.

Imports: `core`, `spec`.
"""

from foreshock_simulator.traffic.arrivals import Arrivals, arrivals
from foreshock_simulator.traffic.traces import Arrival, TraceName

__all__ = ["Arrival", "Arrivals", "TraceName", "arrivals"]
