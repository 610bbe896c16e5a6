from __future__ import annotations

import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rgan_tf.backbones.torch_file import read_tensors
from rgan_tf.errors import CorruptData
from tests.metrics import torch_format as form

LAYOUTS = {"archive": form.write_archive, "sequence": form.write_sequence}
ARRAYS = {
    "features.0.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2),
    "features.0.bias": np.array([0.5, -1.5], np.float16),
    "steps": np.array(7, np.int64),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_was_written_is_read(tmp_path, layout):
    path = tmp_path / "net.pth"
    form.write_state(path, ARRAYS, layout)
    tensors = read_tensors(path)
    assert list(tensors) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert tensors[name].dtype == array.dtype
        np.testing.assert_array_equal(tensors[name], array)
    assert list(read_tensors(path, prefix="features.")) == list(ARRAYS)[:2]


def test_published_heads_are_read(weights_dir):
    tensors = read_tensors(weights_dir / "lpips_v0.1" / "alex.pth")
    assert {name: array.shape for name, array in tensors.items()} == {
        f"lin{i}.model.1.weight": (1, channels, 1, 1)
        for i, channels in enumerate((64, 192, 384, 256, 256))
    }
    # The numbers are the raw bytes at the end of the file, whose first storage is not lin0's.
    assert (
        tensors["lin0.model.1.weight"].tobytes()
        in (weights_dir / "lpips_v0.1" / "alex.pth").read_bytes()
    )


@pytest.mark.parametrize("layout", LAYOUTS)
def test_tensors_may_share_a_storage_and_be_parameters(tmp_path, layout):
    array = np.arange(6, dtype=np.float32)
    whole = form.tensor(array, "0")
    part = whole.replace(
        form.number(0) + form.mark(form.number(6)), form.number(4) + form.mark(form.number(2))
    )
    assert part != whole
    parameter = (
        form.name("torch._utils._rebuild_parameter") + form.mark(whole, b"\x88", b"N") + b"R"
    )
    older = (
        form.name("torch.nn.parameter.Parameter") + b"(" + part + b"tR" + form.mark(b"\x88") + b"b"
    )
    LAYOUTS[layout](tmp_path / "net.pth", form.state({"a": parameter, "b": older}), [array])
    tensors = read_tensors(tmp_path / "net.pth")
    assert tensors["a"].tolist() == [0, 1, 2, 3, 4, 5] and tensors["b"].tolist() == [4, 5]


def _hostile(marker):
    array = np.zeros(3, np.float32)
    tensor = form.tensor(array, "0")
    command = form.mark(form.text(f"touch {marker}"))
    deep = b"\x80\x02" + b")" + b"\x85" * 150_000 + b"."
    view = form.mark(form.text("0"), form.number(0), form.number(3))
    return {
        "a call": form.state({"a": form.name("os.system") + command + b"R"}),
        "a call by INST": b"\x80\x02(" + form.text(f"touch {marker}") + b"ios\nsystem\n.",
        "a call by OBJ": b"\x80\x02(" + form.name("os.system") + command[1:-1] + b"o.",
        "a call by NEWOBJ": b"\x80\x02" + form.name("os.system") + command + b"\x81.",
        "a call in the state": form.state({"a": form.name("builtins.eval") + command + b"Rb"}),
        "a call of what was called": b"\x80\x02" + tensor + command + b"R.",
        "a name alone": b"\x80\x02" + form.name("os.system") + b".",
        "a tensor alone": b"\x80\x02" + tensor + b".",
        "a string for a tensor": form.state({"a": form.text("b")}),
        "a number as a name": b"\x80\x02}" + form.number(3) + tensor + b"s.",
        "a tuple as a name": b"\x80\x02})" + tensor + b"s.",
        "a deep tuple": deep,
        "a deep tuple as a name": deep[:-1].replace(b"\x80\x02", b"\x80\x02}") + tensor + b"s.",
        "beyond the storage": form.state({"a": form.tensor(array, "0", offset=1)}),
        "before the storage": form.state({"a": form.tensor(array, "0", offset=-1)}),
        "strides": form.state({"a": form.tensor(array, "0", strides=[0])}),
        "no strides": form.state({"a": form.tensor(array, "0", strides=[])}),
        "a view": form.state({"a": form.tensor(array, "0", view=view)}),
        "a huge storage": form.state({"a": form.tensor(array, "0")}).replace(
            form.number(3), form.number(2**31 - 1)
        ),
        "an unknown type": form.state({"a": tensor}).replace(b"FloatStorage", b"EvilStorage"),
        "too few operands": b"\x80\x02R.",
        "no operand": b"\x80\x02.",
        "a mark too few": b"\x80\x02t.",
        "no such memo": b"\x80\x02h\x05.",
        "endless": b"\x80\x02" + b"]" * 300_000 + b".",
        "a long text": b"\x80\x02X\xff\xff\xff\xff.",
        "a bad number": b"\x80\x02I" + b"9" * 9000 + b"\n.",
        "no pickle": b"\xff\xff",
        "nothing": b"",
    }


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kind", _hostile(""))
def test_hostile_files_are_refused_in_one_line_and_run_nothing(tmp_path, kind, layout):
    marker, path = tmp_path / "marker", tmp_path / "net.pth"
    LAYOUTS[layout](path, _hostile(marker)[kind], [np.zeros(3, np.float32)])
    with pytest.raises(CorruptData) as caught:
        read_tensors(path)
    message = str(caught.value)
    assert message.startswith(str(path)) and "\n" not in message and len(message) < 400
    assert not marker.exists()


def test_the_hostile_call_would_have_run(tmp_path):
    import pickle  # the thing that the reader avoids

    marker = tmp_path / "marker"
    pickle.loads(_hostile(marker)["a call"].replace(b"}" + form.text("_metadata") + b"}sb", b""))
    assert marker.exists()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_cut_short_anywhere_is_refused(tmp_path, layout):
    path = tmp_path / "net.pth"
    form.write_state(path, ARRAYS, layout)
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(CorruptData, match="not a usable torch file"):
            read_tensors(path)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_changed_bytes_never_end_in_another_error(tmp_path, data):
    path = tmp_path / "net.pth"
    form.write_state(path, ARRAYS, data.draw(st.sampled_from(sorted(LAYOUTS))))
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        tensors = read_tensors(path)
    except CorruptData:
        return
    assert all(isinstance(array, np.ndarray) for array in tensors.values())


def test_an_archive_detects_changed_numbers_and_refuses_compression(tmp_path):
    path = tmp_path / "net.pth"
    form.write_state(path, ARRAYS)
    number = ARRAYS["features.0.weight"].tobytes()
    path.write_bytes(path.read_bytes().replace(number, number[:-1] + b"\x01"))
    with pytest.raises(CorruptData, match="CRC"):
        read_tensors(path)
    zeros = np.zeros(1 << 20, np.float32)
    pickled = form.state({"a": form.tensor(zeros, "0")})
    form.write_archive(path, pickled, [zeros], compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(CorruptData, match="a compressed entry"):
        read_tensors(path)


def test_a_missing_file_and_a_wrong_list_of_storages_are_refused(tmp_path):
    with pytest.raises(CorruptData, match="No such file"):
        read_tensors(tmp_path / "net.pth")
    array = np.zeros(3, np.float32)
    form.write_sequence(tmp_path / "net.pth", form.state({"a": form.tensor(array, "7")}), [array])
    with pytest.raises(CorruptData, match="list of storages does not agree"):
        read_tensors(tmp_path / "net.pth")


def test_a_tensor_beyond_its_storage_is_named_as_such(tmp_path):
    array = np.zeros(3, np.float32)
    reaching = form.state({"a": form.tensor(array, "0", offset=1)})
    form.write_archive(tmp_path / "net.pth", reaching, [array])
    with pytest.raises(CorruptData, match="reaches beyond its storage"):
        read_tensors(tmp_path / "net.pth")
