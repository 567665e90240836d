"""Stylise a video: python stylize.py checkpoint=outputs/train/<run>/stylizer.pt input=clip.mp4 output=out.mp4"""

from vst.commands.stylize import stylize

if __name__ == "__main__":
    stylize()
