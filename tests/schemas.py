"""The dataclass of each command's keys."""

from vst.schema import (
    BenchmarkConfig,
    CacheConfig,
    EvaluateConfig,
    ExportConfig,
    LiveConfig,
    StudioConfig,
    StylizeConfig,
    TrainConfig,
)

SCHEMAS = {
    "train": TrainConfig,
    "stylize": StylizeConfig,
    "live": LiveConfig,
    "studio": StudioConfig,
    "evaluate": EvaluateConfig,
    "export": ExportConfig,
    "benchmark": BenchmarkConfig,
    "cache": CacheConfig,
}
