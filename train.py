"""Train a style: python train.py model=convgru style=wikiart"""

from vst.cli import run

if __name__ == "__main__":
    run("train")
