"""What operators hold alive, counted while they run."""

from __future__ import annotations

import weakref

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Alive(TorchDispatchMode):
    """Bytes of the storages that operators made and that are still alive; `peak` is their most."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        out = func(*args, **(kwargs or {}))
        known = {t.untyped_storage().data_ptr() for t in tree_leaves((args, kwargs)) if self._is(t)}
        for tensor in filter(self._is, tree_leaves(out)):
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in known and storage.nbytes():
                self.now += storage.nbytes()
                weakref.finalize(storage, self._gone, storage.nbytes())
        self.peak = max(self.peak, self.now)
        return out

    def _gone(self, nbytes: int) -> None:
        self.now -= nbytes

    @staticmethod
    def _is(value: object) -> bool:
        return isinstance(value, Tensor)
