from pathlib import Path

import pytest

from clusters.profile import profile, profiles
from clusters.submission import targets
from orchestrator.errors import BadInput
from orchestrator.study.spec import Study


@pytest.mark.parametrize("name", profiles())
def test_a_shipped_profile_is_complete_enough_to_be_read_and_names_a_target(name: str) -> None:
    assert profile(name).target in targets()


def test_a_profile_extends_another_key_by_key(tmp_path: Path) -> None:
    base, own = tmp_path / "base.yaml", tmp_path / "own.yaml"
    base.write_text("shards: 4\nenvironment: {A: one, B: two}\nstudy: {resources: {cpus: 2}}\n")
    own.write_text(f"extends: {base}\nenvironment: {{B: three}}\n")
    read = profile(str(own), ["study.resources.gpus=0.5"])
    assert (read.name, read.shards) == ("own", 4)
    assert read.environment == {"A": "one", "B": "three"}
    assert read.study == {"resources": {"cpus": 2, "gpus": 0.5}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("shard: 4", "unknown key 'shard' .*did you mean 'shards'"),
        ("shards: 0", "shards: Input should be greater than or equal to 1: got 0"),
        ("shards: [", "must be YAML"),
        ("- a", "must hold a mapping"),
        ("extends: nowhere", "unknown cluster profile 'nowhere'"),
        ("extends: {self}", "not itself"),
    ],
)
def test_a_bad_profile_is_told_in_one_message(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text.replace("{self}", str(path)))
    with pytest.raises(ValueError, match=message):
        profile(str(path))


def test_a_profile_sets_where_a_study_runs_and_not_what_it_is(tmp_path: Path) -> None:
    text = "study: tiny\nworkloads: [nhanes-sbp]\nrecipes: {also: [l1]}\nresources: {cpus: 2}\nstorage: here\n"
    place = {"resources": {"gpus": 0.5}, "storage": "there"}
    read = Study.read(text, "text", ["resources.cpus=3"], {"TAILSWEEP_STORAGE": "env"}, place)
    assert (read.resources.cpus, read.resources.gpus, read.storage) == (3, 0.5, "env")
    with pytest.raises(BadInput, match=r"a cluster profile sets .*storage.*: got 'recipes'"):
        Study.read(text, "text", (), {}, {"recipes": {"also": ["l1 + lds"]}})


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("name: ../../x", "name"),
        ("name: a/b", "name"),
        ("name: ''", "name"),
        ("environment: {A B: x}", "environment"),
        ("environment: {'A;id': x}", "environment"),
        ("secrets: {1A: 'env:B'}", "secrets"),
        ("secrets: {A: 'env:B}; id'}", "secrets.A"),
        ('secrets: {A: "file:/x\\nid"}', "secrets.A"),
        ('image: "a\\nb"', "image"),
        ('address: "a:1\\nb"', "address"),
    ],
)
def test_what_goes_into_scripts_and_keys_is_checked_by_pattern(text: str, where: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=rf"^profile \S+: {where}"):
        profile(str(path))


@pytest.mark.parametrize("option", ["partition", "account", "qos", "gres", "mem", "python", "folder", "time"])
def test_no_directive_of_a_batch_script_has_a_second_line(option: str) -> None:
    from clusters.slurm.scripts import SlurmOptions
    from clusters.submission import options

    with pytest.raises(BadInput, match=rf"options\.{option}"):
        options(SlurmOptions, profile("slurm", [f'options.{option}="gpu\\nid"']))
    with pytest.raises(BadInput, match=r"options\.sbatch\.0"):
        options(SlurmOptions, profile("slurm", ['options.sbatch=["--x\\nid"]']))


def test_a_secret_of_this_machine_is_a_variable() -> None:
    from builders import study
    from clusters.submission import Submission, target

    with pytest.raises(BadInput, match="env:VARIABLE on this machine: got 'B}; id'"):
        target(Submission(study(), profile("local", ["secrets.A='B}; id'"]), "/results", 2), {})
