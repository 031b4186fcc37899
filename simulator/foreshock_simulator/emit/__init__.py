"""What the simulated world says of itself, in the words of the real one. Nothing else reaches whoever watches it.

Imports: `core`, `foreshock_exporter.host`, `foreshock_exporter.model`, `hardware`, `network`, `serving`.
"""
