"""Measure speed: python benchmark.py models='[convgru, johnson]' sizes='[720p]' engines='[torch, openvino]'"""

from vst.commands.benchmark import benchmark

if __name__ == "__main__":
    benchmark()
