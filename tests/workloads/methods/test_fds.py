"""Feature distribution smoothing against the loops."""

import pytest
import torch
from torch.testing import assert_close

from bench import reference
from published import agedb, stsb
from workloads.features import Encoded
from workloads.labels import LabelGrid, kernel_window
from workloads.methods.fds import FDS, bucket_statistics, calibrate
from workloads.seam import Batch, TrainLabels

DIM = 6


def make(grid, labels, dim=DIM, **hparams):
    fds = FDS(FDS.Hparams.of(hparams, "fds")).double()
    fds.fit(TrainLabels(labels, grid, dim, 64))
    return fds.double()


def batch(grid, y, epoch):
    return Batch(y, y, torch.from_numpy(grid.bin(y.numpy())), torch.arange(len(y)), epoch, 0)


def features(labels, generator, dim=DIM):
    """Features that depend on the label, one column of which is dead."""
    z = labels.double()[:, None] / 20 + torch.randn(len(labels), dim, generator=generator, dtype=torch.float64)
    z[:, 0] = 0.0
    return z


def trace(fds, known, grid, labels, by_bin, epochs=5, dim=DIM):
    """Drive both epoch by epoch; what a training step sees must agree in each. Returns in which it was moved."""
    generator = torch.Generator().manual_seed(0)
    places = torch.from_numpy(grid.bin(labels.numpy())) if by_bin else labels
    moved = []
    for epoch in range(epochs):
        rows = torch.randint(0, len(labels), (48,), generator=generator)
        z = features(labels[rows], generator, dim)
        ours = fds.calibrate(z, batch(grid, labels[rows], epoch))
        assert_close(ours, known.smooth(z, places[rows], epoch), rtol=1e-5, atol=1e-5)
        moved.append(not torch.equal(ours, z))
        everything = features(labels, generator, dim)
        fds.update(epoch, everything, labels)
        known.end_epoch(everything, places, epoch)
    return moved


def ages():
    return agedb("train")[::7], LabelGrid(0, 121, 121)


def random_ages():
    generator = torch.Generator().manual_seed(3)
    return (torch.randn(400, generator=generator) * 18 + 45).round().clamp(0, 120), LabelGrid(0, 121, 121)


@pytest.mark.parametrize("labels_of", [ages, random_ages])
@pytest.mark.parametrize("average", ["running", "cumulative"])
@pytest.mark.parametrize("kernel", ["gaussian", "laplace"])
def test_official_equals_the_loops_and_first_smooths_in_epoch_2(labels_of, average, kernel):
    labels, grid = labels_of()
    fds = make(grid, labels, variant="official", average=average, kernel=kernel, first_bin=3, last_bin=99)
    window = kernel_window(kernel, 5, 2.0, "sum").tolist()
    known = reference.OfficialFDS(3, 99, DIM, window, 0.9 if average == "running" else None)
    assert trace(fds, known, grid, labels, by_bin=False) == [False, False, True, True, True]


def test_official_equals_the_loops_on_scores():
    labels, grid = stsb("train")[::10], LabelGrid(0, 5, 50)
    fds = make(grid, labels, variant="official", empty="neighbours", clip_low=0.5, clip_high=2.0)
    window = kernel_window("gaussian", 5, 2.0, "sum").tolist()
    known = reference.OfficialFDS(0, 49, DIM, window, clip=(0.5, 2.0), fill=True)
    assert trace(fds, known, grid, labels, by_bin=True) == [False, False, True, True, True]


def test_official_equals_the_loops_with_empty_bins_filled_from_neighbours():
    labels, grid = random_ages()
    labels = labels.clamp(30, 60)
    fds = make(grid, labels, variant="official", empty="neighbours")
    known = reference.OfficialFDS(0, 120, DIM, kernel_window("gaussian", 5, 2.0, "sum").tolist(), fill=True)
    assert trace(fds, known, grid, labels, by_bin=False)[2:] == [True, True, True]


def test_officially_neighbouring_empty_bins_are_filled_one_after_another():
    """Recorded of the authors' code: the second empty bucket sees what the first was filled with."""
    labels, grid = torch.tensor([0.0, 0.0, 3.0, 3.0]), LabelGrid(0, 4, 4)
    known = reference.OfficialFDS(0, 3, 1, [1.0], fill=True)
    z = torch.tensor([1.0, 1.0, 11.0, 11.0], dtype=torch.float64)[:, None]
    known.end_epoch(z, labels, 0)
    fds = make(grid, labels, 1, variant="official", empty="neighbours")
    fds.update(0, z, labels)
    assert fds.mean.flatten().tolist() == known.running_mean.flatten().tolist() == [1.0, 0.5, 5.75, 11.0]


def test_officially_a_bin_that_this_pass_lacks_is_filled_though_it_was_seen_before():
    generator = torch.Generator().manual_seed(0)
    grid = LabelGrid(0, 12, 12)
    fds = make(grid, torch.arange(12.0), variant="official", empty="neighbours")
    known = reference.OfficialFDS(0, 11, DIM, kernel_window("gaussian", 5, 2.0, "sum").tolist(), fill=True)
    # The first epoch has every bin; later ones lack the first, the last, or neighbouring ones in between.
    for epoch, held in enumerate((range(12), (0, 1, 2, 6, 7), (3, 4, 9, 11), (5,))):
        labels = torch.tensor(sorted([*held] * 4), dtype=torch.float32)
        z = features(labels, generator)
        fds.update(epoch, z, labels)
        known.end_epoch(z, labels, epoch)
        assert_close((fds.mean, fds.var), (known.running_mean, known.running_var))


def test_officially_the_values_of_one_single_bin_stay():
    labels, grid = torch.zeros(3), LabelGrid(0, 2, 2)
    fds = make(grid, labels, variant="official", empty="neighbours", first_bin=1)
    fds.update(0, torch.ones(3, DIM, dtype=torch.float64), labels)  # bin 0 lies beyond the buckets: none is present
    assert (fds.mean.unique().tolist(), fds.var.unique().tolist()) == ([0.0], [1.0])


def test_only_the_options_whose_numbers_changed_have_a_new_version():
    versions = {
        text: FDS.version_of(FDS.Hparams.of(dict(pair.split("=") for pair in text.split()), "fds"))
        for text in ("variant=paper", "variant=official", "variant=official statistics=streaming")
    }
    assert list(versions.values()) == [1, 2, 1]


@pytest.mark.parametrize("average", ["running", "cumulative"])
@pytest.mark.parametrize("data", ["ages", "scores"])
def test_paper_equals_the_loops_and_smooths_from_epoch_1(average, data):
    labels, grid = random_ages() if data == "ages" else (stsb("train")[::10], LabelGrid(0, 5, 50))
    fds = make(grid, labels, average=average, clip_low=0.5, clip_high=2.0)
    window = kernel_window("gaussian", 5, 2.0, "sum").tolist()
    known = reference.PaperFDS(grid.bins, DIM, window, 0.9 if average == "running" else None, (0.5, 2.0))
    assert trace(fds, known, grid, labels, by_bin=True) == [False, True, True, True, True]


@pytest.mark.parametrize("shape", [(30, 1, 3, 4), (200, 33, 15, 12), (90, 2, 5, 1), (400, 9, 9, 60)], ids=str)
@pytest.mark.parametrize("variant", ["paper", "official"])
@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_any_shape_equals_the_loops(shape, variant, momentum):
    n, dim, width, buckets = shape
    generator = torch.Generator().manual_seed(n)
    labels = (buckets * torch.rand(n, generator=generator) ** 2).floor()
    grid = LabelGrid(0, buckets, buckets)
    fds = make(grid, labels, dim, variant=variant, width=width, momentum=momentum, kernel="triang")
    window = kernel_window("triang", width, 1.0, "sum").tolist()
    known = (
        reference.PaperFDS(buckets, dim, window, momentum)
        if variant == "paper"
        else reference.OfficialFDS(0, buckets - 1, dim, window, momentum)
    )
    trace(fds, known, grid, labels, by_bin=True, dim=dim)


@pytest.mark.parametrize("variant", ["paper", "official"])
def test_streamed_statistics_equal_those_of_a_pass_over_the_same_features(variant):
    labels, grid = random_ages()
    generator = torch.Generator().manual_seed(1)
    streamed = make(grid, labels, variant=variant, statistics="streaming", first_bin=3, last_bin=99)
    passed = make(grid, labels, variant=variant, first_bin=3, last_bin=99)
    for epoch in range(4):
        z = features(labels, generator) + 1000.0
        streamed.calibrate(z, batch(grid, labels, epoch))
        streamed.end_epoch(epoch, Encoded(labels, lambda train_mode: pytest.fail("a stream needs no pass")))
        passed.end_epoch(epoch, Encoded(labels, lambda train_mode, z=z: iter([(torch.arange(len(z)), z)])))
    assert_close(streamed.scale, passed.scale)
    assert_close(streamed.shift, passed.shift, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(("variant", "mode"), [("paper", False), ("official", True)])
def test_the_pass_over_the_data_is_in_the_mode_of_the_variant(variant, mode):
    labels, grid = random_ages()
    asked = []

    def pass_over(train_mode):
        asked.append(train_mode)
        yield torch.arange(len(labels)), torch.zeros(len(labels), DIM)

    make(grid, labels, variant=variant).end_epoch(0, Encoded(labels, pass_over))
    assert asked == [mode]


def test_dense_features_are_moved_pixel_by_pixel():
    labels, grid = random_ages()
    generator = torch.Generator().manual_seed(1)
    fds = make(grid, labels)
    fds.update(0, features(labels, generator), labels)
    y = labels[:12].reshape(3, 2, 2)
    z = torch.randn(3, DIM, 2, 2, generator=generator, dtype=torch.float64)
    bins = torch.from_numpy(grid.bin(y.numpy()))
    dense = fds.calibrate(z, Batch(y, y, bins, torch.arange(3), 1, 0))
    flat = fds.calibrate(z.movedim(1, -1).reshape(-1, DIM), batch(grid, y.flatten(), 1))
    assert_close(dense.movedim(1, -1).reshape(-1, DIM), flat)


def test_the_step_equals_calibrate_with_the_bucket_of_each_row():
    labels, grid = random_ages()
    generator = torch.Generator().manual_seed(1)
    fds = make(grid, labels)
    fds.update(0, features(labels, generator), labels)
    fds.update(1, features(labels, generator) * 2, labels)
    y = labels[:30]
    z, bins = features(y, generator), torch.from_numpy(grid.bin(y.numpy()))
    smoothed_mean = fds.shift + fds.mean * fds.scale
    several = fds.var[bins].sum(1) > 0
    ours = fds.calibrate(z, batch(grid, y, 2))[several]
    smoothed_var = (fds.var * fds.scale.square())[bins]
    assert_close(ours, calibrate(z, fds.mean[bins], fds.var[bins], smoothed_mean[bins], smoothed_var)[several])


@pytest.mark.parametrize("clip", [(0.1, 10.0), (0.5, 2.0), (0.2, 5.0)])
def test_calibrate_equals_the_loops_and_clips_the_ratio_of_variances(clip):
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(9, 4, generator=generator, dtype=torch.float64)
    mean, smoothed_mean = torch.randn(2, 4, generator=generator, dtype=torch.float64)
    var = torch.tensor([1e-3, 1.0, 50.0, 0.0], dtype=torch.float64)
    smoothed_var = torch.tensor([1.0, 1.3, 1.0, 1.0], dtype=torch.float64)
    ours = calibrate(x, mean, var, smoothed_mean, smoothed_var, clip)
    assert_close(ours, reference.calibrate(x, mean, var, smoothed_mean, smoothed_var, clip), rtol=1e-12, atol=1e-12)
    slopes = (ours[1] - ours[0]) / (x[1] - x[0])
    assert_close(slopes.square(), torch.tensor([clip[1], 1.3, clip[0], 1.0], dtype=torch.float64))


def test_a_bucket_without_variance_stays_as_it_is():
    x, zero, one = torch.randn(3, 4), torch.zeros(4), torch.ones(4)
    assert torch.equal(calibrate(x, one, zero, zero, one), x)


def test_bucket_statistics_are_those_of_each_bucket():
    x = torch.tensor([[1.0], [3.0], [10.0]])
    count, mean, var = bucket_statistics(x, torch.tensor([0, 0, 2]), 3)
    assert (count.tolist(), mean.flatten().tolist(), var.flatten().tolist()) == ([2, 0, 1], [2, 0, 10], [2, 0, 0])


def test_gradients_pass_through_a_relu_before_it():
    labels, grid = random_ages()
    generator = torch.Generator().manual_seed(1)
    fds = make(grid, labels)
    fds.update(0, features(labels, generator), labels)
    leaf = features(labels[:8], generator).requires_grad_()
    fds.calibrate(leaf.relu(), batch(grid, labels[:8], 1)).sum().backward()
    assert leaf.grad is not None and leaf.grad.abs().sum() > 0


def test_buckets_that_end_before_they_start_are_refused():
    labels, grid = random_ages()
    with pytest.raises(ValueError, match="first_bin must not exceed last_bin"):
        make(grid, labels, first_bin=10, last_bin=5)
