"""A place for one item between two threads, where a newer one takes the place of an older one."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

Item = TypeVar("Item")


class LatestSlot(Generic[Item]):
    """Latest wins: `put` never waits, `get` waits for an item that it has not had.

    What waits is one item at most, so that a slow receiver falls behind by one item and no more.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._item: Item | None = None
        self._closed = False

    @property
    def done(self) -> bool:
        """Whether it is closed and its last item taken."""
        with self._changed:
            return self._closed and self._item is None

    def put(self, item: Item) -> bool:
        """Leave `item`; whether another one that nobody took was dropped for it. After `close` it is dropped itself."""
        with self._changed:
            if self._closed:
                return True
            dropped, self._item = self._item is not None, item
            self._changed.notify()
            return dropped

    def get(self, timeout: float) -> Item | None:
        """Take the item, once there is one; None after `timeout` seconds, and when closed and empty."""
        with self._changed:
            self._changed.wait_for(lambda: self._item is not None or self._closed, timeout)
            item, self._item = self._item, None
            return item

    def close(self) -> None:
        """Take no more items. The one that waits can still be had."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
