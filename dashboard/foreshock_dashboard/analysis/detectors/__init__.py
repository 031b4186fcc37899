"""One module per detector, named after its cause; `finding` has what they share, and `registry` lists them.

Three detectors find special cases of a cause: `client_timeout` of a retry storm, `model_swapping` of GPU contention,
and `outage` of hardware or a dependency. `retry_risk` finds the retry storms that a short outage would start.

The share below which no GPU wait is measured is the exporter's, which measures it.

Imports: `analysis.baseline`, `analysis.remediation`, `analysis.saturation`, `foreshock_exporter.gpu`, `model`, `stats`.
"""
