"""Ports to listen at."""

from __future__ import annotations

import os
import socket

from rgan_tf.errors import BadInput


def listen(host: str, port: int, option: str) -> socket.socket:
    """A socket that listens.

    Args:
      host: address or name of this machine.
      port: 0 takes a free one.
      option: that named the port, for messages.

    Raises:
      BadInput: if it cannot be had, with the reason.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError) as error:
        raise BadInput(f"--host {host[:80]}: is no address of this machine") from error
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
    """Whether `listen` would succeed now.

    Raises:
      BadInput: if not.
    """
    listen(host, port, option).close()


def refusal(host: str, port: int, option: str, error: Exception) -> BadInput:
    """What to say of a port that cannot be had."""
    number = getattr(error, "errno", None)
    reason = os.strerror(number) if number else "it cannot be had"
    return BadInput(f"{option} {port}: {reason} on {host[:80]}; name another, 0 takes a free one")


def address_of(host: str, port: int) -> str:
    """HOST:PORT, with brackets where an address of version 6 needs them."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
