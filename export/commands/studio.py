"""`rgan studio`: a page on which a person composes pictures with an exported model."""

from __future__ import annotations

import argparse
import re
import time
from typing import Any

from export.commands import demo
from export.server.options import add_options, check_options
from rgan_tf.errors import BadInput
from rgan_tf.exported import is_exported

_PORT = 8600
_TOKEN = re.compile(r"[A-Za-z0-9._~-]{16,128}")  # what an address may hold as it is


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of `rgan studio`."""
    parser.add_argument(
        "--model",
        help=f"folder of versions, or one version; by default {demo.MODEL}, which rgan demo makes "
        "first if it is not there",
    )
    add_options(parser)
    parser.add_argument(
        "--port",
        type=int,
        default=_PORT,
        help="port of the page; 0 takes a free one, but a browser keeps unsaved work by port "
        f"({_PORT})",
    )
    parser.add_argument(
        "--token",
        help="secret of 16 to 128 letters, digits and . _ ~ - that the page must show; needed "
        "to listen beyond this machine (none)",
    )


def main(args: argparse.Namespace) -> dict[str, Any]:
    """Serves until SIGTERM or SIGINT; returns a summary of the answers."""
    started = time.monotonic()
    from export.publishing.serving_files import check_name
    from export.server.ports import check_port
    from export.studio.guard import is_loopback

    check_name(args.name)
    check_options(args, ("port",))
    if args.token is not None and not _TOKEN.fullmatch(args.token):
        raise BadInput("--token: must be 16 to 128 letters, digits and . _ ~ -")
    if args.token is None and not is_loopback(args.host):
        raise BadInput(
            f"--host {args.host[:80]}: others can reach the studio there; name a --token that they "
            "need, or leave the option out"
        )
    check_port(args.host, args.port, "--port")  # before minutes of work
    if args.model is None:
        args.model = str(demo.MODEL)
        _make_demo()
    if is_exported(args.model):
        from export.model_folder import open_contract
        from export.studio.refusing import check_is_ours

        check_is_ours(open_contract(args.model))

    from export.studio.running import serve_studio

    return serve_studio(args, started)


def _make_demo() -> None:
    if is_exported(demo.MODEL):
        return
    try:
        demo.main(argparse.Namespace(out=demo.OUT, run=demo.RELEASED_RUN))
    except BadInput as error:
        raise BadInput(f"no --model is named, and {demo.MODEL} cannot be made: {error}") from error
