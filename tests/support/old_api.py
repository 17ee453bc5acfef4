"""ACE-Step's own API as it is documented and used: names, parameters and defaults, as data.

Source: ACE-Step 1.5, `docs/en/INFERENCE.md` and the modules themselves.
"""

from __future__ import annotations

_FILL = "Fill the audio semantic mask based on the given conditions:"

PARAMS: dict[str, object] = {
    "task_type": "text2music", "instruction": _FILL, "reference_audio": None, "src_audio": None,
    "audio_codes": "", "caption": "", "global_caption": "", "lyrics": "", "instrumental": False,
    "vocal_language": "unknown", "bpm": None, "keyscale": "", "timesignature": "",
    "duration": -1.0, "enable_normalization": True, "normalization_db": -1.0,
    "fade_in_duration": 0.0, "fade_out_duration": 0.0, "latent_shift": 0.0,
    "latent_rescale": 1.0, "inference_steps": 8, "seed": -1, "guidance_scale": 7.0,
    "use_adg": False, "guidance_variant": None, "guidance_params": None,
    "cfg_interval_start": 0.0, "cfg_interval_end": 1.0, "shift": 1.0, "infer_method": "ode",
    "sampler_mode": "euler", "velocity_norm_threshold": 0.0, "velocity_ema_factor": 0.0,
    "dcw_enabled": None, "dcw_mode": "double", "dcw_scaler": 0.05, "dcw_high_scaler": 0.02,
    "dcw_wavelet": "haar", "timesteps": None, "repainting_start": 0.0, "repainting_end": -1,
    "chunk_mask_mode": "auto", "repaint_latent_crossfade_frames": 10,
    "repaint_wav_crossfade_sec": 0.0, "repaint_mode": "balanced", "repaint_strength": 0.5,
    "retake_seed": None, "retake_variance": 0.0, "flow_edit_morph": False,
    "flow_edit_source_caption": "", "flow_edit_source_lyrics": "", "flow_edit_n_min": 0.0,
    "flow_edit_n_max": 1.0, "flow_edit_n_avg": 1, "audio_cover_strength": 1.0,
    "cover_noise_strength": 0.0, "thinking": True, "lm_temperature": 0.85, "lm_cfg_scale": 2.0,
    "lm_top_k": 0, "lm_top_p": 0.9, "lm_negative_prompt": "NO USER INPUT", "use_cot_metas": True,
    "use_cot_caption": True, "use_cot_lyrics": False, "use_cot_language": True,
    "use_constrained_decoding": True, "cot_bpm": None, "cot_keyscale": "",
    "cot_timesignature": "", "cot_duration": None, "cot_vocal_language": "unknown",
    "cot_caption": "", "cot_lyrics": "",
}  # fmt: skip

CONFIG: dict[str, object] = {
    "batch_size": 2, "allow_lm_batch": False, "use_random_seed": True, "seeds": None,
    "lm_batch_chunk_size": 8, "constrained_decoding_debug": False, "audio_format": "flac",
    "mp3_bitrate": "128k", "mp3_sample_rate": 48_000,
}  # fmt: skip

_DRAWN = (
    "temperature top_k top_p repetition_penalty use_constrained_decoding constrained_decoding_debug"
)
_ALIGNED = (
    "pred_latent encoder_hidden_states encoder_attention_mask context_latents lyric_token_ids "
    "vocal_language inference_steps seed custom_layers_config"
)
_NEGATIVE = "is_negative_prompt negative_prompt"
_FETCH = "checkpoints_dir token prefer_source"
_SAVE = "sample_rate format channels_first mp3_bitrate mp3_sample_rate"
_MUSIC = (
    "captions global_caption lyrics bpm key_scale time_signature vocal_language inference_steps "
    "guidance_scale use_random_seed seed reference_audio audio_duration batch_size src_audio "
    "audio_code_string repainting_start repainting_end instruction audio_cover_strength "
    "cover_noise_strength task_type use_adg cfg_interval_start cfg_interval_end shift infer_method "
    "sampler_mode velocity_norm_threshold velocity_ema_factor dcw_enabled dcw_mode dcw_scaler "
    "dcw_high_scaler dcw_wavelet use_tiled_decode timesteps latent_shift latent_rescale "
    "chunk_mask_mode repaint_latent_crossfade_frames repaint_wav_crossfade_sec repaint_mode "
    "repaint_strength source_repaint_latents retake_seed retake_variance flow_edit_morph "
    "flow_edit_source_caption flow_edit_source_lyrics flow_edit_n_min flow_edit_n_max "
    "flow_edit_n_avg progress"
)

# module and name → parameters, in the order of positions.
CALLS: dict[str, str] = {
    "inference.generate_music": "dit_handler llm_handler params config save_dir progress",
    "inference.understand_music": f"llm_handler audio_codes {_DRAWN}",
    "inference.create_sample": f"llm_handler query instrumental vocal_language {_DRAWN}",
    "inference.format_sample": f"llm_handler caption lyrics user_metadata {_DRAWN}",
    "handler.AceStepHandler.initialize_service": (
        "project_root config_path device component_device_map use_flash_attention compile_model "
        "offload_to_cpu offload_dit_to_cpu quantization prefer_source use_mlx_dit vae_checkpoint "
        "vae_variant"
    ),
    "handler.AceStepHandler.generate_music": _MUSIC,
    "handler.AceStepHandler.convert_src_audio_to_codes": "audio_file",
    "handler.AceStepHandler.process_src_audio": "audio_file",
    "handler.AceStepHandler.process_reference_audio": "audio_file",
    "handler.AceStepHandler.get_lyric_timestamp": _ALIGNED.replace(
        "vocal_language", "total_duration_seconds vocal_language"
    ),
    "handler.AceStepHandler.get_lyric_score": _ALIGNED,
    "handler.AceStepHandler.is_turbo_model": "",
    "handler.AceStepHandler.is_silence": "audio",
    "handler.AceStepHandler.is_flash_attention_available": "device",
    "handler.AceStepHandler.prepare_seeds": "actual_batch_size seed use_random_seed",
    "handler.AceStepHandler.generate_instruction": "task_type track_name complete_track_classes",
    "handler.AceStepHandler.get_available_checkpoints": "",
    "handler.AceStepHandler.get_available_acestep_v15_models": "",
    "handler.AceStepHandler.load_lora": "lora_path",
    "handler.AceStepHandler.add_lora": "lora_path adapter_name",
    "handler.AceStepHandler.add_voice_lora": "lora_path scale",
    "handler.AceStepHandler.remove_lora": "adapter_name",
    "handler.AceStepHandler.unload_lora": "",
    "handler.AceStepHandler.set_use_lora": "use_lora",
    "handler.AceStepHandler.set_lora_scale": "adapter_name_or_scale scale",
    "handler.AceStepHandler.set_active_lora_adapter": "adapter_name",
    "handler.AceStepHandler.get_lora_status": "",
    "handler.AceStepHandler.switch_to_training_preset": "",
    "llm_inference.LLMHandler.initialize": (
        "checkpoint_dir lm_model_path backend device offload_to_cpu dtype"
    ),
    "llm_inference.LLMHandler.unload": "",
    "llm_inference.LLMHandler.get_available_5hz_lm_models": "",
    "llm_inference.LLMHandler.get_gpu_memory_utilization": (
        "model_path minimal_gpu min_ratio max_ratio"
    ),
    "llm_inference.LLMHandler.has_all_metas": "user_metadata",
    "llm_inference.LLMHandler.generate_with_stop_condition": (
        "caption lyrics infer_type temperature cfg_scale negative_prompt top_k top_p "
        "repetition_penalty use_constrained_decoding constrained_decoding_debug target_duration "
        "user_metadata use_cot_metas use_cot_caption use_cot_language batch_size seeds progress"
    ),
    "llm_inference.LLMHandler.understand_audio_from_codes": f"audio_codes {_DRAWN}",
    "llm_inference.LLMHandler.create_sample_from_query": (
        f"query instrumental vocal_language {_DRAWN}"
    ),
    "llm_inference.LLMHandler.format_sample_from_input": (f"caption lyrics user_metadata {_DRAWN}"),
    "llm_inference.LLMHandler.parse_lm_output": "output_text",
    "llm_inference.LLMHandler.build_formatted_prompt": (
        "caption lyrics is_negative_prompt generation_phase negative_prompt"
    ),
    "llm_inference.LLMHandler.build_formatted_prompt_with_cot": (
        f"caption lyrics cot_text {_NEGATIVE}"
    ),
    "llm_inference.LLMHandler.build_formatted_prompt_for_understanding": (
        f"audio_codes {_NEGATIVE}"
    ),
    "llm_inference.LLMHandler.build_formatted_prompt_for_inspiration": (
        f"query instrumental {_NEGATIVE}"
    ),
    "llm_inference.LLMHandler.build_formatted_prompt_for_format": f"caption lyrics {_NEGATIVE}",
    "llm_inference.LLMHandler.generate_from_formatted_prompt": (
        "formatted_prompt cfg use_constrained_decoding constrained_decoding_debug stop_at_reasoning"
    ),
    "audio_utils.AudioSaver": "default_format",
    "audio_utils.AudioSaver.save_audio": f"audio_data output_path {_SAVE}",
    "audio_utils.AudioSaver.convert_audio": (
        "input_path output_path output_format remove_input mp3_bitrate mp3_sample_rate"
    ),
    "audio_utils.AudioSaver.save_batch": f"audio_batch output_dir file_prefix {_SAVE}",
    "audio_utils.save_audio": f"audio_data output_path {_SAVE}",
    "audio_utils.apply_fade": "audio_data fade_in_samples fade_out_samples",
    "audio_utils.normalize_audio": "audio_data target_db",
    "audio_utils.is_audio_silent": "audio_data rms_threshold peak_threshold channels_first",
    "audio_utils.get_audio_file_hash": "audio_file",
    "audio_utils.get_lora_weights_hash": "dit_handler",
    "audio_utils.generate_uuid_from_params": "params_dict",
    "audio_utils.generate_uuid_from_audio_data": "audio_data seed",
    "model_downloader.get_project_root": "",
    "model_downloader.get_checkpoints_dir": "custom_dir",
    "model_downloader.check_main_model_exists": "checkpoints_dir",
    "model_downloader.check_model_exists": "model_name checkpoints_dir",
    "model_downloader.list_available_models": "",
    "model_downloader.download_main_model": "checkpoints_dir force token prefer_source",
    "model_downloader.download_submodel": "model_name checkpoints_dir force token prefer_source",
    "model_downloader.download_all_models": "checkpoints_dir force token",
    "model_downloader.ensure_main_model": _FETCH,
    "model_downloader.ensure_lm_model": f"model_name {_FETCH}",
    "model_downloader.ensure_dit_model": f"model_name {_FETCH}",
    "model_downloader.print_model_list": "",
    "memory_manager.get_memory_manager": "",
    "memory_manager.memory_limit_decorator": "required_gb",
    "gpu_config.get_gpu_config": "gpu_memory_gb",
    "gpu_config.get_gpu_tier": "gpu_memory_gb",
    "gpu_config.get_gpu_memory_gb": "",
    "gpu_config.get_global_gpu_config": "",
    "gpu_config.set_global_gpu_config": "config",
    "gpu_config.check_duration_limit": "duration gpu_config lm_initialized",
    "gpu_config.check_batch_size_limit": "batch_size gpu_config lm_initialized",
    "gpu_config.is_lm_model_size_allowed": "model_name available_models",
}

# Values, where they are short; of long ones their kind and number.
CONSTANTS: dict[str, object] = {
    "KEYSCALE_NOTES": ["A", "B", "C", "D", "E", "F", "G"],
    "KEYSCALE_ACCIDENTALS": ["", "#", "b", "♯", "♭"],
    "KEYSCALE_MODES": ["major", "minor"],
    "BPM_MIN": 30,
    "BPM_MAX": 300,
    "DURATION_MIN": 10,
    "DURATION_MAX": 600,
    "VALID_TIME_SIGNATURES": [2, 3, 4, 6],
    "TASK_TYPES": ["text2music", "repaint", "cover", "cover-nofsq", "extract", "lego", "complete"],
    "TASK_TYPES_TURBO": ["text2music", "repaint", "cover", "cover-nofsq"],
    "TASK_TYPES_BASE": [
        "text2music", "repaint", "cover", "cover-nofsq", "extract", "lego", "complete",
    ],
    "GENERATION_MODES_TURBO": ["Simple", "Custom", "Remix", "Repaint"],
    "GENERATION_MODES_BASE": [
        "Simple", "Custom", "Remix", "Repaint", "Extract", "Lego", "Complete",
    ],
    "DEFAULT_DIT_INSTRUCTION": _FILL,
    "DEFAULT_LM_INSTRUCTION": "Generate audio semantic tokens based on the given conditions:",
    "TRACK_NAMES": [
        "woodwinds", "brass", "fx", "synth", "strings", "percussion", "keyboard", "guitar", "bass",
        "drums", "backing_vocals", "vocals",
    ],
    "TASK_INSTRUCTIONS": {
        "text2music": _FILL,
        "repaint": "Repaint the mask area based on the given conditions:",
        "cover": "Generate audio semantic tokens based on the given conditions:",
        "cover-nofsq": "Generate audio semantic tokens based on the given conditions:",
        "extract": "Extract the {TRACK_NAME} track from the audio:",
        "extract_default": "Extract the track from the audio:",
        "lego": "Generate the {TRACK_NAME} track based on the audio context:",
        "lego_default": "Generate the track based on the audio context:",
        "complete": "Complete the input track with {TRACK_CLASSES}:",
        "complete_default": "Complete the input track:",
    },
    "SFT_GEN_PROMPT": "# Instruction\n{}\n\n# Caption\n{}\n\n# Metas\n{}<|endoftext|>\n",
    "LYRIC_GEN_PROMPT": "# Languages\n{}\n\n# Lyric\n{}<|endoftext|>",
    "GPU_TIER_THRESHOLDS": {
        "tier1": 4, "tier2": 6, "tier3": 8, "tier4": 12, "tier5": 16, "tier6": 24,
    },
    "LM_MODEL_MEMORY_GB": {"0.6B": 3.0, "1.7B": 8.0, "4B": 12.0},
    "LM_MODEL_NAMES": {size: f"acestep-5Hz-lm-{size}" for size in ("0.6B", "1.7B", "4B")},
    "TENSOR_DEBUG_MODE": "OFF",
    "DEBUG_LLM": "OFF",
}  # fmt: skip
