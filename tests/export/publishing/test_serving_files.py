"""What an operator of the stock image gets: read by TensorFlow Serving's own definitions."""

from __future__ import annotations

import http.server
import subprocess
import threading

import pytest
import yaml
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format
from google.protobuf.wrappers_pb2 import DESCRIPTOR as WRAPPERS
from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

from export.publishing import serving_files
from export.publishing.publish import check_destination, publish
from export.publishing.serving_files import FILES, write_serving_files
from export.signatures import ALLOWED_BATCHES, MAX_BATCH
from rgan_tf.errors import BadInput
from rgan_tf.exported import versions

NAME = "my-model.2"
TEXTS = serving_files.serving_files(NAME)


def message_class(name, fields, messages=()):
    """A message type as TensorFlow Serving 2.15 declares it; tensorflow-serving-api lacks these.

    Args:
      name: of the message.
      fields: (number, name, type, whether repeated); a type with a dot is a message.
      messages: further message types, as pairs of name and fields.
    """
    file = descriptor_pb2.FileDescriptorProto(
        name=f"{name}.proto", package="tensorflow.serving", syntax="proto3"
    )
    file.dependency.append(WRAPPERS.name)
    kinds = descriptor_pb2.FieldDescriptorProto
    for message, table in ((name, fields), *messages):
        added = file.message_type.add(name=message)
        for number, field, kind, repeated in table:
            entry = added.field.add(number=number, name=field)
            entry.label = kinds.LABEL_REPEATED if repeated else kinds.LABEL_OPTIONAL
            if "." in kind:
                entry.type, entry.type_name = kinds.TYPE_MESSAGE, kind
            else:
                entry.type = getattr(kinds, f"TYPE_{kind.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(WRAPPERS.serialized_pb)
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"tensorflow.serving.{name}"))


INT64, STRING = ".google.protobuf.Int64Value", ".google.protobuf.StringValue"
# servables/tensorflow/session_bundle_config.proto
BATCHING_PARAMETERS = (
    (1, "max_batch_size", INT64, False),
    (2, "batch_timeout_micros", INT64, False),
    (3, "max_enqueued_batches", INT64, False),
    (4, "num_batch_threads", INT64, False),
    (5, "thread_pool_name", STRING, False),
    (6, "allowed_batch_sizes", "int64", True),
    (7, "pad_variable_length_inputs", "bool", False),
)
# config/monitoring_config.proto
MONITORING = ((1, "prometheus_config", ".tensorflow.serving.PrometheusConfig", False),)
PROMETHEUS = ((1, "enable", "bool", False), (2, "path", "string", False))


def test_models_config_serves_the_newest_version():
    config = text_format.Parse(TEXTS["models.config"], ModelServerConfig())
    (model,) = config.model_config_list.config
    assert (model.name, model.base_path) == (NAME, f"/models/{NAME}")
    assert model.model_platform == "tensorflow"
    assert model.model_version_policy.WhichOneof("policy_choice") == "latest"
    assert model.model_version_policy.latest.num_versions == 1


def test_the_commented_example_pins_a_version():
    text = TEXTS["models.config"]
    (example,) = [line for line in text.splitlines() if "specific" in line]
    pinned = text.replace("model_version_policy { latest { num_versions: 1 } }", "").replace(
        example, example.replace("#", "")
    )
    config = text_format.Parse(pinned, ModelServerConfig())
    policy = config.model_config_list.config[0].model_version_policy
    assert list(policy.specific.versions) == [3]


def test_batching_config_is_what_the_model_allows_and_bounded():
    parameters = text_format.Parse(
        TEXTS["batching.config"], message_class("BatchingParameters", BATCHING_PARAMETERS)()
    )
    assert parameters.max_batch_size.value == MAX_BATCH == 8
    assert list(parameters.allowed_batch_sizes) == list(ALLOWED_BATCHES) == [1, 2, 4, 8]
    assert parameters.allowed_batch_sizes[-1] == parameters.max_batch_size.value
    assert parameters.batch_timeout_micros.value == 2000
    assert parameters.max_enqueued_batches.value == parameters.num_batch_threads.value == 2


def test_monitoring_config_is_for_prometheus():
    kind = message_class("MonitoringConfig", MONITORING, (("PrometheusConfig", PROMETHEUS),))
    config = text_format.Parse(TEXTS["monitoring.config"], kind()).prometheus_config
    assert config.enable and config.path == "/monitoring/prometheus/metrics"


def test_a_misspelt_field_would_be_noticed():
    text = TEXTS["batching.config"].replace("max_batch_size", "max_batches")
    with pytest.raises(text_format.ParseError, match="max_batches"):
        text_format.Parse(text, message_class("BatchingParameters", BATCHING_PARAMETERS)())


def service():
    (found,) = yaml.safe_load(TEXTS["docker-compose.yml"])["services"].values()
    return found


def test_compose_starts_the_stock_image_with_these_files():
    found = service()
    assert found["image"] == "tensorflow/serving:2.15.1" and found["init"] is True
    assert found["ports"] == ["127.0.0.1:8500:8500", "127.0.0.1:8501:8501"]
    (volume,) = found["volumes"]
    assert volume == {
        "type": "bind",
        "source": "..",
        "target": f"/models/{NAME}",
        "read_only": True,
    }
    options = dict(word.removeprefix("--").split("=") for word in found["command"])
    assert options["enable_batching"] == options["enable_model_warmup"] == "true"
    assert options["file_system_poll_wait_seconds"] == "1"
    assert (options["port"], options["rest_api_port"]) == ("8500", "8501")
    named = {value for value in options.values() if value.endswith(".config")}
    assert named == {f"/models/{NAME}/serving/{file}" for file in FILES if file.endswith("config")}
    assert found["stop_grace_period"] == "30s"
    assert "$" not in TEXTS["docker-compose.yml"], "docker compose would replace it"


@pytest.mark.parametrize(("state", "code"), [("AVAILABLE", 0), ("LOADING", 1), (None, 1)])
def test_the_health_check_looks_for_an_available_version(state, code):
    asked = []

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{\n "model_version_status": [\n  {\n   "version": "1",\n')
            self.wfile.write(f'   "state": "{state}",\n  }}\n ]\n}}\n'.encode())

        def log_message(self, *_):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Answer)
    port = server.server_port
    thread = threading.Thread(target=server.serve_forever, args=[0.01])
    if state is None:  # nothing listens
        server.server_close()
    else:
        thread.start()
    check = service()["healthcheck"]["test"]
    assert check[:3] == ["CMD", "bash", "-c"]
    try:
        done = subprocess.run(
            [*check[1:3], check[3].replace("8501", str(port))], timeout=60, capture_output=True
        )
    finally:
        if state is not None:
            server.shutdown()
            thread.join()
            server.server_close()
    assert done.returncode == code
    assert asked == ([] if state is None else [f"/v1/models/{NAME}"])


@pytest.mark.parametrize("name", ["", "a/b", "..", ".", "a b", "é", "a\n", "x" * 65, '"'])
def test_names_that_cannot_stand_in_a_path_are_refused(tmp_path, name):
    with pytest.raises(BadInput, match="--name .*: must be 1 to 64") as caught:
        write_serving_files(tmp_path, name)
    assert "\n" not in str(caught.value) and list(tmp_path.iterdir()) == []


def test_the_longest_name_is_allowed(tmp_path):
    name = "A.b_c-9" + "x" * 57
    assert write_serving_files(tmp_path, name)["written"] == list(FILES)
    config = text_format.Parse(
        (tmp_path / "serving" / "models.config").read_text(), ModelServerConfig()
    )
    assert config.model_config_list.config[0].name == name and len(name) == 64


def test_what_is_there_is_never_written_again(tmp_path, caplog):
    write_serving_files(tmp_path, NAME)
    folder = tmp_path / "serving"
    (folder / "batching.config").write_text("mine")
    (folder / "monitoring.config").unlink()
    (folder / "monitoring.config").symlink_to("nowhere")
    (folder / "docker-compose.yml").unlink()
    result = write_serving_files(tmp_path, NAME)
    assert result["written"] == ["docker-compose.yml"]
    assert result["kept"] == ["models.config", "batching.config", "monitoring.config"]
    assert (folder / "batching.config").read_text() == "mine"
    assert (folder / "monitoring.config").is_symlink()
    assert (folder / "docker-compose.yml").read_text() == TEXTS["docker-compose.yml"]
    assert caplog.records == []


def test_files_of_another_name_are_kept_and_reported(tmp_path, caplog):
    write_serving_files(tmp_path, NAME)
    before = (tmp_path / "serving" / "models.config").read_bytes()
    # The start of a name is another name.
    write_serving_files(tmp_path, NAME[:-2])
    assert (tmp_path / "serving" / "models.config").read_bytes() == before
    warned = [record.getMessage() for record in caplog.records]
    assert len(warned) == 2 and "models.config" in warned[0] and "docker-compose" in warned[1]


def test_a_failure_leaves_no_half_written_file(tmp_path, monkeypatch):
    write = serving_files.write_bytes_atomic

    def full(path, data):
        if path.name == "monitoring.config":
            monkeypatch.setattr("rgan_tf.storage.files.os.fsync", refuse)
        write(path, data)

    def refuse(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(serving_files, "write_bytes_atomic", full)
    with pytest.raises(OSError, match="No space"):
        write_serving_files(tmp_path, NAME)
    folder = tmp_path / "serving"
    assert sorted(path.name for path in folder.iterdir()) == ["batching.config", "models.config"]
    assert (folder / "models.config").read_text() == TEXTS["models.config"]


def test_something_else_in_the_place_is_refused(tmp_path):
    (tmp_path / "serving").write_text("a file")
    with pytest.raises(BadInput, match="lies where the server's files go"):
        write_serving_files(tmp_path, NAME)
    assert (tmp_path / "serving").read_text() == "a file"


def test_the_folder_is_not_a_version_and_does_not_bar_the_next_export(tmp_path):
    """Files may outlive the versions: a folder with nothing else takes an export."""
    write_serving_files(tmp_path, NAME)
    assert versions(tmp_path) == []
    check_destination(tmp_path)
    publish(tmp_path, lambda folder: (folder / "saved_model.pb").touch(), lambda folder: None)
    assert [path.name for path in versions(tmp_path)] == ["1"]


@pytest.mark.parametrize("foreign", ["serving/novel.txt", "holiday.jpg"])
def test_a_folder_with_other_content_is_still_refused(tmp_path, foreign):
    write_serving_files(tmp_path, NAME)
    (tmp_path / foreign).touch()
    with pytest.raises(BadInput, match="holds no version"):
        check_destination(tmp_path)
