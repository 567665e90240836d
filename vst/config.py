"""A command's configuration: composed, with all mistakes in one message before anything is built.

A command is a function of the composed configuration:

    @command("train", TrainConfig)                 # conf/train.yaml, and the keys it has
    def train(cfg: DictConfig) -> float | None:
        model = plain(cfg.model)                   # a plain dict, interpolations resolved
        ...

`train()` then reads `sys.argv` (or `train(["seed=3"])`): it parses the overrides with Hydra's own parser, composes
`pkg://conf`, collects every mistake, shows them together, and only then hands over to Hydra. The function itself is
called once for each job, with a configuration that passed `validate`. A `UserError`, wherever it is raised, becomes
one line on stderr and exit code 1; Ctrl-C becomes one line and exit code 130; anything else is a defect and keeps
its traceback. In a sweep (`-m`) a job that fails does not stop the others.

Without the command line: `cfg = compose_or_explain("train", ["seed=3"], TrainConfig)`, or `validate(cfg, TrainConfig)`
for a configuration from elsewhere.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import hydra

# Hydra (pinned to 1.3) has no public way to compose beside @hydra.main without touching its global state.
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_config_search_path, get_args_parser
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override
from hydra.core.utils import setup_globals
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, ListConfig, OmegaConf, SCMode, open_dict
from omegaconf.errors import InterpolationToMissingValueError, OmegaConfBaseException

from vst.errors import UserError, suggest
from vst.schema import PASSED_IN_CODE, StylizeConfig, TrainConfig, broken_rules
from vst.signatures import UNKNOWN, argument_names, check_fields, check_targets, no_such_key, one_line

__all__ = ["StylizeConfig", "TrainConfig", "command", "compose_or_explain", "plain", "validate"]

VERSION_BASE = "1.3"
SEARCH_PATH = "pkg://conf"
MAX_SWEEP_VALUES = 16  # values of one swept key that are checked before a sweep starts; each costs about 0.1 s

Task = Callable[[DictConfig], Any]


# ----------------------------------------------------------------------------------------------------------------
# A configuration


def plain(cfg: DictConfig | ListConfig) -> Any:
    """`cfg` as plain dicts and lists, interpolations resolved."""
    return OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)


def validate(cfg: DictConfig, schema: type) -> None:
    """Check `cfg` against the dataclass `schema`, the signatures of all its `_target_`s, and the rules of `vst.schema`.

    Imports the targets, builds nothing. Raises UserError with all mistakes: a single one is one line, several are a
    headline and a line for each.
    """
    _refuse(_mistakes(cfg, schema))


def _refuse(mistakes: Iterable[str]) -> None:
    lines = list(dict.fromkeys(mistakes))
    if len(lines) == 1:
        raise UserError(lines[0])
    if lines:
        raise UserError("\n  ".join([f"{len(lines)} mistakes in the configuration", *lines]))


def _mistakes(cfg: DictConfig, schema: type) -> list[str]:
    mistakes: list[str] = []
    tree = _resolved(cfg, "", mistakes)
    mistakes += check_fields(tree, schema)
    mistakes += check_targets(tree, PASSED_IN_CODE)
    mistakes += broken_rules(tree)
    return mistakes


def _resolved(node: DictConfig | ListConfig, path: str, mistakes: list[str]) -> Any:
    """The plain tree of `node`, with UNKNOWN for what is missing or cannot be resolved; both are noted in `mistakes`."""

    def value(key: Any) -> Any:
        where = f"{path}.{key}" if path else str(key)
        if OmegaConf.is_missing(node, key):
            mistakes.append(f"{where}: missing; give it as {where}=...")
            return UNKNOWN
        try:
            child = node[key]
        except InterpolationToMissingValueError:
            return UNKNOWN  # the missing value itself is reported where it stands
        except OmegaConfBaseException as error:
            mistakes.append(f"{where}: {str(error).splitlines()[0]}")
            return UNKNOWN
        return _resolved(child, where, mistakes) if isinstance(child, DictConfig | ListConfig) else child

    if isinstance(node, ListConfig):
        return [value(i) for i in range(len(node))]
    return {key: value(key) for key in node}


# ----------------------------------------------------------------------------------------------------------------
# Composing, with every override that does not fit explained


def compose_or_explain(
    config_name: str, overrides: Sequence[str], schema: type, *, multirun: bool = False, config_dir: str | None = None
) -> DictConfig:
    """Compose `conf/<config_name>.yaml` with `overrides` and validate it.

    Args:
        overrides: as on the command line, sweeps included; each value of a sweep is checked, one key at a time.
        multirun: whether sweeps are wanted (`-m`, or `hydra.mode=MULTIRUN`).
        config_dir: a further folder of YAML groups (`--config-dir`).

    Returns:
        The configuration (of a sweep: that of its first values), with Hydra's own under the key `hydra`.

    Raises:
        UserError: all mistakes of the overrides and of what they compose to.
    """
    composer = _Composer(config_name, config_dir)
    parsed, mistakes = _parsed(overrides, composer.loader)
    swept = [o for o in parsed if o.is_sweep_override()]
    lines = {o.input_line: [f"{o.get_key_element()}={value}" for value in _sweep_values(o)] for o in swept}
    first = [lines.get(o.input_line, [o.input_line])[0] for o in parsed]
    cfg, wrong = composer.compose(first)
    mistakes += wrong + composer.check(cfg, schema)
    if cfg.hydra.mode != RunMode.MULTIRUN and not multirun:
        mistakes += [f"{o.input_line}: several values need -m" for o in swept]
    for index, override in enumerate(parsed):
        for changed in lines.get(override.input_line, [])[1:]:
            other, wrong = composer.compose([*first[:index], changed, *first[index + 1 :]])
            new = [m for m in wrong + composer.check(other, schema) if m not in mistakes]
            mistakes += [m if m.startswith(override.key_or_group) else f"with {changed}: {m}" for m in new]
    _refuse(mistakes)
    return cfg


def _parsed(overrides: Sequence[str], loader: ConfigLoaderImpl) -> tuple[list[Override], list[str]]:
    parser = OverridesParser.create(config_loader=loader)
    parsed, mistakes = [], []
    for line in overrides:
        try:
            parsed += parser.parse_overrides([line])
        except HydraException:
            key, given, value = line.partition("=")
            form = f"""'{key}="{value}"' (with both kinds of quotes)""" if given else "key=value, +key=value or ~key"
            mistakes.append(f"{line}: cannot be read; write it as {form}")
    return parsed, mistakes


def _sweep_values(override: Override) -> list[str]:
    if isinstance(override.value(), IntervalSweep):
        return [str(override.value().start), str(override.value().end)]
    return list(override.sweep_string_iterator())[:MAX_SWEEP_VALUES]


class _Composer:
    """Composes one primary config with changing overrides, beside Hydra's global state."""

    def __init__(self, config_name: str, config_dir: str | None) -> None:
        hydra.version.setbase(VERSION_BASE)
        setup_globals()
        search_path = create_config_search_path(SEARCH_PATH)
        if config_dir is not None:
            if not os.path.isdir(config_dir):
                raise UserError(f"--config-dir: there is no folder '{config_dir}'")
            anchor = SearchPathQuery(provider="schema")
            search_path.prepend("command-line", f"file://{os.path.abspath(config_dir)}", anchor)
        self.config_name = config_name
        self.loader = ConfigLoaderImpl(search_path)

    def compose(self, overrides: list[str]) -> tuple[DictConfig, list[str]]:
        """The configuration of all overrides that fit, and an explanation for each that does not."""
        try:
            return self._load(overrides), []
        except Exception:  # whatever is wrong is found again, one override at a time
            pass
        try:
            cfg = self._load([])
        except Exception as error:
            raise UserError(f"conf/{self.config_name}.yaml does not compose: {one_line(error)}") from error
        fitting: list[str] = []
        failures: dict[str, Exception] = {}
        waiting = list(overrides)
        while waiting:  # in rounds, since one override may need a later one (a group that another choice brings)
            failures = {}
            for line in waiting:
                try:
                    cfg = self._load([*fitting, line])
                    fitting.append(line)
                except Exception as error:
                    failures[line] = error
            if len(failures) == len(waiting):
                break
            waiting = list(failures)
        return cfg, [self._explain(line, cfg, error) for line, error in failures.items()]

    def check(self, cfg: DictConfig, schema: type) -> list[str]:
        """Mistakes of a composed configuration, whose `${hydra:...}` values are those of a job about to start."""
        with _as_job(cfg) as job:
            return _mistakes(job, schema)

    def _load(self, overrides: list[str]) -> DictConfig:
        return self.loader.load_configuration(self.config_name, overrides, RunMode.RUN, from_shell=False)

    def _explain(self, line: str, cfg: DictConfig, error: Exception) -> str:
        (override,), _ = _parsed([line], self.loader)
        key, value = override.key_or_group, override.value()
        if self.loader.repository.group_exists(key):
            return self._explain_choice(line, override, cfg, error)
        if "/" in key:
            return f"{line}: no such group{suggest(key, self._groups())}; groups: {', '.join(self._groups())}"
        if override.is_add():
            return f"{line}: '{key}' exists already; write {key}={override.get_value_string()}"
        node: Any = OmegaConf.to_container(cfg, structured_config_mode=SCMode.DICT)
        for depth, name in enumerate(key.split(".")):
            if not isinstance(node, dict):
                above = ".".join(key.split(".")[:depth])
                return f"{line}: '{above}' is a single value, it has no key '{name}'"
            if name not in node:
                arguments = argument_names(node.get("_target_"))
                if key.endswith(f".{name}") and name in arguments:
                    return f"{line}: '{name}' is not set there yet; write +{line}"
                where = ".".join(key.split(".")[: depth + 1])
                return no_such_key(where, arguments or [n for n in node if n != "hydra"])
            node = node[name]
        return f"{line}: {one_line(error)}"

    def _explain_choice(self, line: str, override: Override, cfg: DictConfig, error: Exception) -> str:
        group, value = override.key_or_group, override.value()
        allowed = sorted(self.loader.get_group_options(group))
        chosen = value if isinstance(value, list) else [value]
        for name in chosen:
            if name not in allowed and not override.is_delete():
                hint = suggest(str(name), allowed)
                return f"{override.get_key_element()}={_text(name)}: no such choice{hint}; allowed: {', '.join(allowed)}"
        if override.is_add():
            return f"{line}: '{group}' is chosen already; write {group}={override.get_value_string()}"
        return f"{line}: {one_line(error)}"

    def _groups(self, parent: str = "") -> list[str]:
        names = [f"{parent}/{name}".strip("/") for name in self.loader.list_groups(parent)]
        names = [name for name in names if name != "hydra"]
        return sorted(names + [inner for name in names for inner in self._groups(name)])


def _text(value: Any) -> str:
    return "null" if value is None else str(value)


@contextmanager
def _as_job(cfg: DictConfig) -> Iterator[DictConfig]:
    """`cfg` without its hydra node, which `${hydra:...}` finds meanwhile as in a running job."""
    job, instance = deepcopy(cfg), HydraConfig.instance()
    before = instance.cfg
    with open_dict(job):
        job.hydra.runtime.output_dir = os.getcwd()
        job.hydra.job.num, job.hydra.job.id = 0, "0"
    instance.set_config(job)
    job = deepcopy(job)
    with open_dict(job):
        del job["hydra"]
    try:
        yield job
    finally:
        instance.cfg = before


# ----------------------------------------------------------------------------------------------------------------
# The command line


def command(config_name: str, schema: type) -> Callable[[Task], Callable[..., None]]:
    """Decorator: a function of the composed configuration becomes a console command. See the top of this module."""

    def decorate(task: Task) -> Callable[..., None]:
        run_hydra = hydra.main(version_base=VERSION_BASE, config_path=SEARCH_PATH, config_name=config_name)(
            _as_job_function(task, schema)
        )

        @functools.wraps(task)
        def main(argv: Sequence[str] | None = None) -> None:
            before = sys.argv
            sys.argv = before if argv is None else [before[0], *argv]
            try:
                with _exit_codes(), _hydra_raises(in_sweep=_preflight(config_name, schema, sys.argv[1:])):
                    run_hydra()
            finally:
                sys.argv = before

        return main

    return decorate


class _ReportedError(UserError):
    """A UserError of a sweep's job, which has been shown when the job failed."""


def _as_job_function(task: Task, schema: type) -> Task:
    @functools.wraps(task)
    def job(cfg: DictConfig) -> Any:
        try:
            validate(cfg, schema)
            return task(cfg)
        except UserError as error:
            current = HydraConfig.get()
            if current.mode != RunMode.MULTIRUN:
                _print_error(str(error))
                sys.exit(1)
            # Hydra needs an exception to count the job as failed, and shows only the first one, after the last job.
            _print_error(f"job {current.job.num} ({' '.join(current.overrides.task)}): {error}")
            raise _ReportedError(str(error)) from error

    return job


def _preflight(config_name: str, schema: type, arguments: Sequence[str]) -> bool:
    """Refuse arguments that cannot run, and say whether they ask for a sweep."""
    args = get_args_parser().parse_args(arguments)
    only_shows = (args.help, args.hydra_help, args.cfg, args.info, args.shell_completion)
    if any(only_shows) or args.experimental_rerun or args.config_path:
        return False
    name = args.config_name or config_name
    cfg = compose_or_explain(name, args.overrides, schema, multirun=args.multirun, config_dir=args.config_dir)
    return args.multirun or cfg.hydra.mode == RunMode.MULTIRUN


@contextmanager
def _hydra_raises(in_sweep: bool) -> Iterator[None]:
    """In a sweep, let Hydra raise a job's exception; otherwise it prints a traceback and exits."""
    before = os.environ.get("HYDRA_FULL_ERROR")
    if in_sweep:
        os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        yield
    finally:
        if in_sweep and before is None:
            del os.environ["HYDRA_FULL_ERROR"]


@contextmanager
def _exit_codes() -> Iterator[None]:
    try:
        yield
    except _ReportedError:
        sys.exit(1)
    except (UserError, HydraException) as error:
        _print_error(str(error))
        sys.exit(1)
    except (KeyboardInterrupt, SystemExit) as error:
        # Lightning turns Ctrl-C into exit code 1.
        if not isinstance(error, KeyboardInterrupt) and not isinstance(error.__context__, KeyboardInterrupt):
            raise
        print("interrupted", file=sys.stderr)
        sys.exit(130)


def _print_error(message: str) -> None:
    print(f"error: {message}", file=sys.stderr, flush=True)
