from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest
import torch

from headroom.audio.files import read_audio
from headroom.audio.tags import read_tags
from headroom.audio.wave import Audio
from headroom.engine import record
from headroom.engine.engine import Engine
from headroom.engine.provenance import Provenance, differences, read
from headroom.engine.replay import replay
from headroom.engine.result import Result
from headroom.errors import InvalidOutput, InvalidRequest, InvalidSource
from headroom.memory.plan import Cut, Wishes
from headroom.models.base import Numerics
from headroom.runtime.events import AudioReady, WithAudio
from headroom.settings import load
from tone_model.model import ToneModel
from tone_model.requests import Tone


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch, tmp_path_factory):
    """Neither the environment of whoever runs the tests nor a `.env` decides them."""
    for name in ("HEADROOM_BATCH_SIZE", "HEADROOM_MAX_DURATION", "HEADROOM_DEVICE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path_factory.mktemp("cwd"))


def make(request: Tone, **options: object) -> Result:
    return Engine("cpu", family="tone", settings=load({}, None), **options).generate(request)


def inside(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_a_batch_becomes_numbered_files_each_with_its_sidecar(tmp_path):
    result = make(Tone(duration=1, batch_size=2))
    assert result.save(tmp_path / "new" / "tone.flac") == (
        tmp_path / "new" / "tone.flac",
        tmp_path / "new" / "tone-2.flac",
    )
    names = ["tone-2.flac", "tone-2.json", "tone.flac", "tone.json"]
    assert inside(tmp_path / "new") == names
    for index, name in enumerate(("tone", "tone-2")):
        audio = read_audio(tmp_path / "new" / f"{name}.flac")
        assert torch.allclose(audio.samples, result.audios[index].samples, atol=2**-23)
        assert read(tmp_path / "new" / f"{name}.flac") == result.provenance[index]
        assert read(tmp_path / "new" / f"{name}.json") == result.provenance[index]
        assert read_tags(tmp_path / "new" / f"{name}.flac")["SEED"] == str(result.seeds[index])


def test_the_sidecar_says_what_happened(tmp_path):
    result = make(Tone(duration=1, steps=5000))
    result.save(tmp_path / "tone.wav")
    said = json.loads((tmp_path / "tone.json").read_text(encoding="utf-8"))
    assert said["notes"][0]["field"] == "steps" and said["notes"][0]["asked"] == 5000
    assert said["notes"][0]["sentence"].startswith("steps: asked 5000, used 100")
    assert [s["stage"] for s in said["report"]["stages"]] == ["denoise", "decode"]
    assert said["provenance"]["requests"][0]["values"]["seed"] == result.seeds[0]
    assert said["provenance"]["versions"]["torch"] == version("torch")
    assert any(line.startswith("decode:") for line in said["plan"])


@pytest.mark.parametrize("ending", ["wav", "flac"])
def test_a_replay_makes_the_same_bytes(tmp_path, ending):
    first = make(Tone(frequency=330, duration=1, batch_size=3), threads=2)
    paths = first.save(tmp_path / f"tone.{ending}")
    for index, path in enumerate(paths):
        again = replay(path)
        assert torch.equal(again.audio.samples, first.audios[index].samples)
        assert len(again.audios) == 1 and again.seeds == (first.seeds[index],)
        assert again.notes == ()
        assert again.kept["latents"].shape[0] == 1
        (copy,) = again.save(tmp_path / "again" / path.name)
        assert copy.read_bytes() == path.read_bytes()


def test_a_song_of_a_ragged_pass_is_replayed_with_its_pass(tmp_path, monkeypatch):
    engine = Engine("cpu", family="tone", settings=load({}, None))
    requests = (Tone(duration=1, seeds=(1, 2)), Tone(duration=2, seed=3))
    second = engine.generate_batch(requests)[1]
    passes, render = [], ToneModel.render

    def watched(self: ToneModel, songs: object, run: object) -> object:
        passes.append([song.seed for song in songs])
        return render(self, songs, run)

    monkeypatch.setattr(ToneModel, "render", watched)
    heard: list[AudioReady] = []
    listener = WithAudio(lambda e: heard.append(e) if isinstance(e, AudioReady) else None)
    again = replay(second.provenance[0], on_event=listener)
    assert passes == [[1, 2, 3]]
    assert again.seeds == (3,)
    assert {event.song for event in heard} == {0}  # of the songs of the pass, the one returned
    assert torch.equal(torch.cat([e.audio.samples for e in heard], 1), again.audio.samples)
    assert torch.equal(again.audio.samples, second.audio.samples)


def test_a_replay_pins_threads_precision_and_cuts(monkeypatch):
    cut = Cut("decode", 1, 50)
    first = make(Tone(duration=5, seed=1), wishes=Wishes(cuts=(cut,)), threads=2)
    made = first.provenance[0]
    assert made.numerics.threads == 2 and cut in made.wished().cuts
    threads = []
    monkeypatch.setattr(torch, "set_num_threads", threads.append)
    again = replay(made)
    assert again.plan.stage("decode").tile == 50
    assert threads[0] == 2


def test_what_cannot_be_pinned_is_said(monkeypatch):
    made = make(Tone(duration=1, seed=1)).provenance[0]
    cuts = (*made.numerics.cuts[:-1], made.numerics.cuts[-1].model_copy(update={"tile": 7}))
    old = made.model_copy(
        update={
            "versions": made.versions | {"torch": "1.0"},
            "device": "another card",
            "numerics": made.numerics.model_copy(update={"cuts": cuts}),
        }
    )
    monkeypatch.setattr(ToneModel, "numerics", lambda self: Numerics("float32", compiled=True))
    notes = {note.field: note for note in replay(old).notes}
    assert set(notes) == {"torch", "device", "cut of decode", "compiled"}
    assert (notes["torch"].asked, notes["torch"].used) == ("1.0", version("torch"))
    assert notes["cut of decode"].asked == "1 pieces, tile 7"
    assert "may differ" in notes["torch"].sentence()


def test_a_source_that_has_changed_is_refused(tmp_path):
    melody = tmp_path / "melody.txt"
    melody.write_text("220\n440\n")
    result = make(Tone(duration=1, melody=melody))
    (path,) = result.save(tmp_path / "tone.flac")
    assert torch.equal(replay(path).audio.samples, result.audio.samples)
    melody.write_text("220\n441\n")
    with pytest.raises(InvalidSource, match=r"melody: .*melody\.txt' has changed since"):
        replay(path)
    melody.unlink()
    with pytest.raises(InvalidSource, match=r"melody\.txt' is not there"):
        replay(path)


def test_what_was_set_is_remembered_so_that_notes_are_the_same():
    first = make(Tone(duration=1, seed=1, overtones=0, brightness=0.5))
    assert replay(first.provenance[0]).notes == first.notes
    plain = make(Tone(duration=1, seed=1, overtones=0))
    assert replay(plain.provenance[0]).notes == plain.notes == ()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "does not say how it was made"),
        ("{", "no JSON"),
        ("[]", "1 fields are missing or wrong"),
        ("{}", "fields are missing or wrong"),
        ('{"provenance": {"family": "tone"}}', "fields are missing or wrong"),
    ],
)
def test_what_says_nothing_cannot_be_replayed(tmp_path, content, says):
    path = tmp_path / "song.json"
    path.write_text(content)
    with pytest.raises(InvalidSource, match=rf"replay: .*song\.json' .*{says}"):
        replay(path)


def test_a_song_from_elsewhere_cannot_be_replayed(tmp_path):
    path = make(Tone(duration=1)).audio.save(tmp_path / "plain.flac")
    with pytest.raises(InvalidSource, match="does not say how it was made"):
        replay(path)
    with pytest.raises(InvalidSource, match="is not there"):
        replay(tmp_path / "none.json")
    with pytest.raises(InvalidSource, match="is not there"):
        replay(tmp_path / "none.flac")


def test_a_request_the_model_does_not_know_cannot_be_replayed():
    made = make(Tone(duration=1)).provenance[0]
    other = made.requests[0].model_copy(update={"kind": "Symphony"})
    with pytest.raises(InvalidRequest, match="'Symphony' is not allowed; allowed: a request of"):
        replay(made.model_copy(update={"requests": (other,)}))


@pytest.mark.parametrize("error", [KeyboardInterrupt, InvalidOutput("output", "x", "no", "yes")])
def test_a_failure_while_writing_leaves_the_place_as_it_was(tmp_path, monkeypatch, error):
    result = make(Tone(duration=1, batch_size=2))
    (tmp_path / "tone.flac").write_bytes(b"old")
    calls, write = [], Audio.write_to

    def fails(audio: Audio, path: Path, *rest: object) -> None:
        calls.append(path)
        if len(calls) == 2:
            raise error
        write(audio, path, *rest)

    monkeypatch.setattr(Audio, "write_to", fails)
    with pytest.raises(type(error) if isinstance(error, Exception) else error) as caught:
        result.save(tmp_path / "tone.flac", force=True)
    assert inside(tmp_path) == ["tone.flac"]
    assert (tmp_path / "tone.flac").read_bytes() == b"old"
    if isinstance(caught.value, InvalidOutput):
        assert caught.value.path == str(tmp_path / "tone-2.flac")
    with pytest.raises(type(error) if isinstance(error, Exception) else error):
        calls.clear()
        result.save(tmp_path / "new" / "deep" / "tone.flac")
    assert inside(tmp_path) == ["tone.flac"]


def test_names_that_cannot_be_are_refused(tmp_path):
    result = make(Tone(duration=1))
    for name, says in (("tone.xyz", "ends in '.xyz'"), ("tone.json", "ends in '.json'")):
        with pytest.raises(InvalidOutput, match=says):
            result.save(tmp_path / name)
    with pytest.raises(InvalidOutput, match="is the name of its own sidecar"):
        result.save(tmp_path / "tone.json", "wav")
    (tmp_path / "folder.wav").mkdir()
    with pytest.raises(InvalidOutput, match="is a folder"):
        result.save(tmp_path / "folder.wav")
    assert inside(tmp_path) == ["folder.wav"]


def differing(one: Provenance, other: Provenance) -> list[str]:
    return [what for what, _, _ in differences(one, other)]


def test_other_weights_are_noticed_wherever_they_differ(tmp_path, monkeypatch):
    folder = tmp_path / "weights"
    folder.mkdir()
    content = bytearray(range(256)) * 4096
    (folder / "model.safetensors").write_bytes(content)
    (folder / "notes.txt").write_text("not a weight")
    monkeypatch.setattr(ToneModel, "folders", lambda self: (folder,))
    first = make(Tone(duration=1, seed=1)).provenance[0]
    (weight,) = first.weights
    assert (weight.folder, weight.name, weight.size) == ("weights", "model.safetensors", 1 << 20)
    assert differing(first, make(Tone(duration=1, seed=1)).provenance[0]) == []
    for change in noticed(content):
        (folder / "model.safetensors").write_bytes(change)
        assert differing(first, make(Tone(duration=1, seed=1)).provenance[0]) == ["weights"]


def noticed(content: bytearray) -> Iterator[bytes]:
    """Changes at the start, in the middle of a network trained further, and of the length."""
    yield b"\1" + bytes(content[1:])
    yield bytes(content[:65536]) + bytes(b ^ 1 for b in content[65536:])
    yield bytes(content) + b"\0"


def test_a_package_that_is_not_installed_has_no_version(monkeypatch):
    monkeypatch.setattr(record, "PACKAGES", ("torch", "no-such-package-here"))
    assert set(record.versions()) == {"torch"}
