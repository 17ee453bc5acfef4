"""Compatible `acestep.llm_inference`: the handler of the language model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acestep.codes_plan import CodesPlan, failure, plan_codes
from acestep.gpu_config import current_machine
from acestep.handler_protocols import event_listener
from acestep.llm_prompts import Prompts
from acestep.model_folders import available_models, engine_folder, model_folder
from acestep.sheet_results import (
    LM_NOT_INITIALIZED,
    SamplingOptions,
    create_sample_request,
    format_sample_request,
    understand_request,
    write_dict,
)
from headroom import paths
from headroom.engine.opening import Opening
from headroom.engine.options import EngineOptions
from headroom.errors import HeadroomError
from headroom.models.acestep.catalogue import LM_KIND, USUAL_LM
from headroom.models.acestep.text.lm_prompts import NOTHING
from headroom.settings import load
from headroom.units import GIB

if TYPE_CHECKING:
    from headroom.engine.engine import Engine

MAX_TOKENS = 4096  # of a prompt and its answer, as in ACE-Step
LOW_MEMORY_GB = 8.0  # card size below which ACE-Step calls it low memory


class LLMHandler(Prompts):
    """Holds the choice of language model. The model is loaded on first use."""

    def __init__(self, persistent_storage_path: str | None = None) -> None:
        self.persistent_storage_path = persistent_storage_path
        self.llm_initialized = False
        self.llm_backend = ""
        self.device = "auto"
        self.offload_to_cpu = False
        self.max_model_len = MAX_TOKENS
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
            has_lm = self.engine().has_language_model
        except HeadroomError as error:
            self.unload()
            return f"error: {self._name}: {error}", False
        if not has_lm:
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
            folder = engine_folder(self._folder, self._name)
            self._engine = Opening(
                load(),
                self.options(EngineOptions(device=self.device, checkpoint_dir=folder)),
            ).open()
        return self._engine

    @property
    def llm_tokenizer(self) -> object | None:
        """The model's tokenizer (of the library tokenizers), once a model is initialised."""
        from headroom.models.acestep.language.lm_words import LMVocabulary

        folder = self._folder if paths.is_dir(self._folder) else None
        place = model_folder(folder, self._name) if self.llm_initialized else None
        return None if place is None else LMVocabulary.open(place).tokenizer

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
        return available_models(self._folder if paths.is_dir(self._folder) else None, LM_KIND)

    def get_gpu_memory_utilization(
        self,
        model_path: str | None = None,
        minimal_gpu: float = LOW_MEMORY_GB,
        min_ratio: float = 0.2,
        max_ratio: float = 0.9,
    ) -> tuple[float, bool]:
        """The share of the card that plans may use, and whether the card has low memory."""
        machine = current_machine(load())
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
        sampling = SamplingOptions(
            temperature, top_k, top_p, repetition_penalty, use_constrained_decoding
        )
        return write_dict(self, understand_request(audio_codes), sampling)

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
        sampling = SamplingOptions(
            temperature, top_k, top_p, repetition_penalty, use_constrained_decoding
        )
        return write_dict(
            self, create_sample_request(query, instrumental, vocal_language), sampling
        )

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
        sampling = SamplingOptions(
            temperature, top_k, top_p, repetition_penalty, use_constrained_decoding
        )
        return write_dict(self, format_sample_request(caption, lyrics, user_metadata), sampling)

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
        is rendered. See `acestep.codes_plan.plan_codes` for the answer."""
        if not self.llm_initialized:
            return failure(LM_NOT_INITIALIZED)
        plan = CodesPlan(
            infer_type, caption, lyrics, target_duration, user_metadata or {}, batch_size, seeds,
            temperature, cfg_scale, negative_prompt, top_k, top_p, repetition_penalty,
            use_constrained_decoding, use_cot_metas, use_cot_caption, use_cot_language,
        )  # fmt: skip
        return plan_codes(self.engine(), plan, event_listener(progress))

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
