"""What is told of an error is one line of bounded length, without passwords and control characters."""

import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.errors import masked, one_line, printable, shown


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("http://ann:hunter2@host:1/x", "http://***@host:1/x"),
        ("postgresql://u:hunter2/a@b@host/db", "postgresql://***@host/db"),
        ("https://hunter2@host", "https://***@host"),
        ("x?password=hunter2&a=1", "x?password=***&a=1"),
        ("MLFLOW_TRACKING_TOKEN=hunter2 is set", "MLFLOW_TRACKING_TOKEN=*** is set"),
        ("s3://bucket/a:b and http://host:5000/x", "s3://bucket/a:b and http://host:5000/x"),
        ("hub:microsoft/resnet-50@main", "hub:microsoft/resnet-50@main"),
    ],
)
def test_passwords_are_masked_and_nothing_else(text: str, told: str) -> None:
    assert masked(text) == told


@given(st.text(), st.integers(20, 300))
def test_a_message_is_one_line_of_bounded_length(text: str, chars: int) -> None:
    told = one_line(text, chars)
    assert len(told) <= chars
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028]", told)
    assert printable(told) == told


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=400),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_a_value_in_a_message_is_cut(value: object) -> None:
    assert len(shown(value)) <= 200


@pytest.mark.parametrize(
    "text",
    [
        "http://ann:hunter2@host:5000 is away",
        "http://hunter2@host",
        "postgresql://ann:hunter2@db/x: no driver",
        "postgresql+psycopg2://ann:hunter2@db",
        "s3://b/x?token=hunter2&region=eu",
        "password=hunter2; host=db",
        "AWS_SECRET_ACCESS_KEY=hunter2",
        "http://ann:hunter2@1.2.3.4 and http://bob:hunter2@host",
    ],
)
def test_no_password_is_told(text: str) -> None:
    assert "hunter2" not in masked(text)
    assert "hunter2" not in one_line(text * 300)


@pytest.mark.parametrize("text", ["x" * 5_000_000, "\x1b[2J" * 1_000_000, "a\n" * 1_000_000, "\u202e\ud800" * 10])
def test_a_message_of_any_size_and_content_is_one_short_line(text: str) -> None:
    line = one_line(text)
    assert len(line) <= 2000
    assert re.search(r"[\x00-\x1f\x7f-\x9f\u202e\ud800]", line) is None
