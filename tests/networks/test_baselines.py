"""The published generators against the numbers of their papers, and as stylizers that engines take."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from vst.benchmark import count_cost
from vst.errors import UserError
from vst.networks.baselines import BASELINES, TransposedConv, build_baseline
from vst.runtime import open_engine

# Parameters in millions, kMAC and activations of a pixel, by hand from the layer tables.
KNOWN = {
    "johnson": (1.68, 154, 187),
    "cyclegan": (11.4, 756, 499),
    "ast": (12.0, 117, 128),
    "animeganv2": (2.14, 401, 611),
}


def test_the_table_is_of_all_baselines() -> None:
    assert KNOWN.keys() == BASELINES.keys()


@pytest.mark.parametrize("name", BASELINES)
def test_size_and_cost_are_those_of_the_paper(name: str) -> None:
    cost = count_cost(build_baseline(name))
    found = (cost.parameters / 1e6, cost.macs / 1e3, cost.activations)
    assert found == pytest.approx(KNOWN[name], rel=0.01)


@torch.inference_mode()
@pytest.mark.parametrize("name", BASELINES)
def test_the_picture_is_as_large_as_the_frame_whatever_its_size(name: str) -> None:
    torch.manual_seed(0)
    frame = torch.rand(1, 3, 17, 21)
    picture, state = build_baseline(name).eval()(frame)
    assert picture.shape == frame.shape and picture.std() > 0 and state == ()


def test_an_engine_gives_the_same_picture_in_half_precision() -> None:
    torch.manual_seed(0)
    stylizer = build_baseline("johnson")
    frame = np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    full, half = (open_engine(stylizer, precision=p)(frame).astype(int) for p in ("float32", "bfloat16"))
    assert np.abs(full - half).max() <= 4


def test_stride_one_half_is_that_of_torch() -> None:
    ours = TransposedConv(3, 5)
    theirs = nn.ConvTranspose2d(3, 5, 3, stride=2, padding=1, output_padding=1)
    theirs.load_state_dict(ours.state_dict())
    x: Tensor = torch.rand(2, 3, 4, 6)
    assert torch.equal(ours(x), theirs(x))
    assert ours(x.bfloat16()).dtype == torch.bfloat16


def test_another_name_is_a_line() -> None:
    with pytest.raises(UserError, match=r"'jonson': unknown \(did you mean 'johnson'\?\)"):
        build_baseline("jonson")
