"""Converts a headroom result to what ACE-Step's programs read: songs, tensors, times."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from acestep.audio_utils import generate_uuid_from_params
from acestep.inference_types import GenerationConfig, GenerationParams
from acestep.lyric_alignment import alignment_inputs
from headroom.audio.claims import check_folder
from headroom.engine.names import Wanted
from headroom.errors import InvalidOutput, InvalidRequest, written
from headroom.memory.footprint import DECODE, DENOISE, THINK, WRITE
from headroom.models.acestep.networks.component_names import CONDITION
from headroom.models.acestep.text.codes_text import codes_to_text
from headroom.params.note import Note

if TYPE_CHECKING:
    from torch import Tensor

    from headroom.audio.files import Format
    from headroom.engine.engine import Engine
    from headroom.engine.result import SongResult
    from headroom.models.acestep.song.song import Song

DEFAULT_FORMAT: Format = "flac"
MP3_SAMPLE_RATES = (44_100, 48_000)
SHEET_FIELDS = ("bpm", "keyscale", "timesignature")


def write_back(params: GenerationParams, result: SongResult) -> None:
    """Store the language model's decisions where ACE-Step's programs look for them."""
    sheet = planned_metadata(result)
    if sheet is None:
        return
    params.cot_bpm, params.cot_keyscale = sheet["bpm"], sheet["keyscale"] or ""
    params.cot_timesignature = sheet["timesignature"] or ""
    params.cot_duration = sheet["duration"]
    params.cot_vocal_language = sheet["language"] or "unknown"
    params.cot_caption = sheet["caption"] or ""


def planned_metadata(result: SongResult) -> dict[str, Any] | None:
    """The sheet of the first song if a language model planned it, else None."""
    song = result.songs[0]
    metas = getattr(song, "metas", None)
    if result.thought is None or metas is None:
        return None
    return {
        **{name: getattr(metas, name) for name in SHEET_FIELDS},
        "duration": metas.seconds,
        "language": getattr(song, "language", None),
        "caption": getattr(song, "caption", None),
    }


def audio_entry(result: SongResult, index: int, params: GenerationParams) -> dict[str, Any]:
    """One entry of `audios`; the song is not saved yet, and its `path` is empty."""
    import torch

    audio, seed = result.audios[index], result.seeds[index]
    codes = codes_to_text(getattr(result.songs[index], "codes", ()))
    parameters = {**params.to_dict(), "seed": seed, "audio_codes": codes}
    key = generate_uuid_from_params(parameters)
    tensor = torch.as_tensor(audio.samples).clone()
    silent = bool(tensor.abs().max() == 0)
    return {
        "path": "",
        "tensor": tensor,
        "key": key,
        "sample_rate": audio.rate,
        "params": parameters,
        "silent": silent,
    }


def write_songs(
    result: SongResult,
    audios: Sequence[dict[str, Any]],
    folder: Path,
    config: GenerationConfig,
    fallback_folder: Path,
) -> list[Note]:
    """Write each song that is not silent; returns notes on songs written to another place.

    If a song cannot be written anywhere its `path` stays empty; its tensor still has the audio.
    """
    from headroom.audio.resample import resample
    from headroom.engine.save import Page, rescue, save

    notes = []
    audio_format: Format = getattr(result.request, "audio_format", None) or DEFAULT_FORMAT
    bitrate = getattr(result.request, "bitrate", None)
    for audio, provenance, entry in zip(result.audios, result.provenance, audios, strict=True):
        if entry["silent"]:
            continue
        if audio_format == "mp3" and config.mp3_sample_rate:
            audio = resample(audio, int(config.mp3_sample_rate))
        page = Page(audio, provenance, {})
        target = (
            folder / f"{entry['key']}.{'wav' if audio_format.startswith('wav') else audio_format}"
        )

        def save_at(path: Path, page: Page = page) -> tuple[Path, ...]:
            return save((page,), Wanted(path, given=False, field="save_dir"), audio_format, bitrate)

        try:
            try:
                paths = save_at(target)
            except InvalidOutput as error:
                paths, note = rescue(target, (fallback_folder,), error, save_at)
                notes.append(note)
            entry["path"] = str(paths[0])
        except InvalidOutput as error:
            notes.append(Note("save_dir", str(folder), None, f"the file {error.why}"))
    return notes


def check_output(config: GenerationConfig, folder: Path | None) -> None:
    """Raise InvalidRequest for an invalid rate of mp3 files, and InvalidOutput for a place that
    cannot be written to, before any work."""
    if folder is not None:
        check_folder(folder, "save_dir")
    if written(config.mp3_sample_rate) not in map(str, (None, *MP3_SAMPLE_RATES)):
        allowed = " or ".join(map(str, MP3_SAMPLE_RATES))
        raise InvalidRequest("mp3_sample_rate", config.mp3_sample_rate, allowed)


def extra_outputs(engine: Engine, result: SongResult, seconds: float) -> dict[str, Any]:
    """Measurements and tensors returned beside the audio, on the host; `seconds` of the call."""
    return {
        "seed_value": ", ".join(map(str, result.seeds)),
        "lm_metadata": planned_metadata(result),
        "time_costs": _time_costs(result, seconds),
        **_latents(result),
        **alignment_inputs(engine, result),
    }


def _time_costs(result: SongResult, seconds: float) -> dict[str, float]:
    lm_seconds: dict[str, float] = {}
    for stage in result.thought.stages if result.thought else ():
        lm_seconds[stage.stage] = (
            lm_seconds.get(stage.stage, 0.0) + stage.seconds
        )  # some occur twice
    seconds_by_stage = {s.stage: s.seconds for s in result.report.stages}
    return {
        "lm_phase1_time": lm_seconds.get(THINK, 0.0),
        "lm_phase2_time": lm_seconds.get(WRITE, 0.0),
        "lm_total_time": sum(lm_seconds.values()),
        "dit_encoder_time_cost": seconds_by_stage.get(CONDITION, 0.0),
        "dit_model_time_cost": seconds_by_stage.get(DENOISE, 0.0),
        "dit_vae_decode_time_cost": seconds_by_stage.get(DECODE, 0.0),
        "dit_offload_time_cost": sum(s.loading for s in result.report.stages),
        "dit_total_time_cost": result.report.seconds,
        "pipeline_total_time": seconds,
    }


def _latents(result: SongResult) -> dict[str, Any]:
    """Latents and masks of all songs, zero beyond each one's frames.

    pred_latents    [B, T, 64], before they were shifted and scaled for the decoder
    target_latents  [B, T, 64] of the source, silence without a source; under two names
    src_latents     [B, T, 64], the content of the source channels
    chunk_masks     [B, T], whether a frame was to be made; numbers if one of them is 2, which
                    lets the model find the region itself
    latent_masks    [B, T], 1 for the frames of a song
    spans           ("repainting" or "full", first frame, last frame + 1) of each song
    """
    if "context" not in result.kept:
        return {"pred_latents": result.kept.get("latents")}
    channels, mask = result.kept["context"].chunk(2, dim=-1)
    chunk_masks = mask[..., 0]
    return {
        "pred_latents": result.kept["latents"],
        "target_latents": result.kept["source"],
        "target_latents_input": result.kept["source"],
        "src_latents": channels,
        "chunk_masks": chunk_masks if chunk_masks.max() > 1 else chunk_masks.bool(),
        "latent_masks": _latent_masks(result, chunk_masks.shape[1]),
        "spans": [_span(cast("Song", song)) for song in result.songs],
    }


def _latent_masks(result: SongResult, longest: int) -> Tensor:
    import torch

    frames = torch.tensor([cast("Song", song).frames for song in result.songs])
    return (torch.arange(longest) < frames.unsqueeze(1)).long()


def _span(song: Song) -> tuple[str, int, int]:
    if song.region is None:
        return "full", 0, song.frames
    return "repainting", song.region.start, song.region.stop
