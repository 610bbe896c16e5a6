"""`rgan bench server`: `rgan serve` against the bare SavedModel, in overload and after a kill."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

_CLIENTS = 2  # of a closed loop: one request runs while the next is in transit
_NOMINAL = 0.8  # of the server's maximum rate


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument("--model", required=True, help="exported model")
    parser.add_argument(
        "--seconds", type=float, default=10.0, help="seconds of each measurement (10)"
    )
    parser.add_argument(
        "--rounds",
        type=int,
        default=3,
        help="number of rounds of the throughput, whose median is reported (3)",
    )
    parser.add_argument(
        "--overload-s", type=float, default=60.0, help="seconds of the overload (60)"
    )
    parser.add_argument(
        "--overload",
        type=float,
        default=10.0,
        help="rate of the overload, as a multiple of the nominal rate (10)",
    )
    parser.add_argument(
        "--queue-rows",
        type=int,
        default=None,
        help="number of rows that may wait, as for `rgan serve` (its default)",
    )


def main(args: argparse.Namespace) -> dict[str, Any]:
    """Starts its own servers and measures them one after another.

    Clients run on this machine too and take their share of it. Every graph has the maximum number
    of objects.

    Returns:
      `latency`: milliseconds of sequential requests of one row, by protocol.
      `throughput`: rows per second in requests of 8 rows, medians of the rounds: of the SavedModel
      called in this process, of the server by protocol, and their ratios.
      `overload`: one-row requests in an open loop, see `export.bench.load`, at the nominal rate,
      which is 0.8 of the server's rate in a closed loop, and at a multiple of it; `recovery_s`:
      from the end of the overload until five consecutive answers were as fast as 99 % of those at
      the nominal rate.
      `restart`: seconds from SIGKILL to the first answer, and how many of these are loading.
      `stop`: the server's result at the end.

    Raises:
      BadInput: if a number is out of range or there is no model.
    """
    from export.bench.server_parts import (
        measure_latency,
        measure_overload,
        measure_restart,
        measure_throughput,
    )
    from export.bench.server_process import ServerProcess
    from export.model_folder import open_model
    from rgan_tf.arguments import check_least
    from rgan_tf.errors import BadInput

    for option, value, above in (
        ("--seconds", args.seconds, 0),
        ("--overload-s", args.overload_s, 0),
        ("--overload", args.overload, 1),
    ):
        if not above < value < math.inf:
            raise BadInput(f"{option} {value:g}: must be above {above} and finite")
    check_least(args, 1, "rounds", "queue_rows")
    model = open_model(args.model)
    queue = () if args.queue_rows is None else ("--queue-rows", str(args.queue_rows))
    server = ServerProcess(Path(args.model), *queue)
    try:
        result: dict[str, Any] = {
            "model": str(model.folder),
            "patches": model.sizes.patches,
            "objects": model.sizes.objects,
            "image_px": model.sizes.image,
            "latency_ms": measure_latency(server, model, args.seconds),
            "throughput": measure_throughput(
                server, model, args.seconds, args.rounds, clients=_CLIENTS
            ),
            "overload": measure_overload(
                server,
                model,
                args.seconds,
                nominal=_NOMINAL,
                times=args.overload,
                overload_s=args.overload_s,
            ),
        }
        server, result["restart"] = measure_restart(server, Path(args.model), model, queue)
        result["stop"] = server.stop()
    except BaseException:
        server.kill()
        raise
    return result
