"""`rgan bench serve`: any server under requests at rising rates, in an open loop."""

from __future__ import annotations

import argparse
import math
from functools import partial
from typing import Any

from export.signatures import DEFAULT_NAME, ENCODE, GENERATE, RETRIEVE_ONLY

_MOST_ROWS = 1_000_000  # of a run; each has its own seed
_SEEDS_PER_RUN = 2 * _MOST_ROWS  # a margin, because the number of requests is random


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument(
        "--server", required=True, help="server to measure, http://HOST:PORT or grpc://HOST:PORT"
    )
    parser.add_argument("--model", required=True, help="exported model, or its assets.extra alone")
    parser.add_argument(
        "--name", default=DEFAULT_NAME, help=f"name of the model at the server ({DEFAULT_NAME})"
    )
    parser.add_argument(
        "--signature",
        choices=(GENERATE, RETRIEVE_ONLY, ENCODE),
        default=GENERATE,
        help=f"endpoint to ask ({GENERATE})",
    )
    parser.add_argument(
        "--graph",
        help="JSON file with the scene graph to send; without it, graphs with all objects are "
        "drawn at random",
    )
    parser.add_argument("--rows", type=int, default=1, help="number of rows per request (1)")
    parser.add_argument(
        "--rates",
        type=float,
        nargs="+",
        default=[2.0, 5.0, 10.0, 20.0, 40.0],
        metavar="RATE",
        help="rates to send requests at, in requests per second (2 5 10 20 40)",
    )
    parser.add_argument(
        "--seconds", type=float, default=10.0, help="seconds to send requests at each rate (10)"
    )
    parser.add_argument(
        "--timeout-s", type=float, default=5.0, help="seconds to wait for each answer (5)"
    )
    parser.add_argument(
        "--max-in-flight",
        type=int,
        default=512,
        help="number of requests that may be open at once (512)",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of sending times, graphs and patches (0)"
    )


def main(args: argparse.Namespace) -> dict[str, Any]:
    """Sends requests at each rate and counts the outcomes; nothing is sent twice.

    Returns:
      The options that affect the results, and `rates`: for each the result of
      `export.bench.load.summary`.

    Raises:
      BadInput: if an option is out of range or does not fit the model.
      ServiceError: if the first request fails.
    """
    from export.bench.load import run_load, summary
    from export.bench.requests import full_request, requests_of_graph
    from export.client import connect
    from export.signatures import MAX_BATCH
    from rgan_tf.errors import BadInput
    from rgan_tf.progress import progress_bar

    if not 1 <= args.rows <= MAX_BATCH:
        raise BadInput(f"--rows {args.rows}: must be in [1, {MAX_BATCH}]")
    for rate in args.rates:
        if not 0.0 < rate <= 10_000.0:  # also refuses NaN
            raise BadInput(f"--rates {rate:g}: must be in (0, 10000]")
    if not 0.0 < args.seconds < math.inf:
        raise BadInput(f"--seconds {args.seconds:g}: must be above 0")
    if not args.timeout_s > 0.0:  # also refuses NaN
        raise BadInput(f"--timeout-s {args.timeout_s:g}: must be above 0")
    expected = sum(args.rates) * args.seconds
    if expected * args.rows > _MOST_ROWS:
        raise BadInput(
            f"--rates for --seconds {args.seconds:g}: {expected * args.rows:.0f} rows in all; "
            f"must be at most {_MOST_ROWS}"
        )
    if not 1 <= args.max_in_flight <= 4096:
        raise BadInput(f"--max-in-flight {args.max_in_flight}: must be in [1, 4096]")
    if not 0 <= args.seed < 1000:
        raise BadInput(f"--seed {args.seed}: must be in [0, 1000)")

    with connect(
        args.server, args.model, name=args.name, timeout_s=args.timeout_s, is_retrying=False
    ) as client:
        if args.graph:
            of_seed = requests_of_graph(args.signature, client.contract, args.graph, args.rows)
        else:
            of_seed = partial(full_request, args.signature, client.contract, args.rows)

        def ask(number: int) -> None:
            client.predict(args.signature, of_seed(args.seed * _SEEDS_PER_RUN + number * args.rows))

        ask(0)  # reports errors at once
        results = []
        asked = 1
        with progress_bar("requests", math.ceil(expected)) as bar:
            for place, rate in enumerate(args.rates):
                outcomes, not_sent = run_load(
                    lambda number, asked=asked: ask(asked + number),
                    rate=rate,
                    seconds=args.seconds,
                    seed=args.seed * 1000 + place,
                    max_in_flight=args.max_in_flight,
                    tick=bar.update,
                )
                asked += len(outcomes) + not_sent
                results.append(
                    summary(outcomes, not_sent, rate=rate, seconds=args.seconds, rows=args.rows)
                )
    return {
        "server": args.server,
        "name": args.name,
        "version": client.contract.version,
        "signature": args.signature,
        "rows": args.rows,
        "graph": args.graph,
        "timeout_s": args.timeout_s,
        "max_in_flight": args.max_in_flight,
        "seed": args.seed,
        "rates": results,
    }
