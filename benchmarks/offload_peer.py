"""diffusers' AceStepPipeline under its ways to offload, on a card that is not there.

Everything that computes is real: the pipeline's own `__call__`, its modules and its VAE, over
tensors without values, so that live bytes and copied bytes are counted and not estimated. So are
the hooks of group offload (diffusers 0.42.1, hooks/group_offloading.py). They take every tensor as
they take torchao's, which change places as whole objects, because torch does not let the `.data` of
a host tensor become a tensor of a device written in Python; and they are given the card's streams.

Two ways are accelerate's (1.15.0, hooks.py), which need not be here; what its hooks do is done
again below, held against the real ones in `tests/unit/test_offload_benchmark.py`:

model       A model goes to the card tensor by tensor when it is first called, and goes back when
            the next one in the pipeline's order is called, or the pipeline ends. It is copied both
            ways.
sequential  A module with tensors of its own has them copied to the card before each of its calls
            and dropped after it, from host copies that stay; nothing is copied back. Buffers stay
            on the card, but for a network with parameters at its top, whose persistent ones go too.

The VAE takes part in neither the sequential nor the group way. Its weight norm computes a weight
before the sequential hooks bring what it is made of (with accelerate 1.15.0 the sound is noise, in
the size of 1e22), and diffusers refuses to offload it in groups. So it stays on the card, as the
pipeline's own `exclude_modules` has it.

Four things ask for values, and get them: the schedule stays on the host, the timbre of a single
song is not sorted, the loudest sample is taken as below full scale, and attention is one kernel
that allocates its result and nothing else. The last is the best a peer can get: torch's kernels
that take a mask know no grouped heads, and the plain one writes all scores out.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial, wraps
from itertools import chain
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch
from peers import TEXT, VAE, Weights  # makes `support` known
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

from headroom.device.simulated import SimulatedDevice
from headroom.device.simulated_tensor import SimulatedTensor
from headroom.runtime.prepare import Slot, slots
from support.networks import build_networks, build_text, build_vae
from support.tiny import REAL_2B, TextSizes, VaeSizes

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of diffusers, at import
    from diffusers import AceStepPipeline, FlowMatchEulerDiscreteScheduler
    from diffusers.hooks import apply_group_offloading, group_offloading

# The pipeline's networks in the order it calls them: what it calls, and in which stage that is.
STAGES = {
    "text_encoder": ("forward", "text"),
    "condition_encoder": ("forward", "condition"),
    "transformer": ("forward", "denoise"),
    "vae": ("decode", "decode"),
}
WAYS = ("no offload", "model", "sequential", "group: blocks", "group: leaves")
SHORT = {"audio_duration": 10.0, "num_inference_steps": 1}

# --- the hooks -----------------------------------------------------------------------------


class Movable:
    """Tensors of a module that come to the card and leave it; the host keeps its own."""

    def __init__(self, places: Sequence[Slot], device: torch.device) -> None:
        self._places = [slot for slot in places if slot.host is not None]
        self._device, self.here = device, False

    def bring(self) -> None:
        """To the card, one after another, on the queue in use."""
        for slot in self._places:
            assert slot.host is not None
            slot.put(_alike(slot.host, slot.host.detach().to(self._device)))
        self.here = True

    def drop(self) -> None:
        """The host's tensors take their places again; nothing is copied."""
        for slot in self._places:
            slot.put(slot.host)
        self.here = False

    def take_back(self) -> None:
        """Copied to the host, one after another."""
        for slot in self._places:
            assert slot.host is not None
            slot.host.detach().copy_(getattr(slot.module, slot.name))
            slot.put(slot.host)
        self.here = False


def _alike(host: Tensor, tensor: Tensor) -> Tensor:
    is_parameter = isinstance(host, nn.Parameter)
    return nn.Parameter(tensor, requires_grad=False) if is_parameter else tensor


def offload_models(
    models: Sequence[tuple[nn.Module, str]], device: torch.device
) -> Callable[[], None]:
    """The hooks of accelerate's `cpu_offload_with_hook` on models in their order, each with the
    method that is called; returns what the pipeline does at its end."""
    every = [Movable(slots(model), device) for model, _ in models]

    def arrival(own: Movable, before: Movable | None) -> Callable[[], None]:
        def arrive() -> None:
            if before is not None and before.here:
                before.take_back()
            if not own.here:
                own.bring()

        return arrive

    for (model, method), own, before in zip(models, every, [None, *every], strict=False):
        call_before(model, method, arrival(own, before))

    def leave() -> None:
        for own in every:
            if own.here:
                own.take_back()

    return leave


def offload_sequentially(model: nn.Module, device: torch.device) -> None:
    """The hooks of accelerate's `cpu_offload` as diffusers asks for them, on one network."""
    buffers_go = bool(model._parameters)
    for module in model.modules():
        stays = module._non_persistent_buffers_set if buffers_go else set(module._buffers)
        own = chain(module._parameters.items(), module._buffers.items())
        places = [Slot(module, name, tensor) for name, tensor in own]
        Movable([slot for slot in places if slot.name in stays], device).bring()
        going = Movable([slot for slot in places if slot.name not in stays], device)
        module.register_forward_pre_hook(_ignoring(going.bring))
        module.register_forward_hook(_ignoring(going.drop))


def _ignoring(act: Callable[[], None]) -> Callable[..., None]:
    return lambda *_: act()


def call_before(module: nn.Module, method: str, act: Callable[[], None]) -> None:
    """Call `act` before a method, and before what was asked so earlier; torch's own hooks know
    `forward` only."""
    if method == "forward":
        module.register_forward_pre_hook(_ignoring(act), prepend=True)
        return
    inner = getattr(module, method)

    @wraps(inner)
    def outer(*args: Any, **kwargs: Any) -> Any:
        act()
        return inner(*args, **kwargs)

    setattr(module, method, outer)


def offload_groups(model: nn.Module, device: torch.device, level: str, home: str = "cpu") -> None:
    """diffusers' own group offload with a stream; on a simulated card inside `whole_tensors`.

    level  block_level or leaf_level
    home   where tensors are that are not on the card; the hooks compare places
    """
    apply_group_offloading(
        model,
        onload_device=device,
        offload_device=torch.device(home),
        offload_type=level,
        num_blocks_per_group=1,
        use_stream=True,
    )


class _Group(group_offloading.ModuleGroup):
    """A group whose host tensors are as good as page-locked, and stay where they are: what goes
    back without a stream is copied into them."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        tensors = [x for m in self.modules for x in (*m.parameters(), *m.buffers())]
        tensors += [*self.parameters, *self.buffers]
        self._hosts = {tensor: tensor.detach() for tensor in tensors}

    def _offload_to_memory(self) -> None:
        if self.stream is not None:
            super()._offload_to_memory()
            return
        for tensor, host in self._hosts.items():
            if tensor.device != host.device:
                host.copy_(tensor)
                _put_back(tensor, host)

    @staticmethod
    def _to_cpu(tensor: Tensor, low_cpu_mem_usage: bool) -> Tensor:
        return tensor.detach()

    @contextmanager
    def _pinned_memory_tensors(self) -> Iterator[Mapping[Tensor, Tensor]]:
        yield self.cpu_param_dict


def _put_back(tensor: Tensor, host: Tensor) -> None:
    torch.utils.swap_tensors(tensor, host.detach())


@contextmanager
def whole_tensors(card: SimulatedDevice) -> Iterator[None]:
    """While this is in force diffusers' group offload moves tensors to and from this card."""

    backend = SimpleNamespace(  # what `torch.cuda` is to a CUDA device
        Stream=card.stream,
        current_stream=card.current_stream,
        stream=lambda stream: stream.use(),
    )

    def send(value: Any, device: torch.device, **_: object) -> Any:
        return tree_map(lambda x: x.to(device) if isinstance(x, Tensor) else x, value)

    with mock.patch.multiple(
        group_offloading,
        create=True,  # diffusers has `send_to_device` only where accelerate is
        ModuleGroup=_Group,
        TorchDeviceBackend=lambda device: backend,
        send_to_device=send,
        _is_torchao_tensor=lambda tensor: True,
        _restore_torchao_tensor=_put_back,
    ):
        yield


# --- the pipeline --------------------------------------------------------------------------


class _Schedule(FlowMatchEulerDiscreteScheduler):
    """The schedule is on the host, where it has values."""

    def set_timesteps(self, *args: Any, device: object = None, **kwargs: Any) -> None:
        super().set_timesteps(*args, device="cpu", **kwargs)


class Pipeline(AceStepPipeline):
    """diffusers' own, computing on `card` whatever its modules say."""

    card: SimulatedDevice
    schedule = _Schedule
    at_end: Callable[[], None] | None = None

    @property
    def _execution_device(self) -> torch.device:
        return self.card.torch

    def _get_timestep_schedule(self, *args: Any, device: object = None, **kwargs: Any) -> Tensor:
        return super()._get_timestep_schedule(*args, device="cpu", **kwargs)

    def maybe_free_model_hooks(self) -> None:
        if self.at_end is not None:
            self.at_end()


class _Fused(TorchFunctionMode):
    """Attention as one kernel."""

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func is not F.scaled_dot_product_attention:
            return func(*args, **(kwargs or {}))
        names = "query", "key", "value", "attn_mask"
        given = {**dict(zip(names, args, strict=False)), **(kwargs or {})}
        q, k, v = (given[name] for name in ("query", "key", "value"))
        mask, causal = given.get("attn_mask"), bool(given.get("is_causal"))
        return torch.ops.headroom.attend(q, k, v, mask, causal)


class _Values(TorchDispatchMode):
    """A value that is asked for and that nobody has is false, or next to nothing."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        asked = func is torch.ops.aten._local_scalar_dense.default
        if asked and isinstance(args[0], SimulatedTensor) and args[0].held.is_meta:
            return 0.25 if args[0].is_floating_point() else 0
        return func(*args, **(kwargs or {}))


def networks(
    dtype: torch.dtype, values: Mapping[str, Mapping[str, Tensor]] | None = None
) -> dict[str, nn.Module]:
    """The pipeline's networks at the real sizes, by name; without values where none are given.

    values  the tensors of each network by their keys; they are used, not copied
    """
    with torch.device("meta"):
        built, text = build_networks(REAL_2B), build_text(TextSizes(**TEXT))
        vae = build_vae(VaeSizes(**VAE))
    found = dict(zip(STAGES, (text, built.condition, built.dit, vae), strict=True))
    for name, network in found.items():
        nn.Module.to(network, dtype).requires_grad_(False).eval()
        if values is not None:
            network.load_state_dict(values[name], assign=True)
            network.requires_grad_(False)
    if values is not None:
        text.rotary_emb = type(text.rotary_emb)(config=text.config)  # no key has its frequencies
    return found


def drawn(dtype: torch.dtype) -> dict[str, dict[str, Tensor]]:
    """Random tensors for `networks`."""
    made = {name: network.state_dict() for name, network in networks(dtype).items()}
    like = Weights(dtype).like
    return {name: {k: like(k, x) for k, x in state.items()} for name, state in made.items()}


def pipeline(parts: Mapping[str, nn.Module], tokenizer: Any, kind: type = AceStepPipeline) -> Any:
    """Around these networks; `tokenizer` as the library of that name has it."""
    from transformers import PreTrainedTokenizerFast

    words = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<|endoftext|>", eos_token="<|endoftext|>"
    )
    schedule = getattr(kind, "schedule", FlowMatchEulerDiscreteScheduler)
    pipe = kind(tokenizer=words, scheduler=schedule(num_train_timesteps=1), **dict(parts))
    pipe.set_progress_bar_config(disable=True)
    return pipe


def offload(pipe: Pipeline, card: SimulatedDevice, way: str) -> None:
    """Put one of WAYS in force on a simulated card; inside `card.inside()` and `whole_tensors`."""
    parts = [(getattr(pipe, name), method) for name, (method, _) in STAGES.items()]
    if way == "model":
        pipe.at_end = offload_models(parts, card.torch)
        return
    for model, _ in parts:
        if way == "no offload" or model is pipe.vae:
            Movable(slots(model), card.torch).bring()
        elif way == "sequential":
            offload_sequentially(model, card.torch)
        else:
            home = "meta" if card.fake else "cpu"
            offload_groups(model, card.torch, _level(pipe, model, way), home)


def offload_really(pipe: Any, device: torch.device, way: str) -> None:
    """Put one of WAYS in force on a real card, by the libraries' own means."""
    if way == "no offload":
        pipe.to(device)
    elif way == "model":
        pipe.enable_model_cpu_offload(device=device)
    elif way == "sequential":
        pipe._exclude_from_cpu_offload = ["vae"]
        pipe.enable_sequential_cpu_offload(device=device)
    else:
        pipe.vae.to(device)
        for model in (pipe.text_encoder, pipe.condition_encoder, pipe.transformer):
            offload_groups(model, device, _level(pipe, model, way))


def _level(pipe: Any, model: nn.Module, way: str) -> str:
    """The pipeline calls the text encoder's embedding by itself, which blocks do not allow, and
    the condition encoder has no blocks at its top."""
    blocks = way == "group: blocks" and model is pipe.transformer
    return "block_level" if blocks else "leaf_level"


def run(
    card: SimulatedDevice,
    way: str,
    tiled: bool,
    tokenizer: Any,
    request: Mapping[str, Any],
    enter: Callable[[str], None],
) -> None:
    """Two songs under one of WAYS: a short one, from which the hooks learn, then the asked one.

    request  what the pipeline's call is given
    enter    told "" where the asked song begins, then the name of each stage, before its copies

    Raises torch.OutOfMemoryError beyond the card's cap.
    """
    pipe = pipeline(networks(torch.bfloat16), tokenizer, Pipeline)
    pipe.card = card
    pipe.condition_encoder.timbre_encoder.unpack_timbre_embeddings = _one_song
    if tiled:
        pipe.vae.enable_tiling()
    with ExitStack() as inside:
        for each in (torch.no_grad(), whole_tensors(card), card.inside(), _Values(), _Fused()):
            inside.enter_context(each)
        offload(pipe, card, way)
        for name, (method, stage) in STAGES.items():
            call_before(getattr(pipe, name), method, partial(enter, stage))
        pipe(**{**request, **SHORT}, generator=torch.Generator().manual_seed(1))
        enter("")
        pipe(**request, generator=torch.Generator().manual_seed(1), output_type="np")


def _one_song(rows: Tensor, order: Tensor) -> tuple[Tensor, Tensor]:
    """Timbre rows [1, D] of a single song → [1, 1, D] and the mask of what is there [1, 1]."""
    return rows.unsqueeze(0), torch.ones(1, 1, dtype=torch.long, device=rows.device)
