"""Counts and limits against numbers by hand."""

from itertools import count

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from vst.benchmark import Cost, count_cost
from vst.benchmark.limits import Machine
from vst.networks import AlignedConvGRU, ConvGRU, ResidualGenerator, Stateless, Stylizer
from vst.networks.build import build_stylizer


class Mixed(nn.Module):
    """A dilated convolution as a function, one in groups, a transposed one and a matrix product."""

    stride = 2

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(8, 3, 3, 3))
        self.grouped = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.up = nn.ConvTranspose2d(8, 6, 2, stride=2)
        self.mix = nn.Linear(6, 3)

    def encode(self, frames):
        return self.grouped(F.conv2d(F.avg_pool2d(frames, 2), self.weight, padding=2, dilation=2))

    def decode(self, features, frames):
        return self.mix(self.up(features).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def test_every_kind_of_layer_is_counted() -> None:
    cost = count_cost(Stylizer(Mixed(), Stateless()))
    quarter = 8 * 3 * 9 / 4 + 8 * 9 / 4 + 8 * 6 * 4 / 4
    assert cost.macs == quarter + 6 * 3
    assert cost.activations == 8 / 4 + 8 / 4 + 6 + 3
    assert cost.largest == max(3 / 4 + 8 / 4, 8 / 4 + 6, 6 + 3)
    assert cost.parameters == 8 * 27 + 8 * 10 + 8 * 6 * 4 + 6 + 6 * 3 + 3


def test_counting_leaves_the_network_as_it_is() -> None:
    stylizer = Stylizer(ResidualGenerator(8, 1), ConvGRU(8)).eval()
    count_cost(stylizer)
    assert not stylizer.training and all(p.device.type == "cpu" for p in stylizer.parameters())


def test_the_frame_that_counts_has_a_memory() -> None:
    """Alignment happens from the second frame on; it has no convolutions but its keys'."""
    plain, aligned = (count_cost(Stylizer(ResidualGenerator(8, 1), m)) for m in (ConvGRU(8), AlignedConvGRU(8)))
    assert aligned.macs - plain.macs == 8 * 8 / 16


@pytest.mark.parametrize("stride", [2, 4, 8])
def test_our_generator_costs_what_its_layers_do(stride: int) -> None:
    width, places = 16, stride**2
    body = width * 9 * (3 * places + 3 + 2 * width + 3 * places + 1) / places
    # The filters work on the padding of the frame of the count too, which is little.
    lowpass, contrast = 2 * 3 * 2 * (stride + 1), 2 * 3 * 2 * 13 / places
    cost = count_cost(Stylizer(ResidualGenerator(width, 1, stride=stride), Stateless()))
    assert cost.macs == pytest.approx(body + lowpass + contrast, rel=5e-3)


@pytest.mark.parametrize(
    "width, blocks, stride, kmac", [(24, 2, 4, 3.2), (32, 3, 4, 6.2), (64, 3, 8, 7.9)], ids=["tiny", "small", "hd"]
)
def test_the_presets_are_as_small_as_they_say(width: int, blocks: int, stride: int, kmac: float) -> None:
    generator = {"width": width, "num_blocks": blocks, "stride": stride}
    model = {
        "generator": {"_target_": "vst.networks.ResidualGenerator", **generator},
        "temporal": {"_target_": "vst.networks.ConvGRU", "channels": width},
    }
    assert count_cost(build_stylizer(model)).macs / 1e3 == pytest.approx(kmac, rel=0.02)


def test_peaks_are_work_over_the_best_time() -> None:
    """A clock that ticks a second at each look: every measured call takes one."""
    ticks = count()
    machine = Machine(torch.device("cpu"), (8, 2, 16, 4096), clock=lambda: float(next(ticks)))
    machine.measure(("float32",))
    assert machine.flops["float32"] == max(2 * 8**3, 2 * 2 * 2 * 9 * 16**2)
    assert machine.bandwidth == 2 * 4096
    assert machine.describe() == {"peak_float32_gflops": 18432e-9, "copy_gb_per_s": 8192e-9}


def test_a_peak_never_falls() -> None:
    pace = iter([0.0, 1.0] * 9 + [0.0, 5.0] * 9)
    machine = Machine(torch.device("cpu"), (8, 2, 16, 4096), clock=lambda: next(pace))
    machine.measure(("float32",))
    before = machine.describe()
    machine.measure(("float32",))
    assert machine.describe() == before


def test_the_limit_is_the_larger_of_arithmetic_and_memory() -> None:
    machine = Machine(torch.device("cpu"))
    machine.flops, machine.bandwidth = {"float32": 1e9, "bfloat16": 1e12}, 1e9
    cost = Cost(parameters=1, macs=1000, activations=50, largest=8)
    slow = machine.limit(cost, 100, "float32")
    assert (slow.bound, slow.seconds) == ("arithmetic", pytest.approx(2 * 1000 * 100 / 1e9))
    fast = machine.limit(cost, 100, "bfloat16")
    assert (fast.bound, fast.seconds) == ("memory", pytest.approx((2 * 2 * 50 + 6) * 100 / 1e9))
    assert machine.limit(cost, 100, "int8") is None


def test_the_widest_layer_says_what_memory_a_frame_needs() -> None:
    assert Cost(1, 1, 1, largest=96).memory(10, 20, itemsize=2) == 10 * 20 * 96 * 2
