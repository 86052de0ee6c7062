"""Calls to AWS other than its storage; boto3 retries temporary errors itself."""

from collections.abc import Iterator
from typing import Any, Final

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, NoRegionError

from orchestrator.errors import BadInput, ClusterFailed

PASSING: Final = frozenset({"Throttling", "ThrottlingException", "TooManyRequestsException", "RequestLimitExceeded"})


class Refused(BadInput):
    """AWS refuses a request; `code` is its error code."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


class Aws:
    """Clients of the services of one region, made at their first use.

    Every call raises Refused, BadInput without credentials or region, and ClusterFailed when AWS does not answer.
    """

    def __init__(self, region: str | None, endpoint_url: str | None) -> None:
        self._place = {"region_name": region, "endpoint_url": endpoint_url}
        self._clients: dict[str, Any] = {}

    def call(self, service: str, operation: str, **asked: Any) -> dict[str, Any]:
        """The response to one request."""
        client = self._client(service)
        try:
            answer: dict[str, Any] = getattr(client, operation)(**asked)
        except (BotoCoreError, ClientError) as err:
            raise _failure(err) from err
        return answer

    def pages(self, service: str, operation: str, key: str, **asked: Any) -> Iterator[Any]:
        """All items of a paginated list."""
        client = self._client(service)
        try:
            for page in client.get_paginator(operation).paginate(**asked):
                yield from page[key]
        except (BotoCoreError, ClientError) as err:
            raise _failure(err) from err

    def _client(self, service: str) -> Any:
        if service not in self._clients:
            patience = Config(retries={"mode": "standard", "total_max_attempts": 8})
            try:
                session = boto3.Session()  # the default one keeps the first credentials that the process found
                self._clients[service] = session.client(service, config=patience, **self._place)
            except NoRegionError:
                raise BadInput("AWS needs a region: --cluster-set options.region=eu-central-1, or AWS_REGION") from None
            except (BotoCoreError, ValueError) as err:
                raise BadInput(f"no connection to AWS can be set up: {err}; look at AWS_PROFILE") from err
        return self._clients[service]


def _failure(err: BotoCoreError | ClientError) -> Exception:
    if isinstance(err, NoCredentialsError):
        return BadInput("AWS needs credentials: set AWS_PROFILE or AWS_ACCESS_KEY_ID, or log in")
    if not isinstance(err, ClientError):
        return ClusterFailed(f"AWS does not answer: {err}")
    answer = err.response.get("Error", {})
    code = answer.get("Code", "")
    said = f"{err.operation_name}: {code}: {answer.get('Message', 'no reason given')}"
    if err.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0) >= 500 or code in PASSING:
        return ClusterFailed(f"AWS does not answer: {said}")
    return Refused(f"AWS refuses: {said}", code)
