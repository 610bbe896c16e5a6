"""`rgan bench serve` and `rgan bench server`, as typed."""

from __future__ import annotations

import json
import socket

import pytest

from rgan_tf import cli


def run(capfd, *words) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command in this process."""
    code = cli.main([str(word) for word in words])
    out, err = capfd.readouterr()
    return code, out, err.strip().splitlines()[-1] if err.strip() else ""


@pytest.mark.parametrize(
    "options, message",
    [
        (("--rows", 9), "--rows 9: must be in [1, 8]"),
        (("--rates", 0), "--rates 0"),
        (("--rates", "nan"), "--rates nan"),
        (("--seconds", 0), "--seconds 0"),
        (("--max-in-flight", 0), "--max-in-flight 0"),
        (("--seed", -1), "--seed -1"),
        (("--timeout-s", 0), "--timeout-s 0"),
    ],
)
def test_bad_options_of_a_load_are_one_line(exported, capfd, options, message):
    words = ("bench", "serve", "--server", "http://127.0.0.1:1", "--model", exported.folder)
    code, _, line = run(capfd, *words, *options)
    assert code == 2 and line.startswith("rgan bench serve: ") and message in line


def test_a_server_that_is_not_there_is_one_line(exported, capfd):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        code, out, line = run(
            capfd, "bench", "serve", "--server", url, "--model", exported.folder, "--rates", 1
        )
    assert code == 2 and not out and "127.0.0.1" in line


@pytest.mark.parametrize(
    "options, message",
    [
        (("--seconds", 0), "--seconds"),
        (("--overload", 1), "--overload"),
        (("--rounds", 0), "--rounds 0"),
        (("--model", "nowhere"), "no exported model"),
    ],
)
def test_bad_options_of_the_servers_bench_are_one_line(exported, capfd, options, message):
    code, _, line = run(capfd, "bench", "server", "--model", exported.folder, *options)
    assert code == 2 and message in line


@pytest.mark.slow
def test_the_servers_bench_measures_everything(exported, capfd):
    short = ("--seconds", 1, "--rounds", 1, "--overload-s", 2)
    code, out, line = run(capfd, "bench", "server", "--model", exported.folder, *short)
    assert code == 0, line
    result = json.loads(out)
    assert result["patches"] == exported.model.sizes.patches
    for protocol in ("rest", "grpc"):
        assert 0 < result["latency_ms"][protocol]["p50"] <= result["latency_ms"][protocol]["p99"]
        assert result["throughput"][f"{protocol}/bare"] > 0
    overload = result["overload"]["overload"]
    assert overload["rejected"] > 0 and not overload["errors"]
    assert overload["sent"] == overload["answered"] + overload["rejected"]
    assert result["restart"]["answer_s"] >= result["restart"]["load_s"] > 0
    assert result["stop"]["version"] == 1
