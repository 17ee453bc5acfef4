"""ACE-Step features that this version lacks: each raises an error that says when they will come."""

from __future__ import annotations

from typing import NoReturn

from headroom.errors import ADAPTERS, NotSupportedYet

TRAINING = "training", "version 0.3"


class UnsupportedAdapters:
    """The adapter methods of ACE-Step's handler. `get_lora_status` reports that none is loaded."""

    lora_loaded, use_lora, lora_scale = False, False, 1.0

    def load_lora(self, lora_path: str) -> NoReturn:
        """Raises NotSupportedYet."""
        raise NotSupportedYet("load_lora", *ADAPTERS)

    def add_lora(self, lora_path: str, adapter_name: str | None = None) -> NoReturn:
        """Raises NotSupportedYet."""
        raise NotSupportedYet("add_lora", *ADAPTERS)

    def add_voice_lora(self, lora_path: str, scale: float = 1.0) -> NoReturn:
        """Raises NotSupportedYet."""
        raise NotSupportedYet("add_voice_lora", *ADAPTERS)

    def remove_lora(self, adapter_name: str) -> NoReturn:
        """Raises NotSupportedYet."""
        raise NotSupportedYet("remove_lora", *ADAPTERS)

    def unload_lora(self) -> NoReturn:
        """Raises NotSupportedYet."""
        raise NotSupportedYet("unload_lora", *ADAPTERS)

    def set_use_lora(self, use_lora: bool) -> NoReturn:
        """Raises NotSupportedYet."""
        raise NotSupportedYet("set_use_lora", *ADAPTERS)

    def set_lora_scale(
        self, adapter_name_or_scale: str | float, scale: float | None = None
    ) -> NoReturn:
        """Raises NotSupportedYet."""
        raise NotSupportedYet("set_lora_scale", *ADAPTERS)

    def set_active_lora_adapter(self, adapter_name: str) -> NoReturn:
        """Raises NotSupportedYet."""
        raise NotSupportedYet("set_active_lora_adapter", *ADAPTERS)

    def get_lora_status(self) -> dict[str, object]:
        """The loaded adapters: none."""
        return {"loaded": False, "active": False, "scale": 1.0, "adapters": []}

    def switch_to_training_preset(self) -> NoReturn:
        """Raises NotSupportedYet."""
        raise NotSupportedYet("switch_to_training_preset", *TRAINING)
