"""What `tailsweep data advise` prints and draws, and that what it prints is a study's."""

import yaml

from builders import cell, study
from orchestrator.cli.main import main
from orchestrator.study.cells import expand


def test_the_advice_has_its_reasons_and_a_picture_and_its_yaml_is_the_first_trial(tmp_path, capsys):
    picture = tmp_path / "a.svg"
    assert main(["data", "advise", "nhanes-sbp", "--out", str(picture)]) == 0
    said = capsys.readouterr().out
    assert b"<svg" in picture.read_bytes()
    for part in (
        "bin width 2 mmHg",
        "Freedman & Diaconis 1981",
        "Duin 1976",
        "shots: many > 100",
        "Ribeiro & Moniz 2020",
    ):
        assert part in said
    pasted = yaml.safe_load(said[said.index("# Into the study") :])
    made = cell("l1 + lds", **pasted)
    assert {axis.name: axis.first for axis in made.axes if axis.name in pasted["first"]} == pasted["first"]
    assert {axis.name for axis in made.axes} == {axis.name for axis in cell("l1 + lds").axes}


def test_a_first_setting_that_is_not_searched_is_that_of_the_first_trial_alone():
    made = cell("l1 + lds", first={"lds.scheme": "inverse"})
    assert made.published == {"lds.scheme": "inverse"} and "lds.scheme" not in made.fixed
    l1, lds = expand(study(first={"lds.scheme": "inverse"}))
    assert (l1.published, lds.published) == ({}, {"lds.scheme": "inverse"})


def test_without_first_settings_a_study_is_what_it_was():
    assert expand(study()) == expand(study(first={}))


def test_what_cannot_be_first_is_bad_input(tmp_path, capsys):
    for key, word in (
        ("lds.widht", "did you mean 'width'"),
        ("lds.width", "must be 3 plus a multiple of 2: got 4"),
        ("fds.width", "first names parts of its recipes"),
        ("train.epochs", "epochs are those of all"),
    ):
        assert (
            main(
                [
                    "plan",
                    "quickstart",
                    "--set",
                    "recipes={also: [l1 + lds]}",
                    "--set",
                    f"first={{{key}: 4}}",
                    "--set",
                    "space={}",
                ]
            )
            == 2
        )
        assert word in capsys.readouterr().err


def test_where_there_is_no_advice_it_is_said(tmp_path, capsys):
    for name, out, word in (
        ("digits-lt", "a.png", "has classes, which have no order"),
        ("stereo-depth", "a.png", "has maps of labels"),
        ("nhanes-sbp", "a.gif", "a file of .png, .svg, .pdf"),
        ("nhanes-sbp", "file/a.png", "choose another place by --out"),
    ):
        (tmp_path / "file").write_text("")
        assert main(["data", "advise", name, "--out", str(tmp_path / out)]) == 2
        assert word in capsys.readouterr().err
