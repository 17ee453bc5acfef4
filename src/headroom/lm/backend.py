"""Which loop writes audio codes, by the names users know. No torch.

pt    the loop of `decode`, eager
vllm  the same loop, captured as graphs (`graphed`)
    mlx   through mlx-lm (`mlx`)

Whatever the name, torch's plain loop writes metadata and texts.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec

from headroom.reasons import Reason, reason

MLX_KINDS = ("cpu", "mps")  # devices mlx computes on, besides those it shares with torch's CUDA
HOW = "`pip install headroom-audio[mlx]` brings it"


@dataclass(frozen=True, slots=True)
class Choice:
    """A backend, and why it differs from the one requested; None: it does not."""

    backend: str
    why: Reason | None = None


def choose_backend(requested: str, kind: str, captures: bool, mlx: bool) -> Choice:
    """The backend to use for `requested` on a device of that kind.

    captures  whether the device can capture graphs
    mlx       whether mlx-lm is installed
    """
    available = mlx and kind in MLX_KINDS
    if requested == "mlx" and not available:
        why = reason("mlx_not_installed", how=HOW)
        if kind not in MLX_KINDS:
            why = reason("mlx_not_on_device", devices=" and ".join(MLX_KINDS), device=kind)
        return Choice("vllm" if captures else "pt", why)
    if requested == "vllm" and not captures:
        # On Apple's cards this name has always meant mlx-lm where that is installed.
        instead = "mlx" if available and kind == "mps" else "pt"
        return Choice(instead, reason("no_graphs", device=kind))
    return Choice(requested)


def mlx_is_here() -> bool:
    """Whether mlx-lm and mlx are installed. Imports neither."""
    return all(find_spec(name) is not None for name in ("mlx", "mlx_lm"))
