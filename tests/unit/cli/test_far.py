"""The same command lines, answered by a service elsewhere."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import soundfile

from headroom.cli.main import main
from headroom.engine.provenance import asked_of
from headroom.engine.report import Report
from headroom.engine.wire import Outcome, result_json
from headroom.jobs.values import Claim
from headroom.memory.plan import Plan
from headroom.models.outputs import SongSheet
from headroom.params.note import Note
from headroom.service.work import Work
from support.live import Live, live, wait_for
from unit.cli.conftest import home

__all__ = ["home"]
pytestmark = pytest.mark.usefixtures("home")
TONE = ("generate", "--family", "tone", "--frequency", "330", "--duration", "0.3")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with live(tmp_path_factory.mktemp("far")) as one, one.working():
        yield one


def told(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[str, str]:
    assert main(list(words)) == 0, capsys.readouterr().err
    printed = capsys.readouterr()
    return printed.out, printed.err


def without_measures(text: str) -> str:
    """Without times, and bytes of the machine."""
    return re.sub(r"[\d.,]+ (s|ms|min|GiB|MiB|KiB)\b", "#", text)


def test_a_song_is_made_there_and_printed_as_here(
    service: Live, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    more = ("--seeds", "3,4", "--steps", "500", "--device", "cpu")
    near = told(capsys, *TONE, *more, "-o", str(tmp_path / "a.flac"))
    far = told(capsys, *TONE, *more[:-2], "-o", str(tmp_path / "b.flac"), "--remote", service.url)
    assert far[0] == near[0].replace("a.flac", "b.flac").replace("a-2.flac", "b-2.flac")
    assert without_measures(far[1]) == without_measures(near[1])
    assert "note: steps 500" in far[1] or "steps" in far[1]
    for name in ("-2", ""):
        one, other = (soundfile.read(tmp_path / f"{letter}{name}.flac")[0] for letter in "ab")
        assert (one == other).all()
        sidecars = [json.loads((tmp_path / f"{c}{name}.json").read_text("utf-8")) for c in "ab"]
        assert sidecars[0].keys() == sidecars[1].keys()
        assert sidecars[0]["notes"] == sidecars[1]["notes"]


def test_the_setting_names_the_service_and_the_flag_goes_first(
    service: Live,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("HEADROOM_REMOTE", service.url)
    out, _ = told(capsys, *TONE, "--json", "-o", str(tmp_path / "c.flac"))
    made = json.loads(out)
    assert made["outputs"][0]["path"] == str(tmp_path / "c.flac") and made["report"]["stages"]
    out, _ = told(capsys, *TONE, "--remote", "", "--device", "cpu", "-o", str(tmp_path / "d.flac"))
    assert "d.flac" in out
    assert main([*TONE, "--remote", "http://127.0.0.1:9", "-o", str(tmp_path / "e.flac")]) == 1
    assert "cannot be reached" in capsys.readouterr().err
    assert not (tmp_path / "e.flac").exists()


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--device", "cpu"), "device"),
        (("--quantization", "int8"), "quantization"),
        (("--lrc",), "lrc"),
        (("--save-latents", "x.safetensors"), "save_latents"),
    ],
)
def test_what_only_an_engine_here_can_do(
    words: tuple[str, ...], named: str, service: Live, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*TONE, *words, "--remote", service.url]) == 2
    printed = capsys.readouterr().err
    assert named in printed and "--remote" in printed


def test_a_url_that_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*TONE, "--remote", "cellar"]) == 2
    assert "http://cellar:8001" in capsys.readouterr().err


def test_a_plan_is_that_of_the_card_there(
    service: Live, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("plan", "slow bossa", "--duration", "600", "--batch-size", "8")
    near = told(capsys, *words, "--vram", "8")
    far = told(capsys, *words, "--remote", service.url)
    assert far == near
    near_json = json.loads(told(capsys, *words, "--vram", "8", "--json")[0])
    far_json = json.loads(told(capsys, *words, "--remote", service.url, "--json")[0])
    assert far_json == {n: v for n, v in near_json.items() if n != "model_folder"}
    assert main(["plan", "x", "--vram", "0.3", "--remote", service.url]) == 1
    assert "needs at least" in capsys.readouterr().err


def test_the_models_there(service: Live, capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = told(capsys, "models", "list", "--remote", service.url)
    here, _ = told(capsys, "models", "list")
    assert out.splitlines()[0].split() == here.splitlines()[0].split()
    names = [line.split()[0] for line in here.splitlines() if line.startswith("acestep-")]
    assert names and names == [
        line.split()[0] for line in out.splitlines() if line.startswith("acestep-")
    ]
    told_json = json.loads(told(capsys, "models", "list", "--json", "--remote", service.url)[0])
    assert set(names) <= {one["name"] for one in told_json["models"]}


def test_an_answer_is_printed_as_here(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sheet = SongSheet("slow", "la la", 90, None, None, "en", 30, None, False)
    report = Report((), 1.0, "plain")

    def work(one: Live) -> None:
        claims: list[Claim | None] = []
        worker = one.worker()
        wait_for(lambda: (claims.append(worker.claim()) or claims[-1]) is not None)
        claim = claims[-1]
        assert claim is not None
        asked = asked_of(Work.of(claim.request).read())
        note = Note("bpm", 1, 2, "it was so")
        made = Outcome(sheet, asked, Plan((), (), 0, 0), report, None, (note,))
        worker.finish(claim, json.dumps(result_json(made)))

    with live(tmp_path, "acestep") as one:
        thread = threading.Thread(target=work, args=(one,), daemon=True)
        thread.start()
        words = ("understand", "<|audio_code_1|>", "--remote", one.url)
        out, err = told(capsys, *words)
        thread.join()
    assert "caption        slow" in out and "la la" in out and "bpm" in err


def test_no_torch_is_imported(service: Live, tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from headroom.cli.main import main\n"
        "done = main(sys.argv[1:])\n"
        "sys.exit(done or 'torch' in sys.modules)"
    )
    words = [*TONE, "-q", "-o", str(tmp_path / "f.flac"), "--remote", service.url]
    run = subprocess.run([sys.executable, "-c", code, *words], check=False)
    assert run.returncode == 0 and (tmp_path / "f.flac").is_file()
