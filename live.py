"""Paint a live picture: python live.py checkpoint=outputs/train/<run>/stylizer.pt source=webcam sink=window"""

from vst.cli import run

if __name__ == "__main__":
    run("live")
