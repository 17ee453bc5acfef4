"""Compatible `acestep.llm_inference`: the handler of the language model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acestep.codes_plan import Plan, failed, planned
from acestep.folders import available, opened_from, place_of
from acestep.gpu_config import machine_here
from acestep.llm_prompts import Prompts
from acestep.sheets import NOT_READY, Drawn, as_dict, formatting, inspiring, understanding
from headroom import paths
from headroom.engine.opening import Opening
from headroom.engine.options import EngineOptions
from headroom.errors import HeadroomError
from headroom.models.acestep.text.lm_prompts import NOTHING
from headroom.settings import load
from headroom.units import GIB
from headroom.weights.catalog import USUAL_LM

if TYPE_CHECKING:
    from headroom.engine.engine import Engine

MOST_TOKENS = 4096  # of a prompt and its answer, as in ACE-Step
SMALL_GB = 8.0  # card size below which ACE-Step calls it low memory


class LLMHandler(Prompts):
    """Holds the choice of language model. The model is loaded on first use."""

    def __init__(self, persistent_storage_path: str | None = None) -> None:
        self.persistent_storage_path = persistent_storage_path
        self.llm_initialized = False
        self.llm_backend = ""
        self.device = "auto"
        self.offload_to_cpu = False
        self.max_model_len = MOST_TOKENS
        self._name = ""
        self._folder = Path("checkpoints")
        self._engine: Engine | None = None

    def options(self, before: EngineOptions) -> EngineOptions:
        """The options this handler sets, added to those that were chosen before."""
        chosen = {"lm_model": self._name, "lm_backend": self.llm_backend or None, "init_lm": True}
        return before.model_copy(update=chosen)

    def initialize(
        self,
        checkpoint_dir: str,
        lm_model_path: str | None,
        backend: str = "vllm",
        device: str = "auto",
        offload_to_cpu: bool = False,
        dtype: object = None,
    ) -> tuple[str, bool]:
        """Choose a model folder, replacing an earlier choice; returns a message, and whether the
        model is installed and complete. It computes in the precision of the model it works for,
        whatever `dtype` says."""
        self.unload()
        self._name = Path(lm_model_path or USUAL_LM).name
        self._folder = Path(checkpoint_dir)
        self.llm_backend, self.device, self.offload_to_cpu = backend, device, offload_to_cpu
        try:
            language = self.engine().has_language_model
        except HeadroomError as error:
            self.unload()
            return f"error: {self._name}: {error}", False
        if not language:
            self.unload()
            return f"error: {self._name} is not in {checkpoint_dir}", False
        self.llm_initialized = True
        return f"{self._name} is ready ({backend})", True

    def unload(self) -> None:
        """Forget the model, and free everything it holds."""
        if self._engine is not None:
            self._engine.close()
        self._engine, self.llm_initialized = None, False

    def engine(self) -> Engine:
        """The engine with this language model. Raises HeadroomError."""
        if self._engine is None:
            folder = opened_from(self._folder, self._name)
            self._engine = Opening(
                load(),
                self.options(EngineOptions(device=self.device, checkpoint_dir=folder)),
            ).open()
        return self._engine

    @property
    def llm_tokenizer(self) -> object | None:
        """The model's tokenizer (of the library tokenizers), once a model is initialised."""
        from headroom.models.acestep.language.lm_words import Words

        folder = self._folder if paths.is_dir(self._folder) else None
        place = place_of(folder, self._name) if self.llm_initialized else None
        return None if place is None else Words.open(place).tokenizer

    @property
    def dtype(self) -> object:
        """The precision it computes in; fp32 before a model is initialised."""
        import torch

        if self._engine is None:
            return torch.float32
        return getattr(torch, self._engine.model.numerics().dtype)

    def share(self, engine: Engine) -> None:
        """Use an engine that was opened elsewhere, so that nothing is loaded twice."""
        if self._engine is not None and self._engine is not engine:
            self._engine.close()
        self._engine = engine

    def get_available_5hz_lm_models(self) -> list[str]:
        """Names of the language models that can be opened, in alphabetical order."""
        return available(self._folder if paths.is_dir(self._folder) else None, "lm")

    def get_gpu_memory_utilization(
        self,
        model_path: str | None = None,
        minimal_gpu: float = SMALL_GB,
        min_ratio: float = 0.2,
        max_ratio: float = 0.9,
    ) -> tuple[float, bool]:
        """The share of the card that plans may use, and whether the card has low memory."""
        machine = machine_here(load())
        ratio = machine.budget / machine.total
        return min(max(ratio, min_ratio), max_ratio), machine.limit / GIB < minimal_gpu

    # --- texts -----------------------------------------------------------------------------

    def understand_audio_from_codes(
        self,
        audio_codes: str,
        temperature: float = 0.3,
        top_k: int | None = None,
        top_p: float | None = None,
        repetition_penalty: float = 1.0,
        use_constrained_decoding: bool = True,
        constrained_decoding_debug: bool = False,
    ) -> tuple[dict[str, Any], str]:
        """A description of codes with the names of a song sheet and with lyrics, and a message; an
        empty dict if there is no description."""
        if self.llm_initialized and not (audio_codes or "").strip():
            return {}, "error: no audio codes are given"
        drawn = Drawn(temperature, top_k, top_p, repetition_penalty, use_constrained_decoding)
        return as_dict(self, understanding(audio_codes), drawn)

    def create_sample_from_query(
        self,
        query: str,
        instrumental: bool = False,
        vocal_language: str | None = None,
        temperature: float = 0.85,
        top_k: int | None = None,
        top_p: float | None = None,
        repetition_penalty: float = 1.0,
        use_constrained_decoding: bool = True,
        constrained_decoding_debug: bool = False,
    ) -> tuple[dict[str, Any], str]:
        """The same for a song invented from a line of text, and whether it is instrumental."""
        drawn = Drawn(temperature, top_k, top_p, repetition_penalty, use_constrained_decoding)
        return as_dict(self, inspiring(query, instrumental, vocal_language), drawn)

    def format_sample_from_input(
        self,
        caption: str,
        lyrics: str,
        user_metadata: Mapping[str, Any] | None = None,
        temperature: float = 0.85,
        top_k: int | None = None,
        top_p: float | None = None,
        repetition_penalty: float = 1.0,
        use_constrained_decoding: bool = True,
        constrained_decoding_debug: bool = False,
    ) -> tuple[dict[str, Any], str]:
        """The same for an improved caption and lyrics; given metadata are kept."""
        drawn = Drawn(temperature, top_k, top_p, repetition_penalty, use_constrained_decoding)
        return as_dict(self, formatting(caption, lyrics, user_metadata), drawn)

    # --- metadata and codes ----------------------------------------------------------------

    def generate_with_stop_condition(
        self,
        caption: str,
        lyrics: str,
        infer_type: str,
        temperature: float = 0.85,
        cfg_scale: float = 1.0,
        negative_prompt: str = NOTHING,
        top_k: int | None = None,
        top_p: float | None = None,
        repetition_penalty: float = 1.0,
        use_constrained_decoding: bool = True,
        constrained_decoding_debug: bool = False,
        target_duration: float | None = None,
        user_metadata: Mapping[str, Any] | None = None,
        use_cot_metas: bool = True,
        use_cot_caption: bool = True,
        use_cot_language: bool = True,
        batch_size: int | None = None,
        seeds: Sequence[int] | None = None,
        progress: Callable[..., object] | None = None,
    ) -> dict[str, Any]:
        """Metadata of a song (`infer_type` "dit"), and also its audio codes ("llm_dit"); nothing
        is rendered. See `acestep.codes_plan.planned` for the answer."""
        from acestep.inference import listener

        if not self.llm_initialized:
            return failed(NOT_READY)
        plan = Plan(
            infer_type, caption, lyrics, target_duration, user_metadata or {}, batch_size, seeds,
            temperature, cfg_scale, negative_prompt, top_k, top_p, repetition_penalty,
            use_constrained_decoding, use_cot_metas, use_cot_caption, use_cot_language,
        )  # fmt: skip
        return planned(self.engine(), plan, listener(progress))

    def generate_from_formatted_prompt(
        self,
        formatted_prompt: str,
        cfg: Mapping[str, Any] | None = None,
        use_constrained_decoding: bool = True,
        constrained_decoding_debug: bool = False,
        stop_at_reasoning: bool = False,
    ) -> tuple[str, str]:
        """No text, and a message that says what to call instead."""
        return "", (
            "error: prompts are not continued as they stand here; call "
            "generate_with_stop_condition, understand_audio_from_codes, create_sample_from_query "
            "or format_sample_from_input"
        )
