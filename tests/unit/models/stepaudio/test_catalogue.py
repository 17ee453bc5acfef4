"""The released models, how they come, and the tiny one that comes with the program."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import soundfile
import torch
from huggingface_hub import constants

from headroom import Engine
from headroom.cli.main import main
from headroom.errors import InvalidRequest, WeightsMissing
from headroom.models.family import ModelChoice
from headroom.models.stepaudio.catalogue import BUNDLED, CATALOGUE, TINY, TOKENIZER_KIND
from headroom.models.stepaudio.family import FAMILY
from headroom.models.stepaudio.layout import MODEL, SOUND, TOKENIZER
from headroom.models.stepaudio.requests.speech import Clone
from headroom.models.stepaudio.unopened import find_model
from headroom.settings import Settings
from headroom.weights.fetch import download
from headroom.weights.verify import verify
from support.speech_checkpoint import write_checkpoint
from unit.weights.downloads import hugging_face, modelscope
from unit.weights.hub import Hub, serving


@pytest.fixture
def nothing_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HEADROOM_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def in_a_repository(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_both_repositories_come_with_the_files_in_their_folders(tmp_path: Path) -> None:
    model = write_checkpoint(tmp_path / "published")
    hub = Hub({
        f"stepfun-ai/{MODEL}": in_a_repository(model)
        | {"modeling_step1.py": b"code", f"{SOUND}/cosyvoice.yaml": b"", "../out.json": b"{}"},
        f"stepfun-ai/{TOKENIZER}": in_a_repository(model.parent / TOKENIZER),
    })  # fmt: skip
    with serving(hub):
        for source in (hugging_face(hub), modelscope(hub)):
            into = tmp_path / source.name
            download(CATALOGUE.published, into, [source])
            items = {item.name: item for item in CATALOGUE.installed([into])}
            assert items[MODEL].ready and items[TOKENIZER].whole
            assert (
                in_a_repository(into / TOKENIZER).keys()
                > in_a_repository(BUNDLED / TOKENIZER).keys()
            )
            assert not list(into.rglob("*.py")) and not list(tmp_path.rglob("out.json"))
            told = verify(into / TOKENIZER, TOKENIZER_KIND)
            assert told.faults == () and told.hashed == len(TOKENIZER_KIND.files)
            flow = into / MODEL / SOUND / "flow.pt"
            flow.write_bytes(flow.read_bytes()[:-1] + b"x")
            assert any("SHA-256" in fault for fault in verify(into / MODEL, CATALOGUE.core).faults)
            hub.requests.clear()
            assert sum(one.fetched for one in download(CATALOGUE.published, into, [source])) > 0
            assert {Path(path).name for path, _, _ in hub.asked("cdn")} <= {"flow.pt"}


def test_models_list_names_what_to_download_and_what_came_along(
    nothing_here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models", "list", "--family", "stepaudio", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    rows = {row["name"]: row for row in told["models"]}
    assert told["best"] is None and rows.keys() == {MODEL, TOKENIZER, TINY}
    assert rows[MODEL]["state"] == "no" and rows[MODEL]["repo"] == f"stepfun-ai/{MODEL}"
    assert rows[TINY]["state"] == "bundled" and rows[TINY]["ready"]
    assert main(["models", "verify", "--family", "stepaudio", TINY]) == 0


def test_the_bundled_model_is_used_only_by_name_and_says_that_it_makes_noise(
    nothing_here: Path,
) -> None:
    settings = Settings(cache_dir=nothing_here / "cache")
    with pytest.raises(WeightsMissing, match=f"--family stepaudio {MODEL}"):
        find_model(None, settings, None)
    soundfile.write(nothing_here / "voice.wav", torch.randn(16_000).numpy() * 0.1, 16_000)
    request = Clone(
        text="ab", prompt_audio=nothing_here / "voice.wav", prompt_text="a", max_seconds=1, seed=1
    )
    with Engine(family="stepaudio", model=TINY, device="cpu", settings=settings) as engine:
        result = engine.generate(request)
    assert result.output.audios[0].rate == 24_000
    assert ["random_weights"] == [n.reason.code for n in result.notes if n.field == "model"]


def test_a_real_model_goes_first_and_other_names_are_refused(nothing_here: Path) -> None:
    write_checkpoint(nothing_here / "checkpoints")
    settings = Settings(cache_dir=nothing_here / "cache")
    assert find_model(None, settings, None).folder == nothing_here / "checkpoints" / MODEL
    assert find_model(TINY, settings, None).bundled
    with pytest.raises(
        InvalidRequest, match=f"model: 'other' is not allowed; allowed: {MODEL}, {TINY}"
    ):
        FAMILY.plan(ModelChoice("other", None, settings))


def test_the_bundled_files_are_what_the_maker_writes(tmp_path: Path) -> None:
    import speech

    speech.write(tmp_path)
    ours, made = in_a_repository(BUNDLED), in_a_repository(tmp_path)
    assert ours.keys() == made.keys()
    pickled = (".pt",)  # whose archives hold times
    assert [name for name in ours if not name.endswith(pickled) and ours[name] != made[name]] == []
    for name in ours:
        if name.endswith(pickled):
            one, other = (torch.load(place / name) for place in (BUNDLED, tmp_path))
            assert all(torch.equal(one[key], other[key]) for key in one | other)
