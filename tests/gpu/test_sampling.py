"""Samples of a GPU: NVIDIA's library says of the card of this process what torch knows of it."""

import pytest
import torch

from orchestrator.engine.sampling import MEGABYTE, Machine


def test_a_gpu_is_sampled_under_mlflows_names(device: torch.device) -> None:
    pytest.importorskip("pynvml", reason="nvidia-ml-py is not installed")
    if device.type != "cuda":
        pytest.skip("there is no GPU to sample")
    machine = Machine(device)
    held = torch.empty(1 << 30, dtype=torch.uint8, device=device)
    seen = machine.seen()
    free, total = torch.cuda.mem_get_info(device)
    assert seen["gpu_0_memory_usage_megabytes"] >= held.nbytes / MEGABYTE
    assert seen["gpu_0_memory_usage_megabytes"] == pytest.approx((total - free) / MEGABYTE, rel=0.2)
    assert 0 < seen["gpu_0_memory_usage_percentage"] <= 100
    assert 0 <= seen["gpu_0_utilization_percentage"] <= 100
