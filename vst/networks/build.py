"""Networks from plain dictionaries, as configs and checkpoints hold them: {"_target_": "vst.networks.X", ...}.

A checkpoint comes from strangers, so only classes of `vst.networks` are ever built; nothing else is imported.
"""

import importlib
from typing import Any

from torch import nn

from vst.errors import UserError
from vst.networks.stylizer import Stylizer

NO_PART = {"_target_": "types.NoneType"}  # what `none` of a group is


def build_network(config: dict[str, Any]) -> nn.Module:
    """Build one network. Raises UserError for a target outside `vst.networks` or arguments that do not fit."""
    target = config.get("_target_") if isinstance(config, dict) else None
    package, _, name = str(target).rpartition(".")
    network = getattr(importlib.import_module("vst.networks"), name, None) if package == "vst.networks" else None
    if not (isinstance(network, type) and issubclass(network, nn.Module)):
        raise UserError(f"network '{target}': only networks of vst.networks can be built from a config")
    try:
        return network(**{key: value for key, value in config.items() if key != "_target_"})
    except (TypeError, ValueError, AssertionError, RuntimeError) as error:
        raise UserError(f"network '{target}': its arguments do not fit: {error}") from error


def build_stylizer(config: dict[str, Any]) -> Stylizer:
    """Build the stylizer of {"generator": {...}, "temporal": {...}} and, each a dictionary or None, "tone", "grain",
    "motion" and "grade", and the number "short_side". Other keys are ignored.
    """
    missing = [key for key in ("generator", "temporal") if key not in config]
    if missing:
        raise UserError(f"model: the part '{missing[0]}' is missing; a model has generator and temporal")
    optional = [_optional(config.get(part)) for part in ("tone", "grain", "motion", "grade")]
    try:
        networks = build_network(config["generator"]), build_network(config["temporal"])
        return Stylizer(*networks, *optional, short_side=config.get("short_side"))
    except ValueError as error:
        raise UserError(f"model: {error}") from error


def _optional(config: dict[str, Any] | None) -> nn.Module | None:
    return None if config is None or config == NO_PART else build_network(config)
