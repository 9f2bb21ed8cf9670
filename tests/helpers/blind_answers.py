"""A hundred wrong answers to the exercises of lessons 02 to 09, written without a look at checks or diagnoses.

`WRONG` holds the exercise, the mistake in plain words, and a source that defines one function or class, by the name
and signature that the stub shows; "capstone" is the module of lesson 05.
"""

from __future__ import annotations

WRONG = []


def wrong(exercise, mistake, source):
    WRONG.append((exercise, mistake, source.strip() + "\n"))


# ---------------------------------------------------------------- lesson 02, receptive_field (8)
wrong(
    "receptive_field",
    "the dilation is forgotten, every layer counts as if its taps were neighbors",
    """
def my_receptive_field(kernels, dilations):
    side = 1
    for k in kernels:
        side += k - 1
    return side
""",
)
wrong(
    "receptive_field",
    "the cell itself is not counted, one too few",
    """
def my_receptive_field(kernels, dilations):
    return sum((k - 1) * d for k, d in zip(kernels, dilations))
""",
)
wrong(
    "receptive_field",
    "the sides of the layers are multiplied, where their reaches add",
    """
def my_receptive_field(kernels, dilations):
    side = 1
    for k, d in zip(kernels, dilations):
        side *= d * (k - 1) + 1
    return side
""",
)
wrong(
    "receptive_field",
    "adds up the full width of each dilated kernel, so the center is counted once per layer",
    """
def my_receptive_field(kernels, dilations):
    total = 0
    for i in range(len(kernels)):
        effective = kernels[i] + (kernels[i] - 1) * (dilations[i] - 1)
        total += effective
    return total
""",
)
wrong(
    "receptive_field",
    "a kernel of k taps is given k gaps instead of k - 1",
    """
def my_receptive_field(kernels, dilations):
    return 1 + sum(k * d for k, d in zip(kernels, dilations))
""",
)
wrong(
    "receptive_field",
    "the dilations are multiplied up along the chain, as strides would be",
    """
def my_receptive_field(kernels, dilations):
    side, jump = 1, 1
    for k, d in zip(kernels, dilations):
        jump *= d
        side += (k - 1) * jump
    return side
""",
)
wrong(
    "receptive_field",
    "dilation is read as the number of cells left out between two taps, so 1 already spreads them",
    """
def my_receptive_field(kernels, dilations):
    side = 1
    for k, d in zip(kernels, dilations):
        side = side + (k - 1) * (d + 1)
    return side
""",
)
wrong(
    "receptive_field",
    "gives the reach to one side only, not the whole width",
    """
def my_receptive_field(kernels, dilations):
    reach = 0
    for k, d in zip(kernels, dilations):
        reach += (k // 2) * d
    return reach + 1
""",
)

# ---------------------------------------------------------------- lesson 02, same_padding (6)
wrong(
    "same_padding",
    "half the kernel, without the dilation",
    """
def my_padding(kernel, dilation):
    return kernel // 2
""",
)
wrong(
    "same_padding",
    "the padding of both sides together, twice what goes on one side",
    """
def my_padding(kernel, dilation):
    return dilation * (kernel - 1)
""",
)
wrong(
    "same_padding",
    "kernel where kernel - 1 belongs, rounded down only after the dilation was multiplied in",
    """
def my_padding(kernel, dilation):
    return dilation * kernel // 2
""",
)
wrong(
    "same_padding",
    "an ordinary division, so a float comes back and Conv2d will not take it",
    """
def my_padding(kernel, dilation):
    return dilation * (kernel - 1) / 2
""",
)
wrong(
    "same_padding",
    "the padding equals the dilation, which holds for 3 x 3 kernels only",
    """
def my_padding(kernel, dilation):
    return dilation
""",
)
wrong(
    "same_padding",
    "the extra cells of the dilation are added to the half kernel instead of multiplied with it",
    """
def my_padding(kernel, dilation):
    half = (kernel - 1) // 2
    return half + (dilation - 1)
""",
)

# ---------------------------------------------------------------- lesson 02, global_pooling (8)
wrong(
    "global_pooling",
    "maximum first and mean second, the two are in the wrong order",
    """
import torch

def my_pooling(g):
    biggest = g.amax(dim=1, keepdim=True)
    average = g.mean(dim=1, keepdim=True)
    return torch.cat([biggest, average], dim=1)
""",
)
wrong(
    "global_pooling",
    "pooled over the pixels instead of over the channels, (b, 2, c) comes out",
    """
import torch

def my_pooling(g):
    mean = g.mean(dim=(2, 3))
    high = g.amax(dim=(2, 3))
    return torch.stack([mean, high], dim=1)
""",
)
wrong(
    "global_pooling",
    "the channel axis was not kept, so the two maps are glued below each other along the height",
    """
import torch

def my_pooling(g):
    return torch.cat((g.mean(1), g.max(1).values), 1)
""",
)
wrong(
    "global_pooling",
    "the channels are summed, not averaged",
    """
import torch

def my_pooling(g):
    return torch.cat([g.sum(dim=1, keepdim=True), g.amax(dim=1, keepdim=True)], dim=1)
""",
)
wrong(
    "global_pooling",
    "the largest absolute value instead of the largest value, so strong negatives win",
    """
import torch

def my_pooling(g):
    return torch.cat([g.mean(1, keepdim=True), g.abs().amax(1, keepdim=True)], 1)
""",
)
wrong(
    "global_pooling",
    "gives the number of the largest channel, argmax, instead of its value",
    """
import torch

def my_pooling(g):
    mean = g.mean(dim=1, keepdim=True)
    value, index = g.max(dim=1, keepdim=True)
    return torch.cat([mean, index.to(g.dtype)], dim=1)
""",
)
wrong(
    "global_pooling",
    "the median of the channels stands where the mean should",
    """
import torch

def my_pooling(g):
    middle = g.median(dim=1, keepdim=True).values
    return torch.cat([middle, g.amax(dim=1, keepdim=True)], dim=1)
""",
)
wrong(
    "global_pooling",
    "the maximum is taken over a 3 x 3 neighborhood and averaged over channels, as in a U-Net's pooling",
    """
import torch
import torch.nn.functional as F

def my_pooling(g):
    mean = g.mean(dim=1, keepdim=True)
    top = F.max_pool2d(g, kernel_size=3, stride=1, padding=1).mean(dim=1, keepdim=True)
    return torch.cat([mean, top], dim=1)
""",
)

# ---------------------------------------------------------------- lesson 03, selection (8)
wrong(
    "selection",
    "a sigmoid for each logit, so the two inputs do not compete",
    """
def my_selection(logits, x, g):
    w = logits.sigmoid()
    return w[:, :1] * x + x, w[:, 1:] * g + g
""",
)
wrong(
    "selection",
    "the residual is forgotten, X and G are only multiplied by their weight",
    """
def my_selection(logits, x, g):
    weights = logits.softmax(dim=1)
    return weights[:, :1] * x, weights[:, 1:] * g
""",
)
wrong(
    "selection",
    "the softmax runs over the cells of the map, not over the two competitors",
    """
def my_selection(logits, x, g):
    b, two, h, w = logits.shape
    weights = logits.reshape(b, two, h * w).softmax(dim=2).reshape(b, two, h, w)
    return x + weights[:, 0:1] * x, g + weights[:, 1:2] * g
""",
)
wrong(
    "selection",
    "the weights are mixed up: the first goes to G and the second to X",
    """
import torch

def my_selection(logits, x, g):
    weight_g, weight_x = torch.softmax(logits, dim=1).chunk(2, dim=1)
    return weight_x * x + x, weight_g * g + g
""",
)
wrong(
    "selection",
    "the residuals are crossed: G is added to the weighted X, and X to the weighted G",
    """
def my_selection(logits, x, g):
    wx, wg = logits.softmax(1).split(1, dim=1)
    return wx * x + g, wg * g + x
""",
)
wrong(
    "selection",
    "a hard choice, the winner gets weight 1 and the loser 0, instead of soft weights",
    """
def my_selection(logits, x, g):
    x_wins = (logits[:, :1] > logits[:, 1:]).to(x.dtype)
    return x_wins * x + x, (1 - x_wins) * g + g
""",
)
wrong(
    "selection",
    "the logits are divided by the square root of two before the softmax, as in scaled attention",
    """
def my_selection(logits, x, g):
    weights = (logits / logits.shape[1] ** 0.5).softmax(dim=1)
    return x * (1 + weights[:, :1]), g * (1 + weights[:, 1:])
""",
)
wrong(
    "selection",
    "the weights of the first image are used for all images of the batch",
    """
def my_selection(logits, x, g):
    weight_x, weight_g = logits.softmax(dim=1)[0]
    return weight_x * x + x, weight_g * g + g
""",
)

# ---------------------------------------------------------------- lesson 03, share (6)
wrong(
    "share",
    "looks at the logit of X alone and ignores that of G",
    """
def my_share(logits):
    return logits[:, :1].sigmoid()
""",
)
wrong(
    "share",
    "the minus sign in the exponent is lost, so it is the weight of G that comes out",
    """
import torch

def my_share(logits):
    difference = logits[:, :1] - logits[:, 1:]
    return 1 / (1 + torch.exp(difference))
""",
)
wrong(
    "share",
    "the logits are added where they must be subtracted",
    """
def my_share(logits):
    return (logits[:, :1] + logits[:, 1:]).sigmoid()
""",
)
wrong(
    "share",
    "the channel axis is lost, (b, h, w) comes out",
    """
import torch

def my_share(logits):
    return torch.sigmoid(logits[:, 0] - logits[:, 1])
""",
)
wrong(
    "share",
    "two sigmoids are normalized to sum to one, instead of one sigmoid of the difference",
    """
def my_share(logits):
    p = logits.sigmoid()
    return p[:, :1] / p.sum(dim=1, keepdim=True)
""",
)
wrong(
    "share",
    "gives the odds, the ratio of the two exponentials, without the one in the denominator",
    """
def my_share(logits):
    return (logits[:, :1] - logits[:, 1:]).exp()
""",
)

# ---------------------------------------------------------------- lesson 04, cross_modulation (8)
wrong(
    "cross_modulation",
    "each map is gated by its own sigmoid instead of by the other's",
    """
def my_cross_modulation(x_selected, g_selected):
    x_modulated = x_selected * x_selected.sigmoid()
    g_modulated = g_selected * g_selected.sigmoid()
    return x_modulated, g_modulated, x_modulated * g_modulated
""",
)
wrong(
    "cross_modulation",
    "X'' and G'' are added to make U', not multiplied",
    """
import torch

def my_cross_modulation(x_selected, g_selected):
    a = x_selected * torch.sigmoid(g_selected)
    b = g_selected * torch.sigmoid(x_selected)
    return a, b, a + b
""",
)
wrong(
    "cross_modulation",
    "a softmax over the channels serves as gate, not a sigmoid number by number",
    """
def my_cross_modulation(x_selected, g_selected):
    x2 = x_selected * g_selected.softmax(dim=1)
    g2 = g_selected * x_selected.softmax(dim=1)
    return x2, g2, x2 * g2
""",
)
wrong(
    "cross_modulation",
    "G'' is gated by the X'' just made instead of by X', one map is modulated after the other",
    """
def my_cross_modulation(x_selected, g_selected):
    x_modulated = x_selected * g_selected.sigmoid()
    g_modulated = g_selected * x_modulated.sigmoid()
    return x_modulated, g_modulated, x_modulated * g_modulated
""",
)
wrong(
    "cross_modulation",
    "U' is made of X' and G' as they came in, the modulated maps are left out of it",
    """
def my_cross_modulation(x_selected, g_selected):
    x_modulated = x_selected * g_selected.sigmoid()
    g_modulated = g_selected * x_selected.sigmoid()
    u = x_selected * g_selected
    return x_modulated, g_modulated, u
""",
)
wrong(
    "cross_modulation",
    "a residual is added to each map, which this stage does not have",
    """
def my_cross_modulation(x_selected, g_selected):
    x_modulated = x_selected + x_selected * g_selected.sigmoid()
    g_modulated = g_selected + g_selected * x_selected.sigmoid()
    return x_modulated, g_modulated, x_modulated * g_modulated
""",
)
wrong(
    "cross_modulation",
    "the gates are averaged over the map first, one number a channel as in squeeze and excitation",
    """
def my_cross_modulation(x_selected, g_selected):
    gate_x = g_selected.mean(dim=(2, 3), keepdim=True).sigmoid()
    gate_g = x_selected.mean(dim=(2, 3), keepdim=True).sigmoid()
    x_modulated, g_modulated = x_selected * gate_x, g_selected * gate_g
    return x_modulated, g_modulated, x_modulated * g_modulated
""",
)
wrong(
    "cross_modulation",
    "returns U' only, not the three maps",
    """
def my_cross_modulation(x_selected, g_selected):
    x_modulated = x_selected * g_selected.sigmoid()
    g_modulated = g_selected * x_selected.sigmoid()
    return x_modulated * g_modulated
""",
)

# ---------------------------------------------------------------- lesson 05, recalibration (7)
wrong(
    "recalibration",
    "adds X as a residual at the end, which this stage does not have",
    """
def my_recalibration(u_modulated, x, attend, project):
    attention = attend(u_modulated).sigmoid()
    return project(attention * x) + x
""",
)
wrong(
    "recalibration",
    "the attention weighs U' instead of the skip features X",
    """
def my_recalibration(u_modulated, x, attend, project):
    attention = attend(u_modulated).sigmoid()
    return project(attention * u_modulated)
""",
)
wrong(
    "recalibration",
    "the sigmoid is missing, the raw logits multiply X",
    """
def my_recalibration(u_modulated, x, attend, project):
    return project(attend(u_modulated) * x)
""",
)
wrong(
    "recalibration",
    "the channels compete in a softmax instead of each having its own sigmoid",
    """
def my_recalibration(u_modulated, x, attend, project):
    attention = attend(u_modulated).softmax(dim=1)
    return project(attention * x)
""",
)
wrong(
    "recalibration",
    "project is applied to the attention map before X comes in, not to their product",
    """
def my_recalibration(u_modulated, x, attend, project):
    return project(attend(u_modulated).sigmoid()) * x
""",
)
wrong(
    "recalibration",
    "the sigmoid comes before attend, so the map does not stay between 0 and 1",
    """
def my_recalibration(u_modulated, x, attend, project):
    attention = attend(u_modulated.sigmoid())
    return project(attention * x)
""",
)
wrong(
    "recalibration",
    "the map is averaged to one value a pixel, the same for all channels",
    """
def my_recalibration(u_modulated, x, attend, project):
    attention = attend(u_modulated).sigmoid().mean(dim=1, keepdim=True)
    return project(attention * x)
""",
)

# ---------------------------------------------------------------- lesson 05, whole_gate (6)
wrong(
    "whole_gate",
    "x is overwritten by the selected X', so that the last stage weighs X' instead of the original X",
    """
def my_gate(gate, x, g):
    u = gate.fusion(x, g)
    x, g = gate.selection(u, x, g)
    u = gate.cross_modulation(x, g)
    return gate.recalibration(u, x)
""",
)
wrong(
    "whole_gate",
    "X and G are mixed up in the fusion, the local context is taken of G",
    """
def my_gate(gate, x, g):
    u = gate.fusion(g, x)
    x_selected, g_selected = gate.selection(u, x, g)
    u_modulated = gate.cross_modulation(x_selected, g_selected)
    return gate.recalibration(u_modulated, x)
""",
)
wrong(
    "whole_gate",
    "the last stage gets G where the skip features X belong",
    """
def my_gate(gate, x, g):
    u = gate.fusion(x, g)
    xs, gs = gate.selection(u, x, g)
    um = gate.cross_modulation(xs, gs)
    return gate.recalibration(um, g)
""",
)
wrong(
    "whole_gate",
    "selection is left out, X and G go straight into the cross-modulation",
    """
def my_gate(gate, x, g):
    u_modulated = gate.cross_modulation(x, g)
    return gate.recalibration(u_modulated, x)
""",
)
wrong(
    "whole_gate",
    "the attention is made of the fused U, stages 2 and 3 are computed and never used",
    """
def my_gate(gate, x, g):
    u = gate.fusion(x, g)
    x_selected, g_selected = gate.selection(u, x, g)
    u_modulated = gate.cross_modulation(x_selected, g_selected)
    return gate.recalibration(u, x)
""",
)
wrong(
    "whole_gate",
    "adds G to the result, which is the decoder's business and not the gate's",
    """
def my_gate(gate, x, g):
    x1, g1 = gate.selection(gate.fusion(x, g), x, g)
    y = gate.recalibration(gate.cross_modulation(x1, g1), x)
    return y + g
""",
)

# ---------------------------------------------------------------- lesson 05, capstone (9)
RIGHT_GATE = """
import torch
from torch import nn


class MyMASAG(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.depthwise_norm = nn.BatchNorm2d(channels)
        self.dilated = nn.Conv2d(channels, channels, 3, padding=2, dilation=2, groups=channels)
        self.dilated_norm = nn.BatchNorm2d(channels)
        self.pointwise = nn.Conv2d(channels, channels, 1)
        self.pointwise_norm = nn.BatchNorm2d(channels)
        self.mix = nn.Conv2d(2, 1, 1)
        self.mix_norm = nn.BatchNorm2d(1)
        self.fused_norm = nn.BatchNorm2d(channels)
        self.select = nn.Conv2d(channels, 2, 1)
        self.attend = nn.Conv2d(channels, channels, 1)
        self.attend_norm = nn.BatchNorm2d(channels)
        self.project = nn.Conv2d(channels, channels, 1)
        self.project_norm = nn.BatchNorm2d(channels)

    def fuse(self, x, g):
        local = self.depthwise_norm(self.depthwise(x)).relu()
        local = self.dilated_norm(self.dilated(local)).relu()
        local = self.pointwise_norm(self.pointwise(local))
        pooled = torch.cat([g.mean(dim=1, keepdim=True), g.amax(dim=1, keepdim=True)], dim=1)
        return self.fused_norm(local + self.mix_norm(self.mix(pooled)))

    def choose(self, u, x, g):
        weight_x, weight_g = self.select(u).softmax(dim=1).chunk(2, dim=1)
        return weight_x * x + x, weight_g * g + g

    def modulate(self, x_selected, g_selected):
        return (x_selected * g_selected.sigmoid()) * (g_selected * x_selected.sigmoid())

    def forward(self, x, g):
        x_selected, g_selected = self.choose(self.fuse(x, g), x, g)
        attention = self.attend_norm(self.attend(self.modulate(x_selected, g_selected))).sigmoid()
        return self.project_norm(self.project(attention * x))
"""


def wrong_gate(mistake, *changes):
    source = RIGHT_GATE
    for old, new in changes:
        assert old in source, (mistake, old)
        source = source.replace(old, new)
    wrong("capstone", mistake, source)


wrong_gate(
    "the attention weighs the selected X' instead of the x that came in",
    ("self.project(attention * x)", "self.project(attention * x_selected)"),
)
wrong_gate(
    "one ReLU too many, after the pointwise convolution as well",
    ("self.pointwise_norm(self.pointwise(local))", "self.pointwise_norm(self.pointwise(local)).relu()"),
)
wrong_gate(
    "ReLU before the batch norm instead of after it",
    ("self.depthwise_norm(self.depthwise(x)).relu()", "self.depthwise_norm(self.depthwise(x).relu())"),
    ("self.dilated_norm(self.dilated(local)).relu()", "self.dilated_norm(self.dilated(local).relu())"),
)
wrong_gate(
    "the norm of the sum is built but never called",
    ("self.fused_norm(local + self.mix_norm(self.mix(pooled)))", "local + self.mix_norm(self.mix(pooled))"),
)
wrong_gate(
    "the dilated convolution is dense, groups is missing",
    ("padding=2, dilation=2, groups=channels)", "padding=2, dilation=2)"),
)
wrong_gate(
    "the attention map is detached, so that nothing before it gets a gradient",
    ("(x_selected, g_selected))).sigmoid()", "(x_selected, g_selected))).sigmoid().detach()"),
)
wrong_gate(
    "the global context is pooled from x, not from g",
    (
        "g.mean(dim=1, keepdim=True), g.amax(dim=1, keepdim=True)",
        "x.mean(dim=1, keepdim=True), x.amax(dim=1, keepdim=True)",
    ),
)
wrong_gate(
    "batch norms with an epsilon of 0.001, the habit of another framework",
    ("nn.BatchNorm2d(channels)", "nn.BatchNorm2d(channels, eps=1e-3)"),
    ("nn.BatchNorm2d(1)", "nn.BatchNorm2d(1, eps=1e-3)"),
)
wrong_gate(
    "the depthwise convolutions have no bias, because a batch norm follows",
    ("padding=1, groups=channels)", "padding=1, groups=channels, bias=False)"),
    ("dilation=2, groups=channels)", "dilation=2, groups=channels, bias=False)"),
)

# ---------------------------------------------------------------- lesson 06, attention_gate (7)
wrong(
    "attention_gate",
    "the two projections are multiplied, not added",
    """
def my_attention_gate(x, g, theta_x, phi_g, psi):
    hidden = (theta_x(x) * phi_g(g)).relu()
    return psi(hidden).sigmoid() * x
""",
)
wrong(
    "attention_gate",
    "the ReLU is left out, so the map is a linear rule under the sigmoid",
    """
def my_attention_gate(x, g, theta_x, phi_g, psi):
    return psi(theta_x(x) + phi_g(g)).sigmoid() * x
""",
)
wrong(
    "attention_gate",
    "a softmax over the map's single channel, which is 1 everywhere",
    """
def my_attention_gate(x, g, theta_x, phi_g, psi):
    q = (theta_x(x) + phi_g(g)).relu()
    alpha = psi(q).softmax(dim=1)
    return x * alpha
""",
)
wrong(
    "attention_gate",
    "the map multiplies G instead of X",
    """
def my_attention_gate(x, g, theta_x, phi_g, psi):
    attention = psi((theta_x(x) + phi_g(g)).relu()).sigmoid()
    return attention * g
""",
)
wrong(
    "attention_gate",
    "theta and phi are mixed up, each projects the other's input",
    """
def my_attention_gate(x, g, theta_x, phi_g, psi):
    attention = psi((theta_x(g) + phi_g(x)).relu()).sigmoid()
    return attention * x
""",
)
wrong(
    "attention_gate",
    "the ReLU is applied to each projection before the sum, not to the sum",
    """
import torch

def my_attention_gate(x, g, theta_x, phi_g, psi):
    total = torch.relu(theta_x(x)) + torch.relu(phi_g(g))
    return torch.sigmoid(psi(total)) * x
""",
)
wrong(
    "attention_gate",
    "ReLU and psi are in the wrong order: the logit is cut off below zero, so no cell gets less than a half",
    """
def my_attention_gate(x, g, theta_x, phi_g, psi):
    logit = psi(theta_x(x) + phi_g(g)).relu()
    return logit.sigmoid() * x
""",
)

# ---------------------------------------------------------------- lesson 07, large_kernel_attention (7)
wrong(
    "large_kernel_attention",
    "returns the map itself, the product with x is missing",
    """
import torch.nn.functional as F

def my_lka(x, depthwise, dilated, pointwise):
    c = x.shape[1]
    a = F.conv2d(x, depthwise, padding=2, groups=c)
    a = F.conv2d(a, dilated, padding=9, dilation=3, groups=c)
    return F.conv2d(a, pointwise)
""",
)
wrong(
    "large_kernel_attention",
    "the 7 x 7 convolution is not dilated",
    """
import torch.nn.functional as F

def my_lka(x, depthwise, dilated, pointwise):
    c = x.shape[1]
    a = F.conv2d(x, depthwise, padding=2, groups=c)
    a = F.conv2d(a, dilated, padding=3, groups=c)
    return x * F.conv2d(a, pointwise)
""",
)
wrong(
    "large_kernel_attention",
    "the map is added to x like a residual, not multiplied with it",
    """
from torch.nn.functional import conv2d

def my_lka(x, depthwise, dilated, pointwise):
    groups = x.shape[1]
    y = conv2d(x, depthwise, padding=2, groups=groups)
    y = conv2d(y, dilated, padding=9, dilation=3, groups=groups)
    y = conv2d(y, pointwise)
    return x + y
""",
)
wrong(
    "large_kernel_attention",
    "the dilated 7 x 7 comes before the 5 x 5, the order is wrong and shows at the borders",
    """
import torch.nn.functional as F

def my_lka(x, depthwise, dilated, pointwise):
    c = x.shape[1]
    wide = F.conv2d(x, dilated, padding=9, dilation=3, groups=c)
    near = F.conv2d(wide, depthwise, padding=2, groups=c)
    return F.conv2d(near, pointwise) * x
""",
)
wrong(
    "large_kernel_attention",
    "a sigmoid squeezes the map to 0..1, LKA has none",
    """
import torch
import torch.nn.functional as F

def my_lka(x, depthwise, dilated, pointwise):
    c = x.shape[1]
    a = F.conv2d(x, depthwise, padding=2, groups=c)
    a = F.conv2d(a, dilated, padding=9, dilation=3, groups=c)
    a = F.conv2d(a, pointwise)
    return torch.sigmoid(a) * x
""",
)
wrong(
    "large_kernel_attention",
    "the borders are padded by repeating the edge pixel instead of with zeros",
    """
import torch.nn.functional as F

def my_lka(x, depthwise, dilated, pointwise):
    c = x.shape[1]
    a = F.conv2d(F.pad(x, (2, 2, 2, 2), mode="replicate"), depthwise, groups=c)
    a = F.conv2d(F.pad(a, (9, 9, 9, 9), mode="replicate"), dilated, dilation=3, groups=c)
    return x * F.conv2d(a, pointwise)
""",
)
wrong(
    "large_kernel_attention",
    "the two wide convolutions stand side by side on x and are added, instead of one after the other",
    """
import torch.nn.functional as F

def my_lka(x, depthwise, dilated, pointwise):
    c = x.shape[1]
    small = F.conv2d(x, depthwise, padding=2, groups=c)
    large = F.conv2d(x, dilated, padding=9, dilation=3, groups=c)
    return x * F.conv2d(small + large, pointwise)
""",
)

# ---------------------------------------------------------------- lesson 07, efficient_attention (6)
wrong(
    "efficient_attention",
    "both softmaxes are forgotten, it is a plain product of three matrices",
    """
import torch

def my_efficient_attention(queries, keys, values):
    context = torch.einsum("bkn,bvn->bkv", keys, values)
    return torch.einsum("bkv,bkn->bvn", context, queries)
""",
)
wrong(
    "efficient_attention",
    "the two softmaxes run over each other's axis: keys over channels, queries over positions",
    """
import torch

def my_efficient_attention(queries, keys, values):
    q = queries.softmax(dim=2)
    k = keys.softmax(dim=1)
    context = torch.einsum("bkn,bvn->bkv", k, values)
    return torch.einsum("bkv,bkn->bvn", context, q)
""",
)
wrong(
    "efficient_attention",
    "this is standard attention: one softmax of queries times keys over the root of c",
    """
def my_efficient_attention(queries, keys, values):
    c = queries.shape[1]
    scores = queries.transpose(1, 2) @ keys / c**0.5
    weights = scores.softmax(dim=-1)
    return (weights @ values.transpose(1, 2)).transpose(1, 2)
""",
)
wrong(
    "efficient_attention",
    "the context is transposed, the query meets the values' channels instead of the keys'",
    """
def my_efficient_attention(queries, keys, values):
    q, k = queries.softmax(1), keys.softmax(2)
    context = k @ values.transpose(1, 2)
    return context @ q
""",
)
wrong(
    "efficient_attention",
    "an extra division by the square root of the number of channels",
    """
import math
import torch

def my_efficient_attention(queries, keys, values):
    q = torch.softmax(queries, dim=1)
    k = torch.softmax(keys, dim=2)
    context = torch.einsum("bkn,bvn->bkv", k, values) / math.sqrt(keys.shape[1])
    return torch.einsum("bkv,bkn->bvn", context, q)
""",
)
wrong(
    "efficient_attention",
    "positions and channels of the result are exchanged, (b, n, c) comes out",
    """
import torch

def my_efficient_attention(queries, keys, values):
    q, k = queries.softmax(dim=1), keys.softmax(dim=2)
    context = torch.einsum("bin,bjn->bij", k, values)
    return torch.einsum("bin,bij->bnj", q, context)
""",
)

# ---------------------------------------------------------------- lesson 08, convolution (6)
wrong(
    "convolution",
    "groups is ignored, every convolution counts as dense",
    """
def my_count(channels_in, channels_out, kernel, groups, height, width):
    weights = channels_out * channels_in * kernel**2
    return weights + channels_out, weights * height * width
""",
)
wrong(
    "convolution",
    "the bias is counted as a multiplication at every pixel",
    """
def my_count(channels_in, channels_out, kernel, groups, height, width):
    parameters = channels_out * (channels_in // groups) * kernel**2 + channels_out
    return parameters, parameters * height * width
""",
)
wrong(
    "convolution",
    "the kernel is not squared, as if it had one row only",
    """
def my_count(channels_in, channels_out, kernel, groups, height, width):
    weights = channels_out * (channels_in // groups) * kernel
    return weights + channels_out, weights * height * width
""",
)
wrong(
    "convolution",
    "both channel numbers are divided by groups, that is one group's weights only",
    """
def my_count(channels_in, channels_out, kernel, groups, height, width):
    weights = (channels_in // groups) * (channels_out // groups) * kernel * kernel
    return weights + channels_out, weights * height * width
""",
)
wrong(
    "convolution",
    "a multiply-add is counted as two operations",
    """
def my_count(channels_in, channels_out, kernel, groups, height, width):
    weights = channels_out * (channels_in // groups) * kernel**2
    return weights + channels_out, 2 * weights * height * width
""",
)
wrong(
    "convolution",
    "the map is taken to shrink by kernel - 1, the padding is forgotten",
    """
def my_count(channels_in, channels_out, kernel, groups, height, width):
    weights = channels_out * (channels_in // groups) * kernel**2
    out_h, out_w = height - kernel + 1, width - kernel + 1
    return weights + channels_out, weights * out_h * out_w
""",
)

# ---------------------------------------------------------------- lesson 09, alpha (8)
wrong(
    "alpha",
    "the cap at 0.8 is missing",
    """
from scipy import ndimage

def my_alpha(mask):
    inside = ndimage.binary_erosion(mask)
    boundary = mask.sum() - inside.sum()
    return 2 * (1 - boundary / mask.sum()) - 1
""",
)
wrong(
    "alpha",
    "the erosion uses all eight neighbors instead of the cross of four",
    """
import numpy as np
from scipy.ndimage import binary_erosion

def my_alpha(mask):
    inside = binary_erosion(mask, structure=np.ones((3, 3)))
    c, s = (mask & ~inside).sum(), mask.sum()
    return min(2 * (1 - c / s) - 1, 0.8)
""",
)
wrong(
    "alpha",
    "what lies beyond the image counts as object, so there is no boundary at the image's border",
    """
from scipy.ndimage import binary_erosion

def my_alpha(mask):
    inside = binary_erosion(mask, border_value=1)
    c, s = (mask & ~inside).sum(), mask.sum()
    return min(2 * (1 - c / s) - 1, 0.8)
""",
)
wrong(
    "alpha",
    "the share of inside pixels is not stretched to -1..1",
    """
from scipy.ndimage import binary_erosion

def my_alpha(mask):
    share = binary_erosion(mask).sum() / mask.sum()
    return min(share, 0.8)
""",
)
wrong(
    "alpha",
    "inside and boundary are mixed up, the sign of alpha is turned around",
    """
from scipy.ndimage import binary_erosion

def my_alpha(mask):
    boundary = mask ^ binary_erosion(mask)
    return min(2 * boundary.sum() / mask.sum() - 1, 0.8)
""",
)
wrong(
    "alpha",
    "integer division makes the share of boundary 0 or 1",
    """
from scipy.ndimage import binary_erosion

def my_alpha(mask):
    size = int(mask.sum())
    rim = size - int(binary_erosion(mask).sum())
    return min(2 * (1 - rim // size) - 1, 0.8)
""",
)
wrong(
    "alpha",
    "the boundary is divided by the number of pixels of the image, not of the object",
    """
import numpy as np

def my_alpha(mask):
    p = np.pad(mask, 1)
    inside = p[1:-1, 1:-1] & p[:-2, 1:-1] & p[2:, 1:-1] & p[1:-1, :-2] & p[1:-1, 2:]
    rim = (mask & ~inside).sum()
    return min(2 * (1 - rim / mask.size) - 1, 0.8)
""",
)
wrong(
    "alpha",
    "cut off at 0.8 before it is stretched, so alpha never gets above 0.6",
    """
import numpy as np

def my_alpha(mask):
    p = np.pad(mask, 1)
    inside = p[1:-1, 1:-1] & p[:-2, 1:-1] & p[2:, 1:-1] & p[1:-1, :-2] & p[1:-1, 2:]
    share = inside.sum() / mask.sum()
    return 2 * min(share, 0.8) - 1
""",
)
