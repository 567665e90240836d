"""Export a stylizer: python export.py checkpoint=outputs/train/<run>/stylizer.pt format=onnx output=model.onnx"""

from vst.cli import run

if __name__ == "__main__":
    run("export")
