"""Incidents as a pure fold over the evaluation grid: open, update, resolve."""
