"""Keeps the garbage collector away from what stays: the modules, and the models in memory."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Collection
from typing import Any


class Settling:
    """Sets aside what is in memory, unless a version that was given up still answers somebody.

    TensorFlow and a model are hundreds of thousands of objects. A full collection walks them all
    and holds every thread up, and the many lists of a large JSON body cause one after the other.
    """

    def __init__(self) -> None:
        self._known: weakref.WeakSet[Any] = weakref.WeakSet()
        self._set_aside: weakref.WeakSet[Any] = weakref.WeakSet()
        self._count = 0  # of them, with those that have gone since

    def look(self, loaded: Collection[Any]) -> bool:
        """Sets aside what is there if the versions are others than before.

        What was set aside before is collected first where nobody needs it any more, for which
        every thread waits.

        Args:
          loaded: the versions that answer new requests.

        Returns:
          Whether something was set aside now.
        """
        self._known.update(loaded)
        if self._count == len(loaded) and set(self._set_aside) == set(loaded):
            return False
        gc.unfreeze()  # else what is given up could never be collected
        if set(self._known) != set(loaded):
            return False
        gc.collect()
        gc.freeze()
        self._set_aside = weakref.WeakSet(loaded)
        self._count = len(loaded)
        return True
