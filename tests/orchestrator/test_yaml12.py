"""The one reader of YAML, against the core schema of YAML 1.2, and what it refuses."""

import math
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clusters.profile import profile
from orchestrator import yaml12
from orchestrator.errors import BadInput
from orchestrator.study.spec import Study

STUDY = "study: tiny\nworkloads: [nhanes-sbp]\nrecipes: {also: [l1]}\n"
BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{'abcdefghijk'[n]}: &{'abcdefghijk'[n]} [{', '.join(['*' + 'abcdefghijk'[n - 1]] * 9)}]\n" for n in range(1, 10)
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("1E3", 1000.0),
        ("-.5", -0.5),
        ("5.", 5.0),
        ("+7", 7),
        ("010", 10),
        ("0o17", 15),
        ("0xff", 255),
        ("-.inf", -math.inf),
        ("yes", "yes"),
        ("off", "off"),
        ("True", True),
        ("~", None),
        ("", None),
        ("24:00:00", "24:00:00"),
        ("2001-12-14", "2001-12-14"),
        ("2001-99-99", "2001-99-99"),
        ("1_000", "1_000"),
        ("'1e-3'", "1e-3"),
        ("!!str 1", "1"),
        ("!!float 1", 1.0),
        ("{<<: {a: 1, b: 1}, a: 2}", {"a": 2, "b": 1}),
        ("{a: &x [1], b: *x}", {"a": [1], "b": [1]}),
    ],
)
def test_plain_values_are_those_of_the_core_schema(text: str, value: object) -> None:
    found = yaml12.load(text, "text")
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{trials: 1, trials: 3}", "the key 'trials' stands twice, in line 1 and in line 1"),
        ("a: 1\nb: 2\na: 3\n", "the key 'a' stands twice, in line 1 and in line 3"),
        ("x: {y: {z: 1, 'z': 2}}", "the key 'z' stands twice"),
        (BOMB, "at most 20,000 values"),
        ("[" * 3000, "at most 50 levels"),
        ("9" * 5000, "at most 40 digits: got 5000"),
        ('!!int "abc"', "'abc' in line 1 is no int"),
        ('!!float "x"', "'x' in line 1 is no float"),
        ('!!timestamp "x"', "must be YAML of plain values: got the type"),
        ("!!python/object/apply:os.system ['true']", "must be YAML of plain values"),
        ("{[a]: 1}", "a key must be a word"),
        ("*nothing", "stands for nothing"),
        ("&a [*a]", "stands for nothing"),
        ("a: 1\n---\nb: 2\n", "must be one document"),
        ("[", "must be YAML"),
        ("a: b: c", "must be YAML"),
        ("\x07", "must be YAML"),
        ("x" * (yaml12.CHARS + 1), "at most 1,048,576 characters"),
    ],
    ids=lambda text: text[:20],
)
def test_what_is_misread_or_without_end_is_refused_in_one_short_message(text: str, message: str) -> None:
    began = time.monotonic()
    with pytest.raises(ValueError, match=message) as told:
        yaml12.load(text, "text")
    assert "\n" not in str(told.value)
    assert len(str(told.value)) < 600
    assert time.monotonic() - began < 5


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(max_size=60), st.text("[]{}:,-*&!|>'\"#%@ \n\tab1.0e~<", max_size=60)))
def test_any_text_is_a_value_or_one_message(text: str) -> None:
    try:
        yaml12.load(text, "text")
    except ValueError as err:
        assert str(err).startswith("text")
        assert "\n" not in str(err)


def test_what_two_places_share_by_an_alias_does_not_change_together() -> None:
    tree = yaml12.load("{a: &x {k: 1}, b: *x}", "text")
    tree["a"]["k"] = 2
    assert tree["b"] == {"k": 1}


@pytest.mark.parametrize(
    "text", ["tune.trials={a: 1, a: 2}", "tune.trials=[", "tune.trials=!!int x", f"data={'[' * 99}"]
)
def test_set_is_read_by_the_same_laws_as_a_file(text: str) -> None:
    with pytest.raises(BadInput, match=r"^--set "):
        Study.read(STUDY, "text", [text], {})


def test_an_environment_variable_is_read_by_the_same_laws_as_a_file() -> None:
    made = Study.read(STUDY, "text", (), {"TAILSWEEP_TRAIN__LR": "1e-3", "TAILSWEEP_STORAGE": "a: b #1"})
    assert (made.train["lr"], made.storage) == (0.001, "a: b #1")
    with pytest.raises(BadInput, match=r"^TAILSWEEP_RESOURCES__CPUS"):
        Study.read(STUDY, "text", (), {"TAILSWEEP_RESOURCES__CPUS": '!!float "x"'})


def test_a_profile_and_what_overrides_it_are_read_by_the_same_laws_as_a_study(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("shards: 2\nshards: 3\n")
    with pytest.raises(ValueError, match="the key 'shards' stands twice, in line 1 and in line 2"):
        profile(str(path))
    with pytest.raises(ValueError, match=r"--cluster-set 'start\.num_cpus'"):
        profile("local", ["start.num_cpus=["])
    assert profile("local", ["start.object_store_memory=1e9"]).start["object_store_memory"] == 1e9


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.lr=.nan", r"text: train\.lr must be a finite number: got nan$"),
        ("train.lr=[1, 2]", r"text: train\.lr takes one value: got \[1, 2\]"),
        ("train={nhanes-sbp: {lr: .inf}}", r"train\.nhanes-sbp\.lr must be a finite number: got inf"),
        ("space.train.lr={low: .nan, high: 1}", r"space\.train\.lr\.low must be a finite number: got nan"),
        ("space.train.lr={low: a, high: 1}", r"space\.train\.lr\.low must be a number: got 'a'"),
        ("space.train.lr={low: 1}", r"space\.train\.lr must have low and high: got \{'low': 1\}"),
        ("space.train.lr={low: 1, hihg: 2}", r"unknown key 'hihg' in space\.train\.lr; .*did you mean 'high'"),
        ("space.lds.width=[1, {a: 2}]", r"space\.lds\.width\.1 must be a number, a word, or true or false: got"),
        ("space=3", "space must be a mapping"),
    ],
)
def test_a_key_of_several_kinds_is_told_by_its_key_and_value(override: str, message: str) -> None:
    with pytest.raises(BadInput, match=message) as told:
        Study.read(STUDY, "text", [override], {})
    assert not any(branch in str(told.value) for branch in ("Interval", "valid boolean", ".bool", ".int", ".float"))
