"""Health check of the images: the argument is the URL of /readyz, or FORESHOCK_HEALTH_URL, for another port or path.

It uses TLS where the server does. The certificate need not be for 127.0.0.1. A server that asks for a password is
healthy, since the check has none.
"""

from __future__ import annotations

import http.client
import os
import ssl
import sys
import urllib.error
import urllib.request

TIMEOUT_SECONDS = 2


def healthy(url: str) -> bool:
    """Whether the server is ready."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    try:
        with opener.open(url, timeout=TIMEOUT_SECONDS):
            return True
    except urllib.error.HTTPError as error:
        return error.code == http.client.UNAUTHORIZED
    except (OSError, http.client.HTTPException):
        return False


address = os.environ.get("FORESHOCK_HEALTH_URL", sys.argv[1])
sys.exit(not any(healthy(url) for url in dict.fromkeys((address, address.replace("http://", "https://")))))
