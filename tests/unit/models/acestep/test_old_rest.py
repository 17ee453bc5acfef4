"""What bodies of ACE-Step's REST interface ask for: every name, nothing dropped in silence."""

from __future__ import annotations

from typing import Any

import pytest

from headroom.errors import InvalidRequest
from headroom.models.acestep.old_rest.orders import OLD_REST, hints
from headroom.models.acestep.requests.songs import Cover, Lego, Text2Music
from headroom.models.family import OldOrder
from headroom.models.registry import family_named

# The aliases of the reference's parser, typed in: canonical name, spelling, value, field, result.
ALIASES = [
    ("prompt caption", "x", "caption", "x"),
    ("lyrics", "la", "lyrics", "la"),
    ("key_scale keyscale keyScale key", "Am", "keyscale", "A minor"),
    ("time_signature timesignature timeSignature", "3/4", "timesignature", "3"),
    ("audio_duration duration audioDuration target_duration targetDuration", "30", "duration", 30),
    ("vocal_language vocalLanguage language", "de", "vocal_language", "de"),
    ("bpm", "90", "bpm", 90),
    ("inference_steps inferenceSteps", "4", "inference_steps", 4),
    ("guidance_scale guidanceScale", "5", "guidance_scale", 5),
    ("seed", "7", "seed", 7),
    ("audio_cover_strength audioCoverStrength cover_strength coverStrength", ".5",
     "audio_cover_strength", 0.5),
    ("audio_code_string audioCodeString audio_codes", "<|audio_code_1|>", "audio_codes",
     "<|audio_code_1|>"),
    ("infer_method inferMethod", "sde", "infer_method", "sde"),
    ("use_tiled_decode useTiledDecode", "false", "use_tiled_decode", False),
    ("constrained_decoding constrainedDecoding constrained", "no", "use_constrained_decoding",
     False),
    ("use_cot_caption cot_caption cot-caption", "false", "use_cot_caption", False),
    ("use_cot_language cot_language cot-language", "0", "use_cot_language", False),
    ("sampler_mode samplerMode", "heun", "sampler_mode", "heun"),
    ("latent_shift latentShift", "0.1", "latent_shift", 0.1),
    ("latent_rescale latentRescale", "1.1", "latent_rescale", 1.1),
    ("velocity_norm_threshold velocityNormThreshold", "2", "velocity_norm_threshold", 2),
    ("velocity_ema_factor velocityEmaFactor", ".1", "velocity_ema_factor", 0.1),
    ("thinking", "true", "thinking", True),
    ("lm_temperature", ".5", "lm_temperature", 0.5),
    ("lm_cfg_scale", "2", "lm_cfg_scale", 2),
    ("lm_top_k", "5", "lm_top_k", 5),
    ("lm_negative_prompt", "noise", "lm_negative_prompt", "noise"),
    ("timesteps", "1,0.5,0", "timesteps", (1, 0.5, 0)),
    ("shift", "2", "shift", 2),
    ("use_adg", "1", "guidance_variant", "adg"),
    ("reference_audio_path ref_audio_path referenceAudioPath refAudioPath", "id",
     "reference_audio", "id"),
    ("instruction", "Sing:", "instruction", "Sing:"),
    ("batch_size", "3", "batch_size", 3),
    ("audio_format", "wav32", "audio_format", "wav32"),
    ("global_caption", "g", "global_caption", "g"),
    ("dcw_enabled", "true", "dcw_enabled", True),
    ("retake_variance", "0.5", "retake_variance", 0.5),
]  # fmt: skip


def song(**body: object) -> OldOrder:
    return OLD_REST.song(body, None)


def made(order: OldOrder) -> Any:
    return family_named("acestep").request(order.request)


def notes(order: OldOrder) -> dict[str, str]:
    return {note.field: str(note.why) for note in order.notes}


@pytest.mark.parametrize(("names", "value", "field", "result"), ALIASES)
def test_every_alias_is_its_field_at_the_top_in_param_obj_and_in_metas(
    names: str, value: str, field: str, result: object
) -> None:
    for name in names.split():
        for body in ({name: value}, {"param_obj": {name: value}}, {"metas": {name: value}}):
            order = song(**body)
            found = getattr(made(order), field)
            found = str(found[0]) if field == "reference_audio" else found
            assert (found, order.notes) == (result, ()), name


@pytest.mark.parametrize("name", ["src_audio_path", "ctx_audio_path", "sourceAudioPath",
                                  "srcAudioPath", "ctxAudioPath"])  # fmt: skip
@pytest.mark.parametrize("task", ["cover", "taskType"])
def test_sources_and_tasks_have_aliases_too(name: str, task: str) -> None:
    named = {"taskType": "cover"} if task == "taskType" else {"task_type": task}
    request = made(song(**{name: "id"}, **named, coverNoiseStrength="0.5"))
    assert isinstance(request, Cover) and str(request.source_audio) == "id"
    assert request.cover_noise_strength == 0.5


def test_tracks() -> None:
    lego = made(song(task_type="lego", src_audio="id", trackName="drums", repainting_end="0"))
    assert isinstance(lego, Lego) and (lego.track, lego.end) == ("drums", None)
    complete = made(song(task_type="complete", src_audio="id", trackClasses="drums|bass"))
    assert complete.tracks == ("drums", "bass")


def test_the_defaults_are_those_of_the_documentation() -> None:
    request = made(song(prompt="x"))
    assert (request.batch_size, request.audio_format, request.vocal_language) == (2, "mp3", "en")
    assert request.plan_metadata and not request.thinking
    assert made(song(thinking=True)).lm_cfg_scale == 2.5
    assert "lm_cfg_scale" not in song(prompt="x").request
    assert made(OLD_REST.song({"prompt": "x"}, 3)).batch_size == 3
    assert made(OLD_REST.song({"batch_size": 1}, 3)).batch_size == 1
    assert not made(song(use_cot_caption=False, use_cot_language="false")).plan_metadata
    assert "plan_metadata" not in song(task_type="cover", src_audio="id").request


def test_the_top_comes_before_param_obj_and_that_before_metas() -> None:
    body = {"bpm": None, "param_obj": '{"bpm": 90, "key": ""}', "metas": '{"bpm": 80, "key": "Am"}'}
    request = made(song(**body, meta={"duration": 20}))
    assert (request.bpm, request.keyscale, request.duration) == (90, "A minor", None)
    assert made(song(metas="", userMetadata={"duration": 20})).duration == 20


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"task_type": "dance"}, "task_type"),
        ({"task_type": ["cover"]}, "task_type"),
        ({"lm_backend": "jax"}, "lm_backend"),
        ({"param_obj": "{"}, "param_obj"),
        ({"param_obj": [1]}, "param_obj"),
        ({"metas": "[1]"}, "metas"),
        ({"prompt": "a", "caption": "b"}, "caption"),
        ({"thinking": "maybe"}, "thinking"),
        ({"sample_query": 5}, "sample_query"),
        ({"model": {}}, "model"),
        ({"full_analysis_only": True}, "src_audio"),
        ({"extract_codes_only": True}, "src_audio"),
        ({"audio_codes": ["<|audio_code_1|>", "<|audio_code_2|>"]}, "audio_code_string"),
        ({"audio_format": "../../x"}, "audio_format"),
        ({"infer_method": "rk"}, "infer_method"),
        ({"batch_size": "many"}, "batch_size"),
        ({"bpm": "fast"}, "bpm"),
    ],
)
def test_what_is_not_allowed_is_refused_by_name(body: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        made(song(**body))
    assert caught.value.field == field and caught.value.allowed


def test_what_is_not_used_is_noted() -> None:
    order = song(
        prompt="x", lyrcs="la", src_audio="id", repainting_start=3, lm_backend="pt", eta=1,
        lm_model_path="other", mp3_sample_rate=44100, use_format=False, repaint_strength=0.5,
        allow_lm_batch=True, is_format_caption=True, constrained_decoding_debug=False, bpm="",
    )  # fmt: skip
    assert set(notes(order)) == {
        "lyrcs", "src_audio", "repainting_start", "lm_backend", "eta", "lm_model_path",
        "mp3_sample_rate",
    }  # fmt: skip
    assert "lyrics" in notes(order)["lyrcs"] and isinstance(made(order), Text2Music)
    cover = song(task_type="cover", src_audio="id", thinking=True, lm_top_k=4, lm_cfg_scale=2.5)
    assert set(notes(cover)) == {"lm_top_k"}
    assert song(lm_backend="vllm", audio_code_string="").notes == ()


def test_a_seed_is_in_force_unless_random_ones_are_asked_for() -> None:
    assert made(song(seed=42)).seed == 42
    assert made(song(seed="42", use_random_seed="false")).seed == 42
    assert made(song(seed="1, 2")).seeds == (1, 2) and made(song(seed=[1, 2])).seeds == (1, 2)
    assert made(song(seed="1,2")).songs == 2 and made(song(seed="1,2", batch_size=3)).songs == 3
    drawn = song(seed=42, use_random_seed=True)
    assert made(drawn).seed is None and set(notes(drawn)) == {"seed"}
    for idle in (-1, "-1", "", None):
        assert song(seed=idle, use_random_seed=True).notes == ()


def test_a_description_becomes_a_song_sheet_first() -> None:
    order = song(sample_query="a soft Bengali love song", thinking=True, seed="7,8", bpm=80)
    assert order.first == {
        "task": "create_sample", "caption": "a soft Bengali love song", "vocal_language": "bn",
        "seed": "7", "bpm": 80,
    }  # fmt: skip
    request = made(order)
    assert (request.use_cot_metas, request.vocal_language, request.bpm) == (False, "unknown", 80)
    for name in ("sampleQuery", "description", "desc"):
        assert song(**{name: "waltz"}).first == {"task": "create_sample", "caption": "waltz"}
    assert song(sample_mode="true").first == {"task": "create_sample", "caption": ""}
    assert song(desc="waltz", vocal_language="en").first == song(desc="waltz").first
    assert song(desc="waltz", vocal_language="fr").first == {
        "task": "create_sample", "caption": "waltz", "vocal_language": "fr",
    }  # fmt: skip
    kept = song(desc="waltz", prompt="a waltz", lyrics="la", format=True)
    assert kept.first is not None and kept.first["sheet_caption"] == "a waltz"
    assert made(kept).lyrics == "la" and set(notes(kept)) == {"use_format"}


def test_formatting_rewrites_caption_and_lyrics() -> None:
    order = song(prompt="rock", lyrics="la", useFormat="1", bpm=90, vocal_language="de")
    assert order.first == {
        "task": "format_sample", "caption": "rock", "lyrics": "la", "bpm": 90,
        "vocal_language": "de",
    }  # fmt: skip
    assert not {"caption", "lyrics"} & set(order.request)
    assert song(use_format=True).first is None and set(notes(song(use_format=True)))


def test_analyses() -> None:
    order = song(analysisOnly="true", prompt="x", lyrics="la")
    assert order.request == {"task": "format_sample", "caption": "x", "lyrics": "la"}
    full = song(full_analysis_only=True, ctx_audio_path="id", batch_size=2, bpm=90)
    assert full.request == {"task": "understand", "source_audio": "id"}
    assert set(notes(full)) == {"bpm"}
    codes = song(extractCodesOnly=True, src_audio="id")
    assert codes.request == {"task": "encode_audio", "source_audio": "id"}


@pytest.mark.parametrize("name", ["model", "model_name", "modelName", "dit_model", "ditModel"])
def test_models(name: str) -> None:
    assert song(**{name: "acestep-v15-base"}).model == "acestep-v15-base"


def test_a_sheet_alone() -> None:
    body = {"prompt": "rock", "lyrics": "la", "temperature": 0.5,
            "param_obj": '{"duration": 180, "key": "Am", "language": "en"}'}  # fmt: skip
    order = OLD_REST.sheet("format_sample", body)
    request = made(order)
    assert (request.caption, request.lyrics, request.lm_temperature) == ("rock", "la", 0.5)
    assert (request.duration, request.keyscale, request.vocal_language) == (180, "A minor", "en")
    for name in ("query", "description", "prompt"):
        assert made(OLD_REST.sheet("create_sample", {name: "waltz"})).caption == "waltz"
    assert notes(OLD_REST.sheet("create_sample", {"query": "x", "steps": 4}))


@pytest.mark.parametrize(
    ("text", "language", "instrumental"),
    [
        ("Pop rock. English", "en", False), ("piano solo", None, True),
        ("中文 ballad", "zh", False), ("an instrumental in it", None, True),
        ("Pure music, español", "es", True),
        ("latin groove", None, False), ("", None, False), ("soloist", None, False),
    ],
)  # fmt: skip
def test_hints_in_a_description(text: str, language: str | None, instrumental: bool) -> None:
    assert hints(text) == (language, instrumental)


def test_examples_have_the_names_of_the_documentation() -> None:
    for example in OLD_REST.examples():
        assert {"caption", "lyrics", "bpm", "key_scale", "time_signature", "duration",
                "vocal_language", "description", "instrumental"} <= set(example)  # fmt: skip
    assert {one["instrumental"] for one in OLD_REST.examples()} == {True, False}
