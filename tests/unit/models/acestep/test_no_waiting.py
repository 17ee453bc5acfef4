"""The denoising loop gives the device work and asks it nothing, so the host can run ahead.

Tensors on `meta` stand for those on a card: what asks for a value raises there, and what would
copy from the host to the device is seen by the types of the devices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from headroom.diffusion import corrections
from headroom.diffusion.guidance import GuidanceName
from headroom.diffusion.schedule import linear
from headroom.models.acestep.rendering.render import Branch, integrate
from headroom.models.acestep.song.song import SamplerSettings
from support.random_dit import inputs, random_dit

META = torch.device("meta")
STEPS = 4
WAITING = ("_local_scalar_dense", "nonzero", "is_nonzero", "item", "masked_select", "equal")
SENDING = (torch.tensor, torch.as_tensor, torch.from_numpy, Tensor.new_tensor)


class Waiting(AssertionError):
    """The host would wait for the device."""


class NoSending(TorchFunctionMode):
    """Fails where Python numbers become a tensor on the device, which no operation shows."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func in SENDING:
            raise Waiting(f"{func} sends numbers")
        if func is Tensor.__getitem__ and any(isinstance(i, list) for i in tree_parts(args[1])):
            raise Waiting("a list as an index is sent")
        return func(*args, **(kwargs or {}))


def tree_parts(index: object) -> tuple[object, ...]:
    return index if isinstance(index, tuple) else (index,)


class NoWaiting(TorchDispatchMode):
    """Fails where an operation reads a value of the device or sends it one from the host."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = func._schema.name.removeprefix("aten::").rstrip("_")
        tensors = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
        if name in WAITING:
            raise Waiting(f"{func} reads a value")
        if name.startswith("repeat_interleave") and len(tensors) > 1:
            raise Waiting(f"{func} reads the lengths")
        devices = {t.device.type for t in tensors}
        host = [t for t in tensors if t.device.type == "cpu"]
        if len(devices) > 1 and any(t.dim() for t in host):  # a 0-dim one is passed by value
            raise Waiting(f"{func} mixes host and device")
        out = func(*args, **kwargs)
        arrived = [t for t in tree_leaves(out) if isinstance(t, Tensor) and t.device.type == "cpu"]
        left = [t for t in tree_leaves(out) if isinstance(t, Tensor) and t.device.type == "meta"]
        if (left and devices == {"cpu"}) or (arrived and devices == {"meta"}):
            raise Waiting(f"{func} copies between host and device")
        if arrived and not tensors:
            raise Waiting(f"{func} makes a host tensor")
        return out


def sampling(guided: Sequence[bool], **changes: object) -> SamplerSettings:
    plain = SamplerSettings(
        times=linear(STEPS, 3.0).times,
        method="ode",
        solver="euler",
        turbo=False,
        guidance=4.0,
        guidance_variant="apg",
        guided=tuple(guided),
        norm_clamp=0.0,
        ema=0.0,
        wavelet=None,
        switch=STEPS,
        start_from_source=False,
        repainting=None,
        noise="headroom",
    )
    return replace(plain, **changes)


def denoise(how: SamplerSettings, frames: Sequence[int]) -> Tensor:
    """A whole run on meta under the watch, all made before it as `render` makes it."""
    dit = random_dit(device="meta", dtype=torch.bfloat16)
    schedule = linear(STEPS, 3.0)
    layout, modulation, cross, context = inputs(dit, frames, steps=STEPS + 1)
    branch = Branch(dit, cross, context, modulation, layout)
    x = torch.empty(len(frames), max(frames), dit.config.latent_channels, device=META)
    valid = corrections.frame_mask(frames, max(frames), META)
    region = corrections.soft_mask([(3, 9)] * len(frames), frames, max(frames), 0, META)
    correct = [
        corrections.dcw(schedule, "double", 0.1, 0.1, valid),
        corrections.injection(x, x, region, 0.5, schedule.times[1:]),
    ]
    sent = [torch.empty_like(x) for _ in range(STEPS)]
    with NoSending(), NoWaiting(), torch.inference_mode():
        return integrate(how, schedule, branch, branch, x, correct=correct, fresh=sent.__getitem__)


EVERY = [True] * (STEPS + 1)
CASES = {
    "turbo": sampling(EVERY, guidance=1.0, turbo=True),
    "sde": sampling(EVERY, guidance=1.0, method="sde"),
    "heun": sampling(EVERY, solver="heun"),
    "calm": sampling(EVERY, norm_clamp=1.0, ema=0.3),
    "switched": sampling([True, False, True, True, False], switch=2),
    **{name.value: sampling(EVERY, guidance_variant=name.value) for name in GuidanceName},
}


@pytest.mark.parametrize("frames", [[30], [64, 64], [90, 31], [200, 12]], ids=str)
@pytest.mark.parametrize("case", CASES)
def test_a_run_asks_the_device_nothing(case: str, frames: list[int]):
    latents = denoise(CASES[case], frames)
    assert latents.shape == (len(frames), max(frames), 8) and latents.dtype == torch.float32
    assert latents.device == META


def test_items_at_different_times_ask_nothing_either():
    dit = random_dit(device="meta")
    frames = [90, 31]
    layout, modulation, cross, context = inputs(dit, frames, steps=STEPS)
    x = torch.empty(2, 90, 8, device=META)
    with NoSending(), NoWaiting(), torch.inference_mode():
        v = dit(x, context, modulation.at(0, 2), cross, layout, guided=True)
    assert v.shape == (2, 2, 90, 8)


@pytest.mark.parametrize(
    "fault",
    [
        lambda x: x.sum().item(),
        lambda x: x[x > 0],
        lambda x: bool(x.any()),
        lambda x: x[[0]],
        lambda x: x + torch.tensor([1.0], device=META),
        lambda x: x + torch.ones(30).to(META),
        lambda x: x.cpu(),
        lambda x: x.repeat_interleave(torch.ones(30, dtype=torch.int64, device=META)),
    ],
)
def test_the_watch_sees_what_would_wait(fault):
    x = torch.empty(30, device=META)
    with pytest.raises((Waiting, RuntimeError, NotImplementedError)), NoSending(), NoWaiting():
        fault(x)


def test_windows_are_made_once_a_layout_and_used_by_every_layer(monkeypatch: pytest.MonkeyPatch):
    from headroom.nn import attention

    dit, frames = random_dit(device="meta"), [90, 31]
    layout, modulation, cross, context = inputs(dit, frames)
    monkeypatch.setattr(attention, "_additive", None)  # whoever makes a mask now fails
    x = torch.empty(2, 90, 8, device=META)
    assert dit(x, context, modulation.at(0), cross, layout, guided=True).shape == (2, 2, 90, 8)
