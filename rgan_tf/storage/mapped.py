"""Reads rows of memory-mapped arrays."""

from __future__ import annotations

import contextlib
import mmap

import numpy as np

READ_AHEAD_BYTES = 2**30  # smaller files are soon in memory as a whole


def rows_of(array: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Some rows of an array; where that is a large mapped file, all are asked for at once.

    Otherwise the system reads one page after the other, each with its neighbourhood (128 kB by
    default, on some disks megabytes), which throws out of memory what other rows need.

    Args:
      array: [N, ...], a whole `np.memmap` or an ordinary array.
      ids: integer [...], in [0, N).

    Returns:
      [..., ...], equal to `array[ids]`.
    """
    mapping = getattr(array, "_mmap", None)
    if mapping is not None and array.nbytes > READ_AHEAD_BYTES and hasattr(mmap, "MADV_WILLNEED"):
        # The mapping begins at a page, the array somewhere on it.
        first = array.offset % mmap.ALLOCATIONGRANULARITY
        for begin, end in row_runs(ids):
            start, stop = (first + row * array.strides[0] for row in (begin, end))
            start -= start % mmap.PAGESIZE
            # Rows that do not exist, a system that takes no advice: the reading itself tells.
            with contextlib.suppress(ValueError, OSError):
                mapping.madvise(mmap.MADV_WILLNEED, start, stop - start)
    return np.take(np.asarray(array), ids, axis=0)


def rows_or_zeros(array: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """`rows_of`, with zeros where an id is negative.

    The rows are written once, over memory that nobody cleared before: for a batch of crops that is
    much faster than to fill an array of zeros.

    Args:
      array: [N, ...], see `rows_of`.
      ids: integer [...], below N.

    Returns:
      [..., ...], of the array's type.
    """
    is_absent = ids < 0
    if is_absent.all():
        return np.zeros((*ids.shape, *array.shape[1:]), array.dtype)
    rows = rows_of(array, np.where(is_absent, 0, ids))
    rows[is_absent] = 0
    return rows


def row_runs(ids: np.ndarray) -> list[tuple[int, int]]:
    """The runs (first, one after the last) of neighbours among some rows, in order."""
    rows = np.unique(ids)
    if not rows.size:
        return []
    breaks = np.flatnonzero(np.diff(rows) > 1)
    firsts = rows[np.concatenate([[0], breaks + 1])]
    lasts = rows[np.concatenate([breaks, [len(rows) - 1]])]
    return list(zip(firsts.tolist(), (lasts + 1).tolist(), strict=True))
