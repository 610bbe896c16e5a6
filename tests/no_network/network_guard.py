"""Makes every connection that leaves this machine fail at once and by name.

A test that reaches for the network passes or fails by where it runs. Python's own sockets are
guarded, and so all that is fetched by urllib; what is written in C++ is not (gRPC, TensorFlow).
"""

from __future__ import annotations

import functools
import ipaddress
import socket

attempts: list[str] = []
"""What was refused since the list was emptied last."""


class NetworkForbidden(BaseException):
    """Not an `Exception`, so that no code takes it for a network that is down and goes on."""


def install() -> None:
    """Guards the sockets of this process; a second call changes nothing."""
    if hasattr(socket.getaddrinfo, "__wrapped__"):
        return
    for name in ("connect", "connect_ex"):
        _guard(socket.socket, name, _host_of_connection)
    for name in ("getaddrinfo", "gethostbyname"):
        _guard(socket, name, _host_to_look_up)


def forbid(what: str) -> None:
    """Refuses, and remembers that it was asked for.

    Raises:
      NetworkForbidden: always.
    """
    attempts.append(what)
    raise NetworkForbidden(f"no test reaches for the network, and this one did: {what}")


def _guard(owner, name: str, host_of) -> None:
    call = getattr(owner, name)

    @functools.wraps(call)
    def guarded(*args, **kwargs):
        host = host_of(*args, **kwargs)
        host = host.decode() if isinstance(host, bytes) else host
        if host and not _is_here(host):
            forbid(host)
        return call(*args, **kwargs)

    setattr(owner, name, guarded)


def _host_of_connection(one: socket.socket, address) -> str | None:
    return address[0] if one.family in (socket.AF_INET, socket.AF_INET6) else None


def _host_to_look_up(host, *_, **__):
    """None for an address in numbers, which nobody has to be asked for."""
    try:
        ipaddress.ip_address(host.decode() if isinstance(host, bytes) else host)
    except ValueError:
        return host
    return None


def _is_here(name: str) -> bool:
    try:
        address = ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return name in ("localhost", socket.gethostname())
    return address.is_loopback or address.is_unspecified
