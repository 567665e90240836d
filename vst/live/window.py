"""A window, by the Tk that comes with Python: OpenCV without a display has none."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from PIL import Image

from vst.errors import UserError
from vst.live.sink import Sink

_SHARE_OF_SCREEN = 0.9


class WindowSink(Sink):
    """Shows the frames, fitted into a window that may be resized.

    Made and used in the main thread.

    Args:
        press: told of each key: its character, or its name as `Escape`.
        quit: called when the window is closed.

    Raises:
        UserError: there is no display, or Python was built without Tk.
    """

    name = "window"
    in_main_thread = True
    own_screen = True

    def __init__(self, press: Callable[[str], None], quit: Callable[[], None]) -> None:
        try:
            import tkinter

            from PIL import ImageTk
        except ImportError as error:
            raise UserError(
                f"sink=window needs Python with Tk ({error}); install python3-tk, or give another sink"
            ) from error
        try:
            self._root = tkinter.Tk(className="vst")
        except tkinter.TclError as error:
            raise UserError(
                f"sink=window: no display here ({error}); give a file or a URL as sink, or ui=web for the browser"
            ) from error
        self._tk, self._image_tk = tkinter, ImageTk
        self._root.withdraw()
        self._root.title("vst")
        self._root.bind("<Key>", lambda event: press(_key(event.char, event.keysym)))
        self._root.protocol("WM_DELETE_WINDOW", quit)
        self._photo = None

    def open(self, width: int, height: int, fps: float) -> None:
        room = min(self._root.winfo_screenwidth() / width, self._root.winfo_screenheight() / height)
        scale = min(1.0, _SHARE_OF_SCREEN * room)
        self._canvas = self._tk.Canvas(self._root, background="black", highlightthickness=0)
        self._canvas.configure(width=round(width * scale), height=round(height * scale))
        self._canvas.pack(fill="both", expand=True)
        self._root.deiconify()
        self._root.update()
        self._canvas.focus_set()

    def write(self, image: np.ndarray, seconds: float) -> None:
        room = max(self._canvas.winfo_width(), 1), max(self._canvas.winfo_height(), 1)
        scale = min(room[0] / image.shape[1], room[1] / image.shape[0])
        size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
        if size != (image.shape[1], image.shape[0]):
            image = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        if self._photo is None or (self._photo.width(), self._photo.height()) != size:
            self._canvas.delete("all")
            self._photo = self._image_tk.PhotoImage("RGB", size, master=self._root)
            self._item = self._canvas.create_image(0, 0, image=self._photo)
        self._canvas.coords(self._item, room[0] // 2, room[1] // 2)
        self._photo.paste(Image.fromarray(image))
        self._root.update()

    def poll(self) -> None:
        self._root.update()

    def close(self) -> None:
        self._photo = None
        self._root.destroy()


def _key(character: str, name: str) -> str:
    return character if character and character.isprintable() else name
