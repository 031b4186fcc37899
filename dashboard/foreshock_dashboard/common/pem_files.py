"""Certificates, keys, and authorities in PEM files."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from foreshock_dashboard.common.reloading_file import FileError


def load_certificate(context: ssl.SSLContext, cert: Path | str, key: Path | str | None) -> None:
    """Have a context present a certificate. Raises FileError if it cannot be used with the key."""
    try:
        context.load_cert_chain(cert, key, password=lambda: "")
    except (OSError, ssl.SSLError, ValueError) as error:
        raise FileError(
            f"{cert} and {key}: cannot be used as certificate and key: {error}; they must be PEM, belong together, "
            "and the key have no password"
        ) from error


def load_authorities(context: ssl.SSLContext, bundle: Path | str) -> None:
    """Have a context trust the authorities of a bundle. Raises FileError if it is none."""
    with _naming(bundle):
        context.load_verify_locations(bundle)


def client_context(bundle: Path | str) -> ssl.SSLContext:
    """A context of a client that trusts the authorities of a bundle alone. Raises FileError if it is none."""
    with _naming(bundle):
        context = ssl.create_default_context(cafile=bundle)
    # As in Prometheus. Python 3.13 sets it, and refuses authorities without key identifiers, such as those of EKS.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


@contextmanager
def _naming(bundle: Path | str) -> Iterator[None]:
    try:
        yield
    except (OSError, ssl.SSLError) as error:
        raise FileError(f"{bundle}: is not a file of PEM certificates: {error}") from error
