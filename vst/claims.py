"""Folders that one process at a time writes into: claimed before anything is written, never guessed to be free."""

from __future__ import annotations

from contextlib import suppress
from itertools import count
from pathlib import Path

from filelock import FileLock, Timeout

from vst.errors import UserError

LOCK = ".lock"
"""File within a claimed folder. The system drops the lock with the process, however that ends."""

_claims: dict[Path, FileLock] = {}


def claim(folder: str | Path, key: str) -> Path:
    """Make `folder` if need be, and keep other processes from claiming it until `release_claims`.

    A folder may be claimed again by the process that has it. `key` is its name in the configuration, for messages.

    Raises:
        UserError: it cannot be made, or another process has claimed it.
    """
    folder = Path(folder)
    if folder.resolve() in _claims:
        return folder
    lock = FileLock(folder / LOCK, blocking=False)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout as error:
        raise UserError(f"{key}={folder}: another process is writing there; give another folder") from error
    except OSError as error:
        raise _cannot_be_made(folder, key, error) from error
    _claims[folder.resolve()] = lock
    return folder


def claim_new(folder: str | Path, key: str) -> Path:
    """Claim the first of `folder`, `folder`_2, `folder`_3 and so on that does not exist yet, and return it.

    Raises:
        UserError: none can be made.
    """
    folder = Path(folder)
    for number in count(1):
        free = folder if number == 1 else folder.with_name(f"{folder.name}_{number}")
        try:
            free.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _cannot_be_made(folder, key, error) from error
        try:
            free.mkdir()  # of two processes that try, the system lets one
        except FileExistsError:
            continue
        except OSError as error:
            raise _cannot_be_made(folder, key, error) from error
        return claim(free, key)
    raise AssertionError("unreachable: count() has no end")


def release_claims() -> None:
    """Give back all folders that this process has claimed."""
    while _claims:
        folder, lock = _claims.popitem()
        with suppress(OSError):  # Windows keeps a file that is open; the folder may be gone
            (folder / LOCK).unlink()  # while it is held: another process might have taken it a moment later
        lock.release()


def _cannot_be_made(folder: Path, key: str, error: OSError) -> UserError:
    return UserError(f"{key}={folder}: cannot be made ({error.strerror}); give another folder")
