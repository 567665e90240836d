"""`data=mixed`: clips of real videos and photographs in synthetic motion in one batch.

Real clips bring the motion of the world, with a flow that is estimated; photographs bring variety, a flow that is
exact, and noise.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from data_modules.base import ClipSource, StyleSource
from data_modules.images import folder_photos
from data_modules.motion import MAX_SPEED
from data_modules.synthetic import PhotoClips, Photos, bundled_photos, check_speed
from data_modules.video import VideoDataModule
from vst.batch import Clip
from vst.errors import UserError


class MixedClips:
    """A `ClipSource` that takes each clip from `videos` with probability `video_share`, else from `photos`."""

    def __init__(self, videos: ClipSource, photos: ClipSource, video_share: float) -> None:
        self.videos, self.photos, self.video_share = videos, photos, video_share

    def sample(self, rng: np.random.Generator, length: int | None = None) -> Clip:
        return (self.videos if rng.random() < self.video_share else self.photos).sample(rng, length)

    def describe(self) -> str:
        share = f"{100 * self.video_share:.3g}"
        rest = f"{100 * (1 - self.video_share):.3g}"
        return f"{share} % from {self.videos.describe()}; {rest} % from {self.photos.describe()}"


class MixedDataModule(VideoDataModule):
    """Clips of the videos below `root` and of photographs in synthetic motion, all with flow.

    Args:
        style: pictures of the style.
        photos: folder of photographs, as of `data_modules.images.ImagesDataModule`; None for those that are bundled.
        video_share: probability that a clip is one of a video, between 0 and 1.
        speed: largest speed in the synthetic motion, see `data_modules.synthetic.SyntheticDataModule`.

    Other arguments and errors: see `VideoDataModule`. UserError also if a number is out of range, the folder of
    photographs cannot be used, or the flow of the videos is not to be estimated.
    """

    def __init__(
        self,
        style: StyleSource,
        *,
        photos: str | Path | None = None,
        video_share: float = 0.5,
        speed: float = MAX_SPEED,
        **kwargs: Any,
    ) -> None:
        super().__init__(style, **kwargs)
        if not 0 < video_share < 1:
            raise UserError(
                f"data.video_share is {video_share}, it has to lie between 0 and 1; for one kind only choose "
                "data=video or data=images"
            )
        if self.estimator is None:
            raise UserError("data.flow=none: photographs in motion have flow, so videos beside them need one; try dis")
        self.photos, self.video_share, self.speed = photos, video_share, check_speed(speed)
        self._collections: tuple[Photos, Photos] | None = None

    def train_source(self) -> MixedClips:
        photos = self._photos()[0]
        clips = PhotoClips(photos, self.clip_length, self.size, speed=self.speed, sensor=self.sensor)
        return MixedClips(super().train_source(), clips, self.video_share)

    def val_source(self) -> MixedClips:
        clips = PhotoClips(self._photos()[1], self.clip_length, self.size, "held-out photograph")
        return MixedClips(super().val_source(), clips, self.video_share)

    def _photos(self) -> tuple[Photos, Photos]:
        if self._collections is None:
            given = self.photos is not None
            self._collections = folder_photos(self.photos, self.size, "data.photos") if given else bundled_photos()
        return self._collections
