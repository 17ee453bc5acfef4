"""Define fused attention and RMS norm as custom operations, for the simulated device.

Both are fused on every accelerator, but torch decomposes them for a device it does not know. There
they are called by the names below, so that a simulated run allocates what a real one does. Each
allocates only its result; what a fused kernel keeps besides (logarithms of sums, a scale per row)
is smaller than what the next product takes.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

SIMULATED = "simulated"  # the device's type, as torch names it

_library = torch.library.Library("headroom", "FRAGMENT")
_library.define("attend(Tensor q, Tensor k, Tensor v, Tensor? mask, bool causal) -> Tensor")
_library.define("rms_norm(Tensor x, Tensor weight, float eps) -> Tensor")


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool) -> Tensor:
    """Scaled dot-product attention, [B, Hq, Sq, D] and [B, Hkv, Sk, D] → [B, Hq, Sq, D]."""
    if q.device.type == SIMULATED:
        y: Tensor = torch.ops.headroom.attend(q, k, v, mask, causal)
        return y
    return _attend(q, k, v, mask, causal)


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """x / sqrt(mean(x²) + eps) · weight over the last dimension."""
    if x.device.type == SIMULATED:
        y: Tensor = torch.ops.headroom.rms_norm(x, weight, eps)
        return y
    return _rms_norm(x, weight, eps)


def _attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool) -> Tensor:
    grouped = q.shape[1] != k.shape[1]
    return F.scaled_dot_product_attention(
        q, k, v, attn_mask=mask, is_causal=causal, enable_gqa=grouped
    )


def _rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return F.rms_norm(x, weight.shape, weight, eps)


def _attend_fake(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool) -> Tensor:
    # The layout of the fused kernels: a row holds the heads of one position.
    batch, heads, length, _ = q.shape
    return q.new_empty(batch, length, heads, v.shape[-1]).transpose(1, 2)


def _rms_norm_fake(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return torch.empty_like(x)


def _laid_out(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool) -> Tensor:
    y = _attend(q, k, v, mask, causal).transpose(1, 2)
    return y.contiguous().transpose(1, 2)


torch.library.register_fake("headroom::attend", _attend_fake)
torch.library.register_fake("headroom::rms_norm", _rms_norm_fake)
_library.impl("attend", _laid_out, "CPU")
_library.impl("rms_norm", _rms_norm, "CPU")
