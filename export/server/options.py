"""Options that the commands of all servers have; imports nothing slow."""

from __future__ import annotations

import argparse

from export.signatures import DEFAULT_NAME
from rgan_tf.arguments import check_least
from rgan_tf.errors import BadInput

_MAX_PORT = 65535


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declares them."""
    parser.add_argument(
        "--name", default=DEFAULT_NAME, help=f"name of the model for clients ({DEFAULT_NAME})"
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1)")
    parser.add_argument(
        "--queue-rows",
        type=int,
        default=4,
        help="number of rows that may wait; further requests are refused at once (4)",
    )
    parser.add_argument(
        "--poll-s", type=float, default=1.0, help="seconds between checks for new versions (1)"
    )
    parser.add_argument(
        "--grace-s", type=float, default=30.0, help="seconds that open requests get at the end (30)"
    )


def check_options(args: argparse.Namespace, ports: tuple[str, ...]) -> None:
    """Checks their ranges, and those of the ports.

    Args:
      args: of the command.
      ports: names of the attributes that are ports.

    Raises:
      BadInput: names the option.
    """
    for option in ports:
        port = getattr(args, option)
        if not 0 <= port <= _MAX_PORT:
            raise BadInput(f"--{option.replace('_', '-')} {port}: must be in [0, {_MAX_PORT}]")
    check_least(args, 1, "queue_rows")
    if not 0.05 <= args.poll_s <= 3600.0:  # also refuses NaN
        raise BadInput(f"--poll-s {args.poll_s:g}: must be in [0.05, 3600]")
    if not 0.0 <= args.grace_s <= 3600.0:
        raise BadInput(f"--grace-s {args.grace_s:g}: must be in [0, 3600]")
