"""`acestep.llm_inference` as programs for ACE-Step know it: the language model's handler."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from headroom import paths
from headroom.errors import HeadroomError
from headroom.memory.limits import Choices
from headroom.settings import load

if TYPE_CHECKING:
    from headroom.engine.engine import Engine

PREFIX = "acestep-5Hz-lm-"
NO_CHOICES = Choices()


class LLMHandler:
    """Holds which language model is to be used. It is loaded when it is first at work."""

    def __init__(self, persistent_storage_path: str | None = None) -> None:
        self.persistent_storage_path = persistent_storage_path
        self.llm_initialized = False
        self.llm_backend = ""
        self.device = "auto"
        self.offload_to_cpu = False
        self._name = ""
        self._folder = Path("checkpoints")
        self._engine: Engine | None = None

    def choices(self, before: Choices = NO_CHOICES) -> Choices:
        """What of the policy's row it sets, beside what was chosen before."""
        return replace(before, lm=self._name, lm_backend=self.llm_backend or None, init_lm=True)

    def initialize(
        self,
        checkpoint_dir: str,
        lm_model_path: str | None,
        backend: str = "vllm",
        device: str = "auto",
        offload_to_cpu: bool = False,
        dtype: object = None,
    ) -> tuple[str, bool]:
        """Choose a model folder; a message, and whether it is there and whole."""
        self._name = Path(lm_model_path or f"{PREFIX}1.7B").name
        self._folder = Path(checkpoint_dir)
        self.llm_backend, self.device, self.offload_to_cpu = backend, device, offload_to_cpu
        try:
            language = self.engine().has_language_model
        except HeadroomError as error:
            self.unload()
            return f"error: {error}", False
        self.llm_initialized = language
        if not language:
            return f"error: {self._name} is not in {checkpoint_dir}", False
        return f"{self._name} is ready ({backend})", True

    def unload(self) -> None:
        """Forget the model, and all it holds."""
        if self._engine is not None:
            self._engine.close()
        self._engine, self.llm_initialized = None, False

    def get_available_5hz_lm_models(self) -> list[str]:
        """Names of the language models in the checkpoint folder."""
        if not paths.is_dir(self._folder):
            return []
        return sorted(p.name for p in self._folder.iterdir() if p.name.startswith(PREFIX))

    def engine(self) -> Engine:
        """An engine with this language model. Raises HeadroomError."""
        from headroom.engine.engine import Engine

        if self._engine is None:
            folder = self._folder if paths.is_dir(self._folder) else None
            self._engine = Engine(
                device=self.device, checkpoint_dir=folder, choices=self.choices(), settings=load()
            )
        return self._engine

    def share(self, engine: Engine) -> None:
        """Work with an engine that somebody else opened, so that nothing is loaded twice."""
        if self._engine is not None and self._engine is not engine:
            self._engine.close()
        self._engine = engine
