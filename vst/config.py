"""A command's configuration: composed, with all mistakes in one message before anything is built.

A command is a function of the composed configuration:

    @command("train", TrainConfig)                 # conf/train.yaml, and the keys it has
    def train(cfg: DictConfig) -> float | None:
        model = plain(cfg.model)                   # a plain dict, interpolations resolved
        ...

`train()` then reads `sys.argv` (or `train(["seed=3"])`): it parses the overrides with Hydra's own parser,
composes `pkg://conf`, shows all mistakes together, and only then hands over to Hydra. The function itself is
called once for each job, with a configuration that passed `validate`. A `UserError`, wherever it is raised,
becomes one line on stderr and exit code 1; Ctrl-C one line and exit code 130; anything else is a defect and
keeps its traceback. In a sweep (`-m`) a job that fails does not stop the others; the last lines say why it did.

Without the command line: `cfg = compose_or_explain("train", ["seed=3"], TrainConfig)`, or
`validate(cfg, TrainConfig)` for a configuration from elsewhere.
"""

from __future__ import annotations

import functools
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from copy import deepcopy
from dataclasses import fields
from importlib import resources
from pathlib import Path
from typing import Any

import hydra

# Hydra (pinned to 1.3) has no public way to compose beside @hydra.main without touching its global state.
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_config_search_path
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Override
from hydra.core.utils import env_override, setup_globals
from hydra.types import RunMode
from omegaconf import DictConfig, ListConfig, OmegaConf, SCMode, open_dict
from omegaconf.errors import (
    InterpolationResolutionError,
    InterpolationToMissingValueError,
    OmegaConfBaseException,
)

from vst.claims import claim, claim_new, release_claims
from vst.companions import brought_along
from vst.console import secure
from vst.errors import UserError
from vst.explain import Explainer
from vst.flags import read_flags
from vst.help import help_text
from vst.jobs import Task, account_of, as_job, exit_codes
from vst.overrides import (
    ENCODED,
    as_meant,
    names_as_given,
    needs_flag,
    parsed_overrides,
    quoted,
    sweep_values,
    wants_sweep,
)
from vst.run_folder import claim_run_folder, goes_on
from vst.schema import PASSED_IN_CODE, WANTED
from vst.signatures import UNKNOWN, check_fields, check_targets, one_line

__all__ = ["claim_output", "command", "compose_job", "compose_or_explain", "plain", "validate"]

VERSION_BASE = "1.3"
SEARCH_PATH = "pkg://conf"


def plain(cfg: DictConfig | ListConfig) -> Any:
    """`cfg` as plain dicts and lists, interpolations resolved, names as they were given."""
    return names_as_given(OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True))


def validate(cfg: DictConfig, schema: type) -> None:
    """Check `cfg` against the dataclass `schema`, the signatures of its `_target_`s and the rules on meaning.

    Imports the targets, builds nothing. Raises UserError with all mistakes: a single one is one line, several
    are a headline and a line for each.
    """
    _refuse(_mistakes(cfg, schema))


def _refuse(mistakes: Iterable[str]) -> None:
    lines = list(dict.fromkeys(mistakes))
    if len(lines) == 1:
        raise UserError(lines[0])
    if lines:
        raise UserError("\n  ".join([f"{len(lines)} mistakes in the configuration", *lines]))


def _mistakes(cfg: DictConfig, schema: type) -> list[str]:
    lines: list[str] = []
    echoes: set[str] = set()
    tree = _resolved(cfg, "", lines, echoes)
    lines += check_fields(tree, schema)
    lines += check_targets(tree, PASSED_IN_CODE)
    from vst.rules import broken_rules  # it loads torch, and help waits for no library

    lines += broken_rules(tree)
    kept = []
    said = {text for where, _, text in (line.partition(": ") for line in lines) if where not in echoes}
    for line in lines:  # a wrong value is reported where it stands, not again at the keys that interpolate it
        where, _, text = line.partition(": ")
        if where not in echoes or text not in said:
            kept.append(line)
            said.add(text)
    return kept


def _resolved(node: DictConfig | ListConfig, path: str, mistakes: list[str], echoes: set[str]) -> Any:
    """The plain tree of `node`, with UNKNOWN for what is missing or cannot be resolved.

    `mistakes` receives a line for each UNKNOWN, `echoes` the paths of interpolations.
    """

    def value(key: Any) -> Any:
        where = f"{path}.{key}" if path else str(key)
        if OmegaConf.is_missing(node, key):
            wanted = f", {WANTED[where]}" if where in WANTED else ""
            mistakes.append(f"{where}: missing; give it as {where}=...{wanted}")
            return UNKNOWN
        if OmegaConf.is_interpolation(node, key):
            echoes.add(where)
        try:
            child = node[key]
        except InterpolationToMissingValueError:
            return UNKNOWN  # the missing value itself is reported where it stands
        except InterpolationResolutionError as error:
            if "ConfigTypeError" not in str(error):  # what is no node is reported where it stands
                mistakes.append(f"{where}: {str(error).splitlines()[0]}")
            return UNKNOWN
        except OmegaConfBaseException as error:
            mistakes.append(f"{where}: {str(error).splitlines()[0]}")
            return UNKNOWN
        return _resolved(child, where, mistakes, echoes) if OmegaConf.is_config(child) else child

    if isinstance(node, ListConfig):
        return [value(i) for i in range(len(node))]
    return {key: value(key) for key in node}


def compose_or_explain(
    config_name: str,
    overrides: Sequence[str],
    schema: type,
    *,
    multirun: bool = False,
    config_dir: str | None = None,
) -> DictConfig:
    """Compose `conf/<config_name>.yaml` with `overrides` and validate it.

    Args:
        overrides: as on the command line; each value of a sweep is checked, one key at a time.
        multirun: whether sweeps are wanted (`-m`, or `hydra.mode=MULTIRUN`).
        config_dir: a further folder of YAML groups (`--config-dir`).

    Returns:
        The configuration as a job gets it; of a sweep, that of its first values.

    Raises:
        UserError: all mistakes of the overrides and of what they compose to.
    """
    return _without_hydra(_compose_checked(config_name, overrides, schema, multirun, config_dir))


def compose_job(config_name: str, overrides: Sequence[str], schema: type) -> tuple[DictConfig, DictConfig]:
    """As `compose_or_explain`; besides, the hydra node of the job, which knows the overrides and the choices."""
    whole = _compose_checked(config_name, overrides, schema, False, None)
    return _without_hydra(whole), whole.hydra


def _compose_checked(
    config_name: str,
    overrides: Sequence[str],
    schema: type,
    multirun: bool,
    config_dir: str | None,
    complete: bool = True,
) -> DictConfig:
    """As `compose_or_explain`, with the hydra node. Unless it has to be `complete`, only overrides are refused."""
    composer = _Composer(config_name, config_dir)
    multirun = multirun or wants_sweep(overrides)
    parsed, mistakes = parsed_overrides(as_meant(overrides, schema, composer.loader, multirun), composer.loader)
    swept = [o for o in parsed if o.is_sweep_override()]
    lines = {o.input_line: [f"{o.get_key_element()}={value}" for value in sweep_values(o)] for o in swept}
    first = [(lines.get(o.input_line) or [o.input_line])[0] for o in parsed]
    cfg, wrong = composer.compose(first)
    foreign = [line for o, line in zip(parsed, first, strict=True) if composer.is_foreign(o, cfg, schema)]
    if foreign:
        first = [line for line in first if line not in foreign]
        parsed = [o for o in parsed if not composer.is_foreign(o, cfg, schema)]
        cfg, wrong = composer.compose(first)
        mistakes += composer.explain_foreign(foreign, cfg)
    checked = functools.partial(composer.check, schema=schema) if complete else lambda cfg: []
    mistakes += [*wrong.values(), *checked(cfg)]
    if not multirun and cfg.hydra.mode != RunMode.MULTIRUN:
        mistakes = [m for m in mistakes if not m.startswith(tuple(o.key_or_group for o in swept))]
        mistakes += [needs_flag(o, schema, composer.loader) for o in swept]
        swept = lines = {}
    for override, fixed in zip(parsed, first, strict=True):
        for changed in lines.get(override.input_line, [])[1:]:
            tried = [changed if line == fixed else line for line in first if line == fixed or line not in wrong]
            other, also_wrong = composer.compose(tried)
            new = [m for m in [*also_wrong.values(), *checked(other)] if m not in mistakes]
            mistakes += [m if m.startswith(override.key_or_group) else f"with {changed}: {m}" for m in new]
    _refuse(mistakes)
    return cfg


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

    def compose(self, overrides: list[str]) -> tuple[DictConfig, dict[str, str]]:
        """The configuration of all overrides that fit, and an explanation for each that does not."""
        try:
            return self._load(overrides), {}
        except Exception:  # whatever is wrong is found again, one override at a time
            pass
        try:
            cfg = self._load([])
        except Exception as error:
            raise UserError(f"conf/{self.config_name}.yaml does not compose: {one_line(error)}") from error
        fitting: list[str] = []
        errors: dict[str, Exception] = {}
        # Choices of groups come first, as in Hydra, and twice: one may bring the group that another chooses.
        is_group = self.loader.repository.group_exists
        choices = [line for line in overrides if is_group(line.partition("=")[0].lstrip("+~"))]
        for line in [*choices, *choices, *(line for line in overrides if line not in choices)]:
            if line not in fitting:
                try:
                    cfg = self._load([*fitting, line])
                    fitting.append(line)
                    errors.pop(line, None)
                except Exception as error:
                    errors[line] = error
        explain = Explainer(self.config_name, self.loader, cfg)
        return cfg, {line: explain(line, errors[line]) for line in overrides if line in errors}

    def is_foreign(self, override: Override, cfg: DictConfig, schema: type) -> bool:
        """Whether it adds a group of another command, whose node `cfg` then has and the command does not."""
        group = override.key_or_group
        place = group.partition("/")[0] if override.package is None else override.package.partition(".")[0]
        known = {field.name for field in fields(schema)}
        return override.is_add() and self.loader.repository.group_exists(group) and place in cfg and place not in known

    def explain_foreign(self, lines: list[str], cfg: DictConfig) -> list[str]:
        """What is told of such overrides; `cfg` is without them."""
        explain = Explainer(self.config_name, self.loader, cfg)
        return [explain(line, ValueError("not of this command")) for line in lines]

    def check(self, cfg: DictConfig, schema: type) -> list[str]:
        """Mistakes of a composed configuration, with `${hydra:...}` as in a job that is about to start."""
        with _as_job(cfg) as job:
            return _mistakes(job, schema)

    def _load(self, overrides: list[str]) -> DictConfig:
        return self.loader.load_configuration(self.config_name, overrides, RunMode.RUN, from_shell=False)


def _without_hydra(cfg: DictConfig) -> DictConfig:
    job = deepcopy(cfg)
    with open_dict(job):
        del job["hydra"]
        for key, node in OmegaConf.to_container(job).items():
            if isinstance(node, dict) and any(str(name).startswith(ENCODED) for name in node):
                job[key] = names_as_given(node)
    return job


@contextmanager
def _as_job(cfg: DictConfig) -> Iterator[DictConfig]:
    """`cfg` without its hydra node, which `${hydra:...}` finds meanwhile as in a running job."""
    whole, instance = deepcopy(cfg), HydraConfig.instance()
    before = instance.cfg
    with open_dict(whole):
        whole.hydra.runtime.output_dir = os.getcwd()
        whole.hydra.job.num, whole.hydra.job.id = 0, "0"
    instance.set_config(whole)
    try:
        yield _without_hydra(whole)
    finally:
        instance.cfg = before


def command(config_name: str, schema: type) -> Callable[[Task], Callable[..., None]]:
    """Decorator: a function of the composed configuration becomes a console command; see the module's top."""

    def decorate(task: Task) -> Callable[..., None]:
        with_hydra = hydra.main(version_base=VERSION_BASE, config_path=SEARCH_PATH, config_name=config_name)
        run_hydra = with_hydra(as_job(task, functools.partial(validate, schema=schema)))

        @functools.wraps(task)
        def main(argv: Sequence[str] | None = None) -> None:
            secure()
            before, job_before = sys.argv, HydraConfig.instance().cfg
            given = before[1:] if argv is None else list(argv)
            try:
                with exit_codes():
                    if explained(config_name, given):
                        return
                    sys.argv = [before[0], *_as_meant(config_name, schema, read_flags(given)[1])]
                    sweep, folder = _preflight(config_name, schema, sys.argv[1:])
                    sys.argv += folder
                    with account_of(sweep), _hydra_raises(in_sweep=sweep is not None):
                        run_hydra()
            finally:
                sys.argv = before
                HydraConfig.instance().cfg = job_before  # where only a configuration is shown, it would stay
                release_claims()

        return main

    return decorate


def explained(config_name: str, arguments: Sequence[str]) -> bool:
    """Whether `arguments` ask for help, which is then printed. `--version` prints, and exits.

    Raises UserError for a flag that there is not. Loads no library that takes long.
    """
    flags, _ = read_flags(arguments)
    if flags.help:
        composer = _Composer(config_name, flags.config_dir)
        parsed, _ = parsed_overrides([line for line in flags.overrides if "=" in line], composer.loader)
        cfg, _ = composer.compose([override.input_line for override in parsed if not override.is_sweep_override()])
        tree = OmegaConf.to_container(_without_hydra(cfg), structured_config_mode=SCMode.DICT)
        folders = [*([Path(flags.config_dir)] if flags.config_dir else []), resources.files("conf")]
        print(help_text(config_name, tree, cfg.hydra.runtime.choices, flags.overrides, folders), flush=True)
    return bool(flags.help)


def _as_meant(config_name: str, schema: type, arguments: Sequence[str]) -> list[str]:
    """The arguments of a command with its overrides as the user means them."""
    args, _ = read_flags(arguments)
    loader = _Composer(args.config_name or config_name, args.config_dir).loader
    return as_meant(arguments, schema, loader, args.multirun or wants_sweep(args.overrides))


def _preflight(config_name: str, schema: type, arguments: Sequence[str]) -> tuple[Path | None, list[str]]:
    """Refuse arguments that cannot run; of those that can, claim the folder.

    Returns the folder of the sweep, if they ask for one, and further arguments that name what was claimed.
    """
    args, _ = read_flags(arguments)
    if args.help or args.hydra_help or args.shell_completion or args.experimental_rerun or args.config_path:
        return None, []
    only_shows, name = bool(args.cfg or args.info), args.config_name or config_name
    cfg = _compose_checked(name, args.overrides, schema, args.multirun, args.config_dir, complete=not only_shows)
    if only_shows:
        for line in brought_along(cfg, cfg.hydra) if args.cfg else ():
            print(f"# {line}")
        return None, []
    in_sweep = args.multirun or cfg.hydra.mode == RunMode.MULTIRUN
    if in_sweep and any(override.startswith("output_dir=") for override in args.overrides):
        raise UserError("output_dir: each job of a sweep has its own; give hydra.sweep.dir=FOLDER instead")
    if in_sweep:
        sweep = claim_output(cfg, "hydra.sweep.dir")
        return sweep, [f"hydra.sweep.dir={quoted(str(sweep))}"]
    return None, _run_folder(cfg)


def _run_folder(cfg: DictConfig) -> list[str]:
    """Claim the folder that Hydra would make and write into unasked; the arguments that let it take this one.

    They are needed: a name made of the time would be another one a second later.
    """
    folder = str(cfg.hydra.run.dir)
    if folder == ".":  # Hydra writes nothing; what the command writes, it claims itself
        return []
    resume = cfg.get("resume")
    claimed = claim_run_folder(folder, is_default=_is_named_by_time(cfg, "hydra.run.dir"), resume=resume)
    kept = ["hydra.output_subdir=null"] if goes_on(claimed, resume) else []  # .hydra tells how the run began
    return [f"hydra.run.dir={quoted(str(claimed))}", *kept]


def claim_output(cfg: DictConfig, key: str) -> Path:
    """Claim the folder `key` for this process; a default, which is a name made of the time, gives way to a free one.

    Raises UserError: it cannot be made, or another process writes there.
    """
    folder = str(OmegaConf.select(cfg, key))
    return claim_new(folder, key) if _is_named_by_time(cfg, key) else claim(folder, key)


def _is_named_by_time(cfg: DictConfig, key: str) -> bool:
    value: Any = OmegaConf.to_container(cfg, resolve=False, structured_config_mode=SCMode.DICT)
    for name in key.split("."):
        value = value[name]
    echo = re.fullmatch(r"\$\{([\w.]+)\}", str(value))
    return _is_named_by_time(cfg, echo[1]) if echo else "${now:" in str(value)


def _hydra_raises(in_sweep: bool) -> AbstractContextManager[None]:
    """In a sweep, let Hydra raise a job's exception; otherwise it prints a traceback and exits."""
    return env_override({"HYDRA_FULL_ERROR": "1"} if in_sweep else {})
