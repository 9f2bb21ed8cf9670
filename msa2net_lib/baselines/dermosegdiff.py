"""DermoSegDiff: a lesion's mask drawn out of noise by a network that sees the picture at every step."""

from __future__ import annotations

import copy
import math
import sys
from collections.abc import Sequence
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

from msa2net_lib.baselines.diffusion import Diffusion
from msa2net_lib.errors import InputError
from msa2net_lib.nn.encoder import as_rgb

HEADS, HEAD = 4, 32


class StandardizedConv(nn.Conv2d):
    """A convolution whose filters have mean 0 and variance 1 (biased, eps 1e-5) each time it runs."""

    def forward(self, x: Tensor) -> Tensor:
        variance, mean = torch.var_mean(self.weight, dim=(1, 2, 3), keepdim=True, unbiased=False)
        return self._conv_forward(x, (self.weight - mean) * (variance + 1e-5).rsqrt(), self.bias)


class ResidualBlock(nn.Module):
    """Twice standardized 3x3 convolution, group norm and SiLU, plus x; the time scales and shifts between."""

    def __init__(self, channels_in: int, channels_out: int, time: int, groups: int = 8):
        super().__init__()
        self.time = nn.Sequential(nn.SiLU(), nn.Linear(time, 2 * channels_out))
        self.conv1 = StandardizedConv(channels_in, channels_out, 3, padding=1)
        self.norm1 = nn.GroupNorm(groups, channels_out)
        self.conv2 = StandardizedConv(channels_out, channels_out, 3, padding=1)
        self.norm2 = nn.GroupNorm(groups, channels_out)
        same = channels_in == channels_out
        self.shortcut = nn.Identity() if same else nn.Conv2d(channels_in, channels_out, 1)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        scale, shift = self.time(time)[:, :, None, None].chunk(2, dim=1)
        h = functional.silu(self.norm1(self.conv1(x)) * (scale + 1) + shift)
        return functional.silu(self.norm2(self.conv2(h))) + self.shortcut(x)


class LinearAttention(nn.Module):
    """x plus attention that is linear in the number of pixels: keys sum over pixels first. 4 heads of 32 channels."""

    def __init__(self, channels: int):
        super().__init__()
        self.norm = nn.GroupNorm(1, channels)
        self.qkv = nn.Conv2d(channels, 3 * HEADS * HEAD, 1, bias=False)
        self.out = nn.Sequential(nn.Conv2d(HEADS * HEAD, channels, 1), nn.GroupNorm(1, channels))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = rearrange(self.qkv(self.norm(x)), "b (n head c) h w -> n b head c (h w)", n=3, head=HEADS)
        context = k.softmax(dim=-1) @ v.transpose(-1, -2)
        found = context.transpose(-1, -2) @ (q.softmax(dim=-2) * HEAD**-0.5)
        return x + self.out(rearrange(found, "b head c (h w) -> b (head c) h w", h=x.shape[2]))


class SelfAttention(nn.Module):
    """x plus attention of every pixel to every pixel, for the smallest grid."""

    def __init__(self, channels: int):
        super().__init__()
        self.norm = nn.GroupNorm(1, channels)
        self.qkv = nn.Conv2d(channels, 3 * HEADS * HEAD, 1, bias=False)
        self.out = nn.Sequential(nn.Conv2d(HEADS * HEAD, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = rearrange(self.qkv(self.norm(x)), "b (n head c) h w -> n b head (h w) c", n=3, head=HEADS)
        found = (q * HEAD**-0.5 @ k.transpose(-1, -2)).softmax(dim=-1) @ v
        return x + self.out(rearrange(found, "b head (h w) c -> b (head c) h w", h=x.shape[2]))


class EncoderLevel(nn.Module):
    """Mask stream x and picture stream g meet twice; both meetings are skips. The picture multiplies the mask's map."""

    def __init__(self, x: int, g: int, next_x: int, next_g: int, time_x: int, time_g: int, groups: int, last: bool):
        super().__init__()
        self.rb_x1, self.rb_g1 = ResidualBlock(x, x, time_x, groups), ResidualBlock(g, g, time_g, groups)
        self.rb_g2, self.rb_x2 = ResidualBlock(x + g, g, time_g, groups), ResidualBlock(x, x, time_x, groups)
        self.g_feedback = nn.Conv2d(g, x, 1)
        self.att_x, self.att_g = LinearAttention(x), LinearAttention(x + g)
        self.down_x, self.down_g = self._down(x, next_x, last), self._down(x + g, next_g, last)

    @staticmethod
    def _down(channels: int, channels_out: int, last: bool) -> nn.Sequential:
        if last:
            return nn.Sequential(nn.Identity(), nn.Conv2d(channels, channels_out, 3, padding=1))
        return nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(4 * channels, channels_out, 1))

    def forward(self, x: Tensor, g: Tensor, time_x: Tensor, time_g: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        x, g = self.rb_x1(x, time_x), self.rb_g1(g, time_g)
        h = torch.cat([x, g], dim=1)
        g = self.rb_g2(h, time_g)
        x = self.att_x(self.rb_x2(self.g_feedback(g) * x, time_x))
        b = torch.cat([x, g], dim=1)
        return x, self.att_g(b), h, b


class Bottleneck(nn.Module):
    """Both streams into one; x enters the sum of the two attentions twice. Its group norms have 4 groups."""

    def __init__(self, channels_in: int, channels: int, time: int):
        super().__init__()
        self.rb_before = ResidualBlock(channels_in, channels, time, groups=4)
        self.self_attention, self.linear_attention = SelfAttention(channels), LinearAttention(channels)
        self.rb_after = ResidualBlock(2 * channels, channels, time, groups=4)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        x = self.rb_before(x, time)
        return self.rb_after(torch.cat([x, self.self_attention(x) + self.linear_attention(x)], dim=1), time)


class DecoderLevel(nn.Module):
    """The two skips one after another, then twice the height and width, except at the end."""

    def __init__(self, channels: int, skip: int, channels_out: int, time: int, groups: int, last: bool):
        super().__init__()
        self.rb_d1 = ResidualBlock(channels + skip, channels, time, groups)
        self.rb_d2 = ResidualBlock(channels + skip, channels, time, groups)
        self.att_x = LinearAttention(channels)
        finer = nn.Identity() if last else nn.Upsample(scale_factor=2)
        self.up = nn.Sequential(finer, nn.Conv2d(channels, channels_out, 3, padding=1))

    def forward(self, x: Tensor, h: Tensor, b: Tensor, time: Tensor) -> Tensor:
        x = self.rb_d1(torch.cat([x, b], dim=1), time)
        return self.att_x(self.rb_d2(torch.cat([x, h], dim=1), time))


class Denoiser(nn.Module):
    """The noise in a noisy mask: x_t (b, 1, h, w), picture in [0, 1] (b, 3, h, w), t (b) -> (b, 1, h, w)."""

    def __init__(
        self,
        dim_x: int = 128,
        dim_g: int = 64,
        mults_x: Sequence[int] = (1, 2, 3, 4, 5, 6),
        mults_g: Sequence[int] = (1, 2, 4, 8, 16, 32),
        groups: int = 8,
    ):
        super().__init__()
        self.dims = dim_x, dim_g
        xs, gs = [dim_x, *(dim_x * m for m in mults_x)], [dim_g, *(dim_g * m for m in mults_g)]
        time_x, time_g = 4 * dim_x, 4 * dim_g
        self.time_x, self.time_g = (
            nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, 4 * dim)) for dim in self.dims
        )
        self.stem_x, self.stem_g = nn.Conv2d(1, dim_x, 1), nn.Conv2d(3, dim_g, 1)
        last = len(mults_x) - 1
        levels = list(zip(xs, gs, xs[1:], gs[1:], strict=False))
        self.encoder = nn.ModuleList(
            EncoderLevel(*widths, time_x, time_g, groups, number == last) for number, widths in enumerate(levels)
        )
        self.bottleneck = Bottleneck(xs[-1] + gs[-1], xs[-1], time_x)
        self.decoder = nn.ModuleList(
            DecoderLevel(deep, x + g, x, time_x, groups, number == last)
            for number, (x, g, deep, _) in enumerate(reversed(levels))
        )
        self.last = ResidualBlock(2 * dim_x + dim_g, dim_x, time_x, groups=1)
        self.head = nn.Conv2d(dim_x, 1, 1)

    def forward(self, x: Tensor, picture: Tensor, t: Tensor) -> Tensor:
        time_x, time_g = (
            mlp(sinusoids(t, dim)) for mlp, dim in zip((self.time_x, self.time_g), self.dims, strict=True)
        )
        x, g = self.stem_x(x), self.stem_g(picture)
        stem, skips = (x, g), []
        levels: list[Any] = list(self.encoder)
        for level in levels:
            x, g, h, b = level(x, g, time_x, time_g)
            skips.append((h, b))
            x, g = level.down_x(x), level.down_g(g)
        x = self.bottleneck(torch.cat([x, g], dim=1), time_x)
        levels = list(self.decoder)
        for level, (h, b) in zip(levels, reversed(skips), strict=True):
            x = level.up(level(x, h, b, time_x))
        return self.head(self.last(torch.cat([x, *stem], dim=1), time_x))


def sinusoids(t: Tensor, width: int) -> Tensor:
    """Sines, then cosines of t (b) at ``width`` / 2 frequencies from 1 down to 1e-4: (b, width)."""
    half = width // 2
    frequencies = torch.exp(-math.log(10000) / (half - 1) * torch.arange(half, device=t.device))
    angles = t[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=1)


class DermoSegDiff(nn.Module):
    """DermoSegDiff: (b, 1|3, h, w) -> logits (b, 2, h, w), by drawing masks; h and w multiples of 32.

    As in mindflow-institue/DermoSegDiff. Trained by its own step: called with a target, it returns the loss between
    the noise that was added to the mask and the noise that it predicts. Called without one, it draws ``samples`` masks
    in ``steps`` steps each and averages them before the threshold at 0: 250 steps and 5 samples are its own, fewer
    steps go by DDIM. What predicts is a running mean of the weights.

    The paper's loss weighs the boundary; the ISIC config has that term commented out, so ``boundary`` is 0 here (0.25
    in the configs for PH2 and HAM10000, with ``gamma`` 0.25 and 0.2). t = 0 is never trained, though sampling ends
    with it.
    """

    updates: Tensor

    def __init__(
        self,
        num_classes: int = 2,
        image_size: int | tuple[int, int] = 128,
        samples: int = 5,
        steps: int = 250,
        boundary: float = 0.0,
        gamma: float = 0.25,
        seed: int = 0,
        **widths: int | Sequence[int],
    ):
        super().__init__()
        if num_classes != 2:
            raise InputError(f"num_classes={num_classes}: DermoSegDiff tells one thing from the background; give 2")
        if samples < 1:
            raise InputError(f"samples={samples}: give at least 1")
        self.denoiser = Denoiser(**widths)  # pyright: ignore[reportArgumentType]
        self.multiple = 2 ** (len(self.denoiser.encoder) - 1)
        self.average = copy.deepcopy(self.denoiser).requires_grad_(False)
        self.diffusion = Diffusion()
        self.samples, self.steps, self.boundary, self.gamma, self.seed = samples, steps, boundary, gamma, seed
        self.register_buffer("updates", torch.tensor(0))

    def forward(self, image: Tensor, target: Tensor | None = None) -> Tensor:
        picture = as_rgb(image, multiple=self.multiple) * 0.5 + 0.5
        if target is not None:
            return self.loss(picture, target)
        masks = [self._draw(picture, number) for number in range(self.samples)]
        mask = torch.stack(masks).mean(dim=0)
        return torch.cat([-mask, mask], dim=1)

    def loss(self, picture: Tensor, target: Tensor) -> Tensor:
        """Mean squared error of the noise at a random step; target (b, h, w) of 0 and 1."""
        mask = 2.0 * target[:, None].to(picture.dtype) - 1
        t = torch.randint(1, self.diffusion.steps, (len(mask),), device=mask.device)
        noise = torch.randn_like(mask)
        error = (noise - self.denoiser(self.diffusion.add_noise(mask, noise, t), picture, t)) ** 2
        if self.boundary:
            error = error * (1 + self.boundary * self.diffusion.boundary_weight(mask, t, self.gamma))
        return error.mean()

    @torch.no_grad()
    def after_step(self) -> None:
        """Move the running mean: a copy for 500 steps, then with the decay min(0.9999, 1 - (1 + step) ^ -0.9)."""
        self.updates += 1
        step = int(self.updates)
        decay = 0.0 if step <= 500 else min(0.9999, 1 - (1 + step) ** -0.9)
        for mean, value in zip(self.average.parameters(), self.denoiser.parameters(), strict=True):
            mean.lerp_(value, 1 - decay)

    def _draw(self, picture: Tensor, number: int) -> Tensor:
        trained = not self.updates.is_meta and self.updates > 0
        network = self.average if trained else self.denoiser
        shape = (len(picture), 1, *picture.shape[2:])
        shown = sys.stderr.isatty()
        return self.diffusion.draw(
            lambda x, t: network(x.to(picture.dtype), picture, t),
            shape,
            picture.device,
            self.steps,
            self.seed + number,
            shown,
        )


def small(num_classes: int = 2, image_size: int | tuple[int, int] = 64, **options: int | float) -> DermoSegDiff:
    """DermoSegDiff with three levels and 2.5 M parameters, for a laptop; no size of its authors'."""
    widths = {"dim_x": 32, "dim_g": 16, "mults_x": (1, 2, 3), "mults_g": (1, 2, 4)}
    return DermoSegDiff(num_classes, image_size, **({"samples": 1, "steps": 25} | widths | options))  # pyright: ignore
