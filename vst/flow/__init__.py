"""Optical flow: warping, occlusion, and estimators for clips whose motion is not known.

Convention, everywhere in this project: channel 0 is x to the right, channel 1 is y down, in pixels of the
tensor the flow is stored with. A flow lies on the grid of one frame and points into another one.
"""

from vst.flow.dis import DIS, dis_flow
from vst.flow.estimator import ESTIMATORS, FlowEstimator, build_estimator
from vst.flow.io import read_flo
from vst.flow.lucas_kanade import LucasKanade
from vst.flow.occlusion import occlusion_mask
from vst.flow.raft import RAFT
from vst.flow.warping import compose_flow, resize_flow, warp

__all__ = [
    "DIS",
    "ESTIMATORS",
    "RAFT",
    "FlowEstimator",
    "LucasKanade",
    "build_estimator",
    "compose_flow",
    "dis_flow",
    "occlusion_mask",
    "read_flo",
    "resize_flow",
    "warp",
]
