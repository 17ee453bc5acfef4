"""The six requests: every face makes the same one, old clients are understood, nonsense is not."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from headroom.errors import InvalidRequest
from headroom.models.acestep.requests.songs import (
    TASKS,
    AnyMusicRequest,
    Cover,
    MusicRequest,
    Repaint,
    Text2Music,
    request_from,
)
from headroom.models.acestep.requests.tasks import GENERATE
from headroom.models.acestep.text.codes_text import codes_in
from headroom.models.acestep.text.language_names import LANGUAGE_WORDS
from headroom.models.acestep.text.vocabulary import KEYS, LANGUAGES, TRACK_WORDS, TRACKS
from headroom.params import flags
from headroom.params.clamp import clamp
from headroom.params.describe import Param, describe, union
from headroom.params.knob import Limit
from headroom.params.request import snake, spellings

ANY: TypeAdapter[AnyMusicRequest] = TypeAdapter(MusicRequest)
PARAMS = union(TASKS.values())
TEXT = st.text(st.characters(codec="utf-8"), max_size=30)
PATHS = TEXT.filter(str.strip).map(Path)  # spaces alone are no path
TIMES = st.lists(st.floats(0.001, 1), min_size=1, max_size=9, unique=True).map(
    lambda times: tuple(sorted(times, reverse=True))
)
SPECIAL: dict[str, st.SearchStrategy[object]] = {
    "timesteps": st.none() | TIMES,
    "audio_codes": st.just("") | TEXT.map(lambda text: f"{text}<|audio_code_7|>"),
    "cfg_interval_start": st.floats(0, 0.5),
    "cfg_interval_end": st.floats(0.5, 2),  # beyond the limit too: it is kept until clamped
    "start": st.floats(-700, 10),
    "end": st.none() | st.floats(11, 700),
}


def values(param: Param) -> st.SearchStrategy[object]:
    """Anything the field takes, numbers beyond its limit included."""
    if param.name in SPECIAL:
        return SPECIAL[param.name]
    one = _one(param)
    if param.many:
        one = st.lists(one, max_size=3).map(tuple)
    return st.none() | one if param.optional else one


def _one(param: Param) -> st.SearchStrategy[object]:
    if param.choices:
        return st.sampled_from(param.choices)
    if param.kind is bool:
        return st.booleans()
    if param.kind is str:
        return TEXT
    if param.kind is Path:
        return PATHS
    limit = param.limit
    assert limit is not None, f"{param.name} is a number without a limit"
    if param.many or limit.most is not None:
        return st.integers(0, 2**64 - 1)
    low = limit.minimum if limit.least is None else limit.least
    if param.kind is int:
        return st.integers(max(int(low), 1), int(limit.maximum) * 2)
    return st.floats(low, limit.maximum * 2 + 1)


def requests_of(model: type[AnyMusicRequest]) -> st.SearchStrategy[AnyMusicRequest]:
    fields = {param.name: values(param) for param in describe(model)}
    needed = {param.name: fields.pop(param.name) for param in describe(model) if param.required}
    return st.fixed_dictionaries(needed, optional=fields).map(model.model_validate)


REQUESTS = st.sampled_from(list(TASKS.values())).flatmap(requests_of)


def from_argv(argv: list[str]) -> AnyMusicRequest:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    flags.add_flags(parser, PARAMS, TASKS)
    return request_from(flags.given(parser.parse_args(argv), PARAMS))


@settings(deadline=None, max_examples=60)
@given(REQUESTS)
def test_every_face_makes_the_same_request(request: AnyMusicRequest) -> None:
    assert from_argv(flags.argv_of(request)) == request
    assert ANY.validate_json(request.model_dump_json()) == request
    assert request_from(json.loads(request.model_dump_json())) == request
    assert request_from(request.model_dump(exclude_unset=True) | {"task": request.task}) == request


@settings(deadline=None, max_examples=60)
@given(REQUESTS)
def test_clamping_ends_inside_and_happens_once(request: AnyMusicRequest) -> None:
    try:
        clamped, notes = clamp(request)
    except InvalidRequest:  # a region wholly before the source closes at its limit
        assert isinstance(request, Repaint) or request.task == "lego"
        return
    for param in describe(type(clamped)):
        value, limit = getattr(clamped, param.name), param.limit
        if limit is not None and isinstance(value, int | float):
            assert limit.minimum <= value <= limit.maximum
    assert {n.field for n in notes} == {
        name
        for name in type(request).model_fields
        if getattr(request, name) != getattr(clamped, name)
    }
    assert clamp(clamped) == (clamped, ())


@pytest.mark.parametrize("model", TASKS.values())
def test_schema_bounds_are_the_described_ones(model: type[AnyMusicRequest]) -> None:
    properties = model.model_json_schema()["properties"]
    assert set(properties) == {p.name for p in describe(model)} | {"task"}
    for param in describe(model):
        shown = properties[param.name]
        assert shown["description"].startswith(param.knob.help)
        assert param.required or shown["default"] == json.loads(json.dumps(param.default))
        branch = next(b for b in shown.get("anyOf", [shown]) if b["type"] != "null")
        if param.limit is not None and param.kind is str:
            assert branch["maxLength"] == param.maximum
        elif param.limit is not None and not param.many:
            assert (branch["minimum"], branch["maximum"]) == (param.minimum, param.maximum)
        words = branch.get("items", branch) if param.many else branch
        assert tuple(words.get("enum", (words["const"],) if "const" in words else ())) == (
            param.choices
        )


def test_every_number_has_a_limit_and_every_open_field_says_who_decides() -> None:
    for param in PARAMS:
        if param.kind in (int, float) and param.name != "timesteps":
            assert param.limit is not None and param.limit.why, param.name
        assert bool(param.knob.left_open) == param.optional, param.name
        assert param.knob.help.endswith("."), param.name


def test_no_two_fields_share_a_spelling() -> None:
    for model in TASKS.values():
        names = [n for p in describe(model) for n in (p.name, *p.knob.old)]
        names += [old for p in describe(model) for old, _ in p.knob.old_switches]
        assert len(names) == len(set(names))


def test_the_union_shows_what_each_request_declares() -> None:
    for model in TASKS.values():
        for param in describe(model):
            assert param in PARAMS, f"{param.name} differs between requests"


OLD = {
    "caption": ("prompt", "slow bossa nova"),
    "vocal_language": ("vocalLanguage", "PT"),
    "keyscale": ("key_scale", "F# minor"),
    "timesignature": ("timeSignature", "6/8"),
    "duration": ("audioDuration", 30),
    "inference_steps": ("inferenceSteps", "8"),
    "guidance_scale": ("guidanceScale", 3.5),
    "infer_method": ("inferMethod", "sde"),
    "reference_audio": ("refAudioPath", "a, b.wav"),
    "audio_codes": ("audioCodeString", "<|audio_code_1|>"),
    "audio_cover_strength": ("coverStrength", 0.5),
}


def test_the_spellings_of_old_clients_arrive() -> None:
    request = request_from({"taskType": "text2music"} | dict(OLD.values()))
    assert request == Text2Music(
        caption="slow bossa nova",
        vocal_language="pt",
        keyscale="F# minor",
        timesignature="6",
        duration=30,
        inference_steps=8,
        guidance_scale=3.5,
        infer_method="sde",
        reference_audio=(Path("a, b.wav"),),
        audio_codes="<|audio_code_1|>",
        audio_cover_strength=0.5,
    )


@pytest.mark.parametrize("name", ["key", "keyScale", "keyscale", "key-scale"])
def test_a_key_in_any_case(name: str) -> None:
    assert request_from({name: "b♭ MAJOR"}).keyscale == "B♭ major"


PUBLISHED = {
    "caption": "prompt caption",
    "keyscale": "keyscale key_scale keyScale key",
    "timesignature": "timesignature time_signature timeSignature",
    "duration": "duration audio_duration audioDuration target_duration targetDuration",
    "vocal_language": "vocal_language vocalLanguage language",
    "inference_steps": "inference_steps inferenceSteps",
    "guidance_scale": "guidance_scale guidanceScale",
    "audio_cover_strength": "audio_cover_strength audioCoverStrength cover_strength coverStrength",
    "cover_noise_strength": "cover_noise_strength coverNoiseStrength",
    "reference_audio": "reference_audio_path ref_audio_path referenceAudioPath refAudioPath "
    "ref_audio reference_audio",
    "source_audio": "src_audio_path ctx_audio_path sourceAudioPath srcAudioPath ctxAudioPath "
    "src_audio ctx_audio source",
    "infer_method": "infer_method inferMethod method",
    "audio_codes": "audio_code_string audioCodeString audio_codes",
    "start": "start repainting_start repaintingStart",
    "end": "end repainting_end repaintingEnd",
    "track": "track track_name trackName",
    "tracks": "tracks track_classes trackClasses instruments",
    "bitrate": "mp3_bitrate",
}


@pytest.mark.parametrize("field", PUBLISHED)
def test_every_published_spelling_arrives_as_one(field: str) -> None:
    models = [model for model in TASKS.values() if field in model.model_fields]
    assert models
    for model in models:
        known = spellings(model)
        assert {known.get(snake(old)) for old in PUBLISHED[field].split()} == {field}


OPEN: list[tuple[str, tuple[object, ...]]] = [
    ("seed manual_seed", (-1, "-1", "", None)),
    ("duration audio_duration targetDuration", (-1, -1.0, 0, "-1", "", "auto", None)),
    ("bpm tempo", (0, "0", "", "auto", None, -1, "N/A")),
    ("keyscale key key_scale keyScale", ("", "auto", "N/A", None, "unknown")),
    ("timesignature time_signature", ("", "auto", None, 0)),
    ("vocal_language language vocalLanguage", ("", "auto", None, "unknown", "N/A")),
    ("seeds", (-1, "-1", [-1], "", None, [])),
    ("reference_audio ref_audio referenceAudioPath", ("", None, [], [None])),
    ("src_audio source ctx_audio_path", ("", None)),
    ("repainting_start start", (0, 0.0, None, "")),
    ("repainting_end end", (-1, 0, None, "")),
    ("instruction", ("", None, GENERATE)),
    ("inference_steps guidance_scale shift timesteps audio_format bitrate", ("", None, "auto")),
    ("batch_size lm_top_k lm_top_p retake_seed lyrics caption audio_codes", (None, "")),
]


@pytest.mark.parametrize(("names", "values"), OPEN)
def test_decide_for_me_is_an_open_field(names: str, values: tuple[object, ...]) -> None:
    for name in names.split():
        for value in values:
            assert request_from({name: value}) == Text2Music(), (name, value)
            assert ANY.validate_python({name: value}) == Text2Music(), (name, value)


REFERENCE = json.loads((Path(__file__).parent / "generation_params.json").read_text("utf-8"))


@pytest.mark.parametrize("task", TASKS)
def test_what_the_reference_writes_of_its_own_defaults_is_accepted_whole(
    task: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headroom.log.log.propagate", True)
    source = None if task == "text2music" else "a.wav"
    request = request_from(REFERENCE | {"task_type": task, "src_audio": source})
    assert request.task == task and not caplog.messages
    said = (request.inference_steps, request.guidance_scale, request.shift, request.thinking)
    assert said == (8, 7.0, 1.0, True)  # what is passed is what is used
    assert (request.duration, request.bpm, request.keyscale, request.seed) == (None,) * 4
    assert request.instruction is None and request.enable_normalization is True
    assert request.dcw_enabled and request.guidance_variant == "apg"


def test_what_the_reference_writes_back_is_answered(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headroom.log.log.propagate", True)
    written = {"cot_bpm": 120, "cot_caption": "a song", "cot_keyscale": "C major", "bpm": 90}
    request = request_from(REFERENCE | written | {"fade_out_duration": 2, "mp3_bitrate": "192k"})
    assert isinstance(request, Text2Music)
    assert (request.bpm, request.fade_out, request.bitrate) == (90, 2, 192)
    assert request.use_cot_caption and request.keyscale is None
    assert [m.partition(":")[0] for m in caplog.messages] == [
        "cot_bpm", "cot_keyscale", "cot_caption",
    ]  # fmt: skip
    assert request_from({"cot_caption": "false"}).model_dump()["use_cot_caption"] is False


def test_how_a_language_model_writes_is_answered_where_it_has_nothing_to_write(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headroom.log.log.propagate", True)
    request = request_from({"task": "cover", "source": "a.wav", "lm_temperature": 0.5})
    assert request == Cover(source_audio=Path("a.wav"))
    assert [m.partition(":")[0] for m in caplog.messages] == ["lm_temperature"]


def test_a_cover_of_codes_alone_is_a_song_from_codes() -> None:
    request = request_from({"task_type": "cover", "audio_codes": "1,2", "src_audio": None})
    assert request == Text2Music(audio_codes="1,2")


@pytest.mark.parametrize(
    ("written", "code"),
    [("en-US", "en"), ("zh-CN", "zh"), ("pt_BR", "pt"), ("English", "en"), ("jp", "ja"),
     ("nb", "no"), ("NN-no", "no"), ("zh-Hant-TW", "zh"), ("zh-yue", "yue"), ("eng", "en"),
     ("日本語", "ja"), ("Português (Brasil)", "pt"), ("haitian  creole", "ht"), ("es-419", "es")],
)  # fmt: skip
def test_a_language_is_known_by_many_names(written: str, code: str) -> None:
    assert request_from({"language": written}).vocal_language == code
    assert from_argv(["--vocal-language", written]).vocal_language == code


@pytest.mark.parametrize("written", ["klingon", "xx-US", "no-way-this", "en-", "enen", "-"])
def test_what_is_no_language_is_refused(written: str) -> None:
    with pytest.raises(InvalidRequest, match="vocal_language"):
        request_from({"language": written})


@pytest.mark.parametrize(
    ("written", "track"),
    [("backing vocals", "backing_vocals"), ("Backing-Vocals", "backing_vocals"),
     ("piano", "keyboard"), ("Lead Vocals", "vocals"), ("violin", "strings"), ("sfx", "fx"),
     ("DRUM KIT", "drums"), ("bass guitar", "bass"), ("synth_lead", "synth")],
)  # fmt: skip
def test_a_track_is_known_by_many_names(written: str, track: str) -> None:
    request = request_from({"task": "extract", "track_name": written, **SOURCE})
    assert request.model_dump()["track"] == track
    both = request_from({"task": "complete", "tracks": f"{written}|guitar", **SOURCE})
    assert both.model_dump()["tracks"] == (track, "guitar")


def test_words_for_tracks_and_languages_lead_to_what_the_model_knows() -> None:
    assert {track for _, track in TRACK_WORDS} == set(TRACKS)
    assert len({word for word, _ in TRACK_WORDS}) == len(TRACK_WORDS)
    assert set(LANGUAGE_WORDS.values()) == set(LANGUAGES)
    assert all(LANGUAGE_WORDS[code] == code for code in LANGUAGES)


@pytest.mark.parametrize("written", ["4/4", "4", 4, 4.0, "4 / 4", " 4/4 "])
def test_a_time_signature_is_known_by_many_names(written: object) -> None:
    assert request_from({"time_signature": written}).timesignature == "4"


def test_numbers_as_people_write_them() -> None:
    request = request_from(
        {"bpm": "120 BPM", "duration": "1:30", "fade_in": "1.5s", "normalization_db": "-3 dB"}
    )
    assert (request.bpm, request.duration, request.fade_in) == (120, 90, 1.5)
    assert request.normalization_db == -3
    assert from_argv(["--duration", "1:30", "--tempo", "99bpm"]).duration == 90
    assert from_argv(["--duration", "-1", "--seed", "-1"]) == Text2Music()
    region = request_from({"task": "repaint", "start": "0:05", "end": "1:00", **SOURCE})
    assert isinstance(region, Repaint) and (region.start, region.end) == (5, 60)


def test_the_short_names_of_the_language_model_are_taken_in_every_command() -> None:
    short = ["--temperature", "0.5", "--top-k", "3", "--top-p", "0.8", "--cfg-scale", "1.5"]
    long = [word.replace("--", "--lm-") for word in short]
    assert from_argv(short) == from_argv(long) == Text2Music(
        lm_temperature=0.5, lm_top_k=3, lm_top_p=0.8, lm_cfg_scale=1.5
    )  # fmt: skip


def test_a_source_has_many_old_names() -> None:
    for name in ("source", "src_audio", "srcAudioPath", "ctx_audio_path", "source_audio"):
        assert request_from({"task": "cover", name: "a.wav"}) == Cover(source_audio=Path("a.wav"))


def test_a_cover_without_codes_is_a_cover() -> None:
    request = request_from({"task": "cover-nofsq", "source": "a.wav"})
    assert isinstance(request, Cover) and not request.quantize_source


@pytest.mark.parametrize(
    ("written", "key"),
    [
        ("Am", "A minor"),
        ("f# MIN", "F# minor"),
        ("C Major", "C major"),
        ("B♭", "B♭ major"),
        ("CM", "C major"),
        ("Cm", "C minor"),
        ("C maj", "C major"),
        ("F♯ minor", "F♯ minor"),
        ("Db major", "Db major"),
        ("C# Minor", "C# minor"),
        ("e flat", "Eb major"),
        ("c-sharp-minor", "C# minor"),
        ("Bbm", "Bb minor"),
        ("F＃ minor", "F# minor"),
    ],
)
def test_a_key_is_known_by_many_names(written: str, key: str) -> None:
    assert request_from({"keyscale": written}).keyscale == key
    assert from_argv(["--keyscale", written]).keyscale == key
    assert request_from({"keyscale": None}).keyscale is None


def test_codes_may_be_numbers() -> None:
    assert codes_in("1, 2 ,63999") == [1, 2, 63_999]
    assert codes_in("<|audio_code_1|>x<|audio_code_2|>63999") == [1, 2]
    assert request_from({"audio_codes": "5,6"}).model_dump()["audio_codes"] == "5,6"
    assert codes_in("") == codes_in("1,2,-3") == codes_in("1.5") == codes_in("²") == []
    assert codes_in("9" * 5000)[0] > 63_999 < codes_in(f"<|audio_code_{'9' * 5000}|>")[0]


def test_words_beyond_what_is_documented_are_cut_with_a_note() -> None:
    request, notes = clamp(Text2Music(caption="la " * 200, lyrics="a line\n" * 700))
    assert len(request.caption) <= 512 and len(request.lyrics) <= 4096
    assert request.lyrics.endswith("a line") and request.caption.endswith("la")
    assert [(n.field, n.used) for n in notes] == [
        ("caption", request.caption), ("lyrics", request.lyrics),
    ]  # fmt: skip
    assert all("documented" in note.why for note in notes)
    longest = Text2Music(caption="x" * 512, lyrics="y" * 4096)
    assert clamp(longest) == (longest, ())


def test_old_guidance_words() -> None:
    assert request_from({"use_adg": True}).guidance_variant == "adg"
    assert request_from({"use_adg": False}).guidance_variant == "apg"
    assert request_from({"guidance_variant": "apg_classic"}).guidance_variant == "apg"


def test_minus_one_was_the_end_of_the_source() -> None:
    old = {"task": "repaint", "source": "a", "repainting_start": 3, "repainting_end": -1}
    request = request_from(old)
    assert isinstance(request, Repaint) and (request.start, request.end) == (3, None)


def test_a_region_may_grow_past_both_ends() -> None:
    request = request_from({"task": "repaint", "source": "a", "start": -5, "end": 500})
    assert isinstance(request, Repaint) and (request.start, request.end) == (-5, 500)


def test_seeds_make_as_many_songs() -> None:
    assert request_from({"seeds": "1, 2,3"}).songs == 3
    assert request_from({"seeds": 7, "batch_size": 4}).songs == 4
    clamped, notes = clamp(request_from({"seeds": list(range(10))}))
    assert clamped.songs == 8 and [n.field for n in notes] == ["seeds"]
    clamped, _ = clamp(request_from({"seeds": "1,2,3"}), {"batch_size": Limit(1, 2, "here")})
    assert clamped.seeds == (1, 2)


def test_the_vocabulary_has_the_published_sizes() -> None:
    assert (len(set(LANGUAGES)), len(set(KEYS)), len(set(TRACKS))) == (51, 70, 12)
    assert {"C major", "F# minor", "B♭ major"} <= set(KEYS)


SOURCE = {"source": "a.wav"}
NONSENSE: list[tuple[dict[str, object], str]] = [
    ({"task": "sing"}, "task: 'sing' is not allowed; allowed: one of text2music, cover, repaint"),
    ({"task": 3}, "task: 3 is not allowed"),
    ({"duration": -5}, "duration: -5 is not allowed; allowed: a number from 10 to 600 s"),
    ({"duration": float("nan")}, "duration: nan is not allowed"),
    ({"duration": float("-inf")}, "duration: -inf is not allowed"),
    ({"duration": "long"}, "duration: 'long' is not allowed"),
    ({"audio_duration": -2}, "duration: -2 is not allowed"),
    ({"inference_steps": 0}, "inference_steps: 0 is not allowed"),
    ({"inference_steps": -8}, "inference_steps: -8 is not allowed"),
    ({"inference_steps": 8.7}, "inference_steps: 8.7 is not allowed"),
    ({"shift": 0}, "shift: 0 is not allowed"),
    ({"guidance_scale": -1}, "guidance_scale: -1 is not allowed"),
    ({"audio_cover_strength": -0.1}, "audio_cover_strength: -0.1 is not allowed"),
    ({"retake_variance": -0.1}, "retake_variance: -0.1 is not allowed"),
    ({"latent_rescale": 0}, "latent_rescale: 0 is not allowed"),
    ({"normalization_db": "loud"}, "normalization_db: 'loud' is not allowed"),
    ({"batch_size": 0}, "batch_size: 0 is not allowed"),
    ({"seed": -2}, "seed: -2 is not allowed; allowed: a whole number from 0 to"),
    ({"reference_audio": ["a", ""]}, "reference_audio: '' is not allowed; allowed: paths of"),
    ({"seed": 2**64}, f"seed: {2**64} is not allowed"),
    ({"seeds": "1,x"}, "seeds: 'x' is not allowed; allowed: whole numbers"),
    ({"seeds": "-4"}, "seeds: '-4' is not allowed"),
    ({"vocal_language": "klingon"}, "vocal_language: 'klingon' is not allowed; allowed: one of ar"),
    ({"key": "H major"}, "keyscale: 'H major' is not allowed"),
    ({"timesignature": "5"}, "timesignature: '5' is not allowed; allowed: one of 2, 3, 4, 6"),
    ({"audio_format": "../../x"}, "audio_format: '../../x' is not allowed; allowed: one of wav"),
    ({"infer_method": "ddim"}, "infer_method: 'ddim' is not allowed; allowed: one of ode, sde."),
    ({"timesteps": "0.5,0.9"}, "timesteps: (0.5, 0.9) is not allowed"),
    ({"timesteps": [1, 1]}, "timesteps: (1.0, 1.0) is not allowed"),
    ({"timesteps": [1.5, 0.5]}, "timesteps: (1.5, 0.5) is not allowed"),
    ({"timesteps": [0]}, "timesteps: (0.0,) is not allowed"),
    ({"cfg_interval_start": 0.9, "cfg_interval_end": 0.1}, "at most cfg_interval_end (0.1)"),
    ({"audio_codes": "la la"}, "text with at least one <|audio_code_N|>"),
    ({"duratoin": 30}, "duratoin: 30 is not allowed; allowed: a known field (did you mean"),
    ({"start": 3}, "start: 3 is not allowed; allowed: only with task repaint or lego, not"),
    ({"task": "cover"}, "source_audio: None is not allowed; allowed: the path of a file, which"),
    ({"task": "cover", "source": ""}, "source_audio: None is not allowed; allowed: the path of"),
    ({"task": "cover", "src_audio": None}, "source_audio: None is not allowed"),
    ({"key": "Si bemol"}, "'Si bemol' is not allowed; allowed: one of " + ", ".join(KEYS)),
    ({"language": "klingon"}, "allowed: one of " + ", ".join(LANGUAGES)),
    ({"timesignature": "12/8"}, "timesignature: '12/8' is not allowed"),
    ({"duration": "1:75"}, "duration: '1:75' is not allowed"),
    ({"bpm": "120 MPH"}, "bpm: '120 MPH' is not allowed"),
    ({"task": "cover", "track": "drums", **SOURCE}, "only with task lego or extract, not cover"),
    ({"task": "repaint", "start": 9, "end": 3, **SOURCE}, "start: 9.0 is not allowed;"),
    ({"task": "repaint", "start": 3, "end": 3, **SOURCE}, "below the end (3 s)"),
    ({"task": "repaint", "end": -4, **SOURCE}, "end: -4.0 is not allowed; allowed: a time after 0"),
    ({"task": "lego", "track": "kazoo", **SOURCE}, "allowed: one of " + ", ".join(TRACKS)),
    ({"task": "complete", "tracks": "drums|kazoo", **SOURCE}, "allowed: any of woodwinds, brass"),
]  # fmt: skip


@pytest.mark.parametrize(("said", "sentence"), NONSENSE)
def test_nonsense_is_refused_in_a_sentence(said: dict[str, object], sentence: str) -> None:
    with pytest.raises(InvalidRequest) as error:
        request_from(said)
    assert sentence in str(error.value)
    assert error.value.exit_code == 2
    with pytest.raises(InvalidRequest) as error:  # the body of an HTTP request goes this way
        ANY.validate_python(said)
    assert error.value.exit_code == 2


@pytest.mark.parametrize("said", [{"task": "soup"}, {"task": ["cover"]}, 3, "cover", None])
def test_what_is_no_request_at_all_is_refused_in_a_sentence(said: object) -> None:
    with pytest.raises(InvalidRequest, match=r"^(task|request): "):
        ANY.validate_python(said)


def test_what_is_beyond_a_limit_is_no_nonsense() -> None:
    asked = {"duration": 900, "inference_steps": 5000, "shift": 9, "batch_size": 50, "bpm": 10}
    clamped, notes = clamp(request_from(asked))
    assert (clamped.duration, clamped.inference_steps, clamped.shift) == (600, 200, 5)
    assert (clamped.batch_size, clamped.bpm) == (8, 30)
    assert {n.field: n.asked for n in notes} == asked
    sentence = next(n for n in notes if n.field == "duration").sentence()
    assert sentence == (
        "duration: asked 900, used 600: the model was trained on songs of 10 to 600 s."
    )


def test_a_region_that_closes_at_its_limit_is_refused() -> None:
    request = request_from({"task": "repaint", "start": 700, "end": 800, **SOURCE})
    with pytest.raises(InvalidRequest, match="start: 600"):
        clamp(request)


def test_requests_are_known_without_torch_and_quickly() -> None:
    code = (
        "import sys, time; t = time.perf_counter(); import headroom.models.acestep.requests.songs; "
        "import headroom.models.acestep.requests.variants; "
        "print(time.perf_counter() - t, 'torch' in sys.modules, 'numpy' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    _, torch, numpy = out.stdout.split()
    assert (torch, numpy) == ("False", "False")
