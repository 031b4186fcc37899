"""The hub of foreshock: sources, store, model, analysis and the web page, in one process."""
