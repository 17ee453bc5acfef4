"""Which loop writes audio codes, under the names people know. No torch.

    pt    the loop of `decode` as it is
    vllm  the same loop recorded in graphs (`graphed`)
    mlx   through mlx-lm (`mlx`)

Metadata and texts are written by torch's plain loop under every name.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec

MLX_KINDS = ("cpu", "mps")  # devices that mlx computes on, beside those it shares with torch's CUDA
HOW = "`pip install headroom-audio[mlx]` brings it"


@dataclass(frozen=True, slots=True)
class Choice:
    """A backend, and why it is not the one asked for; None: it is."""

    backend: str
    why: str | None = None


def choose(asked: str, kind: str, captures: bool, mlx: bool) -> Choice:
    """What can be had of `asked` on a device of that kind.

    captures  whether the device records graphs
    mlx       whether mlx-lm is installed
    """
    there = mlx and kind in MLX_KINDS
    if asked == "mlx" and not there:
        why = f"mlx-lm is not installed: {HOW}"
        if kind not in MLX_KINDS:
            why = f"mlx-lm computes on {' and '.join(MLX_KINDS)} here, not on {kind}"
        return Choice("vllm" if captures else "pt", why)
    if asked == "vllm" and not captures:
        # On Apple's cards the name has always stood for mlx-lm where that is installed.
        instead = "mlx" if there and kind == "mps" else "pt"
        return Choice(instead, f"it records the loop in graphs, and {kind} records none")
    return Choice(asked)


def mlx_is_here() -> bool:
    """Whether mlx-lm and mlx are installed. Imports neither."""
    return all(find_spec(name) is not None for name in ("mlx", "mlx_lm"))
