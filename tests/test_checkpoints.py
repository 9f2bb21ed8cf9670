"""Weights on disk: one byte form, finite or not at all, and metadata that nobody has to trust."""

from __future__ import annotations

import json
import string
import sys
from contextlib import suppress

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from timm.models.maxxvit import checkpoint_filter_fn

from msa2net_lib import MSA2Net, NetworkConfig, load_network, save_network
from msa2net_lib.checkpoints import read_class_names, read_config, read_fingerprint
from msa2net_lib.data.fingerprint import DatasetFingerprint, Range
from msa2net_lib.errors import InputError
from msa2net_lib.utils.files import sha256

pytestmark = pytest.mark.slow

KEY = "decoder.head.weight"
TOUCHED: list[str] = []
"""Files opened and hosts asked, as Python's audit events tell."""


def _note(event, arguments):
    if event == "open" or event.startswith("socket."):
        TOUCHED.append(str(arguments[0] if event == "open" else event))


sys.addaudithook(_note)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(3)
    return MSA2Net.from_preset("tiny", num_classes=3, image_size=32)


@pytest.fixture(scope="module")
def stored(network, tmp_path_factory):
    """Write a file with the network's weights, as changed, and any metadata; returns its path."""
    path = tmp_path_factory.mktemp("files") / "net.safetensors"

    def write(metadata=None, **changed):
        config = {"network_config": json.dumps(network.config.to_dict())}
        state = {key: value.contiguous() for key, value in network.state_dict().items()}
        save_file(state | changed, path, metadata=config | (metadata or {}))
        return path

    return write


@pytest.mark.parametrize(
    "told",
    [
        {},
        {"class_names": ["Aortenbögen", 'a "b"\\c', "🫁"]},
        {"class_names": ["a", "b"], "fingerprint": DatasetFingerprint("scans", "CT", slice_mm=Range(1, 2, 3))},
    ],
)
def test_equal_weights_are_equal_bytes(network, tmp_path, told):
    """safetensors alone orders its metadata anew in every call; an order of options is no difference either."""
    config = network.config.to_dict()
    config["encoder_options"] = dict(reversed(config["encoder_options"].items()))
    other = MSA2Net(NetworkConfig.from_dict(config))
    other.load_state_dict(network.state_dict())
    paths = [save_network(one, tmp_path / f"{n}.safetensors", **told) for n, one in enumerate([network, other] * 2)]
    assert len({sha256(path) for path in paths}) == 1
    again = load_network(paths[0])
    assert again.config == network.config
    weights = again.state_dict()
    assert all(torch.equal(value, weights[key]) for key, value in network.state_dict().items())
    assert sha256(save_network(again, tmp_path / "again.safetensors", **told)) == sha256(paths[0])
    assert read_class_names(paths[0]) == (tuple(told["class_names"]) if told else None)
    assert read_fingerprint(paths[0]) == told.get("fingerprint")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_no_numbers_are_neither_read_nor_written(network, stored, tmp_path, value, refused):
    damaged = network.state_dict()[KEY].clone()
    damaged[1, 2] = value
    path = stored(**{KEY: damaged})
    refused([path, f"1 values of {KEY} are not finite"], load_network, path)
    broken = MSA2Net(network.config)
    broken.load_state_dict(network.state_dict() | {KEY: damaged})
    refused("are not finite", save_network, broken, tmp_path / "new.safetensors")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("value", [65520.0, -1e5, 3e38])
def test_what_float16_cannot_hold_is_said_on_saving(network, tmp_path, value, refused):
    large = MSA2Net(network.config)
    with torch.no_grad():
        large.get_parameter(KEY)[0, 0] = value
    message = f"1 values of {KEY} lie beyond float16 (65504); save the network without half"
    refused(message, save_network, large, tmp_path / "half.safetensors", half=True)
    assert load_network(save_network(large, tmp_path / "whole.safetensors")).get_parameter(KEY)[0, 0] == value


@pytest.mark.parametrize("kind", [torch.int8, torch.uint8, torch.int64])
def test_whole_numbers_are_no_weights(network, stored, kind, refused):
    path = stored(**{KEY: network.state_dict()[KEY].to(kind)})
    refused([path, f"weights do not fit the config stored with them ({KEY} is of type {kind})"], load_network, path)


def test_nothing_in_the_metadata_opens_a_file_or_asks_a_hub(network, stored, tmp_path, monkeypatch):
    """`pretrained` and the options that timm has for it would; all of these name a marker."""
    marker = tmp_path / "marker.pth"
    torch.save({}, marker)
    config = network.config.to_dict()
    options = [{name: str(marker)} for name in ("checkpoint_path", "pretrained_cfg", "cache_dir")]
    asked = [{"encoder_options": config["encoder_options"] | one} for one in options]
    asked += [{"pretrained": True}, {"pretrained": str(marker)}, {"encoder": "hf-hub:timm/maxvit_rmlp_pico_rw_256"}]
    asked += [{"encoder": "local-dir:marker"}]
    (tmp_path / "marker").mkdir()
    (tmp_path / "marker" / "config.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    other = {"name": "pvt_cascade", "num_classes": 2, "image_size": 64}
    told = [config | change for change in asked]
    told += [other | {"options": {"encoder": "local-dir:marker"}}, other | {"pretrained": True}]
    for change in told:
        path = stored({"network_config": json.dumps(change)})
        TOUCHED.clear()
        with suppress(InputError):
            assert load_network(path).config.pretrained is False
        assert not [touched for touched in TOUCHED if "marker" in touched or touched.startswith("socket")]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"image_size": 10**9}, "image_size=1000000000: give at most 2048 pixels"),
        ({"num_classes": 10**9}, "num_classes=1000000000: give at most 256"),
        ({"encoder_options": {"embed_dim": [10**9] * 4}}, "beyond all sizes"),
        ({"encoder_options": {"depths": [10**6] * 4}}, "beyond all sizes"),
        ({"encoder_options": {"embed_dim": [512, 1024, 2048, 4096], "depths": [9] * 4}}, "weights do not fit"),
        ({"encoder_options": {"transformer_dim_head": 0}}, "timm cannot build it"),
        ({"encoder": "resnet18"}, "use a MaxViT of timm"),
        ({"encoder": ["maxvit"]}, "encoder=['maxvit']: give text"),
        ({"num_classes": "9"}, "num_classes='9': give a whole number"),
        ({"image_size": [32, None]}, "image_size=(32, None): give pixels"),
        ({"levels": [{"block": "lka"}] * 4}, "is no level"),
        ({"gray_stem": 1}, "gray_stem=1: give True or False"),
        ({"from_another_version": 1}, "is unknown"),
    ],
)
def test_configs_that_no_network_has_are_one_line(network, stored, change, words, refused):
    path = stored({"network_config": json.dumps(network.config.to_dict() | change)})
    assert refused([path, words], load_network, path).startswith(f"{path}: ")


NUMBERS = st.none() | st.booleans() | st.integers() | st.floats()
JSON = st.recursive(NUMBERS | st.text(), lambda one: st.lists(one) | st.dictionaries(st.text(), one), max_leaves=9)
FIELDS = st.sampled_from([*NetworkConfig().to_dict(), "other"])
SLOW = settings(deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


def one_line(error):
    assert "\n" not in str(error)
    assert len(str(error)) < 1000


@settings(SLOW, max_examples=100)
@given(st.text() | st.binary().map(repr) | JSON.map(json.dumps) | st.dictionaries(FIELDS, JSON).map(json.dumps))
def test_any_metadata_is_a_config_or_one_line(text):
    """What is accepted could be saved and read back the same."""
    try:
        config = read_config({"network_config": text}, "net.safetensors")
    except InputError as error:
        one_line(error)
    else:
        assert config.pretrained is False
        assert read_config({"network_config": json.dumps(config.to_dict())}, "net.safetensors") == config


@settings(SLOW, max_examples=100)
@given(st.data())
def test_any_description_of_the_data_is_whole_or_one_line(data):
    whole = DatasetFingerprint(
        "scans", "CT", {"low": -1.0, "high": 2.0, "unit": "HU"}, None, (32, 64), *[Range(1, 2, 3)] * 2
    )
    fields = json.loads(whole.to_json())
    assert DatasetFingerprint.from_json(json.dumps(fields)) == whole
    fields[data.draw(st.sampled_from([*fields, "other"]))] = data.draw(JSON)
    try:
        read = DatasetFingerprint.from_json(json.dumps(fields))
    except InputError as error:
        one_line(error)
    else:
        assert DatasetFingerprint.from_json(read.to_json()) == read


KNOWN = ["embed_dim", "depths", "stem_width", "drop_rate", "transformer_dim_head", "conv_kernel_size"]
ANY_OPTION = st.sampled_from(KNOWN) | st.text(string.ascii_lowercase, max_size=5).map("transformer_{}".format)


@settings(SLOW, max_examples=20)
@given(options=st.dictionaries(ANY_OPTION, NUMBERS | st.text() | st.lists(st.integers(0, 99), max_size=5), min_size=1))
def test_any_encoder_options_load_or_are_one_line(network, stored, options):
    config = network.config.to_dict()
    config["encoder_options"] = config["encoder_options"] | options
    try:
        load_network(stored({"network_config": json.dumps(config)}))
    except InputError as error:
        one_line(error)


@pytest.mark.parametrize(
    "names", ["[1, 2]", '"liver"', '["a\\nb"]', '[""]', "[" * 9999, json.dumps(["x"] * 300), '{"1": "a"}', "[NaN]"]
)
def test_class_names_are_a_list_of_names(stored, names, refused):
    path = stored({"class_names": names})
    refused([path, "class names"], read_class_names, path)


def small(encoder, size, **more):
    """A size-bound encoder, as narrow and shallow as it goes."""
    options = {"embed_dim": (16, 32, 64, 128), "depths": (1, 1, 1, 1), "transformer_dim_head": 16, "stem_width": 16}
    return NetworkConfig(encoder=encoder, encoder_options=options | more, image_size=size, num_classes=2)


@pytest.mark.parametrize(
    ("encoder", "size", "other"),
    [("maxvit_tiny_tf_224", 64, 96), ("maxvit_nano_rw_256", 96, 64), ("maxvit_tiny_tf_224", 64, (64, 96))],
    ids=["larger", "smaller, flat tables", "no square"],
)
def test_tables_of_positions_are_carried_to_another_size_as_timm_does(encoder, size, other, tmp_path):
    torch.manual_seed(1)
    network = MSA2Net(small(encoder, size))
    path = save_network(network, tmp_path / "net.safetensors")
    loaded = load_network(path, image_size=other)
    ours = loaded.encoder.backbone.state_dict()
    expected = checkpoint_filter_fn(network.encoder.backbone.state_dict(), loaded.encoder.backbone)
    tables = [key for key in ours if key.endswith("relative_position_bias_table")]
    assert tables
    assert all(torch.equal(ours[key], expected[key]) for key in ours)
    torch.save(network.encoder.backbone.state_dict(), tmp_path / "imagenet.pth")
    config = NetworkConfig.from_dict(small(encoder, other).to_dict() | {"pretrained": str(tmp_path / "imagenet.pth")})
    pretrained = MSA2Net(config).encoder.backbone.state_dict()
    assert all(torch.equal(pretrained[key], expected[key]) for key in tables)
    with torch.no_grad():
        assert loaded(torch.zeros(1, 1, *loaded.config.height_width)).isfinite().all()


def test_tables_that_cannot_be_carried_are_named(tmp_path, refused):
    """A flat table of a window that is no square does not say which one it was."""
    with torch.device("meta"):
        shapes = MSA2Net(small("maxvit_nano_rw_256", (64, 96))).state_dict()
    config = json.dumps(small("maxvit_nano_rw_256", (64, 96)).to_dict())
    state = {key: torch.zeros(value.shape, dtype=value.dtype) for key, value in shapes.items()}
    save_file(state, tmp_path / "net.safetensors", metadata={"network_config": config})
    words = ["net.safetensors", "positions of one input size", "with the image_size it was trained with"]
    refused(words, load_network, tmp_path / "net.safetensors", image_size=128)
