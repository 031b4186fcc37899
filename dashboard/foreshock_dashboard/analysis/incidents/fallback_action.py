"""What to do about a trouble that no finding explains: against who is blamed for it, or against its own doing."""

from __future__ import annotations

from foreshock_dashboard.analysis.baseline.point import Scan
from foreshock_dashboard.analysis.detectors.dependency import replacing, spared
from foreshock_dashboard.analysis.remediation.effect import as_usual, ending, share
from foreshock_dashboard.analysis.remediation.scale_out import further
from foreshock_dashboard.model.incident import Cause
from foreshock_dashboard.model.service import Service


def remedy(scan: Scan, cause: Cause, origin: Service, guilty: Service | None) -> str:
    """A next step. guilty: who is blamed for the trouble of `origin`; None: nobody is."""
    other = guilty if guilty != origin else None
    if cause == "demand":
        instead = f"{further(scan, origin)}, or limit {f'what {other} asks of it' if other else 'who asks it'}"
        return instead + ending("without the growth", _usual_load(scan, origin))
    if other:
        then = spared(scan, (origin,), other) or as_usual(scan, origin)
        return replacing(other, (origin,)) + ending(f"with {other} as usual", then)
    alone = f"undo the last change of {origin}, or restart it: nothing around it explains its trouble"
    return alone + ending("as before", as_usual(scan, origin), ";")


def _usual_load(scan: Scan, service: Service) -> str:
    """What is usually asked of model servers, as a part of what is asked of them now."""
    strain = scan.strains.get(service)
    return share(f"load of {service}", strain.usual / strain.load) if strain is not None and strain.load > 0 else ""
