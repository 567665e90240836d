"""Export a stylizer: python export.py checkpoint=outputs/train/<run>/stylizer.pt format=onnx output=model.onnx"""

from vst.commands.export import export

if __name__ == "__main__":
    export()
