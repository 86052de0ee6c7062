"""Bytes by key in an S3 bucket, or in any storage that speaks S3 and honours conditional writes.

There is one loop of retries, `S3Store._ask`; botocore's are off. Where that is, and with which settings: `s3_place`.
"""

import contextlib
import random
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, TypeVar

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from orchestrator.errors import BadInput, StorageFailed
from orchestrator.storage.keys import checked, checked_prefix
from orchestrator.storage.s3_errors import code_of, explain, is_denied, is_passing, is_stale
from orchestrator.storage.s3_place import OPENING, WORK, Patience, Place, of_aws

T = TypeVar("T")

PIECE: Final = 1 << 20
MULTIPART, PART = 100 << 20, 32 << 20
"""Bytes from which an object is uploaded in parts, and those of a part."""


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
        try:
            session = boto3.session.Session(region_name=place.region)
            region = session.region_name or "us-east-1"
            given = {"endpoint_url": place.endpoint_url, "region_name": region}
            client = session.client("s3", **given, config=place.config(self.patience))
            if place.endpoint_url is None and not of_aws(client.meta.endpoint_url):  # AWS_ENDPOINT_URL, or a profile's
                client.close()
                client = session.client("s3", **given, config=place.config(self.patience, elsewhere=True))
            return client
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
                stale = is_stale(err)
                wait = random.uniform(0, pause)
                if not (stale or is_passing(err)) or time.monotonic() + wait > deadline:
                    raise StorageFailed(f"cannot {verb} {self.locate(key)}: {explain(err)}") from err
                if stale:
                    self._renew(client)
                time.sleep(wait)
                pause = min(2 * pause, self.patience.longest_s)

    def get(self, key: str) -> bytes | None:
        """The bytes of a key, or None."""
        checked(key)

        def read(client: Any, name: dict[str, str]) -> bytes | None:
            try:
                data: bytes = client.get_object(**name)["Body"].read()
            except ClientError as err:
                if code_of(err) in {"NoSuchKey", "404"} or (is_denied(err) and not _listed(client, name)):
                    return None
                raise
            return data

        return self._ask("read", key, read)

    def download(self, found: S3Object, path: Path) -> None:
        """Write an object to a file, a piece at a time; raises StorageFailed when it is another one by now."""

        def read(client: Any, name: dict[str, str]) -> int:
            try:
                with path.open("wb") as file:
                    for piece in client.get_object(**name)["Body"].iter_chunks(PIECE):
                        file.write(piece)
                    return file.tell()
            except OSError as err:
                if isinstance(err, BotoCoreError):
                    raise
                raise StorageFailed(f"cannot write {path}: {err.strerror or err}") from err

        if (size := self._ask("read", found.key, read)) != found.size:
            raise StorageFailed(f"{self.locate(found.key)} changed while it was read: {found.size} bytes, then {size}")

    def put(self, key: str, data: bytes | memoryview) -> None:
        """Write a key; a large object appears when its last part is there."""
        checked(key)
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
                if code_of(err) != "NoSuchUpload":  # it is complete: an earlier answer was lost
                    raise

        self._ask("write", key, complete)

    def create(self, key: str, data: bytes) -> bool:
        """Write with `If-None-Match: *`; after an answer that was lost, the object tells by its mark whose it is."""
        checked(key)
        mark = uuid.uuid4().hex
        extra = {**self._place.encrypted(), "Metadata": {"writer": mark}, "IfNoneMatch": "*"}
        unsure = False

        def write(client: Any, name: dict[str, str]) -> bool:
            nonlocal unsure
            try:
                client.put_object(**name, Body=data, **extra)
            except ClientError as err:
                if code_of(err) in {"PreconditionFailed", "412"}:
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
        return sorted(found.key for found in self.objects(checked_prefix(prefix)))

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
        checked(key)
        self._ask("delete", key, lambda client, name: client.delete_object(**name))


def _mark(client: Any, name: dict[str, str]) -> str | None:
    """Who wrote an object; None when it is gone again. Not by HEAD: its errors have no code, so no cure."""
    try:
        answer = client.get_object(**name)
        answer["Body"].close()
        found: str | None = answer["Metadata"].get("writer")
    except ClientError as err:
        if code_of(err) in {"NoSuchKey", "404"}:
            return None
        raise
    return found


def _listed(client: Any, name: dict[str, str]) -> bool:
    """Whether an object is there: where only a prefix may be listed, S3 answers 403 for a missing one."""
    answer = client.list_objects_v2(Bucket=name["Bucket"], Prefix=name["Key"], MaxKeys=1)
    return any(item["Key"] == name["Key"] for item in answer.get("Contents", ()))


@lru_cache(maxsize=16)
def check(uri: str, write: bool = True) -> None:
    """Raises BadInput within seconds when a storage cannot do all that the ledger needs; leaves nothing behind.

    Without `write`, it must be readable only.
    """
    store = S3Store(Place.parse(uri), OPENING)
    key = f".probe/{uuid.uuid4().hex}"
    if not write:
        try:
            store.get(key)
            store.keys(".probe/none/")
        except StorageFailed as err:
            raise BadInput(f"the storage must be reachable and readable: {err}") from err
        return
    try:
        store.get(key)
        store.keys(".probe/none/")
        if not write:
            return
        store.create(key, b"1")
        twice = store.create(key, b"2")
        store.delete(key)
    except StorageFailed as err:
        raise BadInput(f"the storage must be reachable{' and writable' if write else ''}: {err}") from err
    if twice:
        raise BadInput(
            f"the storage must refuse to write an object that exists (If-None-Match: *): {uri} does not, so two "
            "workers could overwrite each other's results; use a newer version of that server, or a folder"
        )


@lru_cache(maxsize=16)
def open_s3(uri: str) -> S3Store:
    """The store of a storage setting, one per process: its connections are shared."""
    return S3Store(Place.parse(uri))
