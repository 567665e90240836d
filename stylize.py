"""Stylise a video: python stylize.py checkpoint=outputs/train/<run>/stylizer.pt input=clip.mp4 output=out.mp4"""

from vst.cli import run

if __name__ == "__main__":
    run("stylize")
