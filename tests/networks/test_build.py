import pytest

from vst.errors import UserError
from vst.networks import ResidualGenerator, Stateless, build_network, build_stylizer

MODEL = {
    "generator": {"_target_": "vst.networks.ResidualGenerator", "width": 8, "num_blocks": 1},
    "temporal": {"_target_": "vst.networks.Stateless"},
}


def test_builds_what_the_config_names():
    stylizer = build_stylizer(MODEL)
    assert isinstance(stylizer.generator, ResidualGenerator) and stylizer.generator.width == 8
    assert isinstance(stylizer.temporal, Stateless)


@pytest.mark.parametrize(
    "target", ["os.system", "torch.nn.Linear", "vst.networks.build.importlib", "vst.networks.build_network", "x", None]
)
def test_builds_nothing_else(target):
    with pytest.raises(UserError, match=r"only networks of vst\.networks"):
        build_network({"_target_": target})


def test_wrong_arguments_are_named():
    with pytest.raises(UserError, match="widht"):
        build_network({"_target_": "vst.networks.ResidualGenerator", "widht": 8})


def test_a_missing_part_is_named():
    with pytest.raises(UserError, match="'temporal' is missing"):
        build_stylizer({"generator": MODEL["generator"]})
