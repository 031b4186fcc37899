"""CPU time of the simulator."""
