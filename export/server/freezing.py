"""Exempts the modules and models in memory from garbage collection."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Collection
from typing import Any


class Freezer:
    """Freezes the objects in memory, unless an unloaded version still answers a request.

    TensorFlow and a model are hundreds of thousands of objects. A full collection scans them all
    and blocks every thread, and the many lists of a large JSON body cause one after another.
    """

    def __init__(self) -> None:
        self._known: weakref.WeakSet[Any] = weakref.WeakSet()
        self._frozen: weakref.WeakSet[Any] = weakref.WeakSet()
        self._count = 0  # of frozen versions, including those gone since

    def freeze_if_changed(self, loaded: Collection[Any]) -> bool:
        """Freezes the objects in memory if the versions changed since the last call.

        First collects frozen objects that are no longer used; all threads wait for that.

        Args:
          loaded: the versions that answer new requests.

        Returns:
          Whether it froze anything.
        """
        self._known.update(loaded)
        if self._count == len(loaded) and set(self._frozen) == set(loaded):
            return False
        gc.unfreeze()  # otherwise an unloaded version could never be collected
        if set(self._known) != set(loaded):
            return False
        gc.collect()
        gc.freeze()
        self._frozen = weakref.WeakSet(loaded)
        self._count = len(loaded)
        return True
