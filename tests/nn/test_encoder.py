"""The encoder's ImageNet weights: from a local file in full or not at all, and never silently untrained."""

from __future__ import annotations

import pytest
import timm
import torch

from msa2net_lib import MSA2Net
from msa2net_lib.config import PRESETS
from msa2net_lib.errors import InputError

TINY = PRESETS["tiny"]


@pytest.fixture(scope="module")
def imagenet():
    """State dict of a timm classifier with the encoder's architecture, as an ImageNet file holds it."""
    torch.manual_seed(5)
    return timm.create_model(TINY.encoder, img_size=128, num_classes=10, **TINY.encoder_options).state_dict()


def test_a_local_file_is_loaded_whole(imagenet, tmp_path):
    torch.save(imagenet, tmp_path / "imagenet.pth")
    network = MSA2Net.from_preset("tiny", pretrained=str(tmp_path / "imagenet.pth"))
    ours = network.encoder.backbone.state_dict()
    assert set(imagenet) - set(ours) == {"head.fc.weight", "head.fc.bias"}
    assert all(torch.equal(ours[key], imagenet[key]) for key in ours)


def test_the_authors_encoder_lacks_nothing_but_the_classifier():
    with torch.device("meta"):
        classifier = timm.create_model("maxvit_rmlp_small_rw_224").state_dict()
        ours = MSA2Net.from_preset("published").encoder.backbone.state_dict()
    assert set(classifier) - set(ours) == {"head.fc.weight", "head.fc.bias"}
    assert set(ours) <= set(classifier)


@pytest.mark.parametrize(
    ("change", "fragment"),
    [
        (lambda s: {k: v for k, v in s.items() if k != "stem.conv1.weight"}, "first offenders: stem.conv1.weight is"),
        (lambda s: s | {"stem.conv1.weight": torch.zeros(1)}, "first offenders: stem.conv1.weight is"),
        (lambda s: s | {"extra.weight": torch.zeros(1)}, "first offenders: extra.weight is left over"),
        (lambda s: {k.replace("stages.0.", "stages_0."): v for k, v in s.items()}, "does not fit the encoder"),
        (lambda s: s | {"stem.conv1.weight": s["stem.conv1.weight"] * float("inf")}, "are not finite"),
    ],
    ids=["missing", "shape", "left over", "features_only names", "infinite"],
)
def test_anything_less_is_refused(imagenet, change, fragment, tmp_path):
    torch.save(change(imagenet), tmp_path / "bad.pth")
    with pytest.raises(InputError) as caught:
        MSA2Net.from_preset("tiny", pretrained=str(tmp_path / "bad.pth"))
    assert fragment in str(caught.value)
    assert "bad.pth" in str(caught.value)


@pytest.mark.parametrize(
    ("preset", "count", "shares"), [("tiny", 10, (0.125, 0.0, 0.5)), ("paper", 22, (0.5,)), ("published", 22, (0.125,))]
)
def test_the_dropout_of_relative_positions_has_a_switch(preset, count, shares):
    """timm's is the default, and no other drops anything."""
    for share in shares:
        with torch.device("meta"):
            network = MSA2Net.from_preset(preset, position_dropout=share)
        dropping = [module.p for module in network.modules() if isinstance(module, torch.nn.Dropout) and module.p]
        assert dropping == [share] * count * (share > 0)


@pytest.mark.parametrize("share", [0.125, 0.0])
def test_without_it_training_passes_are_repeatable(share):
    torch.manual_seed(0)
    network = MSA2Net.from_preset("tiny", image_size=64, position_dropout=share).train()
    image = torch.randn(2, 1, 64, 64)
    with torch.no_grad():
        assert torch.equal(network(image), network(image)) is (share == 0)


def test_a_failed_download_is_said_and_builds_nothing(monkeypatch):
    def offline(*_, **options):
        assert options["pretrained"] is True
        raise ConnectionError("no route")

    monkeypatch.setattr("msa2net_lib.nn.timm_models.timm.create_model", offline)
    with pytest.raises(InputError, match=r"could not be downloaded \(ConnectionError\), nothing was built"):
        MSA2Net.from_preset("tiny", pretrained=True)
