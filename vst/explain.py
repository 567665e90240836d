"""Why an override does not fit a configuration, in one line instead of Hydra's."""

from __future__ import annotations

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.default_element import GroupDefault
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf, SCMode

from vst.errors import suggest
from vst.overrides import parsed_overrides
from vst.signatures import explain_path, one_line

TRAINED = ("style", "model")
"""Groups whose choice a checkpoint holds."""


class Explainer:
    """Explains overrides that cannot be put on top of the configuration `cfg` of a command."""

    def __init__(self, config_name: str, loader: ConfigLoaderImpl, cfg: DictConfig) -> None:
        self.command, self.loader, self.cfg = config_name, loader, cfg

    def __call__(self, line: str, error: Exception) -> str:
        """The line for the override `line`, at which Hydra raised `error`."""
        (override,), _ = parsed_overrides([line], self.loader)
        key = override.key_or_group
        if not key:
            return f"{line}: cannot be read; write it as key=value"
        if self.loader.repository.group_exists(key):
            return self._choice(line, override, error)
        if "/" in key:
            groups = self._groups()
            near = f"{suggest(key, groups)}; groups: {', '.join(groups)}" if groups else ""
            return f"{line}: no such group{near or f'; {_script(self.command)} has none'}"
        tree = OmegaConf.to_container(self.cfg, structured_config_mode=SCMode.DICT)
        if key == "scale" and "stroke" in tree:
            return (
                f"{line}: strokes have a key of their own, stroke, of which this is the inverse; {_inverse(override)}"
            )
        reason = explain_path(line, key, tree)
        if override.is_add() and reason is None:
            return f"{line}: '{key}' exists already; write {key}={override.get_value_string()}"
        if reason is None and override.is_delete():
            return f"{line}: '{key}' cannot be dropped; give it another value"
        if reason is None:
            return self._node(line, override) or f"{line}: {one_line(error)}"
        first = key.partition(".")[0]
        having = self._commands_with(first) if first not in tree else self._choices_with(key)
        return "; ".join(filter(None, [reason, having, self._trained(first) if first not in tree else ""]))

    def _choice(self, line: str, override: Override, error: Exception) -> str:
        group, value = override.key_or_group, override.value()
        allowed = sorted(self.loader.get_group_options(group))
        parent, _, folder = group.rpartition("/")
        top = group.partition("/")[0]
        others = self._commands_with(top)
        if group not in self.cfg.hydra.runtime.choices and (
            not override.is_add() or (others and not _has(self.cfg, top))
        ):
            if parent in self.cfg.hydra.runtime.choices:
                return f"{line}: choices of {group} are those of {parent}: write {parent}={folder}/{value}"
            told = "; ".join(filter(None, [others, self._trained(top)]))
            return f"{line}: {_script(self.command)} has no '{group}' to choose{told and f'; {told}'}"
        if override.package is not None:
            return f"{line}: '{group}' has one place; write {group}={override.get_value_string()}"
        for name in value if isinstance(value, list) else [value]:
            if name not in allowed and not override.is_delete():
                given = f"{override.get_key_element()}={'null' if name is None else name}"
                return f"{given}: no such choice{suggest(str(name), allowed)}; allowed: {', '.join(allowed)}"
        if override.is_add():
            return f"{line}: '{group}' is chosen already; write {group}={override.get_value_string()}"
        return f"{line}: {one_line(error)}"

    def _trained(self, group: str) -> str:
        """What a command for finished checkpoints need not be told, in words; empty for what is of another kind."""
        finished = any(_has(self.cfg, key) for key in ("checkpoint", "styles"))
        return (
            f"{group}s are a matter of training, and a checkpoint has its own" if finished and group in TRAINED else ""
        )

    def _node(self, line: str, override: Override) -> str | None:
        """Why a value cannot be merged into the node that is there."""
        value, node = override.value(), OmegaConf.select(self.cfg, override.key_or_group)
        if isinstance(node, DictConfig) and not isinstance(value, dict):
            return f"{line}: '{override.key_or_group}' is a mapping; set its keys: {', '.join(map(str, node))}"
        for name in value if isinstance(value, dict) and isinstance(node, DictConfig) else ():
            if not _has(node, str(name)):
                return f"{line}: '{name}' is not set there yet; write +{override.key_or_group}.{name}=..."
        return None

    def _groups(self, parent: str = "") -> list[str]:
        """Groups that the command chooses from."""
        names = [f"{parent}/{name}".strip("/") for name in self.loader.list_groups(parent)]
        tops = {group.partition("/")[0] for group in self.cfg.hydra.runtime.choices} - {"hydra"}
        names = [name for name in names if name.partition("/")[0] in tops]
        return sorted(names + [inner for name in names for inner in self._groups(name)])

    def _commands_with(self, key: str) -> str:
        """Which other commands have the key or the group, in words; empty if none has."""
        having = []
        for name in self.loader.get_group_options(""):
            loaded = self.loader.repository.load_config(name)
            groups = {d.group for d in loaded.defaults_list if isinstance(d, GroupDefault)}
            # conf/common.yaml is none: what a command asks for stands in its file, with a hydra node.
            if "hydra" in loaded.config and (_has(loaded.config, key) or key in groups):
                having.append(_script(name))
        return f"it is for {', '.join(having)}" if having else ""

    def _choices_with(self, key: str) -> str:
        """Which other choices of its group have the dotted key, in words; empty if none has."""
        names, having = key.split("."), []
        for depth in range(1, len(names)):
            group, inner = "/".join(names[:depth]), ".".join(names[depth:])
            for choice in self.loader.get_group_options(group) if self.loader.repository.group_exists(group) else ():
                node = self.loader.repository.load_config(f"{group}/{choice}").config
                if isinstance(node, DictConfig) and _has(node, inner):
                    having.append(f"{group}={choice}")
        return f"{', '.join(having)} {'has' if len(having) == 1 else 'have'} it" if having else ""


def _inverse(override: Override) -> str:
    """What to write for `scale=` of a number, and what that means."""
    given = override.value()
    if isinstance(given, int | float) and given > 0:
        return f"write stroke={1 / given:g}"
    return "stroke=2 paints twice as broad"


def _has(node: DictConfig, path: str) -> bool:
    """Whether it has the dotted path, whatever stands there."""
    parent, _, name = path.rpartition(".")
    holder = OmegaConf.select(node, parent) if parent else node
    return isinstance(holder, DictConfig) and name in holder.keys()


def _script(command: str) -> str:
    return "vst studio" if command == "studio" else f"{command}.py"
