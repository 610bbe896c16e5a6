"""A model that the studio's tests can see through: fixed replies, coloured pictures, no TensorFlow.

    python -m tests.export.studio.stub_engine --port 0

serves the studio's real application over it and prints {"port": N} on one line. In a test:

    with serving_stub() as stub:
        stub.url, stub.engine.calls, stub.engine.swap(), stub.engine.overloaded = True

A bird has one patch, a tree 60, a pine none (it gets those of others), everything else 20. Boxes
come from the relationships, patches from the seed, the colour of a patch from its id, and an image
is its patches pasted into their boxes.
"""

from __future__ import annotations

import argparse
import asyncio
import colorsys
import contextlib
import dataclasses
import functools
import json
import math
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from aiohttp import web
from PIL import Image, ImageDraw

from export.model_folder import ModelFolder
from export.server.http_parts import build_runner
from export.server.ports import listen
from export.service_errors import InvalidRequest, NotFound, Overloaded
from export.signatures import (
    CANDIDATES,
    ENCODE,
    NEIGHBOURS,
    NO_SCORE,
    OWN_PATCH,
    PATCHES,
    RETRIEVE_ONLY,
    SAMPLE,
    Sizes,
)
from export.studio.app import build_app
from export.studio.guard import Guard
from rgan_tf.bank.licences import CODES, licence_code
from rgan_tf.storage.image import encode_png
from rgan_tf.vocabulary import Vocabulary

NAMES = (
    *("bird", "boat", "cloud", "grass", "house", "mountain", "person"),
    *("pine", "sand", "sky", "sun", "tree", "water"),
)
COUNTS = {"bird": 1, "tree": 60, "pine": 0}
LICENCES = (
    "Attribution License",
    "No known copyright restrictions",
    "Attribution-NonCommercial License",
    "Attribution-ShareAlike License",
)
K = 32
SCALE = 24.6
IMAGE, CROP, OWN, WIDTH = 64, 32, 64, 8
O, T = 8, 16  # noqa: E741
BANK = "b" * 64
WEIGHTS = "a" * 64
_MOVES = {  # predicate -> how the subject lies relative to the object
    "left of": (-0.3, 0.0),
    "right of": (0.3, 0.0),
    "above": (0.0, -0.3),
    "below": (0.0, 0.3),
}


@dataclasses.dataclass(frozen=True)
class StubModel(ModelFolder):
    """A model without a folder.

    Attributes:
      rows: provenance of its patches.
    """

    rows: tuple[dict[str, Any], ...] = ()

    @functools.cached_property
    def provenance(self) -> list[dict[str, Any]]:
        return [dict(row) for row in self.rows]


@dataclasses.dataclass(frozen=True)
class StubVersion:
    """One version."""

    number: int
    model: StubModel


def stub_version(
    number: int = 1, *, contract: int = 5, hostile: bool = False, bank: str = BANK
) -> StubVersion:
    """A version of the stub's model.

    Args:
      number: of the version.
      contract: 3 and 4 tell no alternatives.
      hostile: whether licences, links and sources are scripts.
      bank: its checksum.
    """
    rows = []
    for name in NAMES:
        for _ in range(COUNTS.get(name, 20)):
            i = len(rows)
            row = {
                "category": name,
                "source": "stub",
                "image_id": 1000 + i // 3,
                "box": [0.1, 0.2, 0.5 + (i % 5) / 10, 0.9],
                "licence": LICENCES[i % len(LICENCES)],
                "url": f"https://pictures.example/{1000 + i // 3}",
            }
            if hostile:
                row |= {
                    "licence": "<img src=x onerror=\"document.title='owned'\">",
                    "url": ("javascript:document.title='owned'", "procedural://11/0")[i % 2],
                    "source": "</script><script>document.title='owned'</script>",
                    "image_id": "<b>7</b>\nX: y",
                }
            rows.append(row)
    used = {licence_code(row["licence"]) for row in rows}
    licences = tuple(code for code in CODES if code in used)
    vocabulary = Vocabulary.from_categories(NAMES)
    sizes = Sizes(
        objects=O,
        triples=T,
        crop=CROP,
        own_patch=OWN,
        image=IMAGE,
        width=WIDTH,
        patches=len(rows),
        num_objects=vocabulary.num_objects,
        num_predicates=vocabulary.num_predicates,
        licences=len(licences),
        candidates=K if contract >= 5 else 0,
    )
    model = StubModel(
        folder=Path(str(number)),
        vocabulary=vocabulary,
        sizes=sizes,
        licences=licences,
        manifest={"weights": WEIGHTS, "bank": bank},
        contract=contract,
        scale=SCALE if contract >= 5 else None,
        rows=tuple(rows),
    )
    return StubVersion(number, model)


class StubEngine:
    """An `export.studio.engine.Engine`.

    Attributes:
      calls: (version, endpoint, rows) of each run.
      delay_s: seconds that a run takes.
      overloaded: whether requests are refused as by a full queue.
      running, most_running: runs at this moment, and at most at one moment.
    """

    name = "stub"

    def __init__(self, version: StubVersion | None = None, *, delay_s: float = 0.0):
        self._version = version or stub_version()
        self.calls: list[tuple[int, str, int]] = []
        self.delay_s = delay_s
        self.overloaded = False
        self.running = self.most_running = 0

    def swap(self, version: StubVersion | None = None) -> None:
        """Serves another version; by default the same under the next number."""
        self._version = version or dataclasses.replace(
            self._version,
            number=self._version.number + 1,
            model=dataclasses.replace(
                self._version.model, folder=Path(str(self._version.number + 1))
            ),
        )

    def find(self, number: int | None) -> StubVersion:
        if number not in (None, self._version.number):
            raise NotFound(f"version {number} is not served; served: {self._version.number}")
        return self._version

    def check_room(self) -> None:
        if self.overloaded:
            raise Overloaded("4 rows wait already; try again later")

    async def run(self, version, endpoint, fields, deadline):
        self.check_room()
        rows = len(next(iter(fields.values())))
        self.calls.append((version.number, endpoint, rows))
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            await asyncio.sleep(self.delay_s)
            replies = [
                _answer(version.model, endpoint, {name: value[i] for name, value in fields.items()})
                for i in range(rows)
            ]
        finally:
            self.running -= 1
        return {name: np.stack([np.asarray(r[name]) for r in replies]) for name in replies[0]}


def _answer(model: StubModel, endpoint: str, row: dict[str, Any]) -> dict[str, Any]:
    if endpoint == PATCHES:
        files = [crop_png(i) if i >= 0 else b"" for i in row["ids"].tolist()]
        return {"patch_crops_bytes": np.array(files, object)}
    if endpoint == NEIGHBOURS:
        number = int(row["patch_id"])
        allowed = [i for i in _allowed(model, row) if i != number]
        category = model.provenance[number]["category"]
        near = sorted(
            allowed,
            key=lambda i: (model.provenance[i]["category"] != category, _apart([number], i), i),
        )[:K]
        return {
            "neighbour_ids": _padded(near, -1, np.int32),
            "neighbour_distances": _padded(
                [_apart([number], i) for i in near], NO_SCORE, np.float32
            ),
        }
    boxes = _boxes(row)
    count = int(np.count_nonzero(row["objects"]))
    if endpoint == ENCODE:
        return {"boxes": boxes, "graph_features": np.zeros([O, WIDTH], np.float32)}
    _check_licences(model, row, count)
    if endpoint == CANDIDATES:
        return _candidates(model, row, boxes, count)
    return _generate(model, endpoint, row, boxes, count)


def _generate(model, endpoint, row, boxes, count) -> dict[str, Any]:
    own_given = row.get("own_given", np.zeros([O], bool))
    ids = np.full([O], -1, np.int32)
    scores = np.full([O], NO_SCORE, np.float32)
    categories = np.zeros([O], np.int32)
    crops = np.array([b""] * O, object)
    order = []
    ids[:count] = np.where(own_given[:count], OWN_PATCH, row["patch_ids"][:count])
    for position in range(count):
        if ids[position] == -1:
            ids[position] = _drawn(model, row, position, set(ids.tolist()))
            order.append(position)
        if ids[position] >= 0:
            name = model.provenance[ids[position]]["category"]
            categories[position] = model.vocabulary.object_id(name)
            scores[position] = _distance(row, position, int(ids[position]))
            crops[position] = crop_png(int(ids[position]))
    reply = {
        "boxes": boxes,
        "patch_ids": ids,
        "patch_categories": categories,
        "patch_scores": scores,
        "patch_crops_bytes": crops,
        "order": np.array([*order, *[-1] * (O - len(order))], np.int32),
    }
    if endpoint != RETRIEVE_ONLY:
        reply["image_bytes"] = _boxed(_image(row, ids, boxes, count))
    return reply


def _drawn(model, row, position: int, taken: set[int]) -> int:
    """One of the object's candidates: by the seed if the mode draws, else the nearest free one."""
    candidates = _candidate_ids(model, row, position)
    free = [i for i in candidates if i not in taken] or candidates
    if int(row["mode"]) % 3 != SAMPLE:
        return free[0]
    rng = np.random.default_rng([int(row["seed"]), position])
    return free[int(rng.integers(len(free)))]


def _candidates(model, row, boxes, count) -> dict[str, Any]:
    ids = np.full([O, K], -1, np.int32)
    distances = np.full([O, K], NO_SCORE, np.float32)
    groups = np.full([O, K], NO_SCORE, np.float32)
    for position in range(count):
        found = _candidate_ids(model, row, position)
        others = [
            int(i) for place, i in enumerate(row["patch_ids"]) if i >= 0 and place != position
        ]
        ids[position] = _padded(found, -1, np.int32)
        near = [_distance(row, position, i) for i in found]
        distances[position] = _padded(near, NO_SCORE, np.float32)
        if others:
            groups[position] = _padded([_apart(others, i) for i in found], NO_SCORE, np.float32)
    return {
        "candidate_ids": ids,
        "candidate_distances": distances,
        "candidate_group_distances": groups,
        "boxes": boxes,
    }


def _candidate_ids(model, row, position: int) -> list[int]:
    """Nearest first; of the category where it has any."""
    name = model.vocabulary.object_name(int(row["objects"][position]))
    allowed = _allowed(model, row)
    same = [i for i in allowed if model.provenance[i]["category"] == name]
    return sorted(same or allowed, key=lambda i: (_distance(row, position, i), i))[:K]


def _allowed(model, row) -> list[int]:
    refused = row["licences_refused"]
    return [
        i
        for i, patch in enumerate(model.provenance)
        if not refused[model.licences.index(licence_code(patch["licence"]))]
    ]


def _check_licences(model, row, count: int) -> None:
    allowed = set(_allowed(model, row))
    for position, number in enumerate(row["patch_ids"][:count].tolist()):
        if number >= 0 and number not in allowed:
            raise InvalidRequest(f"patch_ids: {number} is refused; wrong in row 0")
        if number >= 0 and row.get("own_given", np.zeros([O], bool))[position]:
            raise InvalidRequest("own_given: has an id too; wrong in row 0")


def _distance(row, position: int, number: int) -> float:
    """Of a patch to an object, in [0, 1)."""
    return (number * 0.618034 + int(row["objects"][position]) * 0.37) % 1.0


def _feature(number: int) -> tuple[float, float]:
    angle = number * 2.399963
    return math.cos(angle), math.sin(angle)


def _apart(others: list[int], number: int) -> float:
    """Of a patch to the mean of others."""
    features = [_feature(other) for other in others]
    mean = [sum(axis) / len(features) for axis in zip(*features, strict=True)]
    return math.dist(mean, _feature(number))


def _padded(values: list[Any], padding: Any, dtype: Any) -> np.ndarray:
    return np.array([*values, *[padding] * (K - len(values))], dtype)


def _boxed(content: bytes) -> np.ndarray:
    """[] of dtype object, which NumPy stacks without looking at the bytes."""
    array = np.empty([], object)
    array[()] = content
    return array


def _boxes(row) -> np.ndarray:
    """[O, 4] y0, x0, y1, x1: the given ones, else by the relationships."""
    count = int(np.count_nonzero(row["objects"]))
    names = (None, "left of", "right of", "above", "below", "inside", "surrounding")
    centres = np.array([[0.3 + 0.13 * (i % 4), 0.35 + 0.15 * (i // 4)] for i in range(count)])
    sides = np.full([count], 0.3)
    for subject, predicate, target in row["triples"].tolist():
        if subject < 0:
            continue
        name = names[predicate]
        if name in _MOVES:
            centres[subject] = centres[target] + _MOVES[name]
        else:
            centres[subject] = centres[target]
            sides[subject] = sides[target] * (0.5 if name == "inside" else 1.6)
    boxes = np.zeros([O, 4], np.float32)
    for i in range(count):
        x, y = np.clip(centres[i], 0.1, 0.9)
        half = sides[i] / 2
        boxes[i] = np.clip([y - half, x - half, y + half, x + half], 0, 1)
    return np.where(row["boxes_given"][:, np.newaxis], row["boxes"], boxes).astype(np.float32)


def colour_of(number: int) -> tuple[int, int, int]:
    """RGB of a patch."""
    red, green, blue = colorsys.hsv_to_rgb(number * 0.618034 % 1.0, 0.6, 0.9 - 0.4 * (number % 2))
    return round(red * 255), round(green * 255), round(blue * 255)


@functools.cache
def crop_png(number: int) -> bytes:
    """A patch as PNG: its colour, with a mark that tells left from right."""
    crop = Image.new("RGB", (CROP, CROP), colour_of(number))
    ImageDraw.Draw(crop).rectangle([2, 2, 9, 9], fill=(255, 255, 255))
    return encode_png(np.asarray(crop))


def _image(row, ids, boxes, count: int) -> bytes:
    image = Image.new("RGB", (IMAGE, IMAGE), (245, 245, 245))
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in boxes[:count]]
    for position in sorted(range(count), key=lambda i: -areas[i]):
        y0, x0, y1, x1 = (round(float(edge) * IMAGE) for edge in boxes[position])
        size = (max(x1 - x0, 1), max(y1 - y0, 1))
        if ids[position] == OWN_PATCH:
            patch = Image.fromarray(row["own_patches"][position])
        else:
            patch = Image.new("RGB", (CROP, CROP), colour_of(int(ids[position])))
        image.paste(patch.resize(size), (x0, y0))
    return encode_png(np.asarray(image))


@dataclasses.dataclass
class Serving:
    """A stub that answers.

    Attributes:
      engine: of it; change it while it answers.
      port: that it listens at.
    """

    engine: StubEngine
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextlib.contextmanager
def serving_stub(
    engine: StubEngine | None = None,
    *,
    port: int = 0,
    token: str | None = None,
    body_timeout_s: float = 10.0,
) -> Iterator[Serving]:
    """Serves the studio over a stub from a thread of this process.

    Args:
      engine: by default a new one.
      port: 0 takes a free one.
      token: as --token.
      body_timeout_s: see `build_app`.
    """
    engine = engine or StubEngine()
    listener = listen("127.0.0.1", port, "--port")
    number = listener.getsockname()[1]
    loop = asyncio.new_event_loop()

    async def start() -> web.AppRunner:
        guard = Guard("127.0.0.1", number, token)
        runner = build_runner(build_app(engine, guard, body_timeout_s=body_timeout_s), grace_s=1.0)
        await runner.setup()
        await web.SockSite(runner, listener).start()
        return runner

    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    runner = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
    try:
        yield Serving(engine, number)
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


def main() -> None:
    """Serves until Ctrl-C or a signal."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=8600)
    parser.add_argument("--token")
    parser.add_argument("--delay-s", type=float, default=0.0)
    parser.add_argument("--contract", type=int, default=5)
    parser.add_argument("--hostile", action="store_true")
    args = parser.parse_args()
    engine = StubEngine(
        stub_version(contract=args.contract, hostile=args.hostile), delay_s=args.delay_s
    )
    with (
        contextlib.suppress(KeyboardInterrupt),
        serving_stub(engine, port=args.port, token=args.token) as stub,
    ):
        print(json.dumps({"port": stub.port, "url": stub.url}), flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    sys.exit(main())
