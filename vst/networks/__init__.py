"""Networks: generators, temporal modules, the stylizer that joins them, discriminators. Plain torch."""

from vst.networks.build import NO_PART, build_network, build_stylizer
from vst.networks.discriminators import MultiScaleDiscriminator, PatchDiscriminator
from vst.networks.flow_grain import FlowGrain
from vst.networks.generators import ResidualGenerator, TwoScaleGenerator
from vst.networks.grain import CameraGrain
from vst.networks.guided import GuidedGenerator
from vst.networks.motion import DenseMotion
from vst.networks.stylizer import Stylizer
from vst.networks.temporal import AlignedConvGRU, ConvGRU, Stateless
from vst.networks.tone import SlowTone
from vst.networks.transport import ColourTransport

__all__ = [
    "NO_PART",
    "AlignedConvGRU",
    "CameraGrain",
    "ColourTransport",
    "ConvGRU",
    "DenseMotion",
    "FlowGrain",
    "GuidedGenerator",
    "MultiScaleDiscriminator",
    "PatchDiscriminator",
    "ResidualGenerator",
    "SlowTone",
    "Stateless",
    "Stylizer",
    "TwoScaleGenerator",
    "build_network",
    "build_stylizer",
]
