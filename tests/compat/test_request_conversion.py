"""What `GenerationParams` and `GenerationConfig` mean: a value that is passed is the one in use."""

from __future__ import annotations

import copy
import pickle
from dataclasses import MISSING, fields, replace
from pathlib import Path
from typing import Any

import pytest
from tests.support.old_api import CONFIG, PARAMS

from acestep.inference import GenerationConfig, GenerationParams
from acestep.music_call import MusicCall
from acestep.request_conversion import to_request
from acestep.seeds import parse_seeds
from headroom.errors import InvalidRequest
from headroom.models.acestep.requests.songs import Cover, Repaint, Text2Music
from headroom.models.acestep.requests.variants import VARIANTS
from headroom.models.acestep.song.compose import compose
from headroom.models.acestep.song.song import SamplerSettings, Song

CODES = "".join(f"<|audio_code_{n}|>" for n in range(60))
TURBO, BASE = VARIANTS["acestep-v15-turbo"], VARIANTS["acestep-v15-base"]


def meant(config: GenerationConfig | None = None, /, **said: Any) -> Any:
    """The request of params where no language model is there."""
    config = config or GenerationConfig(batch_size=1)
    return to_request(GenerationParams(**said), config, False).request


def sampling(variant: Any, **said: Any) -> SamplerSettings:
    song = compose(meant(duration=10.0, **said), variant, (1,)).songs[0]
    assert isinstance(song, Song)
    return song.sampling


# --- passed and not passed --------------------------------------------------------------------


def test_attributes_read_as_the_reference_s_defaults() -> None:
    assert GenerationParams().to_dict() == PARAMS
    assert GenerationConfig().to_dict() == CONFIG
    assert list(PARAMS) == [f.name for f in fields(GenerationParams)]
    assert vars(GenerationParams()) == PARAMS
    assert all(f.default is not MISSING for f in fields(GenerationParams))


def test_what_is_passed_is_used_also_where_it_is_the_default() -> None:
    assert sampling(TURBO).times != sampling(TURBO, shift=1.0).times
    assert sampling(TURBO, shift=1.0).times[1] == pytest.approx(7 / 8)
    assert (sampling(BASE).steps, sampling(BASE, inference_steps=8).steps) == (50, 8)
    assert meant().guidance_scale is None and meant(guidance_scale=7.0).guidance_scale == 7.0
    params = GenerationParams()
    params.shift = 1.0  # said later
    assert to_request(params, GenerationConfig(), False).request.shift == 1.0


def test_a_copy_knows_what_was_passed() -> None:
    params = GenerationParams("text2music", shift=1.0)
    for twin in (copy.copy(params), copy.deepcopy(params), pickle.loads(pickle.dumps(params))):
        assert twin == params and twin.is_set("task_type") and twin.is_set("shift")
        twin.lyrics = "la"
        assert twin.is_set("lyrics") and not params.is_set("lyrics")
    assert replace(params, caption="x").is_set("shift")
    assert not params.is_set("inference_steps")


@pytest.mark.parametrize("task", ["text2music", "cover", "cover-nofsq", "repaint", "lego"])
def test_all_fields_of_the_reference_are_accepted(task: str, tmp_path: Path) -> None:
    said = {**PARAMS, "task_type": task, "caption": "x", "duration": 20}
    if task != "text2music":
        said["src_audio"] = str(tmp_path / "song.wav")
    found = to_request(GenerationParams(**said), GenerationConfig(**CONFIG), False)
    assert found.notes == ()
    request = found.request
    assert (request.caption, request.shift, request.inference_steps) == ("x", 1.0, 8)
    assert request.songs == 2 and request.audio_format == "flac"
    if isinstance(request, Repaint):
        assert (request.repaint_latent_crossfade_frames, request.end) == (None, None)
    if isinstance(request, Cover):
        assert request.quantize_source is (task == "cover")


def test_newer_fields_reach_the_request() -> None:
    request = meant(
        global_caption="g", latent_shift=0.1, latent_rescale=1.1, fade_in_duration=0.5,
        fade_out_duration=0.25, enable_normalization=False, sampler_mode="heun", dcw_enabled=True,
        dcw_mode="low", dcw_scaler=0.1, velocity_norm_threshold=2.0, velocity_ema_factor=0.1,
        retake_seed="7", retake_variance=0.5, guidance_variant="cfg",
    )  # fmt: skip
    assert (request.global_caption, request.latent_shift, request.latent_rescale) == ("g", 0.1, 1.1)
    assert (request.fade_in, request.fade_out) == (0.5, 0.25)
    assert request.enable_normalization is False and request.sampler_mode == "heun"
    assert (request.dcw_enabled, request.dcw_mode, request.dcw_scaler) == (True, "low", 0.1)
    assert (request.velocity_norm_threshold, request.velocity_ema_factor) == (2.0, 0.1)
    assert (request.retake_seed, request.retake_variance) == (7, 0.5)
    assert request.guidance_variant == "cfg" and meant(use_adg=True).guidance_variant == "adg"
    repaint = meant(
        task_type="repaint", src_audio="a.wav", repainting_start=1, repainting_end=3,
        repaint_mode="conservative", repaint_latent_crossfade_frames=4, chunk_mask_mode="explicit",
    )  # fmt: skip
    assert (repaint.start, repaint.end, repaint.repaint_mode) == (1, 3, "conservative")
    assert (repaint.repaint_latent_crossfade_frames, repaint.chunk_mask_mode) == (4, "explicit")
    assert meant(task_type="cover", src_audio="a.wav", cover_noise_strength=0.5).caption == ""


def test_what_a_task_does_not_have_is_noted_and_not_refused() -> None:
    params = GenerationParams(repaint_strength=0.9, src_audio="a.wav", repaint_mode="balanced")
    notes = to_request(params, GenerationConfig(), False).notes
    assert [note.field for note in notes] == ["src_audio", "repaint_strength"]
    repaint = GenerationParams(task_type="repaint", src_audio="a.wav", audio_codes=CODES)
    notes = to_request(repaint, GenerationConfig(), False).notes
    assert [note.field for note in notes] == ["audio_codes"]


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({"flow_edit_morph": True}, "flow_edit_morph"),
        ({"guidance_params": {"a": 1}}, "guidance_params"),
        ({"task_type": "dance"}, "task"),
        ({"shift": -1.0}, "shift"),
        ({"timesteps": 5}, "timesteps"),
        ({"timesteps": "1,x"}, "timesteps"),
        ({"duration": "long"}, "duration"),
        ({"bpm": [1]}, "bpm"),
        ({"seed": {}}, "seeds"),
        ({"task_type": "cover", "reference_audio": "a.wav"}, "source_audio"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(said: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        meant(**said)
    assert caught.value.field == field


# --- tasks ------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", [None, "song.wav"])
@pytest.mark.parametrize("task", ["cover", "cover-nofsq", "text2music"])
def test_codes_stand_in_for_a_source(task: str, source: str | None) -> None:
    request = meant(task_type=task, audio_codes=CODES, src_audio=source, audio_cover_strength=0.5)
    assert isinstance(request, Text2Music)
    assert request.audio_codes == CODES and request.audio_cover_strength == 0.5


def test_times_as_numbers_or_as_text() -> None:
    for times in ([1.0, 0.5, 0.0], (1.0, 0.5, 0.0), "1.0, 0.5, 0"):
        assert meant(timesteps=times).timesteps == (1.0, 0.5, 0.0)


def test_a_cover_of_nothing_is_a_song_of_its_own() -> None:
    said = "Generate audio semantic tokens based on the given conditions:"
    request = meant(task_type="cover", instruction=said, caption="x")
    assert isinstance(request, Text2Music) and request.instruction is None


def test_an_instruction_that_is_passed_is_used() -> None:
    usual = str(PARAMS["instruction"])
    cover = {"task_type": "cover", "src_audio": "a.wav"}
    assert meant(**cover).instruction is None
    assert meant(**cover, instruction=usual).instruction is None  # the default of every task
    assert meant(audio_codes=CODES, instruction=usual).instruction is None  # as the reference does
    assert meant(instruction="Sing:").instruction == "Sing:"


# --- seeds, songs, files ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seeds", "batch", "first"),
    [
        ([42, 43], 2, (42, 43)),
        ("42, 43", 2, (42, 43)),
        ("42,43,44", 2, (42, 43)),
        (42, 3, (42,)),
        ("42", None, (42,)),
        (7.0, 1, (7,)),
        (["5", 6], 2, (5, 6)),
    ],
)
def test_seeds_under_any_spelling(seeds: Any, batch: int | None, first: tuple[int, ...]) -> None:
    request = meant(GenerationConfig(batch_size=batch, seeds=seeds))
    count = 1 if batch is None else batch
    assert request.songs == count == len(request.seeds)
    assert request.seeds[: len(first)] == first and len(set(request.seeds)) == count


def test_seeds_that_are_to_be_drawn() -> None:
    assert parse_seeds("-1, 5,") == (None, 5, None)
    assert parse_seeds("") == parse_seeds(None) == parse_seeds([]) == ()
    seeds = meant(GenerationConfig(batch_size=3, seeds=[-1, 5])).seeds
    assert seeds[1] == 5 and len(set(seeds)) == 3
    for wrong in ("abc", ["x"], "1e999", float("nan"), 10**5000, [10**5000]):
        with pytest.raises(InvalidRequest, match="seeds"):
            parse_seeds(wrong)


def test_a_seed_of_the_params_counts_unless_random_ones_are_asked_for() -> None:
    assert meant(GenerationConfig(batch_size=1), seed=9).seeds == (9,)
    assert meant(GenerationConfig(batch_size=1, use_random_seed=False), seed=9).seeds == (9,)
    drawn = [meant(GenerationConfig(batch_size=1, use_random_seed=True), seed=9) for _ in range(2)]
    assert drawn[0].seeds != drawn[1].seeds
    assert meant(GenerationConfig(batch_size=1, seeds=[3]), seed=9).seeds == (3,)


@pytest.mark.parametrize("count", [10**9, "2", True, 1.5])
def test_a_number_of_songs_that_is_none_is_refused(count: Any) -> None:
    with pytest.raises(InvalidRequest, match="batch_size"):
        meant(GenerationConfig(batch_size=count))


@pytest.mark.parametrize(
    ("said", "kilobits"),
    [({}, 128), ({"mp3_bitrate": "192k"}, 192), ({"mp3_bitrate": 320}, 320),
     ({"mp3_bitrate": "256000"}, 256)],
)  # fmt: skip
def test_bit_rates_of_mp3(said: dict[str, Any], kilobits: int) -> None:
    assert meant(GenerationConfig(1, audio_format="mp3", **said)).bitrate == kilobits
    assert meant(GenerationConfig(1, audio_format="flac", **said)).bitrate is None
    with pytest.raises(InvalidRequest, match="mp3_bitrate"):
        meant(GenerationConfig(1, audio_format="mp3", mp3_bitrate="loud"))


# --- the call of the handler ------------------------------------------------------------------


def test_the_handler_s_own_names() -> None:
    call = MusicCall(
        "slow", lyrics="la", bpm=90, key_scale="A minor", time_signature="3", audio_duration=12,
        shift=1.0, audio_code_string=[CODES, CODES], seed="4,5", batch_size=2,
    )  # fmt: skip
    request: Any = to_request(call.params(), call.config(), False).request
    assert (request.caption, request.bpm, request.keyscale) == ("slow", 90, "A minor")
    assert (request.timesignature, request.duration, request.shift) == ("3", 12, 1.0)
    assert (request.audio_codes, request.seeds, request.vocal_language) == (CODES, (4, 5), "en")
    assert request.inference_steps is None and not request.thinking
    with pytest.raises(InvalidRequest, match="audio_code_string"):
        MusicCall(audio_code_string=[CODES, "<|audio_code_1|>"]).params()
    assert MusicCall().config().batch_size == 2
    assert MusicCall(seed=3, use_random_seed=True).config().seeds is None


@pytest.mark.parametrize("name", ["task_type", "audio_codes", "seed", "bpm"])
def test_numbers_of_too_many_digits_are_sentences(name: str) -> None:
    with pytest.raises(InvalidRequest):
        meant(**{name: 10**5000})
    for config in ({"audio_format": 10**5000}, {"audio_format": "mp3", "mp3_bitrate": 10**5000}):
        with pytest.raises(InvalidRequest):
            meant(GenerationConfig(**config))
