"""Exempts what stays in memory, the modules and the models, from garbage collection."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Collection
from typing import Any


class Settling:
    """Freezes what is in memory, unless a version that was unloaded still answers a request.

    TensorFlow and a model are hundreds of thousands of objects. A full collection walks them all
    and holds every thread up, and the many lists of a large JSON body cause one after the other.
    """

    def __init__(self) -> None:
        self._known: weakref.WeakSet[Any] = weakref.WeakSet()
        self._frozen: weakref.WeakSet[Any] = weakref.WeakSet()
        self._count = 0  # of them, with those that have gone since

    def freeze_if_changed(self, loaded: Collection[Any]) -> bool:
        """Freezes what is in memory if the versions changed since the last call.

        What was frozen before and is not used any more is collected first; every thread waits for
        that.

        Args:
          loaded: the versions that answer new requests.

        Returns:
          Whether it froze anything now.
        """
        self._known.update(loaded)
        if self._count == len(loaded) and set(self._frozen) == set(loaded):
            return False
        gc.unfreeze()  # else an unloaded version could never be collected
        if set(self._known) != set(loaded):
            return False
        gc.collect()
        gc.freeze()
        self._frozen = weakref.WeakSet(loaded)
        self._count = len(loaded)
        return True
