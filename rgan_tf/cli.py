"""The `rgan` command: one table of subcommands, each in a module imported only when chosen.

Progress and logs go to stderr. The result is one JSON object on the last line of stdout; a command
with many results prints one per line. Every `--help` ends with the `EXIT_CODES`.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import dataclasses
import importlib
import json
import logging
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any

from rgan_tf.errors import BadInput, Interrupted, RganError, one_line
from rgan_tf.plugins import VARIABLE, load_plugins, place_in_plugins
from rgan_tf.refusals import refusal_of
from rgan_tf.registered_names import OPEN_TO_MORE
from rgan_tf.storage.files import json_value

EXIT_CODES = (
    "Exit codes: 0 ok, 1 a bug, 2 bad input or config, or a refusal by the machine (disk full, no "
    "permission, no answer from a server), 3 diverged, 4 corrupt data, 75 interrupted (the same "
    "command continues)."
)


@dataclasses.dataclass(frozen=True)
class Command:
    """A subcommand.

    Attributes:
      name: what the user types.
      module: a module with `add_arguments(parser)` and `main(arguments)`, which returns a dict or
        an iterator of dicts; must not import anything slow before `main` is called.
      help: one line.
      tasks: its own subcommands, instead of a module.
    """

    name: str
    module: str
    help: str
    tasks: tuple[Command, ...] = ()


_BENCHES = (
    Command("train", "training.bench.train", "the joint training step and the generator's cost"),
    Command(
        "retrieval",
        "training.bench.retrieval",
        "retrieval among 10 to 4096 candidates, against a plain layer",
    ),
    Command(
        "prefilter", "training.bench.prefilter", "exact search and ScaNN on a bank of any size"
    ),
    Command(
        "embedding",
        "training.bench.embedding",
        "building a patch bank, against the backbone alone",
    ),
    Command(
        "boxes",
        "training.bench.boxes",
        "effect of instance codes and the overlap loss on boxes",
    ),
    Command(
        "selection",
        "training.bench.selection",
        "effect of each form of the selection loss on the patch embedding",
    ),
    Command("nodes", "training.bench.nodes", "what one training step starts, without and with XLA"),
    Command("cost", "training.bench.cost", "what a joint step computes, from a config alone"),
    Command(
        "gpu-export",
        "training.bench.gpu.export",
        "the joint step in a folder, to check and time where JAX is and no TensorFlow",
    ),
    Command("rival", "training.bench.rival", "whether a trained rival learned what makes it one"),
    Command("input", "training.bench.input", "the input pipeline of the joint stage alone"),
    Command("crops", "training.bench.crops", "reading crops of a bank that is not in memory"),
    Command(
        "full-size",
        "training.bench.full_size.command",
        "every command once on data as large as COCO or Visual Genome: time, memory, disk",
    ),
    Command("serve", "export.bench.serve", "any server under requests at rising rates"),
    Command(
        "server",
        "export.bench.server",
        "rgan serve against the bare SavedModel, in overload and after a kill",
    ),
)
COMMANDS = (
    Command("prepare", "training.commands.prepare", "turn images into records and a patch bank"),
    Command("bank", "training.commands.bank", "build, change, check and index banks of patches"),
    Command("train", "training.commands.train", "train the stages of a config"),
    Command("eval", "training.commands.eval", "measure a run"),
    Command("report", "training.commands.report", "write a run as one HTML file"),
    Command(
        "study",
        "training.commands.study",
        "ask people which patches fit together, or whose picture fits its scene",
    ),
    Command(
        "compare",
        "training.commands.compare",
        "compare systems under one budget and one judge, as a table",
    ),
    Command("export", "export.commands.export", "write a run as a self-contained SavedModel"),
    Command("generate", "export.commands.generate", "make images from a scene graph"),
    Command(
        "vocabulary", "export.commands.vocabulary", "list the names that a scene graph may use"
    ),
    Command("serve", "export.commands.serve", "answer requests over REST and gRPC"),
    Command("studio", "export.commands.studio", "compose pictures by hand on a page"),
    Command("bench", "", "measure the speed of training, retrieval and serving", _BENCHES),
    Command("demo", "export.commands.demo", "the whole pipeline on the built-in world, in minutes"),
)

_STDOUT = "standard output"


def console() -> None:
    """Entry point of the `rgan` script."""
    # Exits through the same clean-up as Ctrl-C; training installs its own handler.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    _open_standard_streams()
    if sys.stdout is None:
        reason = f"{_STDOUT}: is closed; the result goes there (>/dev/null drops it)"
        sys.exit(_report("rgan", reason, BadInput.exit_code))
    code = main()
    try:
        sys.stdout.flush()
    except (OSError, ValueError):  # already reported, unless a library prints there
        code = code or BadInput.exit_code
    # Nothing that runs at exit may write after the result.
    os.dup2(2, 1)
    sys.exit(code)


def main(argv: Sequence[str] | None = None, commands: Sequence[Command] = COMMANDS) -> int:
    """Runs one subcommand.

    Args:
      argv: the arguments after `rgan`; by default those of the process.
      commands: the table of subcommands.

    Returns:
      The exit code.
    """
    argv = sys.argv[1:] if argv is None else list(argv)
    name = "rgan"
    try:
        _configure_tensorflow()  # before a plugin imports it
        load_plugins()  # before the options, which list what plugins register
        parser = _build_parser(argv, commands)
        arguments = parser.parse_args(argv)
        if arguments.version:
            _print(f"{_version()}\n")
            return 0
        if arguments.command is None:
            raise BadInput(f"name a command: {', '.join(c.name for c in commands)}")
        command = next(c for c in commands if c.name == arguments.command)
        name = f"rgan {command.name}"
        if command.tasks:
            command = next(task for task in command.tasks if task.name == arguments.task)
            name = f"{name} {command.name}"
        _quiet_start()
        with _stdout_for_result() as write:
            result = importlib.import_module(command.module).main(arguments)
            _print_results(result, write, command.module)
        return 0
    except SystemExit as stop:  # --help
        return stop.code if isinstance(stop.code, int) else 0
    except KeyboardInterrupt:
        return _report(name, "interrupted", Interrupted.exit_code)
    except RganError as error:
        return _report(name, str(error), error.exit_code)
    except Exception as error:
        refusal = refusal_of(error)
        return (
            _report_bug(name, error)
            if refusal is None
            else _report(name, refusal, BadInput.exit_code)
        )


class _Parser(argparse.ArgumentParser):
    """Reports a wrong option in one line instead of a page of usage.

    Parsers of tasks are made by this class too, also in the commands' own modules.
    """

    def __init__(self, **options: Any):
        super().__init__(**{"epilog": EXIT_CODES, **options})

    def error(self, message: str):
        raise BadInput(f"{message}; see {self.prog} --help")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        try:
            super()._check_value(action, value)
        except argparse.ArgumentError as error:
            if isinstance(action.choices, list):  # open to additions, as in a config
                error.message += f"; {OPEN_TO_MORE}"
            raise

    def print_help(self, file: Any = None) -> None:
        _print(self.format_help())  # argparse ignores write errors


def _build_parser(argv: Sequence[str], commands: Sequence[Command]) -> argparse.ArgumentParser:
    parser = _Parser(
        prog="rgan",
        allow_abbrev=False,
        description="Scene graph to image by patch retrieval.",
    )
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND")
    words = [argument for argument in argv if not argument.startswith("-")]
    _add_commands(subparsers, commands, words)
    return parser


def _add_commands(subparsers: Any, commands: Sequence[Command], words: list[str]) -> None:
    """Declares the commands, and the arguments of the one named by the first word."""
    for command in commands:
        subparser = subparsers.add_parser(
            command.name,
            help=command.help,
            description=command.help,
            allow_abbrev=False,
        )
        if command.name not in words[:1]:
            continue
        if command.tasks:
            tasks = subparser.add_subparsers(dest="task", required=True, metavar="TASK")
            _add_commands(tasks, command.tasks, words[1:])
        else:
            importlib.import_module(command.module).add_arguments(subparser)


def _version() -> str:
    from importlib import metadata  # slow to import and needed only here

    try:
        return f"rgan_tf {metadata.version('rgan_tf')}"
    except metadata.PackageNotFoundError:
        return "rgan_tf, not installed"


def _configure_tensorflow() -> None:
    """Settings of the user's own win; they take effect when TensorFlow is imported."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # On Linux TensorFlow's default only where it finds instructions for neural networks, such as
    # AVX512_VNNI. Without these, too, oneDNN's kernels train faster (docs/training.md).
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")


def _quiet_start() -> None:
    # Our own limit on pixels is stricter and raises BadInput.
    warnings.filterwarnings("ignore", message="Image size .* exceeds limit")
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(message)s")
    # On a handful of pictures every system's function is traced for one batch, and TensorFlow,
    # which takes them for one function, advises to change the program.
    logging.getLogger("tensorflow").addFilter(_is_no_advice_on_tracing)
    for package in ("rgan_tf", "training", "export"):
        logging.getLogger(package).setLevel(logging.INFO)


def _is_no_advice_on_tracing(record: logging.LogRecord) -> bool:
    return "triggered tf.function retracing" not in str(record.msg)


def _print_results(result: Any, write: Callable[[str], None], module: str) -> None:
    """Prints what a command returned: a dict, or an iterator of them, one by one as they come.

    Raises:
      TypeError: if it is something else.
      Interrupted: if nobody reads the lines of an iterator any more.
    """
    answers_many = isinstance(result, Iterator)
    try:
        for line in result if answers_many else (result,):
            if not isinstance(line, dict):
                raise TypeError(f"{module}.main returned {type(line).__name__}, not dict")
            write(json.dumps(json_value(line), allow_nan=False) + "\n")
    except BadInput as error:
        if answers_many and isinstance(error.__cause__, BrokenPipeError):
            raise Interrupted("nobody reads standard output any more") from error
        raise
    except KeyboardInterrupt as stop:
        if not isinstance(result, Generator):
            raise
        # It came while a line was printed; to the command it means what it always does.
        with contextlib.suppress(StopIteration):
            result.throw(stop)


@contextlib.contextmanager
def _stdout_for_result() -> Iterator[Callable[[str], None]]:
    """Redirects stdout to stderr, C libraries included, except for the result.

    Yields:
      A function that writes text to the real stdout.
    """
    sys.stdout.flush()
    stdout, descriptor = sys.stdout, os.dup(1)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    try:
        yield lambda text: _write_all(descriptor, text.encode("utf-8"))
        # Text still in the buffers of C libraries belongs to stderr too.
        ctypes.CDLL(None).fflush(None)
    finally:
        sys.stdout = stdout
        os.dup2(descriptor, 1)
        os.close(descriptor)


def _print(text: str) -> None:
    try:
        print(text, end="", flush=True)
    except OSError as error:
        raise BadInput(f"{_STDOUT}: {error.strerror}") from error


def _write_all(descriptor: int, data: bytes) -> None:
    try:
        while data:
            data = data[os.write(descriptor, data) :]
    except OSError as error:
        raise BadInput(
            f"{_STDOUT}: {error.strerror}; the work is done, its result could not be printed"
        ) from error


def _open_standard_streams() -> None:
    """Redirects closed standard input and error to /dev/null.

    Otherwise the next opened file would take their place and be read or written as them.
    """
    for descriptor, flags in ((0, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(descriptor)
        except OSError:
            null = os.open(os.devnull, flags)
            if null != descriptor:
                os.dup2(null, descriptor)
                os.close(null)
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)


def _report(name: str, message: str, code: int) -> int:
    with contextlib.suppress(OSError):  # stderr is closed; the exit code still reports it
        print(f"{name}: {one_line(message)}", file=sys.stderr, flush=True)
    return code


def _report_bug(name: str, error: Exception) -> int:
    """Reports an error that nobody foresaw: a bug of ours, unless a plugin raised it."""
    with contextlib.suppress(OSError):
        traceback.print_exc(file=sys.stderr)
    place = place_in_plugins(error)
    if place is None:
        return _report(name, "this is a bug; see the lines above", 1)
    kind = type(error).__name__
    reason = f"{VARIABLE}: {place}: {kind} in your module; see the lines above"
    return _report(name, reason, BadInput.exit_code)
