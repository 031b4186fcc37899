"""The hub of foreshock: sources, store, model, analysis and the web page, in one process.

Imports: `cli`.
"""

from importlib.metadata import version

__version__ = version("foreshock")
