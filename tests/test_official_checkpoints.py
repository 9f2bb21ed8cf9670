"""Checkpoints of the released code: whole ones load and go round, everything else is refused by name."""

from __future__ import annotations

import os
from functools import cache

import numpy as np
import pytest
import torch
from functional_reference import seeded_state

from msa2net_lib import MSA2Net, load_official_checkpoint, save_official_checkpoint
from msa2net_lib.checkpoints import SHIPPED_TINY
from msa2net_lib.errors import InputError
from msa2net_lib.official_checkpoints import FORMS, HEAD, official_keys, open_checkpoint, report_keys
from msa2net_lib.utils.files import sha256
from msa2net_lib.utils.torch_files import read_state_dict

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("small_forms")]


@cache
def shapes_of(form):
    """Every entry of a released network's state dict: name -> shape."""
    with torch.device("meta"):
        network = MSA2Net.from_preset(form)
    ours = network.state_dict()
    return {official: tuple(ours[name].shape) for name, official in official_keys(network).items()}


@pytest.fixture
def states(small_forms):
    """Every entry of each released network's state dict in its shape; one number each, so that files are small."""
    shapes = {form: shapes_of(form) for form in FORMS}
    counter = torch.tensor(1000)  # of batches, the entries without an axis
    return {
        form: {key: torch.full((1,), 0.5).expand(shape) if shape else counter for key, shape in entries.items()}
        for form, entries in shapes.items()
    }


@pytest.mark.parametrize("form", FORMS)
def test_round_trip_gives_the_same_logits_and_bits(form, tmp_path, capsys):
    """With state dicts filled by a seeded rule."""
    state = seeded_state(shapes_of(form), seed=3)
    torch.save(state, tmp_path / "theirs.pth")
    network = load_official_checkpoint(tmp_path / "theirs.pth", image_size=64)
    keys = len(state)
    expected = f"form {form}, 9 classes; {keys} matched, 0 missing, 0 unexpected, 0 of wrong shape or type"
    assert expected in capsys.readouterr().out
    assert network.config.preset == form
    assert not network.training
    save_official_checkpoint(network, tmp_path / "ours.pth")
    save_official_checkpoint(network, tmp_path / "copy.pth")
    assert sha256(tmp_path / "ours.pth") == sha256(tmp_path / "copy.pth")
    again = load_official_checkpoint(tmp_path / "ours.pth", image_size=64, verbose=False)
    image = torch.randn(1, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(network(image), again(image), rtol=0, atol=0)
    written = torch.load(tmp_path / "ours.pth", weights_only=True)
    assert written.keys() == state.keys()
    assert all(torch.equal(written[key], state[key]) for key in written)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"state_dict": state, "epoch": 5, "best_dice": np.float64(0.8)},
        lambda state: {"model": {f"module.{key}": value for key, value in state.items()}},
        lambda state: {"model_weights": state},
        lambda state: {f"module._orig_mod.{key}": value for key, value in state.items()},
    ],
    ids=["state_dict and a NumPy score", "model, DataParallel", "model_weights", "compiled, DataParallel"],
)
def test_wrappings(states, wrap, tmp_path):
    torch.save(wrap(states["released"]), tmp_path / "wrapped.pth")
    assert read_state_dict(tmp_path / "wrapped.pth").keys() == states["released"].keys()


def test_number_of_classes_comes_from_the_head(states, tmp_path):
    head = {HEAD: states["published"][HEAD][:2], HEAD.replace("weight", "bias"): torch.zeros(2)}
    report = report_keys(states["published"] | head, tmp_path / "two.pth")
    assert (report.form, report.num_classes, report.complete) == ("published", 2, True)


def without(state, key):
    return {k: v for k, v in state.items() if k != key}


KEY = "decoder_1.layer_lka_1.norm1.weight"


@pytest.mark.parametrize(
    ("change", "fragments"),
    [
        (lambda s: without(s, KEY) | {"decoder_1.layer_lka_1.norm9.weight": s[KEY]},
         (f"missing: {KEY}", "unexpected: decoder_1.layer_lka_1.norm9.weight")),
        (lambda s: s | {KEY: s[KEY][:-1]}, (f"wrong shape or type: {KEY} (15,) for (16,)",)),
        (lambda s: s | {KEY: s[KEY].to(torch.int8)}, (f"wrong shape or type: {KEY} of type torch.int8",)),
        (lambda s: without(s, HEAD), (f"missing: {HEAD}",)),
        (lambda s: s | {KEY: s[KEY] * float("nan")}, (f"16 values of {KEY} are not finite",)),
        (lambda s: {"conv1.weight": torch.zeros(3), "fc.bias": torch.zeros(2)}, ("not a checkpoint of MSA²Net",)),
        (lambda s: {"epoch": 3}, ("holds no state dict (found epoch)",)),
        (lambda s: torch.zeros(3), ("holds no state dict (found Tensor)",)),
    ],
    ids=["renamed key", "changed shape", "quantized",
         "missing head", "NaN", "foreign network", "no weights", "a tensor"],
)  # fmt: skip
@pytest.mark.parametrize("form", FORMS)
def test_anything_less_is_refused_by_name(states, form, change, fragments, tmp_path):
    torch.save(change(states[form]), tmp_path / "bad.pth")
    with pytest.raises(InputError) as caught:
        load_official_checkpoint(tmp_path / "bad.pth", verbose=False)
    message = str(caught.value)
    assert "bad.pth" in message
    assert "\n" not in message
    for fragment in fragments:
        assert fragment in message


class Bomb:
    """Unpickling this would create a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_a_file_that_would_run_code_is_refused_and_not_run(tmp_path, zipped):
    bomb = tmp_path / "executed"
    torch.save({"state_dict": Bomb(bomb)}, tmp_path / "bad.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(InputError, match=r"refused, loading it would run posix\.mkdir"):
        load_official_checkpoint(tmp_path / "bad.pth")
    assert not bomb.exists()


@pytest.mark.parametrize("name", ["state_dict", "model", "model_weights"])
def test_a_dictionary_that_holds_itself_ends(tmp_path, name, refused):
    loop = {"epoch": 3}
    loop[name] = loop
    torch.save(loop, tmp_path / "loop.pth")
    refused("loop.pth: holds no state dict", read_state_dict, tmp_path / "loop.pth")


@pytest.mark.filterwarnings("ignore:(Validating sparse|Sparse CSR)")  # torch's own, of tensors that we refuse
@pytest.mark.parametrize("way", ["to_sparse", "to_sparse_csr", "to_sparse_csc"])
def test_sparse_weights_are_named(tmp_path, way, refused):
    torch.save({"module.w": getattr(torch.eye(3), way)()}, tmp_path / "sparse.pth")
    refused(["sparse.pth: module.w: sparse", "save it after .to_dense()"], read_state_dict, tmp_path / "sparse.pth")


def test_missing_truncated_and_foreign_files(states, tmp_path):
    with pytest.raises(InputError, match="no such checkpoint"):
        load_official_checkpoint(tmp_path / "none.pth")
    torch.save({KEY: states["published"][KEY]}, tmp_path / "whole.pth")
    whole = (tmp_path / "whole.pth").read_bytes()
    for name, content in (("cut", whole[: len(whole) // 2]), ("text", b"not weights at all"), ("empty", b"")):
        (tmp_path / f"{name}.pth").write_bytes(content)
        with pytest.raises(InputError, match=rf"{name}\.pth: damaged, or not a PyTorch file") as caught:
            load_official_checkpoint(tmp_path / f"{name}.pth")
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("overrides", [{}, {"dilated": "dense", "layout": "reinterpreted", "gray_stem": True}])
def test_other_forms_cannot_be_saved_in_the_released_format(overrides, tmp_path):
    network = MSA2Net.from_preset("tiny", **overrides)
    with pytest.raises(InputError, match="has another form than the released code"):
        save_official_checkpoint(network, tmp_path / "no.pth")
    assert not list(tmp_path.iterdir())


def test_open_checkpoint_tells_the_kinds_apart(states, tmp_path):
    torch.save(states["released"], tmp_path / "theirs.pth")
    assert open_checkpoint(tmp_path / "theirs.pth").config.preset == "released"
    assert open_checkpoint(SHIPPED_TINY).config.preset == "tiny"
