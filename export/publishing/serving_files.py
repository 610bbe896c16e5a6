"""Files for operators of the stock TensorFlow Serving image, beside the versions of a model.

    MODEL/serving/models.config       which model, and which of its versions
    MODEL/serving/batching.config     how requests are merged, and how many may wait
    MODEL/serving/monitoring.config   metrics for Prometheus
    MODEL/serving/docker-compose.yml  the server: `docker compose up -d` in that folder

They belong to the operator from then on: existing files are never overwritten. TensorFlow Serving
only looks for numbers and ignores this folder. Imports no TensorFlow.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

from export.signatures import ALLOWED_BATCHES, MAX_BATCH
from rgan_tf.errors import BadInput
from rgan_tf.storage.files import write_bytes_atomic

SERVING = "serving"
MODELS, BATCHING, MONITORING = "models.config", "batching.config", "monitoring.config"
COMPOSE = "docker-compose.yml"
FILES = (MODELS, BATCHING, MONITORING, COMPOSE)
IMAGE = "tensorflow/serving:2.15.1"
METRICS_PATH = "/monitoring/prometheus/metrics"

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_BATCH_THREADS = 2
_BATCH_TIMEOUT_MICROS = 2000

_MODELS_TEXT = """\
# Read again every few seconds: a change takes effect without a restart.
model_config_list {
  config {
    name: "@NAME@"
    base_path: "/models/@NAME@"
    model_platform: "tensorflow"
    # The newest version is served. To go back to version 3 and stay there, put this instead:
    #   model_version_policy { specific { versions: 3 } }
    model_version_policy { latest { num_versions: 1 } }
  }
}
"""

_BATCHING_TEXT = """\
# Requests that arrive within batch_timeout_micros run together, padded to an allowed size. What
# finds the queue full is refused (UNAVAILABLE), so that nobody waits without end.
max_batch_size { value: @MAX_BATCH@ }
batch_timeout_micros { value: @TIMEOUT@ }
num_batch_threads { value: @THREADS@ }
max_enqueued_batches { value: @THREADS@ }
@ALLOWED@
"""

_MONITORING_TEXT = """\
prometheus_config {
  enable: true
  path: "@METRICS@"
}
"""

_COMPOSE_TEXT = """\
# In this folder: docker compose up -d
# Both ports are open to this machine only: the server neither encrypts nor asks who calls. To let
# others in, put a proxy that does both before it.
services:
  serving:
    image: "@IMAGE@"
    # The server itself, without the image's script around it, so that it gets the signals.
    entrypoint: ["tensorflow_model_server"]
    command:
      - "--port=8500"
      - "--rest_api_port=8501"
      - "--model_config_file=/models/@NAME@/serving/models.config"
      - "--model_config_file_poll_wait_seconds=5"
      - "--enable_batching=true"
      - "--batching_parameters_file=/models/@NAME@/serving/batching.config"
      - "--monitoring_config_file=/models/@NAME@/serving/monitoring.config"
      - "--file_system_poll_wait_seconds=1"
      - "--enable_model_warmup=true"
    init: true
    restart: "unless-stopped"
    stop_grace_period: "30s"
    ports:
      - "127.0.0.1:8500:8500"  # gRPC
      - "127.0.0.1:8501:8501"  # REST, and metrics at @METRICS@
    volumes:
      - type: "bind"
        source: ".."
        target: "/models/@NAME@"
        read_only: true
    healthcheck:
      # The image has no curl.
      test:
        - "CMD"
        - "bash"
        - "-c"
        - >-
          exec 3<>/dev/tcp/127.0.0.1/8501 &&
          printf '%s\\r\\n' 'GET /v1/models/@NAME@ HTTP/1.1' 'Host: localhost'
          'Connection: close' '' >&3 &&
          grep -q '"state": "AVAILABLE"' <&3
      interval: "10s"
      timeout: "5s"
      start_period: "120s"
      retries: 3
"""


def check_name(name: str) -> None:
    """Refuses a name that cannot be used unchanged in a URL, a path and these files.

    Raises:
      BadInput: if it cannot.
    """
    if not _NAME.fullmatch(name) or not name.strip("."):
        raise BadInput(
            f"--name {name[:80]!r}: must be 1 to 64 of the characters A-Z a-z 0-9 _ . -, and not "
            "dots alone"
        )


def check_serving_folder(model: str | Path) -> None:
    """Refuses a model folder where something else has the folder's name.

    Raises:
      BadInput: if it is not a folder.
    """
    folder = Path(model) / SERVING
    if (folder.exists() or folder.is_symlink()) and not folder.is_dir():
        raise BadInput(f"{folder}: lies where the server's files go; move it")


def is_serving_folder(path: Path) -> bool:
    """Whether it is such a folder with nothing else in it."""
    return (
        path.name == SERVING
        and path.is_dir()
        and all(inside.name in FILES or inside.name.startswith(".") for inside in path.iterdir())
    )


def serving_files(name: str) -> dict[str, str]:
    """The files by name.

    Args:
      name: of the model for clients.

    Raises:
      BadInput: if the name is not usable.
    """
    check_name(name)
    values = {
        "@NAME@": name,
        "@IMAGE@": IMAGE,
        "@METRICS@": METRICS_PATH,
        "@MAX_BATCH@": str(MAX_BATCH),
        "@TIMEOUT@": str(_BATCH_TIMEOUT_MICROS),
        "@THREADS@": str(_BATCH_THREADS),
        "@ALLOWED@": "\n".join(f"allowed_batch_sizes: {size}" for size in ALLOWED_BATCHES),
    }
    texts = dict(
        zip(FILES, (_MODELS_TEXT, _BATCHING_TEXT, _MONITORING_TEXT, _COMPOSE_TEXT), strict=True)
    )
    for file, text in texts.items():
        for key, value in values.items():
            text = text.replace(key, value)
        texts[file] = text
    return texts


def write_serving_files(model: str | Path, name: str) -> dict[str, Any]:
    """Writes the missing files; each appears completely or not at all.

    Args:
      model: folder of the versions.
      name: of the model for clients.

    Returns:
      `folder`, and the names `written` and `kept`.

    Raises:
      BadInput: if the name is not usable, or something else is in the folder's place.
    """
    texts = serving_files(name)
    check_serving_folder(model)
    folder = Path(model) / SERVING
    # Also respects a dangling link.
    kept = [file for file in FILES if (folder / file).exists() or (folder / file).is_symlink()]
    written = [file for file in FILES if file not in kept]
    for file in written:
        write_bytes_atomic(folder / file, texts[file].encode("utf-8"))
    for file in (MODELS, COMPOSE):
        if file in kept and not _names(folder / file, name):
            logging.getLogger(__name__).warning(
                "%s already exists and does not name --name %s; delete it to have it rewritten",
                folder / file,
                name,
            )
    return {"folder": str(folder), "written": written, "kept": kept}


def _names(path: Path, name: str) -> bool:
    """Whether a file names a model as these files do; unreadable files do not."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False
    return re.search(rf"/models/{re.escape(name)}(?![A-Za-z0-9_.-])", text) is not None
