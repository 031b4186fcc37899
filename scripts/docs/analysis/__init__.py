"""The charts of docs/internals/analysis.md."""
