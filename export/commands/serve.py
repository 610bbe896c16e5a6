"""`rgan serve`: serves one model over REST and gRPC, like TensorFlow Serving.

For one machine without Docker. Clients of TensorFlow Serving work with it, and vice versa.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

from export.signatures import DEFAULT_NAME

_MAX_PORT = 65535


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of `rgan serve`."""
    parser.add_argument("--model", required=True, help="folder of versions, or one version")
    parser.add_argument(
        "--name", default=DEFAULT_NAME, help=f"of the model for clients ({DEFAULT_NAME})"
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at (127.0.0.1)")
    parser.add_argument("--rest-port", type=int, default=8501, help="0 takes a free one (8501)")
    parser.add_argument("--grpc-port", type=int, default=8500, help="0 takes a free one (8500)")
    parser.add_argument(
        "--rest-cors-origin",
        metavar="ORIGIN",
        help="origin whose pages may read the answers, * for all (none)",
    )
    parser.add_argument(
        "--queue-rows",
        type=int,
        default=4,
        help="rows that may wait; further requests are refused at once (4)",
    )
    parser.add_argument(
        "--keep-versions", type=int, default=1, help="number of the newest versions to serve (1)"
    )
    parser.add_argument(
        "--poll-s", type=float, default=1.0, help="seconds between checks for new versions (1)"
    )
    parser.add_argument(
        "--grace-s", type=float, default=30.0, help="seconds for open requests at the end (30)"
    )


def main(args: argparse.Namespace) -> dict[str, Any]:
    """Serves until SIGTERM or SIGINT; returns a summary of the answers."""
    started = time.monotonic()
    from export.publishing.serving_files import check_name
    from rgan_tf.errors import BadInput

    check_name(args.name)
    for option in ("rest_port", "grpc_port"):
        port = getattr(args, option)
        if not 0 <= port <= _MAX_PORT:
            raise BadInput(f"--{option.replace('_', '-')} {port}: must be in [0, {_MAX_PORT}]")
    if args.rest_port and args.rest_port == args.grpc_port:
        raise BadInput(f"--grpc-port {args.grpc_port}: is that of --rest-port; name another")
    for option, lowest in (("queue_rows", 1), ("keep_versions", 1)):
        if getattr(args, option) < lowest:
            name = option.replace("_", "-")
            raise BadInput(f"--{name} {getattr(args, option)}: must be at least {lowest}")
    if not 0.05 <= args.poll_s <= 3600.0:  # also refuses NaN
        raise BadInput(f"--poll-s {args.poll_s:g}: must be in [0.05, 3600]")
    if not 0.0 <= args.grace_s <= 3600.0:
        raise BadInput(f"--grace-s {args.grace_s:g}: must be in [0, 3600]")

    if args.rest_cors_origin is not None:
        from export.server.cors import check_origin

        check_origin(args.rest_cors_origin)

    from export.server.ports import check_port

    check_port(args.host, args.rest_port, "--rest-port")  # before seconds of importing TensorFlow
    check_port(args.host, args.grpc_port, "--grpc-port")

    from export.server.running import serve

    return serve(args, started)
