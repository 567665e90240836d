"""Measure speed: python benchmark.py models='[convgru, johnson]' sizes='[720p]' engines='[torch, openvino]'"""

from vst.cli import run

if __name__ == "__main__":
    run("benchmark")
