"""Train a style: python train.py model=convgru style=wikiart"""

from vst.commands.train import train

if __name__ == "__main__":
    train()
