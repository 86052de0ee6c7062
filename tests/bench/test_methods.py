"""The benchmark compares like with like; nothing is timed here."""

import torch
from torch.testing import assert_close

from bench import costs, reference
from bench import methods as bench
from bench.methods import Measurement
from workloads import WORKLOADS
from workloads.labels import kernel_window
from workloads.methods import METHODS
from workloads.methods.distloss import label_quantiles
from workloads.methods.lds import lds_weights
from workloads.objectives import OBJECTIVES
from workloads.recipe import PARTS


def test_a_measurement_holds_if_every_bound_is_kept():
    assert Measurement("x", 1.0, "loops", 10.0, at_least_ratio=10.0, at_most_share=0.1).holds
    assert not Measurement("x", 1.0, "loops", 10.0, at_least_ratio=10.0, at_most_share=0.05).holds
    assert not Measurement("x", 1.0, "loops", 7.0, at_least_ratio=8.0).holds
    assert "hold ≤ 2.0% of it: NO" in str(Measurement("x", 1.0, "the step", 10.0, at_most_share=0.02))


def test_the_fast_step_and_the_loops_have_the_same_loss_and_gradient():
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(1.0, 61.0).repeat(3)  # the first 40 are distinct: the draw of one per label has no choice
    z = torch.randn(40, 12, generator=generator, requires_grad=True)
    model = bench.model_of(bench.FULL, torch.nn.Identity(), 12, labels, {"fds.variant": "official"})
    loop = reference.OfficialFDS(0, 120, 12, kernel_window("gaussian", 5, 2.0, "sum").tolist(), dtype=torch.float32)
    for epoch in range(2):
        loop.end_epoch(bench.seen_features(len(labels), 12), labels, epoch)
    given = bench.batch_of(z, labels)
    ours = model.loss(given)
    (grad,) = torch.autograd.grad(ours, z)

    h = loop.smooth(z, given.y, 2)
    loop_pred = model.output(h)[:, 0]
    weights = lds_weights(labels, bench.AGES, "sqrt_inv", "gaussian")[:40]
    pseudo = label_quantiles(labels, 40, 0.5, 0.0, 121.0).tolist()
    loops = (
        ((loop_pred - given.y).abs() * weights).mean()
        + 100.0 * reference.ranksim_loss(z, given.y, 2.0)
        + reference.dist_loss(loop_pred, pseudo, lambda target, value: (value - target).abs())
    )
    (loop_grad,) = torch.autograd.grad(loops, z)
    assert_close(ours, loops, rtol=1e-5, atol=0)
    assert_close(grad, loop_grad, rtol=1e-3, atol=1e-4)


def test_every_objective_and_method_has_a_row_of_its_costs_on_a_workload_of_its_task():
    timed = {part: task for task, recipe in costs.recipes() for part in recipe.parts}
    assert {*OBJECTIVES, *METHODS} <= {*timed, *(base for _, base in costs.BASES.values())}
    assert all(task in PARTS[part].tasks for part, task in timed.items())
    assert all(WORKLOADS[name].task == task for task, (name, _) in costs.BASES.items())
