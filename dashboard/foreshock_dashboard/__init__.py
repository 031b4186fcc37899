"""The hub of foreshock: sources, store, model, analysis and the web page, in one process.

Imports: `cli`.
"""


def __getattr__(name: str) -> str:
    """`__version__`, read from the installed package when it is needed: that takes longer than most of a `--help`."""
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import version

    return version("foreshock")
