"""Where the tests run changes nothing: no network, and nothing that lies beside the project."""

from __future__ import annotations

import importlib.metadata
import os
import re
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import network_guard
import pytest
import tensorflow as tf
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
ELSEWHERE = "192.0.2.1"  # of a block that is kept for documentation


@pytest.fixture
def refused():
    """What the guard refused; not held against the test."""
    yield network_guard.attempts
    network_guard.attempts.clear()


@pytest.mark.parametrize(
    "reach",
    [
        lambda: socket.create_connection((ELSEWHERE, 80), 1),
        lambda: socket.socket().connect_ex((ELSEWHERE, 80)),
        lambda: socket.getaddrinfo(b"weights.invalid", 443),
        lambda: urllib.request.urlopen("http://weights.invalid/file.h5", timeout=1),
        lambda: tf.keras.utils.get_file("file.h5", "http://weights.invalid/file.h5"),
    ],
)
def test_what_reaches_for_the_network_fails_by_name(reach, refused):
    with pytest.raises(network_guard.NetworkForbidden, match=f"{ELSEWHERE}|invalid|file.h5"):
        reach()
    assert len(refused) == 1


def test_this_machine_is_not_a_network():
    with socket.create_server(("127.0.0.1", 0)) as server:
        for host in ("127.0.0.1", "localhost"):
            socket.create_connection((host, server.getsockname()[1]), 5).close()
    assert socket.getaddrinfo(None, 0) and socket.getaddrinfo("::1", 0)


def test_a_process_that_a_test_starts_is_guarded_too():
    code = f"import socket; socket.create_connection(({ELSEWHERE!r}, 80), 1)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1 and f"this one did: {ELSEWHERE}" in done.stderr


def test_what_lies_beside_the_project_is_seen_through_its_fixtures_alone(request):
    assert not {"RGAN_COCO_ROOT", "RGAN_WEIGHTS"} & set(os.environ)
    differs = {"coco_root", "weights_dir"}
    for item in request.session.items:
        asks = not differs.isdisjoint(getattr(item, "fixturenames", ()))
        assert (item.get_closest_marker("beside") is not None) == asks, item.nodeid


def test_every_package_of_product_and_tests_is_pinned():
    """Also those that they need in turn: a test must not pass or fail by the day of its install."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = {_plain(line.partition("==")[0]) for line in lines if "==" in line}
    assert len(pinned) == len(lines)
    wanted, known = [("rgan_tf", frozenset({"dev"}))], set()
    while wanted:
        name, extras = wanted.pop()
        if (name, extras) in known:
            continue
        known.add((name, extras))
        for text in importlib.metadata.requires(name) or ():
            needed = Requirement(text)
            marker = needed.marker
            if marker is None or any(marker.evaluate({"extra": e}) for e in extras or {""}):
                wanted.append((needed.name, frozenset(needed.extras)))
    names = {_plain(name) for name, _ in known} - {"rgan-tf"}
    assert len(names) > 60 and names - pinned == set()


@pytest.mark.parametrize("name", ["random_scenes", "small_coco"])
def test_asserts_of_what_tests_share_explain_themselves_whichever_folder_is_run(name):
    """tests/model/conftest.py imports one before pytest does, if that folder is named."""
    assert type(sys.modules[name].__spec__.loader).__name__ == "AssertionRewritingHook"


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
