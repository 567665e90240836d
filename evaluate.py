"""Measure a style: python evaluate.py checkpoint=stylizer.pt clips=my_videos styles=painting.jpg"""

from vst.commands.evaluate import evaluate

if __name__ == "__main__":
    evaluate()
