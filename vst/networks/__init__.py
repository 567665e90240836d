"""Networks: generators, temporal modules, the stylizer that joins them, discriminators. Plain torch."""

from vst.networks.build import build_network, build_stylizer
from vst.networks.discriminators import MultiScaleDiscriminator, PatchDiscriminator
from vst.networks.generators import ResidualGenerator
from vst.networks.stylizer import Stylizer
from vst.networks.temporal import AlignedConvGRU, ConvGRU, Stateless

__all__ = [
    "AlignedConvGRU",
    "ConvGRU",
    "MultiScaleDiscriminator",
    "PatchDiscriminator",
    "ResidualGenerator",
    "Stateless",
    "Stylizer",
    "build_network",
    "build_stylizer",
]
