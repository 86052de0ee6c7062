"""Bytes by key in an S3 bucket, or in any storage that speaks S3 and honours conditional writes.

    s3://bucket/prefix?endpoint_url=http://minio:9000&region=eu-central-1&encryption=aws:kms&kms_key=alias/studies

This one string is all that a driver, a worker or a tracker is told. Credentials are never in it: they come from boto3's
own chain (environment, shared files, roles). There is one loop of retries, `S3Store._ask`; botocore's are off.
"""

import contextlib
import random
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import parse_qsl, urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    PartialCredentialsError,
    ResponseStreamingError,
    SSLError,
)

from orchestrator.errors import BadInput, StorageFailed

T = TypeVar("T")

OPTIONS: Final = ("endpoint_url", "region", "encryption", "kms_key")
ENCRYPTIONS: Final = ("AES256", "aws:kms", "aws:kms:dsse")
CONNECTIONS: Final = 32
PIECE: Final = 1 << 20
MULTIPART, PART = 100 << 20, 32 << 20
"""Bytes from which an object is uploaded in parts, and those of a part."""
BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")

PASSING_CODES: Final = frozenset(
    {"SlowDown", "Throttling", "RequestTimeout", "ConditionalRequestConflict", "OperationAborted", "TooManyRequests"}
)
STALE_CODES: Final = frozenset({"ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"})
PASSING_ERRORS: Final = (HTTPClientError, IncompleteReadError, ResponseStreamingError)
STALE_ERRORS: Final = (CredentialRetrievalError,)

REASONS: Final = {
    "NoSuchBucket": "there is no such bucket; create it first, or correct its name",
    "AccessDenied": "access is denied; what is needed is in clusters/aws/iam-policy.json",
    "403": "access is denied; what is needed is in clusters/aws/iam-policy.json",
    "InvalidAccessKeyId": "the access key is not known there; look at AWS_PROFILE and AWS_ACCESS_KEY_ID",
    "SignatureDoesNotMatch": "the secret key does not fit the access key; look at AWS_PROFILE",
    "ExpiredToken": "the session token has expired; log in again",
    "PermanentRedirect": "the bucket is in another region{region}; set it with ?region=",
    "AuthorizationHeaderMalformed": "the bucket is in another region{region}; set it with ?region=",
    "IllegalLocationConstraintException": "the bucket is in another region{region}; set it with ?region=",
    "301": "the bucket is in another region{region}; set it with ?region=",
    "RequestTimeTooSkewed": "the clock of this machine is wrong",
}
NO_CREDENTIALS: Final = "no credentials were found; set AWS_PROFILE or AWS_ACCESS_KEY_ID, or give the machine a role"


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
"""A storage that is not there must cost seconds, and be told before any work."""


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
        parts = urlsplit(uri)
        if not BUCKET.fullmatch(parts.netloc) or parts.fragment:
            raise BadInput(
                f"a storage in S3 is s3://BUCKET/PREFIX: got {uri!r}; credentials come from the environment, "
                "AWS_PROFILE or a role"
            )
        try:
            given = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
        except ValueError:
            raise BadInput(f"options of a storage are ?NAME=VALUE&NAME=VALUE: got {parts.query!r} in {uri!r}") from None
        options = dict(given)
        if unknown := [name for name, value in given if name not in OPTIONS or not value]:
            raise BadInput(f"unknown or empty option {unknown[0]!r} in {uri!r}; known: {', '.join(OPTIONS)}")
        if len(options) < len(given):
            raise BadInput(f"an option may be given once: got {parts.query!r} in {uri!r}")
        endpoint = urlsplit(options.get("endpoint_url", "https://s3"))
        if endpoint.scheme not in {"http", "https"} or not endpoint.hostname or endpoint.username is not None:
            raise BadInput(f"endpoint_url must be http(s)://HOST:PORT: got {options['endpoint_url']!r}")
        encryption = options.get("encryption")
        if encryption is not None and encryption not in ENCRYPTIONS:
            raise BadInput(f"encryption must be one of {', '.join(ENCRYPTIONS)}: got {encryption!r}")
        if "kms_key" in options and not (encryption or "").startswith("aws:kms"):
            raise BadInput(f"kms_key needs encryption=aws:kms: got encryption={encryption} in {uri!r}")
        prefix = parts.path.strip("/")
        return cls(uri, parts.netloc, f"{prefix}/" if prefix else "", **options)

    def config(self, patience: Patience) -> Config:
        """Settings of the client; its own retries are off."""
        # Servers other than AWS often know neither bucket host names nor the checksums that boto3 adds unasked.
        elsewhere: dict[str, Any] = {
            "s3": {"addressing_style": "path"},
            "request_checksum_calculation": "when_required",
            "response_checksum_validation": "when_required",
        }
        return Config(
            connect_timeout=patience.connect_s,
            read_timeout=patience.answer_s,
            retries={"total_max_attempts": 1, "mode": "standard"},
            max_pool_connections=CONNECTIONS,
            **(elsewhere if self.endpoint_url else {}),
        )

    def encrypted(self) -> dict[str, str]:
        """Arguments of every write."""
        given = {"ServerSideEncryption": self.encryption, "SSEKMSKeyId": self.kms_key}
        return {name: value for name, value in given.items() if value is not None}


@dataclass(frozen=True)
class S3Object:
    """What a listing tells of an object: its key, its bytes, and when it was written (ns since 1970)."""

    key: str
    size: int
    modified: int


class S3Store:
    """A prefix of a bucket; safe for threads, and for any number of processes."""

    def __init__(self, place: Place, patience: Patience = WORK) -> None:
        self.uri = place.uri
        self.patience = patience
        self._place = place
        self._lock = threading.Lock()
        self._client = self._connect()

    def _connect(self) -> Any:
        """A client of a session of its own: only a new session reads renewed credentials."""
        place = self._place
        config = place.config(self.patience)
        try:
            session = boto3.session.Session(region_name=place.region)
            region = session.region_name or "us-east-1"
            return session.client("s3", endpoint_url=place.endpoint_url, region_name=region, config=config)
        except (BotoCoreError, ValueError) as err:
            raise BadInput(
                f"no connection to {self.uri} can be set up: {err}; look at AWS_PROFILE and AWS_REGION"
            ) from err

    def _renew(self, client: Any) -> None:
        with self._lock:
            if self._client is client:  # else another thread has been here
                self._client = self._connect()

    def locate(self, key: str) -> str:
        """The address of a key, to be shown."""
        return f"s3://{self._place.bucket}/{self._place.prefix}{key}"

    def _ask(self, verb: str, key: str, call: Callable[[Any, dict[str, str]], T]) -> T:
        """Call with a client and the object's name, again where that may help: back-off with full jitter, bounded.

        Credentials that have expired are read anew (a long sweep outlives its session token). Raises StorageFailed.
        """
        name = {"Bucket": self._place.bucket, "Key": self._place.prefix + key}
        deadline = time.monotonic() + self.patience.total_s
        pause = self.patience.first_s
        while True:
            client = self._client
            try:
                return call(client, name)
            except (BotoCoreError, ClientError) as err:
                stale = _stale(err)
                wait = random.uniform(0, pause)
                if not (stale or _passing(err)) or time.monotonic() + wait > deadline:
                    raise StorageFailed(f"cannot {verb} {self.locate(key)}: {explain(err)}") from err
                if stale:
                    self._renew(client)
                time.sleep(wait)
                pause = min(2 * pause, self.patience.longest_s)

    def get(self, key: str) -> bytes | None:
        """The bytes of a key, or None."""

        def read(client: Any, name: dict[str, str]) -> bytes | None:
            try:
                data: bytes = client.get_object(**name)["Body"].read()
            except ClientError as err:
                if _code(err) in {"NoSuchKey", "404"} or (_denied(err) and not _listed(client, name)):
                    return None
                raise
            return data

        return self._ask("read", key, read)

    def download(self, found: S3Object, path: Path) -> None:
        """Write an object to a file, a piece at a time; raises StorageFailed when it is another one by now."""

        def read(client: Any, name: dict[str, str]) -> int:
            with path.open("wb") as file:
                for piece in client.get_object(**name)["Body"].iter_chunks(PIECE):
                    file.write(piece)
                return file.tell()

        if (size := self._ask("read", found.key, read)) != found.size:
            raise StorageFailed(f"{self.locate(found.key)} changed while it was read: {found.size} bytes, then {size}")

    def put(self, key: str, data: bytes | memoryview) -> None:
        """Write a key; a large object appears when its last part is there."""
        extra = self._place.encrypted()
        if len(data) < MULTIPART:
            whole = bytes(data)
            self._ask("write", key, lambda client, name: client.put_object(**name, Body=whole, **extra))
            return
        answer = self._ask("write", key, lambda client, name: client.create_multipart_upload(**name, **extra))
        upload = {"UploadId": answer["UploadId"]}
        try:
            self._put_parts(key, data, upload)
        except BaseException:
            with contextlib.suppress(StorageFailed):  # parts that belong to nothing cost money until they are gone
                self._ask("write", key, lambda client, name: client.abort_multipart_upload(**name, **upload))
            raise

    def _put_parts(self, key: str, data: bytes | memoryview, upload: dict[str, str]) -> None:
        parts = []
        for number, start in enumerate(range(0, len(data), PART), 1):
            part = {**upload, "PartNumber": number, "Body": bytes(data[start : start + PART])}

            def write(client: Any, name: dict[str, str], part: dict[str, Any] = part) -> str:
                etag: str = client.upload_part(**name, **part)["ETag"]
                return etag

            parts.append({"PartNumber": number, "ETag": self._ask("write", key, write)})

        def complete(client: Any, name: dict[str, str]) -> None:
            try:
                client.complete_multipart_upload(**name, **upload, MultipartUpload={"Parts": parts})
            except ClientError as err:
                if _code(err) != "NoSuchUpload":  # it is complete: an earlier answer was lost
                    raise

        self._ask("write", key, complete)

    def create(self, key: str, data: bytes) -> bool:
        """Write with `If-None-Match: *`; after an answer that was lost, the object tells by its mark whose it is."""
        mark = uuid.uuid4().hex
        extra = {**self._place.encrypted(), "Metadata": {"writer": mark}, "IfNoneMatch": "*"}
        unsure = False

        def write(client: Any, name: dict[str, str]) -> bool:
            nonlocal unsure
            try:
                client.put_object(**name, Body=data, **extra)
            except ClientError as err:
                if _code(err) in {"PreconditionFailed", "412"}:
                    return unsure and _mark(client, name) == mark
                unsure = True
                raise
            except BotoCoreError:
                unsure = True
                raise
            return True

        return self._ask("write", key, write)

    def keys(self, prefix: str) -> list[str]:
        """All keys below a prefix."""
        return sorted(found.key for found in self.objects(prefix))

    def objects(self, prefix: str) -> Iterator[S3Object]:
        """All objects whose keys begin so, a thousand at a time."""
        asked: dict[str, Any] = {}
        while True:
            answer = self._page(prefix, **asked)
            yield from self._objects(answer)
            if not answer.get("IsTruncated"):
                return
            asked = {"ContinuationToken": answer["NextContinuationToken"]}

    def first(self, prefix: str) -> S3Object | None:
        """The first object whose key begins so, or None."""
        return next(self._objects(self._page(prefix, MaxKeys=1)), None)

    def _page(self, prefix: str, **asked: Any) -> Any:
        def page(client: Any, name: dict[str, str]) -> Any:
            return client.list_objects_v2(Bucket=name["Bucket"], Prefix=name["Key"], **asked)

        return self._ask("list", prefix, page)

    def _objects(self, answer: Any) -> Iterator[S3Object]:
        for item in answer.get("Contents", ()):
            key = item["Key"].removeprefix(self._place.prefix)
            yield S3Object(key, item["Size"], round(item["LastModified"].timestamp() * 1000) * 1_000_000)

    def delete(self, key: str) -> None:
        """Delete the object."""
        self._ask("delete", key, lambda client, name: client.delete_object(**name))


def _mark(client: Any, name: dict[str, str]) -> str | None:
    """Who wrote an object; None when it is gone again. Not by HEAD: its errors have no code, so no cure."""
    try:
        answer = client.get_object(**name)
        answer["Body"].close()
        found: str | None = answer["Metadata"].get("writer")
    except ClientError as err:
        if _code(err) in {"NoSuchKey", "404"}:
            return None
        raise
    return found


def _listed(client: Any, name: dict[str, str]) -> bool:
    """Whether an object is there: where only a prefix may be listed, S3 answers 403 for a missing one."""
    answer = client.list_objects_v2(Bucket=name["Bucket"], Prefix=name["Key"], MaxKeys=1)
    return any(item["Key"] == name["Key"] for item in answer.get("Contents", ()))


def _denied(err: Exception) -> bool:
    return _code(err) in {"AccessDenied", "403"}


def _code(err: Exception) -> str:
    return str(err.response.get("Error", {}).get("Code", "")) if isinstance(err, ClientError) else ""


def _stale(err: Exception) -> bool:
    return _code(err) in STALE_CODES or isinstance(err, STALE_ERRORS)


def _passing(err: Exception) -> bool:
    """Whether the same request may succeed later."""
    if isinstance(err, ClientError):
        status: int = err.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return status >= 500 or status == 429 or _code(err) in PASSING_CODES
    return isinstance(err, PASSING_ERRORS) and not isinstance(err, SSLError)


def explain(err: Exception) -> str:
    """Why a request failed, and the way out where there is a known one."""
    if isinstance(err, NoCredentialsError | PartialCredentialsError | CredentialRetrievalError):
        return NO_CREDENTIALS
    if not isinstance(err, ClientError):
        return " ".join(str(err).split())
    answer = err.response.get("Error", {})
    headers = err.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    region = answer.get("Region") or headers.get("x-amz-bucket-region")
    said = f"{_code(err)} on {err.operation_name}: {answer.get('Message', 'no reason given')}"
    known = REASONS.get(_code(err))
    return said if known is None else f"{known.format(region=f' ({region})' if region else '')} ({said})"


@lru_cache(maxsize=16)
def check(uri: str) -> None:
    """Raises BadInput within seconds when a storage cannot do all that the ledger needs; leaves nothing behind."""
    store = S3Store(Place.parse(uri), OPENING)
    key = f".probe/{uuid.uuid4().hex}"
    try:
        store.get(key)
        store.keys(".probe/none/")
        store.create(key, b"1")
        twice = store.create(key, b"2")
        store.delete(key)
    except StorageFailed as err:
        raise BadInput(f"the storage must be reachable and writable: {err}") from err
    if twice:
        raise BadInput(
            f"the storage must refuse to write an object that exists (If-None-Match: *): {uri} does not, so two "
            "workers could overwrite each other's results; use a newer version of that server, or a folder"
        )


@lru_cache(maxsize=16)
def open_s3(uri: str) -> S3Store:
    """The store of a storage setting, one per process: its connections are shared."""
    return S3Store(Place.parse(uri))
