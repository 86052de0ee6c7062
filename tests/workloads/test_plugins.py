"""Methods from outside, with the one that docs/new-method.md shows."""

import re
import sys
import types
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import torch

from toys import TOYS
from workloads import plugins
from workloads.loop import Fit, settle
from workloads.methods import METHODS
from workloads.methods.lds import LDS
from workloads.plugins import PluginError, load_plugins
from workloads.recipe import PARTS, Recipe
from workloads.seam import Method

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
    """The code of the document as a module on the Python path."""
    (code,) = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text("utf-8"), flags=re.DOTALL)
    (tmp_path / "spread.py").write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    yield code
    sys.modules.pop("spread", None)


def module(monkeypatch, **contents):
    made = types.ModuleType("outside")
    vars(made).update(contents)
    monkeypatch.setitem(sys.modules, "outside", made)
    return "outside"


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
    with pytest.raises(PluginError, match="cannot import plugin 'no_such_module'"):
        load_plugins(["no_such_module"])
