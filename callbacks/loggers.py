"""Loggers that training never fails or waits for: metrics.csv, and W&B online where it answers, else offline."""

import csv
import logging
import netrc
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from lightning_fabric.loggers.logger import rank_zero_experiment
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import CSVLogger, WandbLogger
from pytorch_lightning.loggers.csv_logs import ExperimentWriter

from vst.errors import UserError, suggest
from vst.run_folder import goes_on

log = logging.getLogger(__name__)

MODES = ("auto", "online", "offline", "disabled")
# W&B's own variable knows two older names.
ALIASES = {"run": "online", "dryrun": "offline"}
BY_VARIABLE = "set by WANDB_MODE"
INIT_SECONDS = 8.0  # for W&B's server to answer; WANDB_INIT_TIMEOUT gives it another time
FINISH_SECONDS = 30.0  # for the rest to be sent at the end of a run


class MetricsLogger(CSVLogger):
    """Lightning's CSVLogger, which goes on with the metrics.csv that is there, and holds all when a checkpoint does."""

    @property
    @rank_zero_experiment
    def experiment(self) -> ExperimentWriter:
        if self._experiment is None:
            self._experiment = _Appending(log_dir=self.log_dir)
        return self._experiment

    def after_save_checkpoint(self, checkpoint_callback: ModelCheckpoint) -> None:
        self.save()


class _Appending(ExperimentWriter):
    def _check_log_dir_exists(self) -> None:
        """Lightning would delete the file here."""
        if os.path.isfile(self.metrics_file_path):
            with open(self.metrics_file_path, newline="") as file:
                self.metrics_keys = next(csv.reader(file), [])


class PatientWandbLogger(WandbLogger):
    """A WandbLogger that goes offline where the server cannot be used, and off where W&B breaks down altogether.

    Args:
        must_be_online: at the start, raise UserError instead of going offline.
        options: of WandbLogger; `mode` is online, offline or disabled.
    """

    def __init__(self, must_be_online: bool, **options: Any) -> None:
        super().__init__(**options)
        self._must_be_online = must_be_online

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        while self._experiment is None:
            try:
                return super().experiment
            except Exception as error:  # of W&B, its service, the network, or the settings of either
                if self._must_be_online:
                    raise UserError(
                        f"W&B: {_server()} cannot be used ({_reason(error)}); check network and API key, or choose "
                        "logger.wandb.mode=auto"
                    ) from error
                self._step_back(f"{_server()} cannot be used", error)
        return self._experiment

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        self._outlive(super().log_hyperparams, *args, **kwargs)

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        self._outlive(super().log_metrics, metrics, step)

    def _outlive(self, function: Callable[..., None], *args: Any, **kwargs: Any) -> None:
        """A run is worth more than its curves: where W&B breaks down, training goes on, and the curves offline."""
        _ = self.experiment
        try:
            function(*args, **kwargs)
        except Exception as error:
            self._must_be_online = False
            self._step_back("it broke down", error)
            self._outlive(function, *args, **kwargs)

    def _step_back(self, what: str, error: Exception) -> None:
        """From online to offline, from offline to disabled, with a line. Raises `error` where W&B is disabled."""
        import wandb

        mode = self._wandb_init["mode"]
        if mode == "disabled":
            raise error
        self._wandb_init["mode"] = MODES[MODES.index(mode) + 1]
        self._wandb_init["id"] = self.version  # it stays one run
        log.warning("W&B: %s, since %s (%s)", self._wandb_init["mode"], what, _reason(error))
        self._experiment = None
        for end in (wandb.finish, wandb.teardown):  # its process may be gone, and the next run starts another
            with suppress(Exception):
                end()
        wandb.run = None  # which it still is where it could not be finished, and Lightning would take it up
        wandb.setup(wandb.Settings(silent=True))


def _server() -> str:
    import wandb

    return wandb.setup().settings.base_url


def _reason(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def wandb_logger(
    project: str,
    save_dir: str | Path,
    name: str | None = None,
    group: str | None = None,
    mode: str = "auto",
    tags: Sequence[str] | None = None,
    resume: str | None = None,
) -> WandbLogger:
    """Build a quiet `WandbLogger` whose files lie in `save_dir`/wandb.

    `mode`: `auto` obeys the environment variable WANDB_MODE or the command `wandb offline` where one of them
    was used, otherwise takes `online` if W&B knows an API key (WANDB_API_KEY, netrc file or W&B settings) and
    `offline` if not; `online`, `offline` and `disabled` are taken as they are. Nothing is ever asked on the
    terminal, and offline needs neither network nor account. One log line says which mode it is and why. Where the
    server does not answer in time or refuses, a run that `auto` has taken online goes offline, with a line.

    `resume`: the checkpoint that training goes on from. Within `save_dir`, the W&B run there is gone on with.

    Raises:
        UserError: W&B is not installed, an unknown mode, or `online` without an API key. Later, when the run is
            opened: it was asked for online, and the server cannot be used.
    """
    try:
        import wandb
    except ModuleNotFoundError as error:
        raise UserError("the W&B logger needs the package wandb: pip install wandb, or use logger=csv") from error
    wandb.setup(wandb.Settings(silent=True))
    for library in ("opentelemetry", "wandb.sdk.lib"):  # they show what is said here in one line
        logging.getLogger(library).setLevel(logging.CRITICAL)
    asked, (mode, reason) = mode, _resolve(mode)
    log.info("W&B: %s (%s)", mode, reason)
    save_dir = Path(save_dir).resolve()  # W&B's own process may have been started in another folder
    save_dir.mkdir(parents=True, exist_ok=True)
    # WandbLogger(offline=True) would set WANDB_MODE for the whole process, so for the next run of a sweep.
    settings = wandb.Settings(silent=True, finish_timeout=FINISH_SECONDS, finish_timeout_raises=True)
    if "WANDB_INIT_TIMEOUT" not in os.environ:
        settings.init_timeout = INIT_SECONDS
    return PatientWandbLogger(
        must_be_online=asked == "online" or (asked == "auto" and reason == BY_VARIABLE),
        id=_run_id(save_dir) if goes_on(save_dir, resume) else None,
        name=name,
        save_dir=save_dir,
        project=project,
        group=group,
        mode=mode,
        tags=None if tags is None else list(tags),
        settings=settings,
    )


def _run_id(save_dir: Path) -> str | None:
    """The id of the latest W&B run in `save_dir`: its log is wandb/<name>/run-<id>.wandb."""
    logs = sorted(save_dir.glob("wandb/*run-*/run-*.wandb"), key=lambda path: path.stat().st_mtime)
    return logs[-1].stem.removeprefix("run-") if logs else None


def _resolve(mode: str) -> tuple[str, str]:
    """The mode for `wandb.init` and the reason for it."""
    if mode not in MODES:
        raise UserError(f"W&B mode {mode!r}: choose one of {', '.join(MODES)}{suggest(mode, MODES)}")
    key = None if mode in ("offline", "disabled") else _key_source()
    if mode == "online" and key is None:
        raise UserError("W&B mode 'online' needs an API key: run `wandb login`, set WANDB_API_KEY, or use mode=auto")
    if mode != "auto":
        return mode, "chosen in the config"
    chosen, reason = _chosen_outside()
    if chosen is not None:
        return chosen, reason
    if key is not None:
        return "online", f"API key found in {key}"
    return "offline", "no API key found; `wandb login` would switch to online"


def _chosen_outside() -> tuple[str | None, str]:
    """The mode that the user set for W&B itself, if any."""
    import wandb

    if value := os.environ.get("WANDB_MODE"):
        value = ALIASES.get(value, value)
        if value not in MODES[1:]:
            raise UserError(f"WANDB_MODE is {value!r}: choose one of {', '.join(MODES[1:])}")
        return value, BY_VARIABLE
    setting = ALIASES.get(wandb.setup().settings.mode, wandb.setup().settings.mode)
    if setting in ("offline", "disabled"):
        return setting, "set in the W&B settings file"
    return None, ""


def _key_source() -> str | None:
    """Where W&B would find an API key, or None if it would have to ask for one."""
    import wandb

    for variable in ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE"):
        if os.environ.get(variable):
            return variable
    settings = wandb.setup().settings
    path = _netrc_path()
    if _has_password(path, os.environ.get("WANDB_BASE_URL") or settings.base_url):
        return str(path)
    return "the W&B settings" if settings.api_key else None


def _netrc_path() -> Path:
    if path := os.environ.get("NETRC"):
        return Path(path).expanduser()
    candidates = [Path("~/.netrc").expanduser(), Path("~/_netrc").expanduser()]
    return next((path for path in candidates if path.exists()), candidates[0])


def _has_password(path: Path, base_url: str) -> bool:
    """Whether a netrc file names a password for the W&B server, under any of the public server's names."""
    import wandb

    host, public = urlsplit(base_url).netloc, urlsplit(wandb.Settings().base_url).netloc
    hosts = {public, "api.wandb.ai"}
    try:
        entries = netrc.netrc(path)
    except (OSError, netrc.NetrcParseError):  # W&B itself takes an unreadable file as no file
        return False
    found = (entries.authenticators(name) for name in (hosts if host in hosts else {host}))
    return any(entry is not None and entry[2] for entry in found)
