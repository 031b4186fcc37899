"""AWS Signature Version 4 by botocore, which finds and renews the credentials as AWS' own tools do."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import httpx

from foreshock_dashboard.common.reloading_file import FileError
from foreshock_dashboard.model.query import SourceError
from foreshock_dashboard.sources.http_config.attempt import SharedAttempt
from foreshock_dashboard.sources.http_config.values import SigV4

_SIGNED_HEADERS = ("content-type", "host")


class SigV4Auth(httpx.Auth):
    """Signs requests. They raise SourceError while there are no credentials.

    Raises:
        FileError: botocore is not installed, the profile or the region is unknown.
    """

    requires_request_body = True

    def __init__(self, config: SigV4) -> None:
        try:
            from botocore.exceptions import BotoCoreError
            from botocore.session import Session
        except ModuleNotFoundError:
            raise FileError("sigv4: botocore is missing. In a clone, run pip install '.[hub,aws]'") from None
        self._session = Session(profile=config.profile)
        if config.region:  # of the requests for a role, too
            self._session.set_config_variable("region", config.region)
        try:
            region = self._session.get_config_variable("region")
            self._session.get_scoped_config()
        except BotoCoreError as error:
            raise FileError(f"sigv4: {str(error).rstrip('.')}. Check profile and AWS' configuration files") from None
        if not region:
            raise FileError("sigv4: no region configured. Set region or AWS_REGION")
        self._region, self._service, self._role = region, config.service_name, config.role_arn
        if config.access_key and config.secret_key:
            self._session.set_credentials(config.access_key, config.secret_key.get_secret_value())
        self._attempt = SharedAttempt()
        self._credentials: Any = None

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """See `httpx.Auth.auth_flow`."""
        from botocore.auth import SigV4Auth as Signer
        from botocore.awsrequest import AWSRequest

        # The signature is over %20, and httpx writes a plus sign.
        request.url = request.url.copy_with(query=request.url.query.replace(b"+", b"%20"))
        signed = AWSRequest(
            request.method,
            str(request.url),
            data=request.content,
            headers={name: request.headers[name] for name in _SIGNED_HEADERS if name in request.headers},
        )
        Signer(self._attempt(self._current), self._service, self._region).add_auth(signed)
        for name in ("Authorization", "X-Amz-Date", "X-Amz-Security-Token"):
            if name in signed.headers:
                request.headers[name] = signed.headers[name]
        yield request

    def _current(self) -> Any:  # noqa: ANN401 - botocore has no types
        """The keys to sign with. Until there are some, such as those of the machine's role, each call looks again."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            if self._credentials is None:
                found = self._session.get_credentials()
                self._credentials = self._assumed_role(found) if found and self._role else found
            if self._credentials is None:
                raise SourceError(
                    "sigv4: no AWS credentials. Set access_key and secret_key, profile, or AWS_* variables"
                )
            return self._credentials.get_frozen_credentials()
        except (BotoCoreError, ClientError) as error:
            raise SourceError(f"sigv4: AWS returned no credentials ({error}). Check profile and role_arn") from None

    def _assumed_role(self, source: Any) -> Any:  # noqa: ANN401
        """Credentials of a role, renewed before they expire."""
        from botocore.credentials import AssumeRoleCredentialFetcher, DeferredRefreshableCredentials

        fetcher = AssumeRoleCredentialFetcher(
            self._session.create_client, source, self._role, {"RoleSessionName": "foreshock"}
        )
        return DeferredRefreshableCredentials(fetcher.fetch_credentials, "assume-role")
