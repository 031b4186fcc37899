"""Tools for agents by the Model Context Protocol: the hub's API in compact, typed answers, without any analysis.

Imports: `access`, `model`, `render`, `web`.
"""
