"""Batches in pieces: the same loss and gradient, unless a part must see the batch whole."""

import pytest
import torch
from torch import nn

from toys import DENSE, TOYS
from workloads.features import Encoded
from workloads.loop import Fit
from workloads.memory import WholeBatch, in_pieces, out_of_memory
from workloads.methods import METHODS
from workloads.model import Model
from workloads.objectives import OBJECTIVES
from workloads.recipe import PARTS, Recipe
from workloads.seam import Adjustment, Batch
from workloads.training import settle
from workloads.workload import Workload

CPU = torch.device("cpu")
ACTING = [
    *(name for name, objective in OBJECTIVES.items() if objective.trainer == "network"),
    *(name for name, method in METHODS.items() if not issubclass(method, Adjustment)),
]
SETTINGS = {
    "bmse": [{}, {"bmse.variant": "gai"}],
    "arb": [{}, {"arb.counts": "batch"}],
    "ot": [{}, {"ot.solver": "closed"}],
    "fds": [{}, {"fds.variant": "official"}, {"fds.variant": "official", "fds.first_bin": 3}],
}
CASES = [(name, settings) for name in ACTING for settings in SETTINGS.get(name, [{}])]


def model_and_batch(workload: Workload, recipe: Recipe, settings: dict[str, object]) -> tuple[Model, Batch]:
    """A model without BatchNorm or dropout, after a step of statistics, and a batch of 25."""
    data, rows = workload.load(None), torch.arange(25)
    x, y = data.train.inputs(rows, CPU), data.train.y[rows]
    torch.manual_seed(0)
    model = Model(nn.Linear(x.shape[1], 6), 6, recipe, settings, data.units)  # type: ignore[arg-type]
    model.fit(workload.train_labels(data, 6, 25))
    model.seed(dict.fromkeys(("objective", "plan", *recipe.methods), 0), CPU)
    everything = model.encoder(data.train.inputs(torch.arange(len(data.train.y)), CPU)).detach()
    whole = torch.arange(len(everything)), everything
    for epoch in range(3):  # past every warm-up
        model.end_epoch(epoch, 0, Encoded(data.train.y, lambda train_mode: iter([whole])))
    return model, Batch(x, y, torch.from_numpy(workload.grid.bin(y.numpy())), rows, 3, 0, 0.5)


def gradient(model: Model, batch: Batch, count: int) -> tuple[float, torch.Tensor]:
    losses = [share * model.loss(piece) for share, piece in in_pieces(batch, count)]
    for loss in losses:
        loss.backward()
    return float(torch.stack(losses).detach().sum()), torch.cat(
        [p.grad.flatten() for p in model.parameters() if p.grad is not None]
    )


@pytest.mark.parametrize(("part", "settings"), CASES)
def test_pieces_give_the_loss_and_gradient_of_the_batch_or_the_part_says_that_it_must_see_it_whole(
    part: str, settings: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Noise is another in every draw, whole or in pieces: here it is none.
    monkeypatch.setattr(torch, "randn", lambda *size, generator=None, **like: torch.zeros(*size, **like))
    recipe = (
        Recipe(part) if part in OBJECTIVES else Recipe("l1" if "regression" in PARTS[part].tasks else "arb", (part,))
    )
    task = next(task for task in TOYS if all(task in PARTS[name].tasks for name in recipe.parts))
    (whole, batch), (pieces, _) = (model_and_batch(TOYS[task], recipe, settings) for _ in range(2))
    (loss, expected), (summed, found) = gradient(whole, batch, 1), gradient(pieces, batch, 3)
    same = abs(loss - summed) < 1e-5 * abs(loss) and torch.allclose(expected, found, rtol=1e-4, atol=1e-5)
    assert same != (part in whole.whole_batches)


@pytest.mark.parametrize(("rows", "sizes"), [(2, [2]), (3, [3]), (4, [2, 2]), (7, [4, 3])])
def test_a_piece_has_two_rows_at_least(rows: int, sizes: list[int]) -> None:
    y = torch.arange(rows) * 1.0
    pieces = list(in_pieces(Batch(y.unsqueeze(1), y, y.long(), y.long(), 0, 0), 2))
    assert [len(piece.y) for _, piece in pieces] == sizes
    assert torch.equal(torch.cat([piece.x for _, piece in pieces]).flatten(), y)
    assert sum(float(share) for share, _ in pieces) == pytest.approx(1.0)


def test_the_pieces_of_maps_count_by_their_labelled_pixels() -> None:
    toy = DENSE["regression"]
    data = toy.load(None)
    rows = torch.arange(7)
    y = data.train.maps(rows, CPU)  # type: ignore[attr-defined]
    y[:3, :, 2:] = torch.nan
    batch = Batch(y.unsqueeze(1), y, torch.zeros_like(y).long(), rows, 0, 0)
    whole = y[~y.isnan()].mean()
    found = sum(share * piece.y[~piece.y.isnan()].mean() for share, piece in in_pieces(batch, 3))
    assert torch.isclose(torch.as_tensor(found), whole)


def run_of(recipe: str, pieces: int, **settings: object) -> Fit:
    toy, parsed = TOYS["regression"], Recipe.parse(recipe)
    complete = settle(parsed, toy.settings, {"train.epochs": 3, **settings})  # type: ignore[arg-type]
    return Fit(toy, toy.load(None), parsed, complete, 0, CPU, pieces)


def test_a_run_in_pieces_goes_on_in_pieces() -> None:
    whole = run_of("l1 + lds + fds", 2)
    losses = [epoch.loss for epoch in whole]
    first = run_of("l1 + lds + fds", 2)
    next(iter(first))
    saved = first.state_dict()
    continued = run_of("l1 + lds + fds", 1)
    continued.load_state_dict(saved)
    assert [*[e.loss for e in first.curve], *[e.loss for e in continued]] == losses
    assert "2 pieces, whose gradients were added; BatchNorm took" in continued.notes[0]
    assert not run_of("l1", 1).notes


def test_a_part_that_must_see_the_batch_whole_is_named() -> None:
    with pytest.raises(WholeBatch, match=r"bmse and ranksim must see it whole.* lower train\.batch_size"):
        run_of("bmse + ranksim + lds", 2)


@pytest.mark.parametrize(
    ("error", "known"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (MemoryError(), True),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:127] . DefaultCPUAllocator: can't allocate memory"), True),
        (RuntimeError("shapes cannot be multiplied"), False),
        (ValueError("DefaultCPUAllocator"), False),
    ],
)
def test_memory_that_does_not_suffice_is_known_by_its_error(error: Exception, known: bool) -> None:
    assert out_of_memory(error) == known


def test_the_allocator_of_the_host_raises_what_is_known() -> None:
    with pytest.raises(RuntimeError) as raised:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert out_of_memory(raised.value)
