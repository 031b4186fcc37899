"""Metrics derived from spans, as the Collector's span metrics connector derives them."""
