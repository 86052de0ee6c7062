"""Piecewise-linear encoding: places among quantiles of the training rows, which a model keeps."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from rtdl_num_embeddings import PiecewiseLinearEncoding, compute_bins
from torch import Tensor

from toys import INPUTS, TOYS
from workloads import WORKLOADS
from workloads.encoders.named import ENCODERS
from workloads.encoders.piecewise import BINS, PiecewiseLinear
from workloads.loop import Fit
from workloads.predictor import Predictor, Setup, example
from workloads.recipe import Recipe
from workloads.training import settle

CPU = torch.device("cpu")
NAMED = ENCODERS["table"]["ple-mlp"]
TOY = replace(TOYS["regression"], light=True, encoder=lambda data: NAMED.of(data.train))
ROWS = st.lists(st.lists(st.integers(-3, 3), min_size=2, max_size=2), min_size=2, max_size=12)


def encoded(train: Tensor, x: Tensor, bins: int = 4) -> tuple[PiecewiseLinear, Tensor]:
    encoding = PiecewiseLinear(train.shape[1], bins)
    encoding.fit(train)
    return encoding, encoding(x).view(len(x), train.shape[1], bins)


@given(ROWS, ROWS)
def test_the_places_times_the_widths_of_bins_sum_to_the_number_held_within_the_training_range(rows, others):
    train, x = torch.tensor(rows).float(), torch.tensor(others).float()
    encoding, z = encoded(train, x)
    assert ((z >= 0) & (z <= 1)).all()
    found = (z * encoding.edges.diff(dim=1)).sum(2) + train.amin(0)
    torch.testing.assert_close(found, x.clamp(train.amin(0), train.amax(0)), rtol=0, atol=1e-5)


def test_a_bin_begins_where_those_before_it_are_full():
    x = torch.randn(50, 3)
    _, z = encoded(torch.randn(200, 3), x)
    assert ((z[..., 1:] == 0) | (z[..., :-1] == 1)).all()


def test_within_the_training_range_it_is_the_encoding_of_the_authors_library():
    torch.manual_seed(0)
    train = torch.randn(500, 3, dtype=torch.float64).exp()
    library = PiecewiseLinearEncoding(compute_bins(train, 8))
    encoding = PiecewiseLinear(3, 8).double()
    encoding.fit(train)
    torch.testing.assert_close(encoding(train), library(train), rtol=0, atol=1e-6)  # its bins are float32


def test_a_column_of_two_values_has_one_bin_and_one_that_does_not_vary_none():
    train = torch.tensor([[0.0, 7.0]] * 15 + [[1.0, 7.0]])
    _, z = encoded(train, torch.tensor([[0.0, 7.0], [1.0, 8.0]]))
    assert z[:, 0].sum(1).tolist() == [0.0, 1.0]
    assert not z[:, 1].any()


def test_a_number_however_far_away_is_that_at_the_edge():
    train = torch.arange(10.0).unsqueeze(1)
    _, z = encoded(train, torch.tensor([[torch.inf], [9.0], [-torch.inf], [0.0]]))
    assert torch.equal(z[0], z[1]) and torch.equal(z[2], z[3])


def test_bins_are_quantiles_of_the_training_rows_alone():
    workload = WORKLOADS["nhanes-bmi@ple-mlp"]
    data = workload.load(None)
    encoder, dim = workload.encoder(replace(data, val=data.train, test=data.train))
    (encoding,) = (module for module in encoder.modules() if isinstance(module, PiecewiseLinear))
    x = data.train.inputs(torch.arange(len(data.train.y)), CPU).numpy()
    assert dim == 64 and workload.light
    for at, edges in enumerate(encoding.edges.T.numpy()):
        assert np.array_equal(edges, np.quantile(x, at / BINS, axis=0).astype(np.float32))


@pytest.mark.parametrize("recipe", ["l1", "mse + sqinv + affine"])
def test_a_model_keeps_its_bins_and_predicts_without_its_training_rows(recipe):
    data, parsed = TOY.load(None), Recipe.parse(recipe)
    settings = settle(parsed, TOY.settings, {"train.epochs": 2})
    run = Fit(TOY, data, parsed, settings, 0, CPU)
    list(run)
    empty = NAMED.of(example((INPUTS,), "float32"))
    setup = Setup(recipe, settings, TOY.grid, data.units, TOY.bin_counts(data))
    x = data.test.inputs(torch.arange(len(data.test.y)), CPU)
    assert np.array_equal(Predictor(setup, empty, run.tensors()).predict(x), run.predict(data.test))
