"""What each stage of the gate promises, beyond agreeing with the recorded arrays."""

from __future__ import annotations

import pytest
import torch
from torch._dynamo.testing import CompileCounter

from msa2net_lib.nn.masag import MASAG, CrossModulation, GlobalContext, LocalContext
from msa2net_lib.nn.network import count_parameters


@pytest.fixture
def features():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, 16, 12, 10, generator=generator), torch.randn(2, 16, 12, 10, generator=generator)


@pytest.mark.parametrize("dilated", ["depthwise", "dense"])
@pytest.mark.parametrize("training", [False, True])
def test_trace_computes_what_forward_computes(features, dilated, training):
    torch.manual_seed(0)
    gate = MASAG(16, dilated).train(training)
    output = gate(*features)
    torch.testing.assert_close(gate.trace(*features).output, output, rtol=0, atol=1e-6)


def test_selection_weights_sum_to_one(features):
    trace = MASAG(16).trace(*features)
    torch.testing.assert_close(trace.weight_x + trace.weight_g, torch.ones(2, 1, 12, 10))


def test_trace_names_every_step_once(features):
    names = [name for name, _ in MASAG(16).trace(*features).items()]
    assert names[:2] == ["x", "g"]
    assert names[-1] == "output"
    assert len(names) == len(set(names)) == 19


@pytest.mark.parametrize("dilated", ["depthwise", "dense"])
def test_local_context_sees_7_by_7_pixels(dilated):
    """The footprint by gradient: 3 of the first convolution plus 2 x 2 of the dilated one on each axis."""
    torch.manual_seed(0)
    local = LocalContext(4, dilated).eval()
    local.depthwise_activation = local.dilated_activation = torch.nn.Identity()
    image = torch.randn(1, 4, 15, 15, requires_grad=True)
    local(image)[0, :, 7, 7].sum().backward()
    assert image.grad is not None
    rows, columns = image.grad[0].abs().sum(0).nonzero().unbind(1)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (4, 10, 4, 10)


def test_global_context_is_blind_to_the_order_of_channels(features):
    context = GlobalContext().eval()
    torch.testing.assert_close(context(features[1]), context(features[1].flip(1)))


def test_cross_modulation_does_not_care_which_input_is_which(features):
    x, g = features
    torch.testing.assert_close(CrossModulation()(x, g), CrossModulation()(g, x))


def test_a_gate_that_attends_nowhere_returns_its_bias_only(features):
    """With the attention driven to zero, X is weighed to nothing: Equation 6 leaves a constant map."""
    gate = MASAG(16).eval()
    gate.recalibration.attend.weight.data.zero_()
    gate.recalibration.attend.bias.data.fill_(-1e4)
    output = gate(*features)
    torch.testing.assert_close(output, output[:, :, :1, :1].expand_as(output))


@pytest.mark.parametrize(("channels", "millions"), [(96, 0.1133), (192, 0.4478), (384, 1.7802), (768, 7.0994)])
def test_parameter_counts(channels, millions):
    """Counted on the released modules, four decimals; together they round to Table A's 9.44 M."""
    dense = count_parameters(MASAG(channels, "dense"))
    assert round(dense / 1e6, 4) == millions
    assert dense - count_parameters(MASAG(channels, "depthwise")) == 9 * channels**2 - 9 * channels


@pytest.mark.parametrize(
    "shape", [(2, 4, 1, 1), (2, 1, 8, 8), (1, 4, 8, 8), (2, 4, 4, 4), (2, 6, 8, 8), (2, 4, 1, 8, 8)]
)
@pytest.mark.parametrize("call", ["forward", "attention", "trace"])
def test_two_shapes_are_refused_in_one_line_with_the_way_out(shape, call):
    """Of the first three torch would make one shape, without a word."""
    with pytest.raises(ValueError, match=r"MASAG takes two of one shape") as error:
        getattr(MASAG(4), call)(torch.randn(2, 4, 8, 8), torch.randn(shape))
    told = str(error.value)
    assert f"x of shape (2, 4, 8, 8) and g of shape {shape}" in told
    assert "GatedSkip" in told
    assert "\n" not in told


@pytest.mark.slow
def test_the_check_of_shapes_is_no_obstacle_to_one_graph_of_any_size():
    """Compiled for sizes that vary, it takes another one without compiling again."""
    gate, counter, frames = MASAG(4).eval(), CompileCounter(), []
    compiled = torch.compile(gate, fullgraph=True, dynamic=True, backend=counter)
    for size in ((2, 4, 8, 8), (3, 4, 6, 10), (5, 4, 9, 7)):
        x, g = torch.randn(size), torch.randn(size)
        torch.testing.assert_close(compiled(x, g), gate(x, g))
        frames.append(counter.frame_count)
    assert frames[-1] == frames[-2]


def test_unknown_dilated_is_refused():
    with pytest.raises(ValueError, match=r"dilated='wide'.*'depthwise'.*'dense'"):
        MASAG(8, "wide")  # pyright: ignore[reportArgumentType]
