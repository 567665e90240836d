"""What choices of groups bring along: `model/generator=tiny` comes with `model/grain=none`.

A choice says so where it is declared. Other groups that it needs stand in its defaults list, as
`override /model/grain@_global_.model.grain: none`; the group has to come before it in the list that holds both. A
number that is for nothing without another part is `${with_part:model.discriminator,1.0}`. What the user gives
explicitly wins over both, and where it does not fit the rules refuse it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_search_path_impl import ConfigSearchPathImpl
from hydra.core.default_element import GroupDefault
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from vst.lookup import is_part

WITH_PART = re.compile(r"\$\{with_part:([\w.]+),")


def with_part(path: str, value: float, *, _root_: DictConfig) -> float:
    """`value` where the part at `path` of the whole configuration is there, 0 where it is not."""
    node = OmegaConf.select(_root_, path)
    return value if OmegaConf.is_config(node) and is_part(OmegaConf.to_container(node)) else 0.0


OmegaConf.register_new_resolver("with_part", with_part, replace=True)


def brought_along(cfg: DictConfig, hydra: DictConfig) -> list[str]:
    """A line for each choice given on the command line that brought others along, or left terms of the loss out.

    Args:
        cfg: the composed configuration.
        hydra: its hydra node, as in a job.
    """
    loader, choices = _loader(hydra), hydra.runtime.choices
    overrides = OverridesParser.create().parse_overrides(list(hydra.overrides.task))
    given = [o.key_or_group for o in overrides if loader.repository.group_exists(o.key_or_group)]
    lines = []
    for group in given:
        brought = [f"{other}={choice}" for other, choice in _overridden(loader, group, choices) if other not in given]
        if brought:
            lines.append(f"{group}={choices[group]} comes with {', '.join(dict.fromkeys(brought))}")
    return lines + [f"{without}=none comes without {', '.join(terms)}" for without, terms in _idle(cfg).items()]


def _overridden(loader: ConfigLoaderImpl, group: str, choices: DictConfig) -> Iterator[tuple[str, str]]:
    """Groups outside of `group` that its choice has overridden, those that such choices have overridden too."""
    loaded = loader.repository.load_config(f"{group}/{choices.get(group)}")
    for default in loaded.defaults_list if loaded is not None else ():
        if isinstance(default, GroupDefault) and default.override and default.group.startswith("/"):
            other = default.group.lstrip("/")
            if choices.get(other) == default.value:
                yield other, default.value
                yield from _overridden(loader, other, choices)


def _idle(cfg: DictConfig) -> dict[str, list[str]]:
    """Group -> terms of the loss that are left out since nothing of the group is chosen."""
    terms, found = OmegaConf.select(cfg, "loss.terms"), {}
    for name, term in terms.items() if isinstance(terms, DictConfig) else ():
        if isinstance(term, DictConfig) and OmegaConf.is_interpolation(term, "weight") and term.weight == 0:
            part = WITH_PART.match(OmegaConf.to_container(term, resolve=False)["weight"])
            if part:
                found.setdefault(part[1].replace(".", "/"), []).append(f"loss.terms.{name}")
    return found


def _loader(hydra: DictConfig) -> ConfigLoaderImpl:
    """The loader of the folders that a configuration was composed from."""
    path = ConfigSearchPathImpl()
    for source in hydra.runtime.config_sources:
        if source.path:
            path.append(source.provider, f"{source.schema}://{source.path}")
    return ConfigLoaderImpl(path)
