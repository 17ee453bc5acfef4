"""What each task promises, on recordings made by a synthesiser and on small checkpoints."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from headroom.audio.files import read_audio
from headroom.audio.resample import resample
from headroom.audio.wave import Audio, stereo
from headroom.cli.main import main
from headroom.engine.engine import Engine
from headroom.engine.replay import replay
from headroom.engine.result import Result
from headroom.errors import InvalidRequest, InvalidSource
from headroom.models.acestep.rendering import conditions, render
from headroom.models.acestep.rendering import decode as decode_latents
from headroom.models.acestep.rendering.conditions import Conditions
from headroom.models.acestep.rendering.source_latents import Material
from headroom.models.acestep.requests.songs import (
    TASKS,
    AnyMusicRequest,
    Extract,
    Lego,
    Text2Music,
    request_from,
)
from headroom.models.acestep.song.song import Song
from headroom.runtime.events import StageStarted
from headroom.settings import load
from headroom.weights.silence import load_silence, silence_frames
from support import synth
from support.near import assert_agrees, assert_near
from support.oracle import Tree
from support.ours import made_exactly

RATE, HOP = 48_000, 1920
Engines = Callable[[str], Engine]
Spy = dict[str, object]


@pytest.fixture(scope="module")
def base(trees: Callable[..., Tree]) -> Tree:
    """All six tasks; 8 latent channels, so that encoding takes no time."""
    return trees("2b-like", turbo=False)


@pytest.fixture(scope="module")
def engine(base: Tree) -> Engine:
    return Engine("cpu", "float32", base.name, base.root, settings=load({}, None))


@pytest.fixture(scope="module")
def nano(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """The checkpoint that comes with the program."""
    nowhere = tmp_path_factory.mktemp("nowhere")
    settings = load({"XDG_CACHE_HOME": str(nowhere)}, None)
    return Engine("cpu", "float32", "acestep-v15-nano", nowhere, settings=settings)


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Four seconds each; `song` ends within a frame."""
    folder = tmp_path_factory.mktemp("recordings")
    kinds = {
        "song": (synth.song(4.0)[:, : 4 * RATE - 700], RATE),
        "mono": (synth.voice(4.0), RATE),
        "44k": (synth.pad(4.0, 44_100), 44_100),
        "drums": (synth.drums(4.0), RATE),
        "silent": (0 * synth.pad(4.0), RATE),
    }
    return {
        name: Audio(torch.from_numpy(s.copy()), rate).save(folder / f"{name}.wav", "wav32")
        for name, (s, rate) in kinds.items()
    }


def ask(task: str, **fields: object) -> AnyMusicRequest:
    return request_from({"task": task, "caption": "x", "inference_steps": 1, "seed": 3, **fields})


def heard(path: Path) -> Tensor:
    """The recording as the model works on it: stereo, 48 kHz."""
    return resample(stereo(read_audio(path)), RATE).samples.clamp(-1, 1)


@pytest.fixture
def no_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests of what comes before the sound, whose decoding would take most of their time."""

    def decode(songs: Sequence[Song], *_: object) -> tuple[Audio, ...]:
        return tuple(Audio(torch.zeros(2, song.kept * HOP), RATE) for song in songs)

    monkeypatch.setattr(render, "decode", decode)


@pytest.fixture
def spy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Spy]:
    """What the last song was made from: `material`, `conditions`, `prompts`, `decoded`."""
    seen: Spy = {}

    def watch(place: object, name: str, key: str) -> None:
        real = getattr(place, name)

        def call(*args: object, **options: object) -> object:
            seen[key] = real(*args, **options)
            return seen[key]

        monkeypatch.setattr(place, name, call)

    watch(render, "assemble", "material")
    watch(render, "encode_conditions", "conditions")
    prompts: list[str] = []
    caption_prompt = conditions.caption_prompt

    def prompt(*args: object) -> str:
        prompts.append(caption_prompt(*args))  # type: ignore[arg-type]
        return prompts[-1]

    monkeypatch.setattr(conditions, "caption_prompt", prompt)
    seen["prompts"] = prompts
    decode = decode_latents.decode_tiled

    def decoded(decoder: object, latents: Tensor, *args: object, **options: object) -> Tensor:
        seen["decoded"] = latents
        return decode(decoder, latents, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(decode_latents, "decode_tiled", decoded)
    return seen


def material(spy: Spy) -> Material:
    found = spy["material"]
    assert isinstance(found, Material)
    return found


def rows(spy: Spy) -> Tensor:
    found = spy["conditions"]
    assert isinstance(found, Conditions)
    return found.first[0]


def samples(result: Result) -> Tensor:
    audio = result.audio
    assert audio.rate == RATE and audio.channels == 2 and audio.samples.isfinite().all()
    return audio.samples


# --- text2music --------------------------------------------------------------------------


def test_a_song_of_the_bundled_model(nano: Engine) -> None:
    first, again, other = (
        nano.generate(Text2Music(caption="bossa nova", duration=10.2, seed=seed))
        for seed in (1, 1, 2)
    )
    for made in (first, again, other):
        assert samples(made).shape == (2, 255 * HOP)
        assert float(samples(made).abs().max()) == pytest.approx(10 ** (-1 / 20), abs=1e-6)
        assert samples(made).std() > 0.01
    assert torch.equal(samples(first), samples(again))
    assert (samples(first) - samples(other)).abs().max() > 0.1
    assert any(n.field == "model" and "models download" in n.why for n in first.notes)


@pytest.mark.usefixtures("no_decoder")
def test_words_change_a_song(nano: Engine) -> None:
    plain = {"caption": "rain", "duration": 10, "seed": 1, "inference_steps": 1}
    changes = ({"caption": "sun"}, {"lyrics": "la"}, {"bpm": 90}, {"vocal_language": "de"})
    first = nano.generate(Text2Music.model_validate(plain)).kept["latents"]
    for change in changes:
        other = nano.generate(Text2Music.model_validate({**plain, **change})).kept["latents"]
        assert (first - other).abs().max() > 1e-3, change


@pytest.mark.ci
def test_drums_are_heard_where_they_are_asked_for(nano: Engine) -> None:
    """In the bundled model's songs nothing else is above 6 kHz."""

    def high(drums: str) -> float:
        caption = f"a medium tempo, happy tune on piano, with strings and bass, {drums}"
        made = nano.generate(
            Text2Music(caption=caption, bpm=102, keyscale="C major", duration=10, seed=1)
        )
        window = torch.hann_window(2048)
        shown = torch.stft(samples(made).mean(0), 2048, window=window, return_complex=True)
        power = shown.abs().square().sum(1)
        return float(power[256:].sum() / power.sum())  # from 6 kHz

    assert high("with drums") > 10 * high("no drums")


# --- cover -------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_decoder")
def test_a_cover_hears_the_codes_of_its_source(
    engine: Engine, base: Tree, recordings: dict[str, Path], spy: Spy
) -> None:
    made = engine.generate(ask("cover", source_audio=recordings["song"]))
    assert samples(made).shape == (2, 99 * HOP)
    found = material(spy)
    assert found.sources is not None and found.mask.eq(1).all()
    oracle, sources = base.oracle, found.sources
    assert_near(found.channels, lambda: oracle.detokenize(oracle.tokenize(sources)[0])[:, :128])
    engine.generate(ask("cover", source_audio=recordings["song"], quantize_source=False))
    plain = material(spy)
    assert plain.sources is not None and torch.equal(plain.channels, plain.sources)


@pytest.mark.usefixtures("no_decoder")
def test_a_cover_of_strength_0_is_a_song_from_words(engine: Engine, tmp_path: Path) -> None:
    ten = Audio(torch.from_numpy(synth.pad(10.0)), RATE).save(tmp_path / "ten.wav")
    cover = engine.generate(ask("cover", source_audio=ten, audio_cover_strength=0))
    words = engine.generate(ask("text2music", duration=10))
    true = made_exactly(engine, ask("text2music", duration=10))
    assert_agrees(*(made.kept["latents"] for made in (cover, words, true)))
    full = engine.generate(ask("cover", source_audio=ten))
    assert (full.kept["latents"] - words.kept["latents"]).abs().max() > 0.1


@pytest.mark.usefixtures("no_decoder")
def test_a_cover_may_stay_near_its_source(
    engine: Engine, recordings: dict[str, Path], spy: Spy
) -> None:
    def distance(strength: float) -> float:
        made = engine.generate(
            ask("cover", source_audio=recordings["song"], inference_steps=20, guidance_scale=1,
                cover_noise_strength=strength)
        )  # fmt: skip
        source = material(spy).sources
        assert source is not None
        return float((made.kept["latents"] - source).norm() / source.norm())

    far, middle, near = map(distance, (0.0, 0.5, 1.0))
    assert near < 0.25 and near < middle < far


# --- repaint -----------------------------------------------------------------------------


REGIONS = {"middle": (1.0, 2.1), "beginning": (0.0, 1.5), "end": (2.5, None), "whole": (0.0, None)}


@pytest.mark.parametrize(
    ("kind", "where"), [*(("song", w) for w in REGIONS), ("mono", "middle"), ("44k", "middle")]
)
def test_outside_the_region_a_conservative_repaint_is_its_source(
    kind: str, where: str, engine: Engine, recordings: dict[str, Path]
) -> None:
    start, end = REGIONS[where]
    path, source = recordings[kind], heard(recordings[kind])
    made = samples(
        engine.generate(
            ask("repaint", source_audio=path, start=start, end=end, repaint_mode="conservative")
        )
    )
    # samples of a last frame that is not whole are the source's, unless they would be made
    length = source.shape[1] if end is not None else source.shape[1] // HOP * HOP
    assert made.shape[1] == length
    first, last = round(start * RATE), length if end is None else round(end * RATE)
    assert torch.equal(made[:, :first], source[:, :first])
    assert torch.equal(made[:, last:], source[:, last:length])
    inside = made[:, first:last] - source[:, first:last]
    assert inside.std() > 0.01


@pytest.mark.parametrize("kind", ["wav", "flac"])
def test_the_file_of_a_repaint_is_its_source_outside(
    kind: str, engine: Engine, recordings: dict[str, Path], tmp_path: Path
) -> None:
    asked = ask(
        "repaint", source_audio=recordings["44k"], start=1, end=2, repaint_mode="conservative",
        audio_format=kind,
    )  # fmt: skip
    (path,) = engine.generate(asked).save(tmp_path / f"song.{kind}")
    outside = read_audio(path).samples[:, 2 * RATE :]
    source = heard(recordings["44k"])[:, 2 * RATE :]
    assert 20 * torch.log10((outside - source).std() / source.std()) < -60


def test_the_modes_hold_the_rest_less_and_less(
    engine: Engine, recordings: dict[str, Path], spy: Spy
) -> None:
    source = heard(recordings["song"])
    kept, spliced = [], []
    for mode in ("conservative", "balanced", "aggressive"):
        made = engine.generate(
            ask("repaint", source_audio=recordings["song"], start=1.5, end=2.5, repaint_mode=mode,
                inference_steps=4)
        )  # fmt: skip
        latents, origin = made.kept["latents"][0], material(spy).sources
        assert origin is not None
        outside = [*range(37), *range(62, 99)]
        kept.append(float((latents[outside] - origin[0, outside]).norm()))
        count = min(samples(made).shape[1], source.shape[1])
        head = samples(made)[:, :RATE] - source[:, :RATE]
        spliced.append(float(head.abs().max()))
        assert count == (source.shape[1] if mode != "aggressive" else 99 * HOP)
    assert kept[0] < kept[1] < kept[2]
    assert spliced[0] == spliced[1] == 0 < spliced[2]


def test_a_song_grows_at_both_ends(engine: Engine, recordings: dict[str, Path]) -> None:
    source = heard(recordings["song"])
    length = source.shape[1]

    def grown(**fields: object) -> Tensor:
        asked = ask("repaint", source_audio=recordings["song"], **fields)
        return samples(engine.generate(asked))

    before = grown(start=-2, end=0.5)
    assert before.shape[1] == 2 * RATE + length
    assert torch.equal(before[:, 2 * RATE + RATE // 2 :], source[:, RATE // 2 :])
    assert before[:, : 2 * RATE].std() > 0.01
    after = grown(start=length / RATE, end=6)
    assert after.shape[1] == 6 * RATE
    assert torch.equal(after[:, :length], source)
    assert after[:, length + RATE // 10 :].std() > 0.01
    beyond = grown(start=5, end=6)  # no gap: the region begins where the source ends
    assert torch.equal(beyond, after)
    both = grown(start=-1, end=length / RATE + 1)
    assert both.shape[1] == (2 * RATE + length) // HOP * HOP


def test_a_silent_source_is_the_silence_of_the_model(
    engine: Engine, base: Tree, recordings: dict[str, Path], spy: Spy
) -> None:
    stages: list[str] = []
    made = engine.generate(
        ask("repaint", source_audio=recordings["silent"], start=1, end=2),
        lambda event: stages.append(event.stage) if isinstance(event, StageStarted) else None,
    )
    assert "encode" not in stages
    quiet = silence_frames(load_silence(base.dit, 8), 128)
    assert torch.equal(material(spy).channels, quiet)
    assert not samples(made)[:, :RATE].any()
    with pytest.raises(InvalidSource, match=r"source_audio: .*is silent; allowed: sound to cover"):
        engine.generate(ask("cover", source_audio=recordings["silent"]))


# --- lego, extract, complete ---------------------------------------------------------------


@pytest.mark.usefixtures("no_decoder")
def test_a_new_track_hears_the_whole_recording(
    engine: Engine, recordings: dict[str, Path], spy: Spy
) -> None:
    made = engine.generate(
        ask(
            "lego", source_audio=recordings["song"], track="synth", start=1, end=2,
            chunk_mask_mode="explicit",
        )
    )  # fmt: skip
    found = material(spy)
    assert found.sources is not None and torch.equal(found.channels, found.sources)
    assert found.mask[0, 25:50].eq(1).all()
    assert not found.mask[0, :25].any() and not found.mask[0, 50:].any()
    assert spy["prompts"] == [
        "# Instruction\nGenerate the SYNTH track based on the audio context:\n\n"
        "# Caption\nx\n\n# Metas\n- bpm: N/A\n- timesignature: N/A\n- keyscale: N/A\n"
        "- duration: 3 seconds\n<|endoftext|>\n"
    ]
    assert samples(made).shape[1] == 99 * HOP
    engine.generate(ask("lego", source_audio=recordings["song"], track="synth"))
    assert material(spy).mask[0, :99].eq(2).all()  # auto


@pytest.mark.parametrize(("mode", "kept"), [("balanced", True), ("aggressive", False)])
def test_outside_its_region_a_new_track_is_its_source(
    mode: str, kept: bool, engine: Engine, recordings: dict[str, Path]
) -> None:
    path, source = recordings["song"], heard(recordings["song"])
    asked = ask("lego", source_audio=path, start=1.0, end=2.1, repaint_mode=mode)
    made = samples(engine.generate(asked))
    first, last = RATE, round(2.1 * RATE)
    assert torch.equal(made[:, :first], source[:, :first]) is kept
    end = made.shape[1]
    assert torch.equal(made[:, last:], source[:, last:end]) is kept
    assert (made[:, first:last] - source[:, first:last]).std() > 0.01


@pytest.mark.usefixtures("no_decoder")
@pytest.mark.parametrize(
    ("task", "fields", "instruction"),
    [
        ("extract", {"track": "vocals"}, "Extract the VOCALS track from the audio:"),
        ("extract", {}, "Extract the track from the audio:"),
        (
            "complete", {"tracks": ["drums", "backing_vocals"]},
            "Complete the input track with DRUMS | BACKING_VOCALS:",
        ),
        ("complete", {}, "Complete the input track:"),
    ],
)  # fmt: skip
def test_tracks_are_named_in_capitals(
    task: str,
    fields: dict[str, object],
    instruction: str,
    engine: Engine,
    recordings: dict[str, Path],
    spy: Spy,
) -> None:
    made = engine.generate(ask(task, source_audio=recordings["song"], **fields))
    found = material(spy)
    assert found.sources is not None and torch.equal(found.channels, found.sources)
    assert found.mask.eq(1).all()
    prompts = spy["prompts"]
    assert isinstance(prompts, list)
    assert prompts[0].startswith(f"# Instruction\n{instruction}\n\n# Caption\nx\n\n")
    assert samples(made).shape[1] == 99 * HOP


def test_turbo_refuses_what_it_was_not_trained_for(
    trees: Callable[..., Tree], recordings: dict[str, Path]
) -> None:
    tree = trees("2b-like", turbo=True)
    turbo = Engine("cpu", "float32", tree.name, tree.root, settings=load({}, None))
    for request in (
        Extract(source_audio=recordings["song"]),
        Lego(source_audio=recordings["song"]),
    ):
        with pytest.raises(InvalidRequest, match=rf"task: '{request.task}'.*acestep-v15-base"):
            turbo.generate(request)


# --- references --------------------------------------------------------------------------


@pytest.mark.usefixtures("no_decoder")
def test_a_reference_changes_the_timbre_and_only_it(
    engine: Engine, recordings: dict[str, Path], spy: Spy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headroom.audio.reference.CUT", 10 * HOP)  # 30 frames, as the model has

    def asked(*names: str) -> AnyMusicRequest:
        files = [recordings[name] for name in names]
        return ask("text2music", duration=10, reference_audio=files)

    def made(*names: str) -> Tensor:
        engine.generate(asked(*names))
        return rows(spy)

    plain, voice, drums, both = made(), made("mono"), made("drums"), made("mono", "drums")
    lyric = len("# Languages\nunknown\n\n# Lyric\n[Instrumental]") + 2
    others = [i for i in range(len(plain)) if i != lyric]
    made_exactly(engine, asked("mono"))
    exact = rows(spy)
    for changed in (voice, drums):
        assert_agrees(changed[others], plain[others], exact[others])
        assert (changed[lyric] - plain[lyric]).abs().max() > 0.01
    assert (voice[lyric] - drums[lyric]).abs().max() > 0.01
    assert len(both) == len(plain) + 1
    assert_agrees(both[lyric], voice[lyric], exact[lyric])
    assert (both[lyric + 1] - plain[lyric]).abs().max() > 0.01


# --- what happens to the latents and to the sound --------------------------------------------


def test_latents_are_scaled_and_moved_before_decoding(engine: Engine, spy: Spy) -> None:
    made = engine.generate(ask("text2music", duration=10, latent_rescale=0.5, latent_shift=0.25))
    decoded = spy["decoded"]
    assert isinstance(decoded, Tensor)
    torch.testing.assert_close(decoded[0].t(), made.kept["latents"][0] * 0.5 + 0.25)


def test_level_and_fades(engine: Engine) -> None:
    plain = samples(engine.generate(ask("text2music", duration=10, enable_normalization=False)))
    assert float(plain.abs().max()) <= 1
    for db in (-1.0, -12.0):
        made = samples(engine.generate(ask("text2music", duration=10, normalization_db=db)))
        assert float(made.abs().max()) == pytest.approx(10 ** (db / 20), abs=1e-6)
        torch.testing.assert_close(made / made.abs().max(), plain / plain.abs().max())
    faded = samples(
        engine.generate(
            ask("text2music", duration=10, enable_normalization=False, fade_in=2, fade_out=3)
        )
    )
    rise, fall = (
        torch.arange(2 * RATE) / (2 * RATE),
        torch.arange(3 * RATE - 1, -1, -1) / (3 * RATE),
    )
    torch.testing.assert_close(faded[:, : 2 * RATE], plain[:, : 2 * RATE] * rise)
    torch.testing.assert_close(faded[:, -3 * RATE :], plain[:, -3 * RATE :] * fall)
    assert torch.equal(faded[:, 2 * RATE : -3 * RATE], plain[:, 2 * RATE : -3 * RATE])


@pytest.mark.usefixtures("no_decoder")
def test_a_retake_is_another_take_of_the_same_song(engine: Engine) -> None:
    def noise(**fields: object) -> Tensor:
        asked = ask("text2music", duration=10, **fields)
        return engine.generate(asked).kept["noise"].flatten()

    first, near, far = noise(), noise(retake_variance=0.1), noise(retake_variance=1.0)
    together = torch.corrcoef(torch.stack((first, near, far)))
    assert together[0, 1] == pytest.approx(0.988, abs=0.02)  # cos(π/20)
    assert together[0, 2].abs() < 0.1
    assert torch.equal(near, noise(retake_variance=0.1, retake_seed=4))  # the seed after 3
    assert not torch.equal(near, noise(retake_variance=0.1, retake_seed=5))
    assert torch.equal(first, noise(retake_variance=0, retake_seed=5))


@pytest.mark.usefixtures("no_decoder")
def test_the_references_own_noise(engine: Engine) -> None:
    made = engine.generate(ask("text2music", duration=10, noise="official"))
    theirs = torch.randn(1, 250, 8, generator=torch.Generator().manual_seed(3))
    assert torch.equal(made.kept["noise"], theirs)


# --- again -------------------------------------------------------------------------------


def replays(base: Tree, recordings: dict[str, Path]) -> list[Sequence[AnyMusicRequest]]:
    song = recordings["song"]
    return [
        [ask("text2music", duration=10, infer_method="sde", seed=None)],
        [ask("repaint", source_audio=song, start=1, end=2), ask("text2music", duration=11.3)],
        [ask("cover", source_audio=song, batch_size=2, seed=None, audio_cover_strength=0.5)],
    ]


@pytest.mark.parametrize(("case", "kind"), [(0, "wav"), (0, "flac"), (1, "wav"), (2, "flac")])
def test_a_song_can_be_made_again(
    case: int, kind: str, engine: Engine, base: Tree, recordings: dict[str, Path], tmp_path: Path
) -> None:
    results = engine.generate_batch(replays(base, recordings)[case])
    for number, made in enumerate(results):
        for path, audio in zip(made.save(tmp_path / f"{number}.{kind}"), made.audios, strict=True):
            again = replay(path, checkpoint_dir=base.root)
            assert [n for n in again.notes if n.field in ("threads", "weights", "dtype")] == []
            assert torch.equal(again.audio.samples, audio.samples)
            (copy,) = again.save(tmp_path / f"again.{kind}")
            assert torch.equal(read_audio(copy).samples, read_audio(path).samples)


# --- on the command line ---------------------------------------------------------------------


@pytest.mark.parametrize("task", [*TASKS, "cover_nofsq"])
def test_every_task_on_the_command_line(
    task: str,
    base: Tree,
    recordings: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "song.wav"
    words = [
        "generate", "x", "--task", task, "--json", "-o", str(out), "--inference-steps", "1",
        "--seed", "3", "--checkpoint-dir", str(base.root), "--model", base.name,
        "--dtype", "float32", "--device", "cpu",
    ]  # fmt: skip
    more = {
        "text2music": ["--duration", "10"],
        "repaint": ["--start", "1", "--end", "2", "--repaint-mode", "conservative"],
        "lego": ["--start", "1", "--track", "drums"],
        "extract": ["--track", "drums"],
        "complete": ["--tracks", "drums,bass"],
    }
    source = [] if task == "text2music" else ["--source", str(recordings["song"])]
    assert main([*words, *source, *more.get(task, [])]) == 0
    told = json.loads(capsys.readouterr().out)
    frames = {"text2music": 250 * HOP, "repaint": 4 * RATE - 700}.get(task, 99 * HOP)
    audio = read_audio(out)
    assert (audio.rate, audio.channels, audio.frames) == (RATE, 2, frames)
    assert told["outputs"][0]["path"] == str(out) and told["outputs"][0]["seed"] == 3
    assert [n for n in told["notes"] if n["field"] != "model"] == []
    if task == "repaint":
        kept = audio.samples[:, :RATE] - heard(recordings["song"])[:, :RATE]
        assert kept.abs().max() < 1e-4
