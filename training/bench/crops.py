"""`rgan bench crops`: reading the crops of a batch from a bank that is not in memory."""

from __future__ import annotations

import argparse
from typing import Any

_SIDE = 64  # px, of a stored crop


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument(
        "--folder",
        required=True,
        help="folder on the disk to measure, in which a file of all crops is made",
    )
    parser.add_argument(
        "--rows",
        type=int,
        default=411_682,
        help="number of crops in the file, of 12 kB each (411682)",
    )
    parser.add_argument(
        "--crops",
        type=int,
        default=1280,
        help="number of crops per batch (1280: 16 scenes, 8 objects, 10 candidates)",
    )
    parser.add_argument(
        "--batches",
        type=int,
        default=8,
        help="number of batches of each kind, whose median counts (8)",
    )


def main(args: argparse.Namespace) -> dict[str, Any]:
    """Times random rows of a mapped file: one by one as the system reads them, and asked for.

    "Cold" is a bank far larger than the memory: before each batch the file's pages are dropped.

    Returns:
      For `plain` (indexing) and `asked` (`rgan_tf.storage.mapped.rows_of`): `cold_ms` and `warm_ms`
      per batch, medians, and `cold_mb` read from the disk per batch.

    Raises:
      BadInput: for a number below 1, or a file too small for `rows_of` to ask.
    """
    import os
    import tempfile
    import time
    from pathlib import Path

    import numpy as np

    from rgan_tf.arguments import check_least
    from rgan_tf.bank.growing_array import GrowingArray
    from rgan_tf.errors import BadInput
    from rgan_tf.storage.mapped import READ_AHEAD_BYTES, rows_of

    check_least(args, 1, "rows", "crops", "batches")
    if args.rows * _SIDE * _SIDE * 3 <= READ_AHEAD_BYTES:
        raise BadInput(
            f"--rows {args.rows}: a bank of up to {READ_AHEAD_BYTES} bytes is kept whole"
        )
    _bytes_read()  # before gigabytes are written: not every system counts them
    rng = np.random.default_rng(0)
    readers = {"plain": lambda array, ids: array[ids], "asked": rows_of}
    times: dict[str, dict[str, list[float]]] = {
        name: {"cold_ms": [], "cold_mb": [], "warm_ms": []} for name in readers
    }

    def read(name: str, kind: str, ids: np.ndarray) -> None:
        array = np.load(path, mmap_mode="r")
        before, start = _bytes_read(), time.perf_counter()
        readers[name](array, ids)
        times[name][f"{kind}_ms"].append(1e3 * (time.perf_counter() - start))
        if kind == "cold":
            times[name]["cold_mb"].append((_bytes_read() - before) / 2**20)

    with tempfile.TemporaryDirectory(dir=args.folder, prefix="rgan-bench-") as folder:
        path = Path(folder) / "crops.npy"
        crops = GrowingArray(path, np.uint8, (_SIDE, _SIDE, 3))
        block = rng.integers(0, 255, [4096, _SIDE, _SIDE, 3], np.uint8)
        for start in range(0, args.rows, len(block)):
            crops.append(block[: args.rows - start])
        crops.close()
        for _ in range(args.batches):
            for name in readers:  # by turns
                ids = rng.integers(args.rows, size=args.crops)
                descriptor = os.open(path, os.O_RDONLY)
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
                os.close(descriptor)
                read(name, "cold", ids)
                np.load(path, mmap_mode="r")[ids].sum()
                read(name, "warm", ids)
    return {
        "rows": args.rows,
        "crops": args.crops,
        **{
            name: {key: round(float(np.median(values)), 1) for key, values in found.items()}
            for name, found in times.items()
        },
    }


def _bytes_read() -> int:
    """Bytes that this process has fetched from disks (Linux)."""
    with open("/proc/self/io") as file:
        lines = dict(line.split(": ") for line in file.read().splitlines())
    return int(lines["read_bytes"])
