"""Methods from outside, with those that docs/new-method.md shows."""

import re
import sys
import types
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest
import torch

from toys import TOYS
from workloads import plugins
from workloads.loop import Fit
from workloads.methods import METHODS
from workloads.methods.lds import LDS
from workloads.plugins import PluginError, load_plugins
from workloads.recipe import PARTS, Recipe
from workloads.seam import Method
from workloads.training import settle

DOCUMENT = Path(__file__).parents[2] / "docs" / "new-method.md"


@pytest.fixture(autouse=True)
def _registries():
    """Leave the registries as they were."""
    before = [(registry, dict(registry)) for registry in (METHODS, PARTS)]
    yield
    for registry, parts in before:
        registry.clear()
        registry.update(parts)


@pytest.fixture
def shown(tmp_path, monkeypatch):
    """The code of the document as modules on the Python path."""
    codes = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text("utf-8"), flags=re.DOTALL)
    for name, code in zip(("spread", "shift"), codes, strict=True):
        (tmp_path / f"{name}.py").write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    yield codes[0]
    for name in ("spread", "shift"):
        sys.modules.pop(name, None)


def module(monkeypatch, **contents):
    made = types.ModuleType("outside")
    vars(made).update(contents)
    monkeypatch.setitem(sys.modules, "outside", made)
    return "outside"


def test_the_documented_adjustment_leaves_held_out_rows_no_median_error(shown):
    load_plugins(["shift"])
    recipe, toy = Recipe.parse("l1 + shift"), TOYS["regression"]
    run = Fit(toy, toy.load(None), recipe, settle(recipe, toy.settings, {"train.epochs": 1}), 0, torch.device("cpu"))
    list(run)
    errors = run.labels(run.data.val) - run.predict(run.data.val)
    assert abs(np.median(errors)) < 0.3 * np.median(np.abs(errors))


def test_the_documented_method_is_short_and_trains(shown):
    assert len([line for line in shown.splitlines() if line.strip()]) < 40
    load_plugins(["spread"])
    load_plugins(["spread"])
    recipe = Recipe.parse("spread + l1 + lds")
    assert str(recipe) == "l1 + lds + spread"
    toy = TOYS["regression"]
    results = []
    for weight in (0.1, 10.0):
        settings = settle(recipe, toy.settings, {"train.epochs": 2, "spread.weight": weight})
        results.append([epoch.loss for epoch in Fit(toy, toy.load(None), recipe, settings, 0, torch.device("cpu"))])
    assert results[0] != results[1]


def test_entry_points_are_loaded_without_being_named(monkeypatch, shown):
    entry = EntryPoint("spread", "spread:Spread", plugins.GROUP)
    monkeypatch.setattr(plugins, "entry_points", lambda group: [entry] if group == "tailsweep.methods" else [])
    load_plugins()
    assert "spread" in METHODS and "spread" in PARTS


class Fine(Method):
    """Does nothing."""

    source = "made up"


class Sourceless(Method):
    """Does nothing."""


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        ({}, "needs METHODS"),
        ({"METHODS": {"fine": 3}}, "must be a subclass"),
        ({"METHODS": {"Fine one": Fine}}, "a word in lower case"),
        ({"METHODS": {"train": Fine}}, "other than 'train'"),
        ({"METHODS": {"lds": Fine}}, "the name 'lds' is taken by workloads.methods.lds"),
        ({"METHODS": {"fine": Sourceless}}, "must say its source"),
    ],
)
def test_a_plugin_that_breaks_the_rules_is_refused_with_the_way_out(monkeypatch, contents, message):
    with pytest.raises(PluginError, match=message):
        load_plugins([module(monkeypatch, **contents)])
    assert METHODS["lds"] is LDS


def test_a_plugin_that_is_not_there_is_named():
    with pytest.raises(PluginError, match=r"cannot import plugin 'no_such_module'.*beside the study file"):
        load_plugins(["no_such_module"])


PLAIN = """
from workloads.seam import Method
class Plain(Method):
    "Does nothing."
    source = "made up"
"""


@pytest.fixture
def study_folder(tmp_path):
    """A folder with a plugin of one file, one of several, and files of somebody else."""
    (tmp_path / "alone_here.py").write_text(PLAIN + "METHODS = {'alone': Plain}")
    for name in ("family_here", "family_here/inner", "empty_here"):
        (tmp_path / name).mkdir()
    (tmp_path / "family_here" / "__init__.py").write_text("from .parts import METHODS")
    (tmp_path / "family_here" / "parts.py").write_text(PLAIN + "METHODS = {'parts': Plain}")
    (tmp_path / "family_here" / "inner" / "child.py").write_text(PLAIN + "METHODS = {'child': Plain}")
    for name in ("scipy", "json", "helper_here"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit(0)")
    yield tmp_path
    for name in [name for name in sys.modules if "_here" in name]:
        del sys.modules[name]


def test_plugins_lie_beside_the_study_file_whose_folder_is_on_no_path(study_folder):
    path = [*sys.path]
    load_plugins(["alone_here", "family_here", "family_here.inner.child"], study_folder)
    load_plugins(["alone_here"], study_folder)
    assert {"alone", "parts", "child"} <= METHODS.keys()
    assert METHODS["alone"].__module__ == "alone_here"
    assert sys.path == path
    with pytest.raises(ImportError):
        import helper_here  # noqa: F401


@pytest.mark.parametrize("name", ["scipy", "json"])
def test_a_plugin_does_not_stand_in_for_an_installed_module(study_folder, name):
    before = __import__(name)
    with pytest.raises(PluginError, match=f"are both '{name}'; rename the plugin"):
        load_plugins([name], study_folder)
    assert sys.modules[name] is before


def test_a_copy_of_a_plugin_on_the_path_is_the_same_plugin(study_folder, tmp_path_factory, monkeypatch):
    sent = tmp_path_factory.mktemp("sent")
    (sent / "alone_here.py").write_bytes((study_folder / "alone_here.py").read_bytes())
    monkeypatch.syspath_prepend(sent)
    load_plugins(["alone_here"], study_folder)
    assert Path(sys.modules["alone_here"].__file__).parent == sent


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("raise SystemExit(0)", "SystemExit: 0"),
        ("raise RuntimeError('no licence')", "RuntimeError: no licence"),
        ("def broken(:", "SyntaxError"),
        ("import helper_here", "a plugin of several files is a package"),
        ("import no_such_library", "install what it imports"),
        ("METHODS = {3: 4}", "a method's name is a word: got 3"),
        (PLAIN + "METHODS = [Plain]", "a dict of names and Method classes"),
    ],
)
def test_a_plugin_that_fails_is_bad_input_and_nothing_else(study_folder, code, message):
    (study_folder / "broken_here.py").write_text(code)
    with pytest.raises(PluginError, match=message):
        load_plugins(["broken_here"], study_folder)
    with pytest.raises(PluginError, match=message):
        load_plugins(["broken_here"], study_folder)


@pytest.mark.parametrize("name", ["../x", ".x", "", "a b", "x/", "x.", "__main__", "empty_here"])
def test_a_plugin_is_the_name_of_a_module(study_folder, name):
    with pytest.raises(PluginError, match="plugin"):
        load_plugins([name], study_folder)
