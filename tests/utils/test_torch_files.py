"""Whether all values are finite is found as `isfinite` finds it, of all kinds of tensors; starts that are not drawn."""

import math

import pytest
import timm
import torch
from torch import nn

from msa2net_lib.errors import InputError
from msa2net_lib.utils.torch_files import Undrawn, is_finite, require_finite, require_finite_logits

KINDS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [0.0, -0.0, math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("place", [0, 37, 63])
def test_every_value_and_place_as_isfinite(kind, value, place):
    values = torch.linspace(-3, 3, 64).to(kind)
    values[place] = value
    for shown in (values, values.reshape(4, 4, 4).transpose(0, 2), values[place], values.expand(2, 64)):
        assert is_finite(shown) == bool(shown.isfinite().all())


@pytest.mark.parametrize("kind", KINDS)
def test_values_whose_sum_is_infinite_are_finite(kind):
    assert is_finite(torch.full((9,), torch.finfo(kind).max, dtype=kind))


@pytest.mark.parametrize(
    "values",
    [
        torch.tensor(7),
        torch.zeros(0),
        torch.zeros(3, 0, dtype=torch.int64),
        torch.tensor([True, False]),
        torch.arange(5, dtype=torch.uint8),
        torch.tensor([1 + 2j]),
    ],
)
def test_other_kinds_and_nothing_at_all(values):
    assert is_finite(values)


def test_complex_values_that_are_not():
    assert not is_finite(torch.tensor([complex(0, math.nan)]))


def test_what_is_refused_is_counted():
    state = {"sound": torch.ones(3), "weight": torch.tensor([1.0, math.nan, -math.inf]), "bias": torch.tensor(math.inf)}
    with pytest.raises(InputError, match=r"^net\.pt: 2 values of weight \(and some of 1 more entries\) are not finite"):
        require_finite(state, "net.pt")
    logits = torch.zeros(3, 2, 4, 4)
    assert require_finite_logits(logits) is logits
    logits[1, 0, 2, 2] = math.nan
    with pytest.raises(InputError, match="not finite in 1 of 3 slices"):
        require_finite_logits(logits)


STARTS = {
    "linear": lambda: nn.Linear(3, 4).weight,
    "convolution": lambda: nn.Conv2d(3, 4, 3).bias,
    "attention": lambda: nn.MultiheadAttention(4, 2).in_proj_weight,
    "truncated normal": lambda: nn.init.trunc_normal_(torch.full((9,), 5.0), std=0.02),
    "timm's": lambda: timm.layers.trunc_normal_(torch.full((9,), 5.0), std=0.02),
    "by name": lambda: nn.init.kaiming_normal_(tensor=torch.full((3, 4), 5.0)),
}


@pytest.mark.parametrize("start", STARTS)
def test_within_it_nothing_is_drawn_and_behind_it_everything(start):
    torch.manual_seed(0)
    with Undrawn():
        assert not STARTS[start]().any()
    found = torch.rand(3)
    torch.manual_seed(0)
    assert torch.equal(found, torch.rand(3)), "no random number was used"
    assert STARTS[start]().any()
