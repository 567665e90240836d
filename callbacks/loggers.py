"""A W&B logger that never asks for an account: online where the user is logged in, else offline."""

import logging
import netrc
import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from pytorch_lightning.loggers import WandbLogger

from vst.errors import UserError, suggest

log = logging.getLogger(__name__)

MODES = ("auto", "online", "offline", "disabled")
# W&B's own variable knows two older names.
ALIASES = {"run": "online", "dryrun": "offline"}


def wandb_logger(
    project: str,
    save_dir: str | Path,
    name: str | None = None,
    group: str | None = None,
    mode: str = "auto",
    tags: Sequence[str] | None = None,
) -> WandbLogger:
    """Build a quiet `WandbLogger` whose files lie in `save_dir`/wandb.

    `mode`: `auto` obeys the environment variable WANDB_MODE or the command `wandb offline` where one of them
    was used, otherwise takes `online` if W&B knows an API key (WANDB_API_KEY, netrc file or W&B settings) and
    `offline` if not; `online`, `offline` and `disabled` are taken as they are. Nothing is ever asked on the
    terminal, and offline needs neither network nor account. One log line says which mode it is and why.

    Raises:
        UserError: W&B is not installed, an unknown mode, or `online` without an API key.
    """
    try:
        import wandb
    except ModuleNotFoundError as error:
        raise UserError("the W&B logger needs the package wandb: pip install wandb, or use logger=csv") from error
    mode, reason = _resolve(mode)
    log.info("W&B: %s (%s)", mode, reason)
    save_dir = Path(save_dir).resolve()  # W&B's own process may have been started in another folder
    save_dir.mkdir(parents=True, exist_ok=True)
    # WandbLogger(offline=True) would set WANDB_MODE for the whole process, so for the next run of a sweep.
    return WandbLogger(
        name=name,
        save_dir=save_dir,
        project=project,
        group=group,
        mode=mode,
        tags=None if tags is None else list(tags),
        settings=wandb.Settings(silent=True),
    )


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
        return value, "set by WANDB_MODE"
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
