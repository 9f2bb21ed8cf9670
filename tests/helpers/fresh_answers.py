"""A hundred wrong answers to the exercises, written without a look at what the checks would say of them."""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage
from torch.nn import functional as F

EPS = 1e-6


def _reshaped(maps):
    return maps.reshape(maps.shape[0], maps.shape[2], maps.shape[3], maps.shape[1]).permute(0, 3, 1, 2)


def _lka(x, d, w, p, end=lambda x, a: x * a, pad=9):
    local = F.conv2d(x, d, padding=2, groups=x.shape[1])
    return end(x, F.conv2d(F.conv2d(local, w, padding=pad, dilation=3, groups=x.shape[1]), p))


def _weights(s, axis=1):
    return s.softmax(axis)[:, :1], s.softmax(axis)[:, 1:]


def _gate(gate, x, g, select=None, last=None):
    u = gate.fusion(x, g)
    pair = gate.selection(u, x, g) if select is None else select(u, x, g)
    return gate.recalibration(gate.cross_modulation(*pair), x if last is None else last(u, pair))


def _inner(mask):
    return ndimage.binary_erosion(mask)


def _cam(a, g, axes=(2, 3), end=torch.relu):
    return end((g.mean(dim=axes, keepdim=True) * a).sum(dim=1))


ANSWERS = {
    "window": [
        lambda hu: (np.clip(hu, -125, 275) + 125) // 400,
        lambda hu: (np.clip(hu, -125, 275) + 125) / 255,
        lambda hu: 1 - (np.clip(hu, -125, 275) + 125) / 400,
        lambda hu: (np.clip(hu, -125, 275) + 125) / 200 - 1,
        lambda hu: np.clip((hu + 125) / 400, 0, None),
        lambda hu: np.clip(hu, -125, 275) + 125 / 400,
        lambda hu: (np.clip(hu, -175, 275) + 175) / 450,
        lambda hu: np.round((np.clip(hu, -125, 275) + 125) / 400, 2),
        lambda hu: np.where((hu > -125) & (hu < 275), (hu + 125) / 400, 0),
    ],
    "global_pooling": [
        lambda g: torch.cat([g.mean(1, keepdim=True), g.max(dim=0, keepdim=True)[0].amax(1, keepdim=True)], 1),
        lambda g: (g.mean(1, keepdim=True), g.amax(1, keepdim=True)),
        lambda g: g.mean(1, keepdim=True) + g.amax(1, keepdim=True),
        lambda g: torch.stack([g.mean(1), g.amax(1)], dim=-1),
        lambda g: torch.cat([g.mean(1, keepdim=True), g.argmax(1, keepdim=True).double()], 1),
        lambda g: torch.cat([g.mean(1, keepdim=True), g.amax(1, keepdim=True)], 0),
        lambda g: torch.cat([g.std(1, keepdim=True), g.amax(1, keepdim=True)], 1),
        lambda g: torch.cat([g.mean((2, 3), keepdim=True), g.amax((2, 3), keepdim=True)], 1),
    ],
    "receptive_field": [
        lambda k, d: 2 * sum(b * (a - 1) for a, b in zip(k, d, strict=True)) + 1,
        lambda k, d: sum(b * (a - 1) for a, b in zip(k, d, strict=True)) + len(k),
        lambda k, d: k[-1] + sum(b * (a - 1) for a, b in zip(k[:-1], d[:-1], strict=True)),
        lambda k, d: 1 + sum((a - 1) ** b for a, b in zip(k, d, strict=True)),
        lambda k, d: max(k) * max(d),
    ],
    "same_padding": [
        lambda k, d: d * k // 2,
        lambda k, d: (k - 1) // 2,
        lambda k, d: d * (k + 1) // 2,
        lambda k, d: (k + d) // 2,
    ],
    "selection": [
        lambda s, x, g: (_weights(s)[0] * x + _weights(s)[1] * g,) * 2,
        lambda s, x, g: ((1 + s.softmax(1)) * x, (1 + s.softmax(1)) * g) if x.shape[1] == 2 else (x, g),
        lambda s, x, g: (_weights(s)[0] * x + x, _weights(s)[1] * g),
        lambda s, x, g: (_weights(s)[0] * g + x, _weights(s)[1] * x + g),
        lambda s, x, g: (s.sigmoid()[:, :1] * x + x, (1 - s.sigmoid()[:, :1]) * g + g),
        lambda s, x, g: (_weights(s)[0] * x + x + g, _weights(s)[1] * g + g + x),
        lambda s, x, g: (_weights(s)[0] + x, _weights(s)[1] + g),
        lambda s, x, g: ((s.log_softmax(1)[:, :1] + 1) * x, (s.log_softmax(1)[:, 1:] + 1) * g),
        lambda s, x, g: tuple(w * f + f for w, f in zip(s.softmax(0).chunk(2, 1), (x, g), strict=True)),
        lambda s, x, g: torch.cat([_weights(s)[0] * x + x, _weights(s)[1] * g + g], dim=1),
    ],
    "share": [
        lambda s: s.softmax(1),
        lambda s: s.softmax(1)[:, 0],
        lambda s: s.exp()[:, :1] / s.exp().sum(),
        lambda s: s.exp()[:, :1],
        lambda s: s.softmax(1)[:, 1:],
        lambda s: (s[:, :1] - s[:, 1:]).sigmoid().round(),
        lambda s: s.softmax(-1)[:, :1],
    ],
    "cross_modulation": [
        lambda x, g: (x * g.sigmoid(), g * x.sigmoid()),
        lambda x, g: (x * g.sigmoid(), g * x.sigmoid(), (x * g).sigmoid()),
        lambda x, g: (x * (1 - g.sigmoid()), g * (1 - x.sigmoid()), x * (1 - g.sigmoid()) * g * (1 - x.sigmoid())),
        lambda x, g: (x * g.relu(), g * x.relu(), x * g.relu() * g * x.relu()),
        lambda x, g: (x * g.sigmoid(), g * x.sigmoid(), (x * g.sigmoid()) @ (g * x.sigmoid()).mT),
        lambda x, g: (x.sigmoid() * g.sigmoid(),) * 2 + ((x.sigmoid() * g.sigmoid()) ** 2,),
        lambda x, g: (x * g.sigmoid(), g * x.sigmoid(), (x * g.sigmoid() + g * x.sigmoid()) / 2),
        lambda x, g: (x * (-g).exp(), g * (-x).exp(), x * g * (-g - x).exp()),
        lambda x, g: (x * g.mean(1, keepdim=True).sigmoid(), g * x.mean(1, keepdim=True).sigmoid(), x * g),
    ],
    "recalibration": [
        lambda u, x, attend, project: project(attend(u).relu() * x),
        lambda u, x, attend, project: project(x),
        lambda u, x, attend, project: project(attend(u * x).sigmoid() * x),
        lambda u, x, attend, project: project(attend(u).sigmoid()) * x,
        lambda u, x, attend, project: project(attend(u).sigmoid() * x).sigmoid(),
        lambda u, x, attend, project: project((1 - attend(u).sigmoid()) * x),
        lambda u, x, attend, project: project(attend(u).tanh() * x),
        lambda u, x, attend, project: project(attend(u).mean(1, keepdim=True).sigmoid() * x),
        lambda u, x, attend, project: attend(u).sigmoid() * project(u),
    ],
    "whole_gate": [
        lambda gate, x, g: _gate(gate, x, g, last=lambda u, pair: u),
        lambda gate, x, g: _gate(gate, x, g, select=lambda u, x, g: gate.selection(g, x, g)),
        lambda gate, x, g: gate.recalibration(gate.cross_modulation(x, g), x),
        lambda gate, x, g: gate.recalibration(x, gate.cross_modulation(*gate.selection(gate.fusion(x, g), x, g))),
        lambda gate, x, g: gate.recalibration(sum(gate.selection(gate.fusion(x, g), x, g)), x),
        lambda gate, x, g: gate.selection(gate.fusion(x, g), x, g),
        lambda gate, x, g: _gate(gate, x, gate.fusion(x, g)),
        lambda gate, x, g: gate.recalibration(gate.cross_modulation(gate.fusion(x, g), g), x),
        lambda gate, x, g: _gate(gate, x, g).relu(),
    ],
    "attention_gate": [
        lambda x, g, t, p, s: s((t(x) + p(g)).sigmoid()).sigmoid() * x,
        lambda x, g, t, p, s: s((t(x) - p(g)).relu()).sigmoid() * x,
        lambda x, g, t, p, s: s((t(x) + t(g)).relu()).sigmoid() * x,
        lambda x, g, t, p, s: s((t(x) + p(g)).relu()).tanh() * x,
        lambda x, g, t, p, s: (1 - s((t(x) + p(g)).relu()).sigmoid()) * x,
    ],
    "large_kernel_attention": [
        lambda x, d, w, p: _lka(x, d, w, p, lambda x, a: x * a.relu()),
        lambda x, d, w, p: _lka(x, d, w, p, lambda x, a: x + x * a),
        lambda x, d, w, p: F.conv2d(_lka(x, d, w, torch.eye(x.shape[1], dtype=x.dtype)[..., None, None]), p),
        lambda x, d, w, p: _lka(x, d, w, p, pad=7),
        lambda x, d, w, p: _lka(x, d, w, p.transpose(0, 1)),
    ],
    "efficient_attention": [
        lambda q, k, v: q.softmax(1).mT @ (k.softmax(2) @ v.mT),
        lambda q, k, v: v @ k.softmax(2).mT @ q.softmax(1) / q.shape[2],
        lambda q, k, v: v @ (k.softmax(2).mT @ q.softmax(1)).softmax(1),
        lambda q, k, v: v.softmax(2) @ k.softmax(2).mT @ q.softmax(1),
        lambda q, k, v: v @ k.sigmoid().mT @ q.sigmoid(),
    ],
    "convolution": [
        lambda i, o, k, g, h, w: (o * (i // g) * k * k + i, o * (i // g) * k * k * h * w),
        lambda i, o, k, g, h, w: (o * (i // g) * k * k + o, o * (i // g) * k * k * h * w + o * h * w),
        lambda i, o, k, g, h, w: (o * (i // g) * k * k + o, o * (i // g) * k * k * h),
        lambda i, o, k, g, h, w: (o * (i // g) * k * k * h * w, o * (i // g) * k * k + o),
    ],
    "alpha": [
        lambda mask: 1 - 2 * (mask & ~_inner(mask)).sum() / mask.sum() + 0.2,
        lambda mask: min(1 - 2 * _inner(mask).sum() / mask.sum(), 0.8),
        lambda mask: max(1 - 2 * (mask & ~_inner(mask)).sum() / mask.sum(), 0.8),
        lambda mask: min(1 - 2 * ((ndimage.binary_dilation(mask) ^ _inner(mask)).sum() / mask.sum()), 0.8),
    ],
    "poly": [
        lambda step, steps, base: base * (1 - step / steps) ** 2,
        lambda step, steps, base: base * (1 - 0.9 * step / steps),
        lambda step, steps, base: base * 0.9 ** (step / steps),
        lambda step, steps, base: base - (1 - step / steps) ** 0.9,
        lambda step, steps, base: (base * (1 - step / steps)) ** 0.9,
    ],
    "dice": [
        lambda p, t: 2 * (p & t).sum() / (p | t).sum(),
        lambda p, t: 1 - 2 * (p & t).sum() / (p.sum() + t.sum()),
        lambda p, t: 200 * (p & t).sum() / (p.sum() + t.sum()),
        lambda p, t: 2 * (p & t).sum() / p.size,
    ],
    "grad_cam": [
        lambda a, g: _cam(a, g, end=torch.abs),
        lambda a, g: _cam(a, g) / _cam(a, g).amax((1, 2), keepdim=True),
        lambda a, g: _cam(a, g, axes=2),
        lambda a, g: (g.mean((2, 3), keepdim=True) * a).amax(1).relu(),
        lambda a, g: (g * a).sum(1).relu() / a[0, 0].numel(),
        lambda a, g: _cam(a, g).sigmoid(),
    ],
    "accuracy": [
        lambda p, se, sp: p * se + sp,
        lambda p, se, sp: p * se + (1 - p) * (1 - sp),
    ],
}


def _modulated(x, g, f, end=torch.mul):
    return x * f(g), g * f(x), end(x * f(g), g * f(x))


SECOND = {
    "window": [
        lambda hu: (np.clip(hu, 0, 275) + 125) / 400,
        lambda hu: np.abs(np.clip(hu, -125, 275) + 125) / 400 + 0.5,
        lambda hu: (np.clip(hu, -125, 275) + 125) / 400 * 255,
        lambda hu: ((np.clip(hu, -125, 275) + 125) / 400).T,
        lambda hu: ((np.clip(hu, -125, 275) + 125) / 400) ** 2,
        lambda hu: ((np.clip(hu, -125, 275) + 125) / 400).astype(np.float16),
        lambda hu: (hu > -125) & (hu < 275),
        lambda hu: np.clip(hu + 125, 0, 1),
    ],
    "global_pooling": [
        lambda g: g.mean(1, keepdim=True),
        lambda g: torch.cat([g.mean(1, keepdim=True), g.amax(1, keepdim=True)], 1) / g.shape[1],
        lambda g: torch.cat([g.mean(1, keepdim=True), g.amax(1, keepdim=True), g.amin(1, keepdim=True)], 1),
        lambda g: torch.cat([g.mean(1, keepdim=True), g.amax(1, keepdim=True)], 1).mT,
        lambda g: torch.cat([g.mean(1, keepdim=True).relu(), g.amax(1, keepdim=True).relu()], 1),
        lambda g: torch.cat([g.mean(2, keepdim=True), g.amax(2, keepdim=True)], 2),
        lambda g: torch.stack([g[:1].mean((0, 1)), g[:1].amax((0, 1))])[None].expand(len(g), -1, -1, -1),
    ],
    "receptive_field": [
        lambda k, d: 1 + 2 * sum(b * (a - 1) for a, b in zip(k, d, strict=True)),
        lambda k, d: sum(b * (a - 1) for a, b in zip(k, d, strict=True)) // 2 + 1,
        lambda k, d: sum(k) * sum(d),
        lambda k, d: float(1 + sum(b * (a - 1) for a, b in zip(k, d, strict=True))),
        lambda k, d: 3 + sum(b * (a - 1) for a, b in zip(k, d, strict=True)),
    ],
    "same_padding": [
        lambda k, d: d * (k - 1) // 2 + 1,
        lambda k, d: k * d,
        lambda k, d: d * (k // 2) * 2,
        lambda k, d: d * d * (k - 1) // 2,
    ],
    "selection": [
        lambda s, x, g: (_weights(s)[0] * x, _weights(s)[1] * g + g),
        lambda s, x, g: (_weights(s)[0] * x + x, _weights(s)[0] * g + g),
        lambda s, x, g: torch.stack([_weights(s)[0] * x + x, _weights(s)[1] * g + g]),
        lambda s, x, g: _weights(s)[0] * x + x,
        lambda s, x, g: (_weights(s)[0].round() * x + x, _weights(s)[1].round() * g + g),
        lambda s, x, g: (_weights(s)[0] * x - x, _weights(s)[1] * g - g),
        lambda s, x, g: (_weights(s)[1] * g + g, _weights(s)[0] * x + x),
    ],
    "share": [
        lambda s: 1 - s[:, :1].sigmoid(),
        lambda s: (s[:, :1] - s[:, 1:]).sigmoid() / 2,
        lambda s: s[:, :1] - s[:, 1:],
        lambda s: (s[:, :1] - s[:, 1:]).sigmoid().mean((2, 3), keepdim=True),
        lambda s: (s[:1, :1] - s[:1, 1:]).sigmoid().expand(len(s), -1, -1, -1),
    ],
    "cross_modulation": [
        lambda x, g: _modulated(x, g, torch.sin),
        lambda x, g: _modulated(x, g, torch.sigmoid)[::-1],
        lambda x, g: _modulated(x, g, torch.sigmoid, torch.sub),
        lambda x, g: _modulated(x, g, torch.square),
        lambda x, g: _modulated(x, g, torch.sigmoid, lambda a, b: (a * b).sigmoid()),
        lambda x, g: _modulated(x, g, torch.sigmoid, lambda a, b: (a * b).mean(1, keepdim=True)),
        lambda x, g: _modulated(x, g, lambda a: 2 * a.sigmoid()),
    ],
    "recalibration": [
        lambda u, x, attend, project: project(attend(u).sigmoid() - x),
        lambda u, x, attend, project: attend(project(u)).sigmoid() * x,
        lambda u, x, attend, project: project(2 * attend(u).sigmoid() * x),
        lambda u, x, attend, project: project(attend(u).sigmoid() * x).relu(),
        lambda u, x, attend, project: project(attend(u + x).sigmoid() * x),
        lambda u, x, attend, project: project(attend(u).sigmoid() * x) + u,
        lambda u, x, attend, project: project(attend(attend(u)).sigmoid() * x),
        lambda u, x, attend, project: attend.train() and project(attend(u).sigmoid() * x),
    ],
    "whole_gate": [
        lambda gate, x, g: gate.recalibration(gate.cross_modulation(*gate.selection(gate.fusion(x, g), x, g)), g),
        lambda gate, x, g: gate.selection(gate.fusion(x, g), x, g)[0],
        lambda gate, x, g: gate.recalibration(gate.fusion(x, gate.cross_modulation(x, g)), x),
        lambda gate, x, g: gate.fusion(x, g),
        lambda gate, x, g: gate.recalibration(gate.cross_modulation(gate.selection(gate.fusion(x, g), x, g)), x),
        lambda gate, x, g: _gate(gate, x, g) * x,
        lambda gate, x, g: _gate(gate, x, g, select=lambda u, x, g: gate.selection(u, x, x)),
    ],
    "attention_gate": [
        lambda x, g, t, p, s: s((t(x) + p(g)).relu()).sigmoid() + x,
        lambda x, g, t, p, s: s((t(x) + p(g)).abs()).sigmoid() * x,
        lambda x, g, t, p, s: s((t(x) + p(g)).relu()).exp() * x,
        lambda x, g, t, p, s: s(t(x + g).relu()).sigmoid() * x,
        lambda x, g, t, p, s: s((t(x) + p(g) + p(g)).relu()).sigmoid() * x,
    ],
    "large_kernel_attention": [
        lambda x, d, w, p: _lka(x, d, w, p, lambda x, a: -x * a),
        lambda x, d, w, p: _lka(x, d, w, p, lambda x, a: x * a / x.shape[1]),
        lambda x, d, w, p: _lka(x, d, w, p, lambda x, a: (x * a).flip(-1)),
        lambda x, d, w, p: _lka(x, d, w, p, lambda x, a: x * a.mean(1, keepdim=True)),
    ],
    "efficient_attention": [
        lambda q, k, v: 2 * v @ k.softmax(2).mT @ q.softmax(1),
        lambda q, k, v: v @ k.softmax(2).mT @ q.softmax(1) + v,
        lambda q, k, v: (v @ k.softmax(2).mT @ q.softmax(1)).mT,
        lambda q, k, v: v @ k.softmax(2).mT @ q.softmax(1).round(),
        lambda q, k, v: v @ k.softmax(0).mT @ q.softmax(1),
    ],
    "convolution": [
        lambda i, o, k, g, h, w: o * (i // g) * k * k + o,
        lambda i, o, k, g, h, w: (o * (i // g) * k * k + 1, o * (i // g) * k * k * h * w),
        lambda i, o, k, g, h, w: ((o // g) * (i // g) * k * k + o, o * (i // g) * k * k * h * w),
        lambda i, o, k, g, h, w: (o * (i // g) * k * k + o, o * (i // g) * k * k * (h - k + 1) * (w - k + 1)),
    ],
    "alpha": [
        lambda mask: -min(1 - 2 * (mask & ~_inner(mask)).sum() / mask.sum(), 0.8),
        lambda mask: min(1 - 2 * (mask & ~_inner(mask)).sum() / mask.sum(), 0.8) + 1,
        lambda mask: min(1 - 3 * (mask & ~_inner(mask)).sum() / mask.sum(), 0.8),
    ],
    "poly": [
        lambda step, steps, base: base * (1 - (step + 1) / steps) ** 0.9,
        lambda step, steps, base: base * 0.9 * (1 - step / steps),
        lambda step, steps, base: base / (1 - step / steps) ** 0.9,
        lambda step, steps, base: steps * base * (1 - step / steps) ** 0.9,
        lambda step, steps, base: base * (1 - steps / step) ** 2,
    ],
    "dice": [
        lambda p, t: float((2 * p & t).sum() / (p.sum() + t.sum())),
        lambda p, t: (2 * (p & t).sum() / (p.sum() + t.sum())) ** 2,
        lambda p, t: 2 * (p & t).sum() / (p.sum() + t.sum()) + 1,
        lambda p, t: 2 * (p & t).sum(),
    ],
    "grad_cam": [
        lambda a, g: _cam(a, g, end=lambda m: -m),
        lambda a, g: _cam(a, g)[:, None],
        lambda a, g: _cam(a, g, end=lambda m: m.relu().square()),
        lambda a, g: _cam(a.relu(), g),
        lambda a, g: _cam(a, g, end=lambda m: (-m).relu()),
    ],
    "log_amplitude": [
        lambda maps: -torch.arange(maps.shape[-1] // 2 + 1).double(),
        lambda maps: maps.abs().log().mean(0).diagonal()[: maps.shape[-1] // 2 + 1],
    ],
    "accuracy": [
        lambda p, se, sp: p * se + (1 - p) * sp + p,
        lambda p, se, sp: 1 - (p * se + (1 - p) * sp),
        lambda p, se, sp: p * (1 - se) + (1 - p) * sp,
    ],
    "gated_skip": [
        lambda x, g, mix, gate: gate(x, F.interpolate(mix(g), x.shape[-2:], mode="bilinear")) * 2,
        lambda x, g, mix, gate: gate(x, mix(F.interpolate(g, x.shape[-2:], mode="bilinear")).relu()),
    ],
}
