"""Paint a live picture: python live.py checkpoint=outputs/train/<run>/stylizer.pt source=webcam sink=window"""

from vst.commands.live import live

if __name__ == "__main__":
    live()
