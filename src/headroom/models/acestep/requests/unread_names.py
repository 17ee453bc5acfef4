"""Names that ACE-Step's own programs send with a request and that match no field. No torch.

Source: the dataclasses `GenerationParams` and `GenerationConfig` of ACE-Step 1.5 and the body of
its `/release_task`. A value that asks for nothing is ignored; any other gets a warning.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from headroom.params.request import Unread

_OUTPUT = "it is a result, which the language model writes itself"
_MODEL = "the model is chosen when it is loaded (--model, --lm-model)"
_HELPER = "it is a command of its own (compose, understand)"
_FLOW = "there is no flow editing"
_LOADED = "LoRA adapters are not supported"

UNREAD: Mapping[str, Unread] = MappingProxyType(
    {
        # Results of the language model, as they are written back into GenerationParams.
        "cot_bpm": Unread(_OUTPUT, (-1, 0)),
        "cot_keyscale": Unread(_OUTPUT),
        "cot_timesignature": Unread(_OUTPUT),
        "cot_duration": Unread(_OUTPUT, (-1, 0)),
        "cot_vocal_language": Unread(_OUTPUT, ("unknown",)),
        "cot_lyrics": Unread(_OUTPUT),
        "cot_caption": Unread(_OUTPUT, texts=True),
        # How songs are planned and sampled.
        "use_cot_lyrics": Unread("lyrics are never planned with the song", (False,)),
        "allow_lm_batch": Unread("plans of a batch are always written together", (True, False)),
        "parallel_thinking": Unread("plans of a batch are always written together", (True, False)),
        "lm_batch_chunk_size": Unread("the plan decides how many are written at once", (8,)),
        "use_random_seed": Unread("a seed that is given is used", (True, False)),
        "constrained_decoding_debug": Unread("--llm-debug of `acestep profile` shows it", (False,)),
        "guidance_params": Unread("guidance has no further parameters", ({}, "{}")),
        "is_format_caption": Unread("the caption is read the same either way", (True, False)),
        "flow_edit_morph": Unread(_FLOW, (False,)),
        "flow_edit_source_caption": Unread(_FLOW),
        "flow_edit_source_lyrics": Unread(_FLOW),
        "flow_edit_n_min": Unread(_FLOW, (0,)),
        "flow_edit_n_max": Unread(_FLOW, (1,)),
        "flow_edit_n_avg": Unread(_FLOW, (1,)),
        "mp3_sample_rate": Unread("songs have 48000 samples a second", (48_000,)),
        # Further names that the service accepts.
        "sample_mode": Unread(_HELPER, (False,)),
        "sample_query": Unread(_HELPER),
        "use_format": Unread(_HELPER, (False,)),
        "analysis_only": Unread(_HELPER, (False,)),
        "full_analysis_only": Unread(_HELPER, (False,)),
        "model": Unread(_MODEL),
        "model_name": Unread(_MODEL),
        "dit_model": Unread(_MODEL),
        "lm_model_path": Unread(_MODEL),
        "lm_backend": Unread(
            "the backend is chosen when the engine is opened (--lm-backend)", ("vllm",)
        ),
        "lora_path": Unread(_LOADED),
        "use_lora": Unread(_LOADED, (False,)),
        "lora_scale": Unread(_LOADED, (0, 1)),
    }
)
