"""Commands that serve until they are stopped.

Imports: `cli`, `common`, `foreshock_simulator.scenarios`, `front`, `hub`, `mcp`, `model`, `replay`, `settings`,
`simulated`.
"""
