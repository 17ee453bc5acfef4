"""Make a part ready where it computes: uploaded with its projections joined, or compiled.

Uploading changes places, not data: each module keeps its identity and gets device tensors; the
host tensors are kept aside and take their places again when the part leaves. Matrices that are
computed with as one (`Joined`) are copied, each by itself, into their rows of that one on the
device, so no joined copy ever exists on the host, and the members are views of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor, nn

from headroom.nn.attention import Joined


@dataclass(frozen=True, slots=True)
class Slot:
    """A place in a module where a tensor belongs, and that tensor in host memory.

    None: the place is empty on the host, as that of joined matrices is.
    """

    module: nn.Module
    name: str
    host: Tensor | None

    def put(self, tensor: Tensor | None) -> None:
        """Let this tensor be the module's."""
        setattr(self.module, self.name, tensor)


def slots(part: object) -> tuple[Slot, ...]:
    """The places of a part's tensors, the empty ones too; a part that is no module has none."""
    return tuple(_slots(part))


def enter(part: object, places: tuple[Slot, ...], device: torch.device) -> None:
    """Put a copy on the device in every place. What fails midway is undone by `leave`.

    A tensor in two places is copied once.
    """
    copies: dict[int, Tensor] = {}
    for module in part.modules() if isinstance(part, nn.Module) else ():
        if isinstance(module, Joined):
            for name, members in module.joined.items():
                _join(module, name, members, device, copies)
    for place in places:
        host = place.host
        if host is None:
            continue
        if id(host) not in copies:
            copies[id(host)] = _as(host, host.detach().to(device))
        place.put(copies[id(host)])


def leave(places: tuple[Slot, ...]) -> None:
    """Put the host tensors back; the device's copies are forgotten."""
    for place in places:
        place.put(place.host)


def _join(
    module: nn.Module,
    name: str,
    members: tuple[str, ...],
    device: torch.device,
    copies: dict[int, Tensor],
) -> None:
    """Fill `module.name` on the device from its members, unless they do not go together."""
    hosts = [module.get_parameter(member) for member in members]
    alike = {(host.dtype, host.shape[1:]) for host in hosts}
    if len(alike) > 1 or getattr(module, name) is not None or any(id(h) in copies for h in hosts):
        return
    first = hosts[0]
    rows = sum(host.shape[0] for host in hosts)
    whole = torch.empty((rows, *first.shape[1:]), dtype=first.dtype, device=device)
    for host, part in zip(hosts, whole.split([host.shape[0] for host in hosts]), strict=True):
        part.copy_(host.detach())
        copies[id(host)] = _as(host, part)
    setattr(module, name, nn.Parameter(whole, requires_grad=False))


def _as(host: Tensor, copied: Tensor) -> Tensor:
    """The copy as the same kind of tensor."""
    is_parameter = isinstance(host, nn.Parameter)
    return nn.Parameter(copied, requires_grad=False) if is_parameter else copied


def _slots(part: object) -> Iterator[Slot]:
    if not isinstance(part, nn.Module):
        return
    for module in part.modules():
        own: Iterator[tuple[str, Tensor | None]] = chain(
            _items(module._parameters), _items(module._buffers)
        )
        yield from (Slot(module, name, tensor) for name, tensor in own)


def _items(tensors: Mapping[str, Tensor | None]) -> Iterator[tuple[str, Tensor | None]]:
    yield from tensors.items()
