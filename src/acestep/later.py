"""ACE-Step features that this version lacks: each raises an error that says when they will come."""

from __future__ import annotations

from typing import NoReturn

from headroom.errors import HeadroomError

ADAPTERS = "adapters (LoRA, LoKr)", "version 0.2"
TRAINING = "training", "version 0.3"


class NotYet(HeadroomError, NotImplementedError):
    """An ACE-Step feature that comes with a later version. `what` and `when` name both."""

    def __init__(self, name: str, what: str, when: str) -> None:
        self.name, self.what, self.when = name, what, when
        super().__init__(
            f"{name}: this version has no {what}; planned for {when}. Until then songs are made "
            "by the models as they were released."
        )


class NoAdapters:
    """The adapter methods of ACE-Step's handler. `get_lora_status` reports that none is loaded."""

    lora_loaded, use_lora, lora_scale = False, False, 1.0

    def load_lora(self, lora_path: str) -> NoReturn:
        """Raises NotYet."""
        raise NotYet("load_lora", *ADAPTERS)

    def add_lora(self, lora_path: str, adapter_name: str | None = None) -> NoReturn:
        """Raises NotYet."""
        raise NotYet("add_lora", *ADAPTERS)

    def add_voice_lora(self, lora_path: str, scale: float = 1.0) -> NoReturn:
        """Raises NotYet."""
        raise NotYet("add_voice_lora", *ADAPTERS)

    def remove_lora(self, adapter_name: str) -> NoReturn:
        """Raises NotYet."""
        raise NotYet("remove_lora", *ADAPTERS)

    def unload_lora(self) -> NoReturn:
        """Raises NotYet."""
        raise NotYet("unload_lora", *ADAPTERS)

    def set_use_lora(self, use_lora: bool) -> NoReturn:
        """Raises NotYet."""
        raise NotYet("set_use_lora", *ADAPTERS)

    def set_lora_scale(
        self, adapter_name_or_scale: str | float, scale: float | None = None
    ) -> NoReturn:
        """Raises NotYet."""
        raise NotYet("set_lora_scale", *ADAPTERS)

    def set_active_lora_adapter(self, adapter_name: str) -> NoReturn:
        """Raises NotYet."""
        raise NotYet("set_active_lora_adapter", *ADAPTERS)

    def get_lora_status(self) -> dict[str, object]:
        """The loaded adapters: none."""
        return {"loaded": False, "active": False, "scale": 1.0, "adapters": []}

    def switch_to_training_preset(self) -> NoReturn:
        """Raises NotYet."""
        raise NotYet("switch_to_training_preset", *TRAINING)
