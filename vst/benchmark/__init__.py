"""How fast networks run: single latencies, tables of models and engines, the pipeline, and the machine's own limits."""

from vst.benchmark.cost import Cost, count_cost
from vst.benchmark.latency import LatencyReport, device_name, measure_latency, parse_size

__all__ = ["Cost", "LatencyReport", "count_cost", "device_name", "measure_latency", "parse_size"]
