"""Reading, indexing and writing of video files, all through PyAV."""

from vst.video.clips import FrameIndex, read_clip
from vst.video.probe import VideoInfo, probe
from vst.video.reader import Frame, VideoReader
from vst.video.writer import VideoWriter, new_video, write_clip

__all__ = [
    "Frame",
    "FrameIndex",
    "VideoInfo",
    "VideoReader",
    "VideoWriter",
    "new_video",
    "probe",
    "read_clip",
    "write_clip",
]
