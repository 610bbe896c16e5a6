"""Opens ports."""

from __future__ import annotations

import os
import socket

from rgan_tf.errors import BadInput


def listen(host: str, port: int, option: str) -> socket.socket:
    """A listening socket.

    Args:
      host: address or name of this machine.
      port: 0 takes a free one.
      option: the port's option, for messages.

    Raises:
      BadInput: if the port is not available; with the reason.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError) as error:
        raise BadInput(f"--host {host[:80]}: is not an address of this machine") from error
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise refusal(host, port, option, error) from error
    return listener


def check_port(host: str, port: int, option: str) -> None:
    """Checks that `listen` would succeed now.

    Raises:
      BadInput: if it would not.
    """
    listen(host, port, option).close()


def refusal(host: str, port: int, option: str, error: Exception) -> BadInput:
    """The error for a port that is not available."""
    number = getattr(error, "errno", None)
    reason = os.strerror(number) if number else "it is not available"
    return BadInput(f"{option} {port}: {reason} on {host[:80]}; name another, 0 takes a free one")


def address_of(host: str, port: int) -> str:
    """HOST:PORT, with brackets around an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
