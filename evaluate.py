"""Measure a style: python evaluate.py checkpoint=stylizer.pt clips=my_videos styles=painting.jpg"""

from vst.cli import evaluate

if __name__ == "__main__":
    evaluate()
