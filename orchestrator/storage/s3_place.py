"""What a storage setting in S3 says: the bucket and its prefix, how to reach them, and how long to wait for answers.

    s3://bucket/prefix?endpoint_url=http://minio:9000&region=eu-central-1&encryption=aws:kms&kms_key=alias/studies

This one string is all that a driver, a worker or a tracker is told. Credentials are never in it: they come from boto3's
own chain (environment, shared files, roles).
"""

import re
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import SplitResult, parse_qsl, urlsplit

from botocore.config import Config

from orchestrator.errors import BadInput, shown

OPTIONS: Final = ("endpoint_url", "region", "encryption", "kms_key")
ENCRYPTIONS: Final = ("AES256", "aws:kms", "aws:kms:dsse")
CONNECTIONS: Final = 32
AWS: Final = (".amazonaws.com", ".amazonaws.com.cn", ".api.aws")
BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


@dataclass(frozen=True)
class Patience:
    """How long to wait: for a connection, for an answer, between tries, and for all tries of one call together."""

    connect_s: float = 5.0
    answer_s: float = 60.0
    first_s: float = 0.1
    longest_s: float = 10.0
    total_s: float = 180.0


WORK: Final = Patience()
OPENING: Final = Patience(connect_s=2.0, answer_s=5.0, longest_s=1.0, total_s=4.0)
"""A storage that is not there must cost seconds, and be reported before any work."""


def of_aws(endpoint_url: str) -> bool:
    """Whether an address is one of AWS's own: of any partition, a VPC endpoint included."""
    host = urlsplit(endpoint_url).hostname or ""
    return host.endswith(AWS)


def _split(address: str, uri: str) -> SplitResult:
    try:
        parts = urlsplit(address)
        _ = parts.port  # raises for one that is no number
    except ValueError as err:
        raise BadInput(f"a storage in S3 is s3://BUCKET/PREFIX: got {shown(uri)} ({err})") from None
    return parts


@dataclass(frozen=True)
class Place:
    """A bucket and a prefix (empty, or ending in `/`), how to reach them, and how objects are encrypted."""

    uri: str
    bucket: str
    prefix: str
    endpoint_url: str | None = None
    region: str | None = None
    encryption: str | None = None
    kms_key: str | None = None

    @classmethod
    def parse(cls, uri: str) -> "Place":
        """The place that a storage setting names; raises BadInput."""
        parts = _split(uri, uri)
        if not BUCKET.fullmatch(parts.netloc) or parts.fragment:
            raise BadInput(
                f"a storage in S3 is s3://BUCKET/PREFIX: got {shown(uri)}; credentials come from the environment, "
                "AWS_PROFILE or a role"
            )
        try:
            given = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
        except ValueError:
            raise BadInput(
                f"options of a storage are ?NAME=VALUE&NAME=VALUE: got {parts.query!r} in {shown(uri)}"
            ) from None
        options = dict(given)
        if unknown := [name for name, value in given if name not in OPTIONS or not value]:
            raise BadInput(f"unknown or empty option {unknown[0]!r} in {shown(uri)}; known: {', '.join(OPTIONS)}")
        if len(options) < len(given):
            raise BadInput(f"an option may be given once: got {parts.query!r} in {shown(uri)}")
        endpoint = _split(options.get("endpoint_url", "https://s3"), uri)
        if endpoint.scheme not in {"http", "https"} or not endpoint.hostname or endpoint.username is not None:
            raise BadInput(f"endpoint_url must be http(s)://HOST:PORT: got {shown(options['endpoint_url'])}")
        encryption = options.get("encryption")
        if encryption is not None and encryption not in ENCRYPTIONS:
            raise BadInput(f"encryption must be one of {', '.join(ENCRYPTIONS)}: got {encryption!r}")
        if "kms_key" in options and not (encryption or "").startswith("aws:kms"):
            raise BadInput(f"kms_key needs encryption=aws:kms: got encryption={encryption} in {shown(uri)}")
        prefix = parts.path.strip("/")
        return cls(uri, parts.netloc, f"{prefix}/" if prefix else "", **options)

    def config(self, patience: Patience, elsewhere: bool = False) -> Config:
        """Settings of the client, of a server that may be `elsewhere` than AWS; its own retries are off."""
        # Servers other than AWS often know neither bucket host names nor the checksums that boto3 adds unasked.
        lenient: dict[str, Any] = {
            "s3": {"addressing_style": "path"},
            "request_checksum_calculation": "when_required",
            "response_checksum_validation": "when_required",
        }
        return Config(
            connect_timeout=patience.connect_s,
            read_timeout=patience.answer_s,
            retries={"total_max_attempts": 1, "mode": "standard"},
            max_pool_connections=CONNECTIONS,
            **(lenient if self.endpoint_url or elsewhere else {}),
        )

    def encrypted(self) -> dict[str, str]:
        """Arguments of every write."""
        given = {"ServerSideEncryption": self.encryption, "SSEKMSKeyId": self.kms_key}
        return {name: value for name, value in given.items() if value is not None}
