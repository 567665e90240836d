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
keeps its traceback. In a sweep (`-m`) a job that fails does not stop the others.

Without the command line: `cfg = compose_or_explain("train", ["seed=3"], TrainConfig)`, or
`validate(cfg, TrainConfig)` for a configuration from elsewhere.
"""

from __future__ import annotations

import errno
import functools
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any, NoReturn

import hydra

# Hydra (pinned to 1.3) has no public way to compose beside @hydra.main without touching its global state.
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_config_search_path, get_args_parser
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import env_override, setup_globals
from hydra.errors import HydraException, InstantiationException
from hydra.types import RunMode
from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict
from omegaconf.errors import (
    InterpolationResolutionError,
    InterpolationToMissingValueError,
    OmegaConfBaseException,
)

from vst.companions import brought_along
from vst.errors import UserError
from vst.explain import Explainer
from vst.overrides import as_meant, needs_flag, parsed_overrides, sweep_values, wants_sweep
from vst.rules import broken_rules
from vst.schema import PASSED_IN_CODE, WANTED
from vst.signatures import UNKNOWN, check_fields, check_targets, one_line

__all__ = ["command", "compose_or_explain", "plain", "validate"]

VERSION_BASE = "1.3"
SEARCH_PATH = "pkg://conf"

Task = Callable[[DictConfig], Any]


def plain(cfg: DictConfig | ListConfig) -> Any:
    """`cfg` as plain dicts and lists, interpolations resolved."""
    return OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)


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
        run_hydra = with_hydra(_as_job_function(task, schema))

        @functools.wraps(task)
        def main(argv: Sequence[str] | None = None) -> None:
            before, job_before = sys.argv, HydraConfig.instance().cfg
            given = before[1:] if argv is None else list(argv)
            try:
                with _exit_codes():
                    sys.argv = [before[0], *_as_meant(config_name, schema, given)]
                    with _hydra_raises(in_sweep=_preflight(config_name, schema, sys.argv[1:])):
                        run_hydra()
            finally:
                sys.argv, HydraConfig.instance().cfg = (
                    before,
                    job_before,
                )  # where only a configuration is shown, it stays

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
        except (UserError, InstantiationException, OSError) as error:
            message = _user_mistake(error)
            if message is None:
                raise
            current = HydraConfig.get()
            if current.mode != RunMode.MULTIRUN:
                _print_error(message)
                sys.exit(1)
            # An exception makes Hydra count the job as failed; it shows only the first, after the last job.
            _print_error(f"job {current.job.num} ({' '.join(current.overrides.task)}): {message}")
            raise _ReportedError(message) from error

    return job


def _user_mistake(error: Exception) -> str | None:
    """The message of a UserError, also of one that `instantiate` has wrapped, or None for a defect.

    Another ValueError of a constructor, or Lightning's MisconfigurationException (no GPU), refuses what the
    configuration says as well; the message then begins with the key of the node.
    """
    cause = error.__cause__ if isinstance(error, InstantiationException) else error
    if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT):
        where = f" ({cause.filename})" if cause.filename else ""
        return f"the disk is full{where}; free some space, then start again or resume= from the last checkpoint"
    if isinstance(cause, UserError):
        return str(cause)
    if isinstance(cause, ValueError) or type(cause).__name__ == "MisconfigurationException":
        key = str(error).partition("full_key: ")[2]
        return ": ".join(filter(None, [key.strip(), " ".join(str(cause).split())]))
    return None


def _as_meant(config_name: str, schema: type, arguments: Sequence[str]) -> list[str]:
    """The arguments of a command with its overrides as the user means them."""
    parser = get_args_parser()
    parser.error = _refuse_option
    args, unknown = parser.parse_known_args(arguments)
    if unknown:
        _refuse_option(f"{unknown[0]}: no such option")
    loader = _Composer(args.config_name or config_name, args.config_dir).loader
    return as_meant(arguments, schema, loader, args.multirun or wants_sweep(args.overrides))


def _refuse_option(message: str) -> NoReturn:
    raise UserError(f"{message}; keys are written without dashes, as key=value")


def _preflight(config_name: str, schema: type, arguments: Sequence[str]) -> bool:
    """Refuse arguments that cannot run, and say whether they ask for a sweep."""
    args = get_args_parser().parse_args(arguments)
    if args.help or args.hydra_help or args.shell_completion or args.experimental_rerun or args.config_path:
        return False
    only_shows, name = bool(args.cfg or args.info), args.config_name or config_name
    cfg = _compose_checked(name, args.overrides, schema, args.multirun, args.config_dir, complete=not only_shows)
    if only_shows:
        for line in brought_along(cfg, cfg.hydra) if args.cfg else ():
            print(f"# {line}")
        return False
    in_sweep = args.multirun or cfg.hydra.mode == RunMode.MULTIRUN
    if in_sweep and any(override.startswith("output_dir=") for override in args.overrides):
        raise UserError("output_dir: each job of a sweep has its own; give hydra.sweep.dir=FOLDER instead")
    _check_folder(cfg.hydra.sweep.dir if in_sweep else cfg.hydra.run.dir)
    return in_sweep


def _check_folder(path: str) -> None:
    """Refuse a run folder that cannot be made: Hydra would answer with a traceback."""
    missing = [folder for folder in (Path(path), *Path(path).parents) if not folder.exists()]
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"output_dir={path}: cannot be made ({error.strerror}); give another folder") from error
    for made in missing:  # Hydra makes it, a moment later and so perhaps under another name
        made.rmdir()


def _hydra_raises(in_sweep: bool) -> AbstractContextManager[None]:
    """In a sweep, let Hydra raise a job's exception; otherwise it prints a traceback and exits."""
    return env_override({"HYDRA_FULL_ERROR": "1"} if in_sweep else {})


@contextmanager
def _exit_codes() -> Iterator[None]:
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: nothing half-written stays
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
