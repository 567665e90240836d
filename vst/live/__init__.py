"""Live pictures: a camera, a stream or the screen, painted as it comes.

from vst.live.loop import LiveLoop
from vst.live.sinks import open_sink
from vst.live.sources import open_source
LiveLoop(open_source("webcam"), Painter({"wave": open_engine("stylizer.pt")}), [open_sink("wave.mp4")]).run()

Nothing is imported here: the process that sends a stream (`vst.live.sender`) is there in a moment, without torch.
"""
