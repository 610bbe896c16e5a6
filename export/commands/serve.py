"""`rgan serve`: serves one model over REST and gRPC, like TensorFlow Serving.

For one machine without Docker. Clients of TensorFlow Serving work with it, and vice versa.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

from export.server.options import add_options, check_options
from rgan_tf.arguments import check_least


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of `rgan serve`."""
    parser.add_argument("--model", required=True, help="folder of versions, or one version")
    add_options(parser)
    parser.add_argument(
        "--rest-port", type=int, default=8501, help="port for REST; 0 takes a free one (8501)"
    )
    parser.add_argument(
        "--grpc-port", type=int, default=8500, help="port for gRPC; 0 takes a free one (8500)"
    )
    parser.add_argument(
        "--rest-cors-origin",
        metavar="ORIGIN",
        help="origin whose pages may read the answers; * allows all (none)",
    )
    parser.add_argument(
        "--keep-versions", type=int, default=1, help="number of the newest versions to serve (1)"
    )


def main(args: argparse.Namespace) -> dict[str, Any]:
    """Serves until SIGTERM or SIGINT; returns a summary of the answers."""
    started = time.monotonic()
    from export.publishing.serving_files import check_name
    from rgan_tf.errors import BadInput

    check_name(args.name)
    check_options(args, ("rest_port", "grpc_port"))
    if args.rest_port and args.rest_port == args.grpc_port:
        raise BadInput(f"--grpc-port {args.grpc_port}: is that of --rest-port; name another")
    check_least(args, 1, "keep_versions")

    if args.rest_cors_origin is not None:
        from export.server.cors import check_origin

        check_origin(args.rest_cors_origin)

    from export.server.ports import check_port

    check_port(args.host, args.rest_port, "--rest-port")  # before seconds of importing TensorFlow
    check_port(args.host, args.grpc_port, "--grpc-port")

    from export.server.running import serve

    return serve(args, started)
