"""AWS Signature Version 4 by botocore, which finds and renews the credentials as AWS' own tools do."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import httpx

from foreshock_dashboard.common.reloading_file import FileError
from foreshock_dashboard.model.query import SourceError
from foreshock_dashboard.sources.http_config.values import SigV4

_SIGNED_HEADERS = ("content-type", "host")


class SigV4Auth(httpx.Auth):
    """Signs requests. They raise SourceError if there are no credentials.

    Raises:
        FileError: botocore is not installed, or the region is unknown.
    """

    requires_request_body = True

    def __init__(self, config: SigV4) -> None:
        try:
            from botocore.session import Session
        except ModuleNotFoundError:
            raise FileError("sigv4: botocore is missing. Install foreshock[aws]") from None
        session = Session(profile=config.profile)
        region = config.region or session.get_config_variable("region")
        if not region:
            raise FileError("sigv4: the region is unknown. Set region, or AWS_REGION")
        self._region, self._service = region, config.service_name
        if config.access_key and config.secret_key:
            session.set_credentials(config.access_key, config.secret_key.get_secret_value())
        self._credentials = _assumed_role(session, config.role_arn) if config.role_arn else session.get_credentials()

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """See `httpx.Auth.auth_flow`."""
        from botocore.auth import SigV4Auth as Signer
        from botocore.awsrequest import AWSRequest
        from botocore.exceptions import BotoCoreError, ClientError

        # The signature is over %20, and httpx writes a plus sign.
        request.url = request.url.copy_with(query=request.url.query.replace(b"+", b"%20"))
        signed = AWSRequest(
            request.method,
            str(request.url),
            data=request.content,
            headers={name: request.headers[name] for name in _SIGNED_HEADERS if name in request.headers},
        )
        try:
            if self._credentials is None:
                raise SourceError(
                    "sigv4: no AWS credentials. Set access_key and secret_key, profile, or AWS_* variables"
                )
            Signer(self._credentials.get_frozen_credentials(), self._service, self._region).add_auth(signed)
        except (BotoCoreError, ClientError) as error:
            raise SourceError(f"sigv4: AWS gives no credentials ({error}). Check profile and role_arn") from None
        for name in ("Authorization", "X-Amz-Date", "X-Amz-Security-Token"):
            if name in signed.headers:
                request.headers[name] = signed.headers[name]
        yield request


def _assumed_role(session: Any, role_arn: str) -> Any:  # noqa: ANN401 - botocore has no types
    """Credentials of a role, renewed before they expire."""
    from botocore.credentials import AssumeRoleCredentialFetcher, DeferredRefreshableCredentials

    fetcher = AssumeRoleCredentialFetcher(
        session.create_client, session.get_credentials(), role_arn, {"RoleSessionName": "foreshock"}
    )
    return DeferredRefreshableCredentials(fetcher.fetch_credentials, "assume-role")
