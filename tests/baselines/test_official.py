"""Checkpoints of the original repositories: read into the networks here by one map a system, or refused in one line."""

from __future__ import annotations

import pytest
import torch
from baseline_parity import FILES, Reference, drawn
from small_networks import OPTIONS

from msa2net_lib import load_official_checkpoint
from msa2net_lib.baselines.registry import NETWORKS, build_network, official_rules
from msa2net_lib.errors import InputError
from msa2net_lib.utils.official_keys import our_key, to_our_keys

pytestmark = pytest.mark.slow


def official_state(system, shapes=None):
    """A state dict with the original's names and shapes, or other shapes."""
    shapes = shapes or Reference(system).facts["state_dict"]
    values = {name: drawn(name, tuple(shape)) for name, shape in shapes.items()}
    return {name: torch.tensor(7) if v is None else torch.from_numpy(v.astype("float32")) for name, v in values.items()}


def small_state(name, head):
    """The original's names and classes, of few channels; `test_every_key_has_one_place` has the whole shapes."""
    names, rules = Reference(name).facts["state_dict"], official_rules(name)
    with torch.device("meta"):
        ours = build_network(name, names[f"{head}.weight"][0], 32, **OPTIONS[name]).state_dict()
    return official_state(name, {key: ours[our_key(key, rules)].shape for key in names})


@pytest.mark.parametrize("name", sorted(FILES.keys() & NETWORKS.keys()))
def test_every_key_has_one_place(name):
    """On shapes alone: nothing missing, nothing left over, at the size that was recorded."""
    facts, rules = Reference(name).facts, official_rules(name)
    classes = NETWORKS[name].classes or 9
    with torch.device("meta"):
        ours = build_network(name, classes).state_dict()
        official = {key: torch.empty(shape) for key, shape in facts["state_dict"].items()}
    found = to_our_keys(official, rules, ours)
    expected = {key for key in ours if not key.startswith(("average.", "updates"))}
    assert set(found) == expected
    differ = [key for key in expected if found[key].shape != ours[key].shape]
    assert len(differ) <= 8, "only heads, where the recorded network has another number of classes"
    if "2" in NETWORKS[name].tables and name != "swin_unet":  # whose tables are rebuilt
        assert all(our_key(key, rules) for key in official)


@pytest.mark.parametrize(("name", "head"), [("unet", "Conv_1x1"), ("attunet", "Conv_1x1"), ("unet_nitr", "de_4")])
def test_weights_classes_and_wrappings(name, head, tmp_path, capsys):
    """One channel becomes two with the same probabilities; more are read from the keys."""
    state, widths = small_state(name, head), OPTIONS[name]
    torch.save({"state_dict": {f"module.{key}": value for key, value in state.items()}}, tmp_path / "theirs.pth")
    network = load_official_checkpoint(tmp_path / "theirs.pth", network=name, image_size=32, **widths)
    assert f"theirs.pth: {name}, 2 classes; all {len(state)} entries fit" in capsys.readouterr().out
    assert network.config.name == name
    assert not network.training
    image = torch.rand(1, 3, 32, 32)
    if len(state[f"{head}.weight"]) == 1:
        bare = build_network(name, 1, **widths).eval()
        bare.load_state_dict(to_our_keys(state, official_rules(name), bare.state_dict()))
        with torch.no_grad():
            torch.testing.assert_close(network(image).softmax(dim=1)[:, 1:], bare(image).sigmoid())
    heads = {key: value.repeat(5, *[1] * (value.ndim - 1)) for key, value in state.items() if head in key}
    torch.save(state | heads, tmp_path / "more.pth")
    more = load_official_checkpoint(tmp_path / "more.pth", network=name, image_size=32, verbose=False, **widths)
    assert more.config.num_classes == 5 * len(state[f"{head}.weight"])


def test_dermosegdiff_predicts_with_what_the_file_holds(tmp_path):
    torch.save(official_state("dermosegdiff_small"), tmp_path / "theirs.pth")
    small = {"dim_x": 32, "dim_g": 16, "mults_x": (1, 2, 3), "mults_g": (1, 2, 4), "steps": 1, "samples": 1}
    network = load_official_checkpoint(
        tmp_path / "theirs.pth", network="dermosegdiff", image_size=64, verbose=False, **small
    )
    for ours, mean in zip(network.denoiser.parameters(), network.average.parameters(), strict=True):
        assert torch.equal(ours, mean)
    with pytest.raises(InputError, match=r"^\S+theirs\.pth: does not fit dermosegdiff at image_size=224 \("):
        load_official_checkpoint(tmp_path / "theirs.pth", network="dermosegdiff", verbose=False)


def test_what_does_not_fit_is_one_line(tmp_path):
    state = small_state(name := "unet_nitr", "de_4")
    first, *_, last = state
    path = tmp_path / "theirs.pth"

    def refused(content, said, **options):
        torch.save(content, path)
        with pytest.raises(InputError, match=said) as raised:
            load_official_checkpoint(path, **{"network": name, "verbose": False} | OPTIONS[name] | options)
        assert "\n" not in str(raised.value)

    refused({key: value for key, value in state.items() if key != last}, "is missing")
    refused(state | {"one_more": torch.zeros(3)}, "one_more is left over")
    refused(state | {first: torch.zeros(3, 3)}, r"is \(3, 3\) and not \(")
    refused(state | {first: state[first] * torch.inf}, "are not finite")
    refused(state | {first: state[first].int()}, "is of type torch.int32")
    refused({"conv1.weight": torch.zeros(3)}, rf"not a checkpoint of the original {name} \(0 of 1 keys fit\)")
    refused(state, "^network='unknown' is unknown: use one of", network="unknown")
    refused(state, "^network='msa2net_tiny' has no original code", network="msa2net_tiny")
    refused(state, "^image_size=20 is not a multiple of ", image_size=20)
