"""The hub over a real Prometheus or VictoriaMetrics that holds a fleet."""
