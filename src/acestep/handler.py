"""Compatible `acestep.handler`: the handler of the DiT, over one engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acestep.handler_protocols import LanguageHandler
from acestep.model_folders import available_models, project_checkpoints
from acestep.music_call import DEFAULT_BATCH_SIZE, MusicCall, method_signature
from acestep.seeds import parse_seeds, random_seed
from acestep.unsupported import UnsupportedAdapters
from headroom import paths
from headroom.engine.opening import Opening
from headroom.engine.options import EngineOptions
from headroom.errors import HeadroomError, InvalidRequest
from headroom.models.acestep.catalogue import DIT_KIND, VAE
from headroom.models.acestep.requests.recording_requests import EncodeAudio
from headroom.models.acestep.requests.tasks import GENERATE, TASKS
from headroom.models.outputs import AudioCodes
from headroom.settings import load

if TYPE_CHECKING:
    from torch import Tensor

    from headroom.engine.engine import Engine

NOT_INITIALIZED = "Model not fully initialized"
SAMPLE_RATE = 48_000


class NotReady(HeadroomError):
    """A handler was used before `initialize_service`, or after it failed."""

    def __init__(self) -> None:
        super().__init__(f"{NOT_INITIALIZED}: call initialize_service first.")


class AceStepHandler(UnsupportedAdapters):
    """Holds the engine and how to open it; `initialize_service` opens it."""

    def __init__(self, persistent_storage_path: str | None = None) -> None:
        self.persistent_storage_path = persistent_storage_path
        self.device = "auto"
        self.sample_rate, self.batch_size = SAMPLE_RATE, DEFAULT_BATCH_SIZE
        self.offload_to_cpu = self.offload_dit_to_cpu = self.compiled = False
        self.quantization: str | None = None
        self.last_init_params: dict[str, Any] | None = None
        self._root: Path | None = None
        self._opening: Opening | None = None
        self._opened: Opening | None = None
        self._engine: Engine | None = None

    @property
    def initialized(self) -> bool:
        """Whether a service is open."""
        return self._engine is not None

    @property
    def model(self) -> object | None:
        """The model, once a service is open."""
        return None if self._engine is None else self._engine.model

    @property
    def config(self) -> object | None:
        """The content of the model's config.json, once a service is open."""
        return getattr(self.model, "config", None)

    @property
    def dtype(self) -> object:
        """The precision the model computes in; fp32 before a service is open."""
        import torch

        if self._engine is None:
            return torch.float32
        return getattr(torch, self._engine.model.numerics().dtype)

    def initialize_service(
        self,
        project_root: str | None,
        config_path: str | None,
        device: str = "auto",
        component_device_map: object = None,
        use_flash_attention: bool = False,
        compile_model: bool = False,
        offload_to_cpu: bool = False,
        offload_dit_to_cpu: bool = False,
        quantization: str | None = None,
        prefer_source: str | None = None,
        use_mlx_dit: bool = True,
        vae_checkpoint: str | None = None,
        vae_variant: str | None = None,
    ) -> tuple[str, bool]:
        """Open a model, replacing an earlier one; returns a message, and whether it worked.

        Nothing is loaded before it is used. Attention uses the fastest available kernel, whatever
        `use_flash_attention` says; the DiT computes with torch, whatever `use_mlx_dit` says.
        """
        self._close()
        self.device = device
        self.offload_to_cpu, self.offload_dit_to_cpu = offload_to_cpu, offload_dit_to_cpu
        self.quantization, self.compiled = quantization, compile_model
        self._root = Path(project_root) if project_root else None
        try:
            _check_device_and_vae(component_device_map, vae_checkpoint or vae_variant)
            options = EngineOptions(
                device=device,
                model=Path(config_path or "").name or None,
                checkpoint_dir=project_checkpoints(self._root),
                compile=compile_model or None,
                offload=offload_to_cpu or None,
                offload_dit=offload_dit_to_cpu or None,
                quantization=quantization,
            )
            self._opening = Opening(load(), options)
            opened = self.engine_for(None)
        except HeadroomError as error:
            self._close()
            return f"error: {error}", False
        self.last_init_params = {
            "project_root": project_root,
            "config_path": config_path,
            "device": device,
            "use_flash_attention": use_flash_attention,
            "compile_model": compile_model,
            "offload_to_cpu": offload_to_cpu,
            "offload_dit_to_cpu": offload_dit_to_cpu,
            "quantization": quantization,
            "use_mlx_dit": use_mlx_dit,
            "prefer_source": prefer_source,
            "vae_checkpoint": vae_checkpoint or vae_variant,
        }
        return f"{opened.model.name} on {opened.machine.describe()}", True

    def engine_for(self, language: LanguageHandler | None) -> Engine:
        """The engine, with a language model if one is initialised.

        Raises NotReady before a service is open, and HeadroomError.
        """
        opening = self._opening
        if opening is None:
            raise NotReady
        if language is not None and language.llm_initialized:
            opening = replace(opening, options=language.options(opening.options))
        elif self._engine is not None:  # one with a language model works too
            return self._engine
        if self._engine is not None and self._opened == opening:
            return self._engine
        if self._engine is not None:
            self._engine.close()
            self._engine = None
        engine = opening.open()
        assert engine.model.name  # opening it reports what is missing
        self._engine, self._opened = engine, opening
        return engine

    def _close(self) -> None:
        """Forget the model, and free everything it holds."""
        if self._engine is not None:
            self._engine.close()
        self._engine = self._opening = self._opened = None

    # --- songs -----------------------------------------------------------------------------

    def generate_music(self, *args: Any, **named: Any) -> dict[str, Any]:
        """Songs without a language model: `audios` (`tensor` [2, samples], `sample_rate`),
        `status_message`, `extra_outputs`, `success` and `error`.

        It takes the fields of `acestep.music_call.MusicCall`.
        """
        from acestep.inference import generate_music

        call = MusicCall(*args, **named)
        try:
            params, config = call.params(), call.config()
        except HeadroomError as error:
            return _failed(error)
        result = generate_music(self, None, params, config, progress=call.progress)
        songs = [{name: one[name] for name in ("tensor", "sample_rate")} for one in result.audios]
        return {**result.to_dict(), "audios": songs}

    generate_music.__signature__ = method_signature()  # type: ignore[attr-defined]

    def prepare_seeds(
        self, actual_batch_size: int, seed: object, use_random_seed: bool
    ) -> tuple[list[int], str]:
        """A seed for each song, and all of them as text: the given ones, random ones for the rest.

        Raises InvalidRequest for anything that is not a number.
        """
        given = () if use_random_seed else parse_seeds(seed)
        padded = (*given, *(None,) * actual_batch_size)[:actual_batch_size]
        seeds = [random_seed() if one is None else one for one in padded]
        return seeds, ", ".join(map(str, seeds))

    def generate_instruction(
        self,
        task_type: str,
        track_name: str | None = None,
        complete_track_classes: Sequence[str] | None = None,
    ) -> str:
        """The instruction of a task, including its tracks; for an unknown task, that of a song."""
        task = TASKS.get(task_type)
        if task is None:
            return GENERATE
        named = [track_name] if track_name else []
        return task.instruct(complete_track_classes or [] if task.name == "complete" else named)

    # --- recordings ------------------------------------------------------------------------

    def convert_src_audio_to_codes(self, audio_file: str | Path | None) -> str:
        """The audio codes of a recording as text; on failure a sentence that begins with ❌."""
        if audio_file is None:
            return "❌ no recording is given"
        try:
            request = EncodeAudio(source_audio=Path(audio_file))
            output = self.engine_for(None).perform(request).output
            return output.text if isinstance(output, AudioCodes) else ""
        except HeadroomError as error:
            return f"❌ {error}"

    def process_src_audio(self, audio_file: str | Path | None) -> Tensor | None:
        """A recording as [2, samples] at 48 kHz; None if none is given. Raises InvalidSource."""
        if audio_file is None:
            return None
        from headroom.audio.files import read_audio
        from headroom.audio.resample import resample
        from headroom.audio.wave import clamped, stereo

        return clamped(resample(stereo(read_audio(audio_file)), SAMPLE_RATE)).samples

    def process_reference_audio(self, audio_file: str | Path | None) -> Tensor | None:
        """The 30 s of a recording that are used for its timbre, [2, samples]; None if none is
        given. Raises InvalidSource."""
        if audio_file is None:
            return None
        from headroom.audio.files import read_audio
        from headroom.audio.reference import reference_cuts

        audio = read_audio(audio_file, "reference_audio")
        return reference_cuts(audio, random_seed(), audio_file).samples

    def is_silence(self, audio: Tensor) -> bool:
        """Whether every sample is below 1e-6 in magnitude."""
        from headroom.audio.wave import SILENCE

        return bool((audio.abs() < SILENCE).all())

    # --- what is available ----------------------------------------------------------------------

    def is_turbo_model(self) -> bool:
        """Whether the model that was opened is a turbo one."""
        variant = getattr(self.model, "variant", None)
        return getattr(variant, "kind", None) == "turbo"

    def is_flash_attention_available(self, device: str | None = None) -> bool:
        """Whether torch's own flash attention can be used on a device."""
        import torch

        kind = str(device or self.device or "auto").partition(":")[0]
        return kind in ("auto", "cuda") and torch.cuda.is_available()

    def get_available_checkpoints(self) -> list[str]:
        """The existing folders that are searched for models."""
        from headroom.weights.catalog import checkpoint_dirs

        places = checkpoint_dirs(load(), project_checkpoints(self._root))
        return [str(place) for place in places if paths.is_dir(place)]

    def get_available_acestep_v15_models(self) -> list[str]:
        """Names of the models that can be opened, in alphabetical order."""
        return available_models(project_checkpoints(self._root), DIT_KIND)

    # --- lyric timing and scores ---------------------------------------------------

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
        `success` and `error`. The beginning of the lyrics is found from the ids, whatever
        `vocal_language` says. Tags in square brackets do not count as lines. `seed` is that of the
        noise; None: the default.
        """
        from acestep.lyric_alignment import timestamps

        return timestamps(
            self._engine,
            _rows(pred_latent, encoder_hidden_states, context_latents),
            encoder_attention_mask,
            lyric_token_ids,
            total_duration_seconds,
            inference_steps,
            seed,
            custom_layers_config,
        )

    def get_lyric_score(
        self,
        pred_latent: Tensor,
        encoder_hidden_states: Tensor,
        encoder_attention_mask: Tensor,
        context_latents: Tensor,
        lyric_token_ids: Tensor,
        vocal_language: str = "en",
        inference_steps: int = 8,
        seed: int | None = 42,
        custom_layers_config: Mapping[int, Sequence[int]] | None = None,
    ) -> dict[str, Any]:
        """How well the attention heads follow the words, 0 to 1, from a row of `extra_outputs`:
        `lm_score` in pure noise, `dit_score` in the song itself one step before the end; `success`
        and `error`.
        """
        from acestep.lyric_alignment import scores

        return scores(
            self._engine,
            _rows(pred_latent, encoder_hidden_states, context_latents),
            encoder_attention_mask,
            lyric_token_ids,
            inference_steps,
            seed,
            custom_layers_config,
        )


def _check_device_and_vae(component_device_map: object, vae: str | None) -> None:
    """Raise InvalidRequest for parts on separate devices, and for a different VAE."""
    if component_device_map is not None:
        allowed = "None: all parts work on one device"
        raise InvalidRequest("component_device_map", component_device_map, allowed)
    if vae not in (None, "", VAE, "official"):
        raise InvalidRequest("vae_checkpoint", vae, f"{VAE}, the one that was released first")


def _rows(latents: Tensor, condition: Tensor, context: Tensor) -> dict[str, Tensor]:
    """The inputs one song was made from, by the names under which they are returned."""
    return {
        "pred_latent": latents,
        "encoder_hidden_states": condition,
        "context_latents": context,
    }


def _failed(error: HeadroomError) -> dict[str, Any]:
    return {
        "audios": [],
        "status_message": f"error: {error}",
        "extra_outputs": {},
        "success": False,
        "error": str(error),
    }
