"""Panels that more than one page shows: timeline, service map, vitals, service charts."""
