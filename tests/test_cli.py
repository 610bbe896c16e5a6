"""The contract of the `rgan` command, with commands of our own and with the real table."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import resource
import subprocess
import sys
import time
import types
from pathlib import Path

import numpy as np
import pytest

from rgan_tf import cli
from rgan_tf.errors import BadInput, CorruptData, Diverged, Interrupted

SLOW_IMPORTS = ("tensorflow", "keras", "apache_beam", "tensorflow_gnn")


@pytest.fixture
def command(monkeypatch):
    """Runs `rgan fake ...` whose `main` is the function given."""

    def run(main, *argv: str) -> int:
        module = types.ModuleType("fake_command")
        module.add_arguments = lambda parser: parser.add_argument("--size", type=int, default=8)
        module.main = main
        monkeypatch.setitem(sys.modules, "fake_command", module)
        table = (cli.Command("fake", "fake_command", "for this test"),)
        return cli.main(["fake", *argv], table)

    return run


def test_advice_on_tracing_is_not_for_users(command, caplog):
    def main(arguments):
        import tensorflow as tf

        for factor in range(8):
            tf.function(lambda x, factor=factor: x * factor)(tf.constant(1.0))
        tf.get_logger().warning("something else of %s", "TensorFlow")
        return {}

    assert command(main) == 0
    assert "retracing" not in caplog.text
    assert "something else of TensorFlow" in caplog.text


def test_result_is_json_alone_on_stdout_and_all_else_on_stderr(command, capfd):
    def main(arguments):
        print("progress")
        os.write(1, b"from C\n")
        subprocess.run([sys.executable, "-c", "print('from a child')"], check=True)
        return {"size": arguments.size, "name": "é"}

    assert command(main, "--size", "3") == 0
    out, err = capfd.readouterr()
    assert out == '{"size": 3, "name": "\\u00e9"}\n'
    assert all(text in err for text in ("progress", "from C", "from a child"))
    print("after")
    assert capfd.readouterr().out == "after\n"  # stdout is given back


def test_result_may_hold_arrays_paths_and_what_json_cannot(command, capfd, tmp_path):
    result = {
        "path": tmp_path,
        "scalar": np.float32(0.5),
        "array": np.arange(3),
        "bad": [float("nan"), np.float64("inf")],
        3: (np.bool_(True), None),
    }
    assert command(lambda _: result) == 0
    assert json.loads(capfd.readouterr().out) == {
        "path": str(tmp_path),
        "scalar": 0.5,
        "array": [0, 1, 2],
        "bad": [None, None],
        "3": [True, None],
    }


@pytest.mark.parametrize(
    "error, code",
    [
        (BadInput("what\nwhere"), 2),
        (Diverged("what\nwhere"), 3),
        (CorruptData("what\nwhere"), 4),
        (Interrupted("what\nwhere"), 75),
    ],
)
def test_our_errors_are_one_line_and_their_code(command, capfd, error, code):
    def main(_):
        raise error

    assert command(main) == code
    out, err = capfd.readouterr()
    assert (out, err) == ("", "rgan fake: what where\n")
    assert type(error).__doc__.endswith(f"; exit code {code}.")  # as docs/api.md shows


def test_interruption_and_full_disk(command, capfd):
    def interrupted(_):
        raise KeyboardInterrupt

    def full(_):
        raise OSError(28, "No space left on device", "/data/x")

    assert command(interrupted) == 75
    assert command(full) == 2
    err = capfd.readouterr().err
    assert err.splitlines() == [
        "rgan fake: interrupted",
        "rgan fake: /data/x: No space left on device; free some space and repeat",
    ]


def test_a_closed_output_is_not_a_bug(tmp_path):
    """Nor is a full one; what was made stays, and the code says that the result was not printed."""
    made = tmp_path / "made"
    body = f"    open({str(made)!r}, 'w').close()\n    return {{'made': True}}"
    for stdout, reason in (("/dev/full", "No space left on device"), (None, "Broken pipe")):
        if stdout is None:
            reading, writing = os.pipe()
            os.close(reading)
        else:
            writing = os.open(stdout, os.O_WRONLY)
        process = _console(body, stdout=writing)
        os.close(writing)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 2 and made.exists()
        told = f"standard output: {reason}; the work is done, its result could not be printed"
        assert err == f"rgan fake: {told}\n"
        made.unlink()


@pytest.mark.parametrize("option", ["--help", "--version"])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_what_cannot_be_printed_is_told(option, unbuffered):
    script = f"import sys; from rgan_tf.cli import console; sys.argv[1:] = [{option!r}]; console()"
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-c", script],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
        )
    assert done.returncode == 2
    assert done.stderr.startswith("rgan: standard output: No space left on device\n")


@pytest.mark.parametrize(
    "closed, code, out, err",
    [
        (1, 2, "", "rgan: standard output: is closed; the result goes there (>/dev/null drops"),
        (2, 0, '{"size": 0}\n', ""),  # the file did not take the place of stderr
        (0, 0, '{"size": 0}\n', "said\n"),
    ],
)
def test_a_stream_that_is_closed_is_nobody_elses(tmp_path, closed, code, out, err):
    path = tmp_path / "file"
    body = (
        f"    file = open({str(path)!r}, 'w')\n"
        "    print('said', file=sys.stderr, flush=True)\n"
        f"    import os\n    return {{'size': os.path.getsize({str(path)!r})}}"
    )
    process = _console(body, closed=closed)
    found = process.communicate(timeout=60)
    assert process.returncode == code and found[0] == out and found[1].startswith(err)
    assert bool(found[1]) == bool(err)


def test_an_error_that_nobody_can_read_keeps_its_code():
    with open("/dev/full", "wb") as full:
        process = _console("    raise ValueError", stderr=full)
        process.communicate(timeout=60)
        assert process.returncode == 1
        process = _console(
            "    from rgan_tf.errors import BadInput\n    raise BadInput('x')", stderr=full
        )
        process.communicate(timeout=60)
        assert process.returncode == 2


def test_a_message_does_nothing_to_the_terminal(command, capfd):
    def main(_):
        raise BadInput("a\x1b[2Jb\x00\x07\u202ec\udc80 é")

    assert command(main) == 2
    assert capfd.readouterr().err == "rgan fake: a\\x1b[2Jb\\x00\\x07\\u202ec\\udc80 é\n"


@pytest.mark.parametrize("argv", [["--help"], ["bench", "--help"], ["fake", "--help"]])
def test_readme_and_help_give_the_same_exit_codes(command, capfd, argv):
    if argv[0] == "fake":
        assert command(lambda _: {}, *argv[1:]) == 0
    else:
        assert cli.main(argv) == 0
    readme = Path(__file__).parent.with_name("README.md").read_text()
    for text in (capfd.readouterr().out, readme):
        assert cli.EXIT_CODES in " ".join(text.split())


def test_the_help_of_every_command_and_task_ends_with_the_exit_codes():
    def below(parser):
        yield parser
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                for task in action.choices.values():
                    yield from below(task)

    named = [[command.name] for command in cli.COMMANDS]
    named += [[command.name, task.name] for command in cli.COMMANDS for task in command.tasks]
    parsers = [each for words in named for each in below(cli._build_parser(words, cli.COMMANDS))]
    some = {"rgan bank build", "rgan study make", "rgan prepare coco", "rgan bench gpu-export"}
    assert some <= {parser.prog for parser in parsers}
    for parser in parsers:
        assert " ".join(parser.format_help().split()).endswith(cli.EXIT_CODES), parser.prog


def test_a_name_that_is_too_long_is_the_users(command, capfd, tmp_path):
    assert command(lambda _: (tmp_path / ("x" * 300)).read_text()) == 2
    out, err = capfd.readouterr()
    assert out == "" and err.count("\n") == 1 and err.endswith("xxx: File name too long\n")


def test_a_command_may_answer_many_times_a_line_each(command, capfd):
    def main(_):
        yield {"number": 1}
        print("between")
        yield {"number": np.float64("nan")}

    assert command(main) == 0
    out, err = capfd.readouterr()
    assert out == '{"number": 1}\n{"number": null}\n' and err == "between\n"


@pytest.mark.parametrize(("ends_well", "code"), [(True, 0), (False, 75)])
def test_a_stop_while_a_line_is_printed_is_one_between_the_lines(
    command, capfd, monkeypatch, ends_well, code
):
    """`rgan generate --watch` ends well when it is stopped, but not if it was just printing."""

    def main(_):
        try:
            yield {"number": 1}
        except KeyboardInterrupt:
            if not ends_well:
                raise

    def write(descriptor, data):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_write_all", write)
    assert command(main) == code
    assert capfd.readouterr().err == ("" if ends_well else "rgan fake: interrupted\n")


def test_each_line_is_there_at_once():
    code = (
        "import sys, types\n"
        "from rgan_tf import cli\n"
        "module = types.ModuleType('fake')\n"
        "module.add_arguments = lambda parser: None\n"
        "module.main = lambda _: ({'number': int(line)} for line in sys.stdin)\n"
        "sys.modules['fake'] = module\n"
        "sys.exit(cli.main(['fake'], (cli.Command('fake', 'fake', ''),)))\n"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code], text=True, **pipes) as process:
        for number in (3, 4):
            process.stdin.write(f"{number}\n")
            process.stdin.flush()
            assert process.stdout.readline() == f'{{"number": {number}}}\n'
        process.stdout.close()  # as `| head -2` does
        process.stdin.write("5\n6\n")
        process.stdin.close()
        assert process.wait() == 75
        assert process.stderr.read() == "rgan fake: nobody reads standard output any more\n"


def test_an_error_between_answers_is_reported_as_any_other(command, capfd):
    def main(_):
        yield {"number": 1}
        raise BadInput("what")

    assert command(main) == 2
    assert capfd.readouterr() == ('{"number": 1}\n', "rgan fake: what\n")


@pytest.mark.parametrize("result", [None, [1], {"x": object()}, iter([1])])
def test_a_wrong_result_is_a_bug(command, capfd, result):
    assert command(lambda _: result) == 1
    out, err = capfd.readouterr()
    assert out == "" and "Traceback" in err and "this is a bug" in err


def test_a_bug_shows_its_traceback(command, capfd):
    def main(_):
        return {}["missing"]

    assert command(main) == 1
    err = capfd.readouterr().err
    assert "Traceback" in err and "KeyError: 'missing'" in err and "this is a bug" in err


def test_a_failing_import_is_a_bug_and_hits_only_its_own_command(command, capfd):
    broken = cli.Command("broken", "no_such_module_here", "cannot be imported")
    assert cli.main(["broken"], (broken,)) == 1
    assert "No module named 'no_such_module_here'" in capfd.readouterr().err
    assert cli.main(["--help"], (broken,)) == 0
    assert "cannot be imported" in capfd.readouterr().out


@pytest.mark.parametrize(
    "argv, reason",
    [
        ([], "rgan: name a command: prepare, bank, train"),
        (["trian"], "invalid choice: 'trian'"),
        (["fake", "--size", "x"], "invalid int value: 'x'; see rgan fake --help"),
        (["fake", "--siz", "3"], "unrecognized arguments: --siz"),
    ],
)
def test_wrong_options_are_one_line_and_code_2(command, capfd, argv, reason):
    if argv[:1] == ["fake"]:
        code = command(lambda _: pytest.fail("must not run"), *argv[1:])
    else:
        code = cli.main(argv)
    out, err = capfd.readouterr()
    assert code == 2 and out == ""
    assert err.count("\n") == 1 and reason in err


def test_a_name_that_nobody_registered_says_how_to_register_one(capfd):
    start = ["compare", "procedural_64", "--data", "DATA", "--out", "OUT"]
    cases = {
        ("eval", "--run", "RUN", "--choice", "mine"): True,
        (*start, "--systems", "mine"): True,
        (*start, "--split", "mine"): False,  # nobody can add a split
    }
    for words, is_open in cases.items():
        assert cli.main(list(words)) == 2
        err = capfd.readouterr().err
        assert "invalid choice: 'mine'" in err and ("see RGAN_PLUGINS" in err) is is_open, err


def test_version_and_help_of_a_command(command, capfd):
    assert cli.main(["--version"]) == 0
    assert command(lambda _: pytest.fail("must not run"), "--help") == 0
    out = capfd.readouterr().out
    assert out.startswith("rgan_tf ") and "--size" in out


# Words and entry of every command that does something.
LEAVES = [
    ([entry.name, *([task.name] if entry.tasks else [])], task)
    for entry in cli.COMMANDS
    for task in entry.tasks or (entry,)
]


@pytest.mark.parametrize("argv", [[], ["bench"], *(words for words, _ in LEAVES)])
def test_help_is_quick_and_loads_nothing_slow(argv):
    script = (
        "import sys, time; start = time.perf_counter()\n"
        "from rgan_tf import cli\n"
        f"code = cli.main({argv!r} + ['--help'])\n"
        "print(code, time.perf_counter() - start, file=sys.stderr)\n"
        f"print([name for name in {SLOW_IMPORTS!r} if name in sys.modules], file=sys.stderr)\n"
    )
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    busy_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    *_, timing, loaded = done.stderr.splitlines()
    assert done.stdout.startswith("usage: rgan")
    assert timing.split()[0] == "0" and loaded == "[]", done.stderr
    # Half a second is the promise; a machine busy with other tests gets six times that, but not the
    # processor's own time, which others slow only by its caches.
    assert busy_s < 2 and wall < 3


def test_every_command_has_its_two_functions_and_says_what_its_options_do():
    def options(parser):
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                for task in action.choices.values():
                    yield from options(task)
            else:
                yield action

    for _, entry in LEAVES:
        module = importlib.import_module(entry.module)
        assert callable(module.main), entry.module
        parser = argparse.ArgumentParser()
        module.add_arguments(parser)
        for option in options(parser):
            text = option.help or ""
            assert text and not text.startswith(("of ", "and ", "for ")), (entry.name, option.dest)


def test_a_task_of_a_command_is_named_in_its_errors(monkeypatch, capfd):
    def main(arguments):
        raise BadInput(f"--size {arguments.size}: too small")

    for name in ("fake_task", "other_task"):
        module = types.ModuleType(name)
        module.add_arguments = lambda parser: parser.add_argument("--size", type=int, default=8)
        module.main = main if name == "fake_task" else None
        monkeypatch.setitem(sys.modules, name, module)
    tasks = (cli.Command("small", "fake_task", "a"), cli.Command("large", "other_task", "b"))
    table = (cli.Command("try", "", "for this test", tasks),)
    assert cli.main(["try", "small", "--size", "3"], table) == 2
    assert capfd.readouterr().err == "rgan try small: --size 3: too small\n"
    for words, message in (
        (["try"], "TASK"),
        (["try", "huge"], "invalid choice: 'huge'"),
        (["try", "small", "--colour"], "--colour"),
    ):
        assert cli.main(words, table) == 2
        err = capfd.readouterr().err
        assert message in err and err.count("\n") == 1


def _console(body: str, *, closed: int | None = None, **streams) -> subprocess.Popen:
    script = (
        "import sys, types\nfrom rgan_tf import cli\n"
        "module = types.ModuleType('fake_command')\n"
        "module.add_arguments = lambda parser: None\n"
        f"def main(arguments):\n{body}\n"
        "module.main = main\nsys.modules['fake_command'] = module\n"
        "cli.main.__defaults__ = (None, (cli.Command('fake', 'fake_command', ''),))\n"
        "sys.argv = ['rgan', 'fake']\ncli.console()\n"
    )
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **streams}
    words = [sys.executable, "-c", script]
    if closed is not None:
        words = ["sh", "-c", f'exec "$@" {closed}>&-', "sh", *words]
    return subprocess.Popen(words, **pipes)


def test_nothing_follows_the_result_even_at_exit():
    body = (
        "    import atexit, ctypes\n"
        "    atexit.register(print, 'a late line')\n"
        "    ctypes.CDLL(None).puts(b'buffered in C')\n"
        "    return {'ok': True}"
    )
    process = _console(body)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0 and out == '{"ok": true}\n'
    assert "a late line" in err and "buffered in C" in err


def test_sigterm_cleans_up_and_exits_75(tmp_path):
    body = (
        "    import time\n"
        "    from rgan_tf.storage.files import atomic_folder\n"
        f"    with atomic_folder({str(tmp_path / 'data')!r}):\n"
        "        print('started', file=sys.stderr, flush=True)\n"
        "        time.sleep(60)\n"
    )
    process = _console(body)
    assert process.stderr.readline() == "started\n"
    process.terminate()
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (75, "", "rgan fake: interrupted\n")
    assert list(tmp_path.iterdir()) == []
