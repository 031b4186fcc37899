"""Load of users: an open loop with the bursts of recorded arrivals and a compressed day.

Imports: `foreshock_simulator.traffic`.
"""
