"""The S3 store against a real server, straight and through a proxy that breaks requests."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import pytest

from orchestrator.errors import BadInput, StorageFailed
from orchestrator.storage import s3 as module
from orchestrator.storage.s3 import S3Store
from orchestrator.storage.s3_place import Patience, Place, of_aws
from orchestrator.storage.store import open_store
from running import HUNG_S
from s3_server import FAULTS, Faults, at_random, before, bucket, once

QUICK = Patience(connect_s=2, answer_s=0.5, first_s=0.02, longest_s=0.1, total_s=20)


@pytest.fixture
def broken(s3: str) -> Iterator[tuple[S3Store, Faults]]:
    """A store behind a proxy."""
    with before(s3) as (address, faults):
        yield S3Store(Place.parse(bucket(s3, address)), QUICK), faults


@pytest.mark.parametrize("fault", sorted(set(FAULTS) - {"denied"}))
def test_whatever_happens_to_a_request_it_is_done_once(broken: tuple[S3Store, Faults], fault: str) -> None:
    store, faults = broken
    faults.choose = once(fault, fault)
    assert store.create("a", b"mine"), "an object whose acknowledgement was lost is recognised"
    assert faults.met == [fault, fault]
    faults.choose = once(fault)
    assert not store.create("a", b"other")
    for call in (lambda: store.get("a"), lambda: store.keys(""), lambda: store.put("a", b"2"), lambda: store.get("a")):
        faults.choose = once(fault)
        found = call()
    assert found == b"2"
    faults.choose = once(fault)
    store.delete("a")
    assert store.keys("") == []


def test_what_another_wrote_during_a_lost_answer_is_not_taken_for_ones_own(broken: tuple[S3Store, Faults]) -> None:
    store, faults = broken
    other = S3Store(Place.parse(store.uri), QUICK)
    faults.choose = once("reset before", where=lambda request: other.create("a", b"theirs"))
    faults.choose, race = (lambda request: None), faults.choose
    done: list[bool] = []

    def choose(request: object) -> str | None:
        if not done:
            done.append(True)
            return race(request)  # type: ignore[arg-type]
        return None

    faults.choose = choose
    assert not store.create("a", b"mine")
    assert store.get("a") == b"theirs"


WRITER = """
import json, sys
from orchestrator.storage.s3 import S3Store
from orchestrator.storage.s3_place import Patience, Place
uri, number = sys.argv[1], int(sys.argv[2])
store = S3Store(Place.parse(uri), Patience(connect_s=2, answer_s=1, first_s=0.02, longest_s=0.2, total_s=120))
shared = [n for n in range(20) if store.create(f"ledger/shared/{n}", f"{number}".encode())]
own = [n for n in range(10) if store.create(f"ledger/own/{number}.{n}", f"{number}".encode())]
print(json.dumps([shared, own]))
"""


def test_many_writers_through_a_broken_network_lose_nothing_and_double_nothing(broken: tuple[S3Store, Faults]) -> None:
    store, faults = broken
    faults.choose = at_random(0.25, *sorted(set(FAULTS) - {"denied"}))
    writers = range(3)
    command = [sys.executable, "-c", WRITER, store.uri]
    processes = [subprocess.Popen([*command, str(n)], stdout=subprocess.PIPE, text=True) for n in writers]
    said = [json.loads(process.communicate(timeout=HUNG_S)[0]) for process in processes]
    assert len(faults.met) > 20
    faults.choose = lambda request: None
    for key in range(20):
        (winner,) = [number for number in writers if key in said[number][0]]
        assert store.get(f"ledger/shared/{key}") == str(winner).encode()
    assert all(own == list(range(10)) for _, own in said)
    assert len(store.keys("ledger/")) == 20 + 3 * 10


def test_credentials_that_expire_are_read_again(
    s3: str, broken: tuple[S3Store, Faults], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "credentials"
    text = "[default]\naws_access_key_id = {0}\naws_secret_access_key = {0}\naws_session_token = {0}\n"
    file.write_text(text.format("old"))
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    store = S3Store(Place.parse(broken[0].uri), QUICK)
    store.put("a", b"1")
    broken[1].choose = lambda r: "expired" if "Credential=old/" in r.headers["Authorization"] else None
    file.write_text(text.format("new"))
    assert store.get("a") == b"1"
    assert broken[1].met == ["expired"]


def test_a_storage_that_stays_away_is_given_up_with_its_reason(broken: tuple[S3Store, Faults]) -> None:
    store, faults = broken
    faults.choose = lambda request: "slow down"
    store.patience = Patience(first_s=0.01, longest_s=0.02, total_s=0.3)
    with pytest.raises(StorageFailed, match=r"cannot read s3://.*/some/prefix/a: SlowDown on GetObject: as ordered"):
        store.get("a")
    assert len(faults.met) > 5
    faults.met.clear()
    faults.choose = lambda request: "denied"
    with pytest.raises(StorageFailed, match=r"access is denied; what is needed is in clusters/aws/iam-policy\.json"):
        store.put("a", b"")
    assert faults.met == ["denied"], "what will not get better is not tried again"


def test_a_missing_object_is_none_where_only_a_prefix_may_be_listed(broken: tuple[S3Store, Faults]) -> None:
    store, faults = broken
    store.put("there", b"1")
    faults.choose = lambda request: "denied" if request.command == "GET" and "?" not in request.path else None
    assert store.get("not-there") is None
    with pytest.raises(StorageFailed, match="access is denied"):
        store.get("there")


def test_a_large_object_is_uploaded_in_parts_and_the_calls_are_those_of_the_policy(
    broken: tuple[S3Store, Faults], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, faults = broken
    called: set[str] = set()
    store._client.meta.events.register("before-call.s3", lambda model, **rest: called.add(model.name))
    monkeypatch.setattr(module, "MULTIPART", 10 << 20)
    monkeypatch.setattr(module, "PART", 5 << 20)
    faults.choose = once("denied", where=lambda request: "partNumber" in request.path)
    large = bytes(12 << 20)
    with pytest.raises(StorageFailed):
        store.put("large", large)
    assert store.keys("") == []
    faults.choose = once("late", "reset after", "reset after", where=lambda request: "uploadId" in request.path)
    store.put("large", large)
    assert store.get("large") == large
    faults.choose = once("reset after")
    assert store.create("small", b"1")
    store.delete("large")
    action = {
        "PutObject": "s3:PutObject",
        "CreateMultipartUpload": "s3:PutObject",
        "UploadPart": "s3:PutObject",
        "CompleteMultipartUpload": "s3:PutObject",
        "AbortMultipartUpload": "s3:AbortMultipartUpload",
        "GetObject": "s3:GetObject",
        "DeleteObject": "s3:DeleteObject",
        "ListObjectsV2": "s3:ListBucket",
    }
    assert called == set(action)
    policy = json.loads((resources.files("clusters") / "aws" / "iam-policy.json").read_text("utf-8"))
    allowed = [
        a
        for part in policy["Statement"]
        for a in ([part["Action"]] if isinstance(part["Action"], str) else part["Action"])
    ]
    assert sorted(allowed) == sorted(set(action.values()))


def test_objects_are_encrypted_as_asked(s3: str) -> None:
    store = open_store(f"{bucket(s3)}&encryption=aws:kms&kms_key=alias/studies")
    assert store.create("a", b"1")
    store.put("b", b"1")
    assert isinstance(store, S3Store)
    for key in ("a", "b"):
        found = store._client.head_object(Bucket=store._place.bucket, Key=f"some/prefix/{key}")
        assert found["ServerSideEncryption"] == "aws:kms"
        assert "alias/studies" in found["SSEKMSKeyId"]


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("s3://", "is s3://BUCKET/PREFIX"),
        ("s3://key:secret@bucket/x", "is s3://BUCKET/PREFIX"),
        ("s3://bucket/x?endpoint=http://a", "unknown or empty option 'endpoint' .* known: endpoint_url, region"),
        ("s3://bucket/x?region=", "unknown or empty option 'region'"),
        ("s3://bucket/x?region=a&region=b", "may be given once"),
        ("s3://bucket/x?endpoint_url=minio:9000", r"endpoint_url must be http\(s\)://HOST:PORT: got 'minio:9000'"),
        ("s3://bucket/x?endpoint_url=http://key:secret@minio", "endpoint_url must be"),
        ("s3://bucket/x?encryption=yes", "encryption must be one of AES256, aws:kms, .*: got 'yes'"),
        ("s3://bucket/x?kms_key=alias/a", "kms_key needs encryption=aws:kms"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused_before_any_request(uri: str, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        open_store(uri)


def test_a_bucket_that_is_not_there_is_named(s3: str) -> None:
    with pytest.raises(BadInput, match=r"cannot .* s3://no-such-bucket/x/.*: there is no such bucket; create it first"):
        open_store(f"s3://no-such-bucket/x?endpoint_url={s3}")


def test_an_endpoint_that_does_not_answer_is_named(s3: str) -> None:
    with pytest.raises(BadInput, match=r"must be reachable and writable: .*Could not connect .*http://127.0.0.1:9/"):
        open_store("s3://bucket/x?endpoint_url=http://127.0.0.1:9")


def test_missing_credentials_are_named(s3: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    with pytest.raises(BadInput, match="no credentials were found; set AWS_PROFILE or AWS_ACCESS_KEY_ID"):
        open_store(bucket_without_credentials := "s3://bucket/x?endpoint_url=" + s3)
    assert bucket_without_credentials


def test_a_profile_that_is_not_there_is_named(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(BadInput, match=r"profile \(nobody\) could not be found; look at AWS_PROFILE"):
        open_store("s3://bucket/x?endpoint_url=" + s3)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (("denied", 403, "AccessDenied"), "access is denied; what is needed is in clusters/aws/iam-policy.json"),
        (("key", 403, "InvalidAccessKeyId"), "the access key is not known there"),
        (("region", 400, "AuthorizationHeaderMalformed"), "the bucket is in another region; set it with .region="),
    ],
)
def test_a_refusal_is_told_with_its_reason_before_any_work(
    s3: str, monkeypatch: pytest.MonkeyPatch, fault: tuple[str, int, str], message: str
) -> None:
    from s3_server import refuse

    name, status, code = fault
    monkeypatch.setitem(FAULTS, name, refuse(status, code))
    with before(s3) as (address, faults):
        faults.choose = lambda request: name
        with pytest.raises(BadInput, match=message):
            open_store(bucket(s3, address))


def test_a_storage_that_overwrites_what_it_must_not_is_refused(s3: str) -> None:
    with before(s3) as (address, faults):
        faults.drop_headers = frozenset({"if-none-match"})
        with pytest.raises(BadInput, match=r"must refuse to write an object that exists .*use a newer version"):
            open_store(uri := bucket(s3, address))
        faults.drop_headers = frozenset()
        assert open_store(uri).keys("") == [], "the probe leaves nothing behind"


def test_more_keys_than_a_page_holds_are_all_listed(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(bucket(s3))
    assert isinstance(store, S3Store)
    for number in range(7):
        store.put(f"a/{number}", b"")
    plain = store._client.list_objects_v2
    monkeypatch.setattr(store._client, "list_objects_v2", lambda **asked: plain(**asked, MaxKeys=3))
    assert store.keys("a/") == [f"a/{number}" for number in range(7)]


def test_a_local_sweep_never_imports_boto3() -> None:
    script = "import sys, orchestrator.ledger.ledger as l; l.Ledger('.').read; assert 'boto3' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"\s*", done.stderr)


def test_a_server_that_the_environment_names_is_treated_as_one_of_the_setting(
    s3: str, broken: tuple[S3Store, Faults], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Servers other than AWS know neither bucket host names nor the checksums that boto3 adds unasked."""
    uri, _, address = broken[0].uri.partition("?endpoint_url=")
    headers: list[str] = []
    broken[1].choose = lambda request: headers.extend(name.lower() for name in request.headers)  # type: ignore[func-returns-value]
    monkeypatch.setenv("AWS_ENDPOINT_URL", address)
    store = S3Store(Place.parse(uri), QUICK)
    assert store.create("a", b"1")
    store.put("b", b"2")
    assert store.get("a") == b"1"
    assert headers
    assert not {name for name in headers if "checksum" in name}


@pytest.mark.parametrize(
    ("address", "aws"),
    [
        ("https://s3.eu-central-1.amazonaws.com", True),
        ("https://s3.cn-north-1.amazonaws.com.cn", True),
        ("https://bucket.vpce-1a-2b.s3.us-east-1.vpce.amazonaws.com", True),
        ("https://s3.dualstack.eu-west-1.api.aws", True),
        ("http://127.0.0.1:9000", False),
        ("https://amazonaws.com.example.org", False),
    ],
)
def test_aws_is_told_from_other_servers_by_its_address(address: str, aws: bool) -> None:
    assert of_aws(address) is aws
