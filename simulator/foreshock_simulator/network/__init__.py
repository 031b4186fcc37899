"""The network: interfaces whose capacity messages and flows share, paths that lose packets, and what hosts count.

Imports: nothing.
"""

from foreshock_simulator.network.network import Network
from foreshock_simulator.network.nic import NicCounters

__all__ = ["Network", "NicCounters"]
