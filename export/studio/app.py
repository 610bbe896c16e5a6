"""The studio's page and its JSON API.

    GET  /, /static/NAME                                 the page
    GET  /api/model                                      names, sizes, limits
    POST /api/layout      {graph}                        boxes, contradictions
    POST /api/compose     {graph, own, draws, licences}  1 to 8 samples
    POST /api/candidates  {graph, own, position, licences}
    POST /api/own         a picture                      the same as the model sees it
    POST /api/open        {document}                     graph, own, kept ids, locks, messages
    POST /api/export      {graph, own, draw, licences, locks}   a ZIP file
    GET  /api/versions/N/patches/ID.png?model=ID, .../ID/neighbours?model=ID&licences=CODES

Every error is {"error": "one line", "field": "graph.boxes[2]" or null} with an HTTP status. Imports
no TensorFlow.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from aiohttp import web

from export.requests import Draw, refused_licences
from export.result_folder import describe_sample
from export.server.http_parts import continues, json_errors, read_body
from export.service_errors import NotFound, Unsupported
from export.signatures import (
    CANDIDATES,
    ENCODE,
    GENERATE,
    NEIGHBOURS,
    NO_SCORE,
    RETRIEVE_ONLY,
)
from export.studio.archive import build_archive
from export.studio.description import (
    describe_model,
    describe_patch,
    id_of,
    read_demo_graphs,
    with_codes,
)
from export.studio.documents import open_document
from export.studio.engine import Engine
from export.studio.guard import JSON_TYPES, PICTURE_TYPES, Guard, add_headers, check_type
from export.studio.pictures import PatchPictures
from export.studio.reading import (
    Scene,
    candidate_fields,
    own_png,
    read_all_draws,
    read_draw,
    read_licences,
    read_object,
    read_position,
    read_positions,
    read_scene,
    read_version,
)
from export.studio.refused import GRAPH, Refused, as_refused
from rgan_tf.contradictions import contradictions
from rgan_tf.scene_graph import MAX_FILE_BYTES

STATIC = Path(__file__).parent / "static"
MAX_UPLOAD_BYTES = 8 * 2**20
MAX_BODY_BYTES = 2 * 2**20
MAX_GRAPH_BODY_BYTES = MAX_FILE_BYTES + 1024  # a graph and what is around it

_TIMEOUT_S = 30.0
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
}
_INDEX = "index.html"
_FOREVER = "private, max-age=31536000, immutable"  # the ids of a model never change
_LARGE_BYTES = 16 * 2**10  # larger bodies are read outside the event loop
_NUMBER = re.compile(r"0|[1-9][0-9]{0,18}")


def build_app(engine: Engine, guard: Guard, *, body_timeout_s: float = _TIMEOUT_S):
    """The application, to be served by `export.server.http_parts.build_runner`.

    Args:
      engine: answers for the model.
      guard: says who is let in.
      body_timeout_s: seconds for the body of a request.
    """
    studio = _Studio(engine, body_timeout_s)
    errors = json_errors(lambda error: {"field": getattr(error, "field", None)})
    app = web.Application(client_max_size=MAX_UPLOAD_BYTES, middlewares=[errors, guard.middleware])
    app.on_response_prepare.append(add_headers)
    app.on_cleanup.append(studio.close)

    def get(path: str, handler) -> None:
        app.router.add_get(path, handler, expect_handler=continues(0))

    def post(path: str, handler, limit: int) -> None:
        app.router.add_post(path, handler, expect_handler=continues(limit))

    for path, handler in _static_files(STATIC).items():
        get(path, handler)
    get("/api/model", studio.model)
    post("/api/layout", studio.layout, MAX_GRAPH_BODY_BYTES)
    post("/api/compose", studio.compose, MAX_BODY_BYTES)
    post("/api/candidates", studio.candidates, MAX_BODY_BYTES)
    post("/api/own", studio.own, MAX_UPLOAD_BYTES)
    post("/api/open", studio.open, MAX_BODY_BYTES)
    post("/api/export", studio.export, MAX_BODY_BYTES)
    get("/api/versions/{version}/patches/{patch}.png", studio.patch)
    get("/api/versions/{version}/patches/{patch}/neighbours", studio.neighbours)
    return app


class _Studio:
    """Handlers of the API."""

    def __init__(self, engine: Engine, body_timeout_s: float):
        self._engine = engine
        self._body_timeout_s = body_timeout_s
        self._graphs = read_demo_graphs()
        self._pictures = PatchPictures(engine, _TIMEOUT_S)
        # One thread each: pictures take memory, and are decoded one after another; a drag does not
        # wait for them.
        self._reading = ThreadPoolExecutor(1, "reading")
        self._decoding = ThreadPoolExecutor(1, "decoding")

    async def close(self, app: web.Application) -> None:
        """Called at the end of the application."""
        await self._pictures.close()
        self._reading.shutdown()
        self._decoding.shutdown()

    async def model(self, request: web.Request) -> web.Response:
        version = self._engine.find(None)
        parts = (self._engine.name, version, MAX_UPLOAD_BYTES, self._graphs)
        return web.json_response(describe_model(*parts))

    async def layout(self, request: web.Request) -> web.Response:
        body = await self._body(request, MAX_GRAPH_BODY_BYTES, (GRAPH,), ())
        version = self._find(read_version(body), body.get("model"))
        scene = read_scene({GRAPH: body[GRAPH]}, version.model)
        names = ("objects", "triples", "boxes", "boxes_given")
        fields = {name: scene.request.fields[name] for name in names}
        (row,) = await self._run(version, ENCODE, [fields])
        return web.json_response(
            {
                "version": version.number,
                "boxes": _boxes(row["boxes"], len(scene.graph.objects)),
                "contradictions": [
                    {
                        "relationship": scene.graph.relationships.index(relationship),
                        "text": one.text(scene.graph.objects),
                    }
                    for one in contradictions(scene.graph)
                    for relationship in one.relationships
                ],
            }
        )

    async def compose(self, request: web.Request) -> web.Response:
        body = await self._body(
            request, MAX_BODY_BYTES, (GRAPH, "draws"), ("own", "licences", "image")
        )
        version = self._find(read_version(body), body.get("model"))
        draws = read_all_draws(body["draws"], version.model)
        has_image = body.get("image", True)
        if not isinstance(has_image, bool):
            raise Refused("image: must be true or false", "image")
        scene = await self._read_scene(body, version)
        replies = await self._draw(scene, draws, version, has_image=has_image)
        samples = []
        for draw, reply in zip(draws, replies, strict=True):
            image = reply["image_bytes"] if has_image else None
            samples.append(
                {
                    **with_codes(describe_sample(scene.request, reply, draw, version.model)),
                    "order": [int(position) for position in reply["order"] if position >= 0],
                    "image": None if image is None else base64.b64encode(image).decode("ascii"),
                }
            )
        return web.json_response({"version": version.number, "samples": samples})

    async def candidates(self, request: web.Request) -> web.Response:
        body = await self._body(request, MAX_BODY_BYTES, (GRAPH, "position"), ("own", "licences"))
        version = self._find(read_version(body), body.get("model"))
        _check_has_candidates(version)
        position = read_position(body["position"], body)
        # What the object has now does not matter, even if the licences refuse it.
        scene = await self._read_scene(_without_id(body, position), version)
        fields = candidate_fields(scene, position, version.model)
        (row,) = await self._run(version, CANDIDATES, [fields])
        names = ("candidate_ids", "candidate_distances", "candidate_group_distances")
        columns = zip(*(row[name][position] for name in names), strict=True)
        return web.json_response(
            {
                "version": version.number,
                "candidates": [
                    {
                        **describe_patch(int(number), version.model),
                        "distance": float(distance),
                        "group_distance": None if group == NO_SCORE else float(group),
                    }
                    for number, distance, group in columns
                    if number >= 0
                ],
            }
        )

    async def own(self, request: web.Request) -> web.Response:
        check_type(request, PICTURE_TYPES)
        side = self._engine.find(None).model.sizes.own_patch
        data = await read_body(request, MAX_UPLOAD_BYTES, self._body_timeout_s)
        with as_refused("body"):
            png = await self._in_thread(self._decoding, own_png, data, "of yours", side)
        return web.json_response(
            {
                "png": base64.b64encode(png).decode("ascii"),
                "sha256": hashlib.sha256(png).hexdigest(),
            }
        )

    async def open(self, request: web.Request) -> web.Response:
        body = await self._body(request, MAX_BODY_BYTES, ("document",), ())
        version = self._find(read_version(body), body.get("model"))
        opened = await self._in_thread(
            self._decoding, open_document, body["document"], version.model
        )
        return web.json_response({"version": version.number, **opened})

    async def export(self, request: web.Request) -> web.Response:
        body = await self._body(
            request, MAX_BODY_BYTES, (GRAPH,), ("own", "draw", "licences", "locks")
        )
        version = self._find(read_version(body), body.get("model"))
        draw = body.get("draw")
        draw = read_draw({} if draw is None else draw, "draw", version.model)
        scene = await self._read_scene(body, version)
        locks = read_positions(body.get("locks"), "locks", len(scene.graph.objects))
        (reply,) = await self._draw(scene, [draw], version, has_image=True)
        parts = (scene, reply, draw, locks, self._engine.name, version.model)
        content = await self._in_thread(self._reading, build_archive, *parts)
        headers = {"Content-Disposition": 'attachment; filename="scene.zip"'}
        return web.Response(body=content, content_type="application/zip", headers=headers)

    async def patch(self, request: web.Request) -> web.Response:
        version, number = self._patch_of(request)
        content = await self._pictures.get(version, number)
        # Only with the model's id is another model, served here later, asked under another path.
        headers = {"Cache-Control": _FOREVER} if "model" in request.query else None
        return web.Response(body=content, content_type="image/png", headers=headers)

    async def neighbours(self, request: web.Request) -> web.Response:
        version, number = self._patch_of(request)
        codes = request.query.getall("licences", [])
        licences = read_licences(codes[0].split(",") if codes else None, version.model)
        fields = {
            "patch_id": np.int32(number),
            "licences_refused": refused_licences(licences, version.model),
        }
        (row,) = await self._run(version, NEIGHBOURS, [fields])
        return web.json_response(
            {
                "version": version.number,
                "neighbours": [
                    {**describe_patch(int(other), version.model), "distance": float(distance)}
                    for other, distance in zip(
                        row["neighbour_ids"], row["neighbour_distances"], strict=True
                    )
                    if other >= 0
                ],
            }
        )

    # Parts of these

    async def _body(
        self, request: web.Request, limit: int, needed: tuple[str, ...], optional: tuple[str, ...]
    ) -> dict[str, Any]:
        check_type(request, JSON_TYPES)
        self._engine.find(None)  # before reading anything
        self._engine.check_room()
        data = await read_body(request, limit, self._body_timeout_s)
        keys = (needed, (*optional, "version", "model"))
        if len(data) <= _LARGE_BYTES:
            return read_object(data, *keys)
        return await self._in_thread(self._reading, read_object, data, *keys)

    def _find(self, number: int | None, model: Any) -> Any:
        """The version, if it is still of the model that a request is meant for; None for any."""
        version = self._engine.find(number)
        if model not in (None, id_of(version.model)):
            raise NotFound(
                f"model: version {version.number} is of another model now; ask /api/model again"
            )
        return version

    async def _read_scene(self, body: Mapping[str, Any], version: Any) -> Scene:
        if not body.get("own"):
            return read_scene(body, version.model)
        return await self._in_thread(self._reading, read_scene, body, version.model)

    async def _draw(
        self, scene: Scene, draws: list[Draw], version: Any, *, has_image: bool
    ) -> list[dict[str, Any]]:
        """One row for each draw, values by field name."""
        endpoint = scene.request.endpoint
        if endpoint == GENERATE and not has_image:
            endpoint = RETRIEVE_ONLY
        rows = [{**scene.request.fields, **draw.fields} for draw in draws]
        return await self._run(version, endpoint, rows)

    async def _run(
        self, version: Any, endpoint: str, rows: list[dict[str, Any]]
    ) -> list[dict[str, Any]]:
        fields = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
        deadline = time.monotonic() + _TIMEOUT_S
        reply = await self._engine.run(version, endpoint, fields, deadline)
        return [{name: value[i] for name, value in reply.items()} for i in range(len(rows))]

    def _patch_of(self, request: web.Request) -> tuple[Any, int]:
        """Version and id that a path names."""
        number, patch = request.match_info["version"], request.match_info["patch"]
        if not _NUMBER.fullmatch(number) or not _NUMBER.fullmatch(patch):
            raise NotFound("a path is /api/versions/NUMBER/patches/NUMBER.png or .../neighbours")
        version = self._find(int(number), request.query.get("model"))
        _check_has_candidates(version)
        if int(patch) >= version.model.sizes.patches:
            raise NotFound(f"patch {patch}: this version has {version.model.sizes.patches} patches")
        return version, int(patch)

    async def _in_thread(self, pool: ThreadPoolExecutor, function: Callable[..., Any], *args: Any):
        """Calls the function outside the event loop."""
        return await asyncio.get_running_loop().run_in_executor(pool, function, *args)


def _check_has_candidates(version: Any) -> None:
    if not version.model.has_candidates:
        raise Unsupported(
            "this model was exported by an earlier version and cannot list alternatives; export it "
            "again with rgan export"
        )


def _without_id(body: Mapping[str, Any], position: int) -> dict[str, Any]:
    """The body, where the object at the position has no id; anything else wrong there stays."""
    graph = body[GRAPH]
    patches = graph.get("patches")
    if not isinstance(patches, list):
        return dict(body)
    freed = [None if i == position and type(n) is int else n for i, n in enumerate(patches)]
    return {**body, GRAPH: {**graph, "patches": freed}}


def _boxes(boxes: np.ndarray, count: int) -> list[list[float]]:
    """[y0, x0, y1, x1] as JSON's [x0, y0, x1, y1], in the shortest numbers that are the same."""
    return [[float(str(edge)) for edge in box[[1, 0, 3, 2]]] for box in boxes[:count]]


def _static_files(folder: Path) -> dict[str, Any]:
    """Path -> handler of each file; nothing in a request ever becomes part of a file's name."""
    handlers = {}
    for file in sorted(folder.iterdir()):
        if file.suffix in _TYPES:
            path = "/" if file.name == _INDEX else f"/static/{file.name}"
            handlers[path] = _static_file(file.read_bytes(), _TYPES[file.suffix])
    return handlers


def _static_file(content: bytes, content_type: str):
    etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    headers = {"Content-Type": content_type, "Cache-Control": "no-cache", "ETag": etag}

    async def handle(request: web.Request) -> web.Response:
        if request.headers.get("If-None-Match") == etag:
            return web.Response(status=304, headers={"Cache-Control": "no-cache", "ETag": etag})
        return web.Response(body=content, headers=headers)

    return handle
