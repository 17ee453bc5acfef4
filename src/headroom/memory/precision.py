"""Define the precisions of stored weights, and the memory traffic of a pass over them. No torch.

If no kernel takes converted weights directly, a product first writes the matrix out in the dtype of
the activations; that traffic is what a conversion costs in time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

NATIVE = ("float32", "bfloat16", "float16")


@dataclass(frozen=True, slots=True)
class Precision:
    """A stored form of weights.

    bits      per weight
    group     number of weights that share a scale; None: a row of the matrix
    expands   whether a product writes the matrix out before it multiplies
    exact     whether it is the released weights, unchanged
    opt_in    used only on request
    """

    name: str
    bits: int
    group: int | None = None
    expands: bool = False
    exact: bool = False
    opt_in: bool = False

    def traffic(self, native_bytes: int = 2) -> float:
        """Bytes moved in a pass, per byte stored."""
        return 1 + (2 * native_bytes * 8 / self.bits if self.expands else 0)


PRECISIONS: Mapping[str, Precision] = MappingProxyType(
    {
        p.name: p
        for p in (
            Precision("float32", 32, exact=True),
            Precision("bfloat16", 16, exact=True),
            Precision("float16", 16),
            Precision("int8", 8, expands=True),
            Precision("fp8", 8, expands=True),
            Precision("w8a8", 8, opt_in=True),  # rounds the activations too
            Precision("int4", 4, group=128, expands=True, opt_in=True),
        )
    }
)


CONVERTED = tuple(name for name in PRECISIONS if name not in NATIVE)


def group_of(columns: int, group: int) -> int:
    """Weights per scale: the largest divisor of `columns` that is at most `group`."""
    return next(size for size in range(min(group, columns), 0, -1) if columns % size == 0)


def matrix_bytes(rows: int, columns: int, precision: str, native_bytes: int) -> tuple[int, int]:
    """Bytes of a stored matrix, and of its scales."""
    kind = PRECISIONS[precision]
    if precision in NATIVE:
        return rows * columns * native_bytes, 0
    scales = rows if kind.group is None else rows * (columns // group_of(columns, kind.group))
    return rows * columns * kind.bits // 8, scales * native_bytes


# As users write them (and as ACE-Step's flags spell them).
SPELLINGS: Mapping[str, str] = MappingProxyType(
    {
        "int8_weight_only": "int8",
        "fp8_weight_only": "fp8",
        "w8a8_dynamic": "w8a8",
        "int4_weight_only": "int4",
    }
)
