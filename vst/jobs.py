"""What becomes of a command's jobs: exit statuses, lines in place of tracebacks, and the account of a sweep."""

from __future__ import annotations

import errno
import functools
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, InstantiationException
from hydra.types import RunMode
from omegaconf import DictConfig

from vst.errors import UserError
from vst.sweep import Account

Task = Callable[[DictConfig], Any]


class _ReportedError(UserError):
    """The failure of a sweep's job, which has been shown when the job failed."""


_MISTAKES = (UserError, InstantiationException, OSError)


def as_job(task: Task, check: Callable[[DictConfig], None]) -> Task:
    """`task` as Hydra runs it, after `check` of its configuration: a user's mistake is one line and exit status 1.

    A job of a sweep that fails, for whatever reason, is counted as failed, and the others run.
    """

    @functools.wraps(task)
    def job(cfg: DictConfig) -> Any:
        if HydraConfig.get().mode == RunMode.MULTIRUN:
            return _of_sweep(task, check, cfg)
        try:
            check(cfg)
            return task(cfg)
        except Exception as error:
            if is_interrupt(error):
                raise _interrupt(error) from error
            if not isinstance(error, _MISTAKES) or (message := _user_mistake(error)) is None:
                raise
            print_error(message)
            _print_notes(error)
            sys.exit(1)

    return job


def _interrupt(error: Exception) -> KeyboardInterrupt:
    """What ended the program, in place of what went wrong on the way out, with its notes."""
    interrupt = KeyboardInterrupt()
    for note in getattr(error, "__notes__", ()):
        interrupt.add_note(note)
    return interrupt


def _of_sweep(task: Task, check: Callable[[DictConfig], None], cfg: DictConfig) -> Any:
    current = HydraConfig.get()
    words = list(current.overrides.task)
    note = functools.partial(Account(Path(current.sweep.dir)).note, int(current.job.num), words)
    note("running")
    try:
        check(cfg)
        result = task(cfg)
    except (Exception, SystemExit) as error:
        if is_interrupt(error):
            note("interrupted")
            raise
        message = _user_mistake(error)
        if message is None:  # a defect
            traceback.print_exc()
            message = " ".join(traceback.format_exception_only(error)[0].split())
        print_error(f"job {current.job.num} ({' '.join(words)}): {message}")
        note("failed", message)
        raise _ReportedError(message) from error  # so that Hydra counts the job as failed
    except KeyboardInterrupt:
        note("interrupted")
        raise
    note("done")
    return result


def _user_mistake(error: BaseException) -> str | None:
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


@contextmanager
def exit_codes() -> Iterator[None]:
    """Turn what ends a command into a line on stderr and an exit status: 1 after a mistake, 130 after Ctrl-C."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: nothing half-written stays
    try:
        yield
    except (UserError, HydraException) as error:
        print_error(str(error))
        sys.exit(1)
    except (KeyboardInterrupt, SystemExit) as error:
        if not is_interrupt(error):
            raise
        ignore_interrupts()
        print("interrupted", file=sys.stderr)
        _print_notes(error)
        sys.exit(130)


@contextmanager
def account_of(sweep: Path | None) -> Iterator[None]:
    """After a sweep in the folder `sweep`, raise UserError with the jobs that failed; after Ctrl-C say what is done."""
    if sweep is None:
        yield
        return
    account = Account(sweep)
    try:
        with suppress(_ReportedError):
            yield
    except BaseException as error:
        if said := account.summary() if is_interrupt(error) else account.failures():
            print(said, file=sys.stderr)
        raise
    if failures := account.failures():
        raise UserError(failures)


def is_interrupt(error: BaseException) -> bool:
    """Whether Ctrl-C ends the program, also where something else went wrong on the way out.

    Lightning turns it into exit code 1, and a data worker that got the signal too is an error of the loader.
    """
    found: BaseException | None = error
    while found is not None and not isinstance(found, KeyboardInterrupt):
        found = found.__context__
    return found is not None


def ignore_interrupts() -> None:
    """Once Ctrl-C or SIGTERM has been heard and the program is at its end, do not listen to more of them."""
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)


def _print_notes(error: BaseException) -> None:
    """What the command has added to an exception, such as how to go on. Below a traceback Python prints it itself."""
    for note in getattr(error, "__notes__", ()):
        print(note, file=sys.stderr, flush=True)


def print_error(message: str) -> None:
    print(f"error: {message}", file=sys.stderr, flush=True)
