"""Commands that serve until they are stopped.

Imports: `cli`, `common`, `foreshock_simulator.scenarios`, `hub`, `mcp`, `model`, `replay`, `settings`, `simulated`.
"""
