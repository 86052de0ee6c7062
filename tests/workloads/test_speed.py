"""How a network is run changes what it computes by rounding at most, and what cannot be had is told."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from toys import TOYS
from workloads import speed
from workloads.encoders.small import conv_net
from workloads.encoders.tables import SmoothClip
from workloads.loop import Fit
from workloads.predictor import Predictor, Setup
from workloads.recipe import Recipe
from workloads.speed import NotFaster, repeat_exactly
from workloads.training import settle
from workloads.workload import Data, Table, Units

CPU = torch.device("cpu")


@pytest.fixture
def restored() -> Iterator[None]:
    """What holds for the process is put back."""
    yield
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = False, False


@pytest.mark.parametrize("exactly", [True, False])
def test_either_the_same_bits_or_the_fastest_algorithms(restored: None, exactly: bool) -> None:
    repeat_exactly(exactly)
    assert torch.are_deterministic_algorithms_enabled() == exactly
    assert torch.backends.cudnn.deterministic == exactly
    assert torch.backends.cudnn.benchmark != exactly
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"


def images(n: int, seed: int) -> Table:
    generator = torch.Generator().manual_seed(seed)
    y = (30 * torch.rand(n, generator=generator) ** 3).floor()
    return Table(torch.randn(n, 3, 8, 8, generator=generator) + y.view(-1, 1, 1, 1) / 10, y)


class Seen(nn.Module):
    """Remembers the layouts of what it is asked to encode."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.dim = conv_net([0.0] * 3, [1.0] * 3, (8, 16), (1, 2))
        self.layouts: set[bool] = set()

    def forward(self, x: Tensor) -> Tensor:
        self.layouts.add(x.is_contiguous(memory_format=torch.channels_last))
        z: Tensor = self.body(x)
        return z


def images_run(**settings: bool) -> tuple[Fit, Seen]:
    encoder: list[Seen] = []

    def make(data: Data) -> tuple[nn.Module, int]:
        encoder.append(Seen())
        return encoder[-1], encoder[-1].dim

    data = Data(images(60, 0), images(20, 1), images(20, 2), Units(8.0, 8.0), "images")
    toy, parsed = replace(TOYS["regression"], encoder=make), Recipe.parse("l1 + fds")
    named = {f"train.{name}": value for name, value in settings.items()}
    run = Fit(toy, data, parsed, settle(parsed, toy.settings, {"train.epochs": 3}, named), 0, CPU)
    return run, encoder[0]


def test_channels_last_is_the_layout_of_every_pass_and_changes_rounding_only() -> None:
    (plain, seen), (turned, seen_turned) = images_run(), images_run(channels_last=True)
    losses = [[epoch.loss for epoch in run] for run in (plain, turned)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
    assert (seen.layouts, seen_turned.layouts) == ({False}, {True})
    assert plain.model.state_dict().keys() == turned.model.state_dict().keys()


def test_a_table_has_no_channels_to_lay_out() -> None:
    toy, parsed = TOYS["regression"], Recipe("l1")
    with pytest.warns(NotFaster, match="inputs are 1-d"):
        Fit(toy, toy.load(None), parsed, settle(parsed, toy.settings, {"train.channels_last": True}), 0, CPU)


def test_half_precision_is_that_of_evaluation_and_of_statistics_too() -> None:
    run, _ = images_run()
    half, _ = images_run()
    half.hparams = replace(half.hparams, precision="bf16")
    assert run._features(0)()[0].dtype == torch.float32
    assert half._features(0)()[0].dtype == torch.bfloat16
    assert next(half._features(0).chunks(True))[1].dtype == torch.bfloat16
    assert half.outputs(half.data.val, "").pred.dtype == run.outputs(run.data.val, "").pred.dtype


def test_a_model_that_is_kept_predicts_in_the_precision_of_its_training() -> None:
    toy, parsed = TOYS["regression"], Recipe.parse("l1 + lds")
    data = toy.load(None)
    settings = settle(parsed, toy.settings, {"train.epochs": 2, "train.precision": "bf16"})
    run = Fit(toy, data, parsed, settings, 0, CPU)
    list(run)
    setup = Setup(str(parsed), settings, toy.grid, data.units, toy.bin_counts(data))
    found = Predictor(setup, toy.encoder(data), run.tensors()).predict(data.test.inputs(torch.arange(40), CPU))
    assert (found == run.predict(data.test)).all()


@pytest.mark.parametrize("own", [False, True])
def test_an_encoder_is_compiled_whether_its_class_is_ours_or_a_container_of_torch(
    monkeypatch: pytest.MonkeyPatch, own: bool
) -> None:
    graphs: list[torch.fx.GraphModule] = []

    def backend(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Callable[..., object]:
        graphs.append(graph)
        return graph.forward

    monkeypatch.setattr(speed, "_no_compiler", lambda device: "")
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    torch._dynamo.reset()
    encoder = SmoothClip() if own else nn.Sequential(nn.Linear(2, 4), nn.ReLU())
    x = torch.randn(3, 2)
    expected, names = encoder(x), list(encoder.state_dict())
    speed.compiled(encoder, CPU)
    assert torch.equal(encoder(x), expected) and len(graphs) == 1
    assert list(encoder.state_dict()) == names


@pytest.mark.slow
def test_a_compiled_run_differs_by_rounding_and_is_continued_with_the_same_names() -> None:
    (plain, _), (made, _) = images_run(), images_run(compile=True)
    assert [epoch.loss for epoch in made] == pytest.approx([epoch.loss for epoch in plain], rel=1e-3)
    assert plain.model.state_dict().keys() == made.model.state_dict().keys()


@pytest.mark.slow
def test_without_a_compiler_a_run_goes_on_and_says_so() -> None:
    script = """
import torch, warnings
from torch import nn
from workloads.speed import compiled
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    encoder = nn.Linear(2, 2)
    compiled(encoder, torch.device("cpu"))
    encoder(torch.zeros(1, 2))
print([str(w.message) for w in caught])
"""
    environment = {**os.environ, "CXX": "/nowhere/c++", "PATH": "/nowhere", "TORCHINDUCTOR_FORCE_DISABLE_CACHES": "1"}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=300, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert "train.compile needs a compiler, and was left out" in done.stdout
