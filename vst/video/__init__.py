"""Reading, indexing and writing of video files, all through PyAV."""

from vst.video.clips import FrameIndex, read_clip
from vst.video.probe import VideoInfo, probe
from vst.video.reader import Frame, VideoReader
from vst.video.sink import Sink, open_sink
from vst.video.source import Source, open_source
from vst.video.writer import VideoWriter, new_video, write_clip

__all__ = [
    "Frame",
    "FrameIndex",
    "Sink",
    "Source",
    "VideoInfo",
    "VideoReader",
    "VideoWriter",
    "new_video",
    "open_sink",
    "open_source",
    "probe",
    "read_clip",
    "write_clip",
]
