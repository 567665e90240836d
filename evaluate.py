"""Measure a style: python evaluate.py checkpoint=stylizer.pt clips=my_videos styles=painting.jpg"""

from vst.cli import run

if __name__ == "__main__":
    run("evaluate")
