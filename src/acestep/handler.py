"""`acestep.handler` as programs for ACE-Step know it: the DiT's handler, over one engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headroom import paths
from headroom.errors import HeadroomError
from headroom.memory.limits import Choices
from headroom.settings import load

if TYPE_CHECKING:
    from torch import Tensor

    from acestep.llm_inference import LLMHandler
    from headroom.engine.engine import Engine


class AceStepHandler:
    """Holds how the engine is to be opened. Opening happens in `initialize_service`."""

    def __init__(self, persistent_storage_path: str | None = None) -> None:
        self.persistent_storage_path = persistent_storage_path
        self._device, self._model, self._folder = "auto", "", Path("checkpoints")
        self._compile: bool | None = None
        self._choices = self._opened_with = Choices()
        self._engine: Engine | None = None

    @property
    def initialized(self) -> bool:
        """Whether a service was opened."""
        return self._engine is not None

    def initialize_service(
        self,
        project_root: str,
        config_path: str,
        device: str = "auto",
        use_flash_attention: bool = False,
        compile_model: bool = False,
        offload_to_cpu: bool = False,
        offload_dit_to_cpu: bool = False,
        quantization: str | None = None,
        prefer_source: str | None = None,
    ) -> tuple[str, bool]:
        """Open the model; a message, and whether it worked. Nothing is loaded before it is used.

        Attention takes the fastest kernel there is, whatever `use_flash_attention` says.
        """
        self._device, self._model = device, Path(config_path).name
        self._folder = Path(project_root) / "checkpoints"
        self._compile = compile_model or None
        self._choices = Choices(
            offload=offload_to_cpu or None,
            offload_dit=offload_dit_to_cpu or None,
            quantization=quantization,
        )
        try:
            opened = self.engine_for(None)
        except HeadroomError as error:
            return f"error: {error}", False
        return f"{opened.model.name} on {opened.machine.describe()}", True

    def get_lyric_timestamp(
        self,
        pred_latent: Tensor,
        encoder_hidden_states: Tensor,
        encoder_attention_mask: Tensor,
        context_latents: Tensor,
        lyric_token_ids: Tensor,
        total_duration_seconds: float,
        vocal_language: str = "en",
        inference_steps: int = 8,
        seed: int | None = None,
        custom_layers_config: Mapping[int, Sequence[int]] | None = None,
    ) -> dict[str, Any]:
        """When the words of one song are sung, from its row of `extra_outputs`: `lrc_text`,
        `sentence_timestamps` and `token_timestamps` (objects with `text`, `start`, `end`),
        `success` and `error`. Where the lyrics begin is read from the ids themselves, whatever
        `vocal_language` says. Tags in square brackets are no lines. `seed` is that of the noise;
        None: the usual one.
        """
        from acestep.lyric_alignment import timestamps

        return timestamps(
            self._engine,
            {
                "pred_latent": pred_latent,
                "encoder_hidden_states": encoder_hidden_states,
                "context_latents": context_latents,
            },
            encoder_attention_mask,
            lyric_token_ids,
            total_duration_seconds,
            inference_steps,
            seed,
            custom_layers_config,
        )

    def engine_for(self, language: LLMHandler | None) -> Engine:
        """The engine, with a language model where one is initialised. Raises HeadroomError."""
        from headroom.engine.engine import Engine

        choices = self._choices
        if language is not None and language.llm_initialized:
            choices = language.choices(choices)
        if self._engine is not None and self._opened_with == choices:
            return self._engine
        if self._engine is not None:
            self._engine.close()
        folder = self._folder if paths.is_dir(self._folder) else None
        self._engine = Engine(
            device=self._device,
            model=self._model or None,
            checkpoint_dir=folder,
            compile=self._compile,
            choices=choices,
            settings=load(),
        )
        self._opened_with = choices
        assert self._engine.model.name  # opening it says what is missing
        return self._engine
