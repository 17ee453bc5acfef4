from __future__ import annotations

import hashlib
import json
import shutil
import threading
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from filelock import FileLock

from headroom.errors import DownloadFailed, InvalidOutput, InvalidRequest
from headroom.models.acestep.catalogue import DIT_KIND
from headroom.weights.client import Client
from headroom.weights.fetch import Transfer
from headroom.weights.manifest import NAME, read_manifest
from headroom.weights.sources import HuggingFace, ModelSource
from headroom.weights.transfer import Remote, fetch
from headroom.weights.verify import verify
from unit.weights.downloads import (
    QUICK,
    TURBO,
    XL,
    assert_whole,
    download,
    hugging_face,
    modelscope,
)
from unit.weights.folders import MODELS, cached, model_files, published
from unit.weights.hub import COMMIT, Hub, serving


@pytest.mark.parametrize("name", [TURBO, XL, "vae", "acestep-5Hz-lm-0.6B"])
@pytest.mark.parametrize("source", [hugging_face, modelscope])
def test_a_model_comes_whole_from_either_source(
    hub: Hub, tmp_path: Path, name: str, source: type[ModelSource]
) -> None:
    (result,) = download([name], tmp_path, [source(hub)])
    assert_whole(tmp_path / name, name)
    assert result.fetched == result.nbytes == hub.sent
    manifest = read_manifest(tmp_path / name)
    assert manifest is not None and manifest.repo == MODELS[name].repo
    assert manifest.revision == (COMMIT if source is hugging_face else "master")
    data = model_files(name)["config.json"]
    assert manifest.files["config.json"].sha256 == hashlib.sha256(data).hexdigest()
    assert verify(tmp_path / name, MODELS[name].kind).hashed == result.files


def test_no_code_and_nothing_from_elsewhere_in_the_repository(hub: Hub, tmp_path: Path) -> None:
    hub.repos["ACE-Step/Ace-Step1.5"] |= {
        "vae/../../escape.json": b"{}",
        "vae/sub/deep.json": b"{}",
        "vae/C:evil.json": b"{}",
        "vae/weights.bin": b"pickle",
    }
    for source in (hugging_face(hub), modelscope(hub)):
        download(["vae"], tmp_path / source.name, [source])
        assert_whole(tmp_path / source.name / "vae", "vae")
    assert not hub.asked(".py") and not hub.asked("escape") and not hub.asked("evil")
    assert not [p for p in tmp_path.rglob("*.json") if p.name != NAME and p.name != "config.json"]


def test_what_is_there_is_not_fetched_again(hub: Hub, tmp_path: Path) -> None:
    download([TURBO], tmp_path, [hugging_face(hub)])
    hub.requests.clear()
    (again,) = download([TURBO], tmp_path, [hugging_face(hub)])
    assert again.fetched == 0 and not hub.asked("resolve") and len(hub.requests) == 2
    (tmp_path / TURBO / NAME).unlink()  # as another program would have left it
    (other,) = download([TURBO], tmp_path, [modelscope(hub)])
    assert other.fetched == 0 and not hub.asked("FilePath")
    (forced,) = download([TURBO], tmp_path, [hugging_face(hub)], force=True)
    assert forced.fetched == forced.nbytes
    assert_whole(tmp_path / TURBO, TURBO)


def test_only_what_differs_is_fetched(hub: Hub, tmp_path: Path) -> None:
    download([XL], tmp_path, [hugging_face(hub)])
    shard = tmp_path / XL / "model-00002-of-00002.safetensors"
    data = bytearray(shard.read_bytes())
    data[-1] ^= 1
    shard.write_bytes(data)
    found = verify(tmp_path / XL, DIT_KIND)
    assert len(found.faults) == 1 and "00002.safetensors: SHA-256" in found.faults[0]
    hub.requests.clear()
    (result,) = download([XL], tmp_path, [hugging_face(hub)])
    assert result.fetched == len(data)
    assert [path.rpartition("/")[2] for path, _, _ in hub.asked("cdn")] == [shard.name]
    assert_whole(tmp_path / XL, XL)


def test_a_line_that_breaks_is_picked_up_in_the_same_call(hub: Hub, tmp_path: Path) -> None:
    hub.cut["model.safetensors"] = [1000, 500]
    seen: list[Transfer] = []
    (result,) = download([TURBO], tmp_path, [hugging_face(hub)], show=seen.append)
    spans = [span for path, span, _ in hub.asked("cdn") if path.endswith("model.safetensors")]
    assert spans == [None, "bytes=1000-", "bytes=1500-"]
    assert hub.sent == result.nbytes, "no byte twice"
    assert_whole(tmp_path / TURBO, TURBO)
    assert seen[-1].done == seen[-1].total == result.nbytes
    assert all(a.done <= b.done for a, b in pairwise(seen))


def test_a_call_that_died_is_continued_by_the_next(hub: Hub, tmp_path: Path) -> None:
    hub.cut["model.safetensors"] = [1200, 0, 0, 0, 0, 0]
    with pytest.raises(DownloadFailed, match=r"given up at 1200 of 2634 bytes after 5 tries"):
        download([TURBO], tmp_path, [hugging_face(hub)])
    (part,) = (tmp_path / TURBO).glob("*.part")
    assert part.stat().st_size == 1200 and not (tmp_path / TURBO / "model.safetensors").exists()
    hub.cut.clear()
    hub.sent = 0
    (result,) = download([TURBO], tmp_path, [modelscope(hub)])  # the same bytes, elsewhere
    assert result.fetched == hub.sent == 2634 - 1200
    assert_whole(tmp_path / TURBO, TURBO)


def test_a_server_without_ranges_begins_again(hub: Hub, tmp_path: Path) -> None:
    hub.ranges, hub.cut["model.safetensors"] = False, [1200]
    seen: list[Transfer] = []
    download([TURBO], tmp_path, [hugging_face(hub)], show=seen.append)
    assert_whole(tmp_path / TURBO, TURBO)
    assert seen[-1].done == seen[-1].total


def test_a_damaged_part_is_thrown_away_once(hub: Hub, tmp_path: Path) -> None:
    hub.cut["model.safetensors"] = [1200, 0, 0, 0, 0, 0]
    with pytest.raises(DownloadFailed):
        download([TURBO], tmp_path, [hugging_face(hub)])
    hub.cut.clear()
    (part,) = (tmp_path / TURBO).glob("*.part")
    for damage in (b"\0" * 1200, b"\0" * 2634, b"\0" * 9000):
        part.write_bytes(damage)
        download([TURBO], tmp_path, [hugging_face(hub)])
        assert_whole(tmp_path / TURBO, TURBO)
        (tmp_path / TURBO / "model.safetensors").unlink()


@pytest.mark.parametrize("file", ["model.safetensors", "config.json"])
def test_content_that_is_not_the_announced_one_is_refused(
    hub: Hub, tmp_path: Path, file: str
) -> None:
    hub.wrong.add(file)
    with pytest.raises(DownloadFailed, match=rf"{file}: (SHA-256|git's SHA-1) is .*announced"):
        download([TURBO], tmp_path, [hugging_face(hub)])
    assert not (tmp_path / TURBO / file).exists()
    assert not list((tmp_path / TURBO).glob("*.part"))


def test_a_longer_file_is_refused(hub: Hub, tmp_path: Path) -> None:
    data = hub.repos["ACE-Step/Ace-Step1.5"]["vae/config.json"]
    short = Remote("vae/config.json", len(data) - 1, hashlib.sha256(data[:-1]).hexdigest())
    url = f"{hub.url}/cdn/ACE-Step/Ace-Step1.5/vae/config.json"
    target = tmp_path / "config.json"
    with pytest.raises(DownloadFailed, match=f"{len(data)} bytes instead of {len(data) - 1}"):
        fetch(Client(None, QUICK), url, short, target, lambda count: None)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("code", [401, 403, 404])
def test_a_refusal_is_not_asked_twice(hub: Hub, tmp_path: Path, code: int) -> None:
    hub.status["resolve"] = [code] * 9
    with pytest.raises(DownloadFailed, match=f"HTTP {code}"):
        download(["vae"], tmp_path, [hugging_face(hub)])
    assert len(hub.asked("resolve")) == 1


def test_a_busy_server_is_asked_again(hub: Hub, tmp_path: Path) -> None:
    hub.status = {"/revision/": [503], "resolve": [503, 429, 500]}
    download(["vae"], tmp_path, [hugging_face(hub)])
    assert_whole(tmp_path / "vae", "vae")
    hub.status["resolve"] = [503] * 99
    with pytest.raises(DownloadFailed, match="HTTP 503; given up at 0 of"):
        download([TURBO], tmp_path, [hugging_face(hub)])


def test_one_source_down_the_other_delivers(hub: Hub, tmp_path: Path) -> None:
    nowhere = HuggingFace("http://127.0.0.1:9", Client(None, QUICK))
    said: list[str] = []
    (result,) = download(["vae"], tmp_path, [nowhere, modelscope(hub)], report=said.append)
    assert result.source == "ModelScope"
    assert said[0].startswith("vae: Hugging Face does not deliver (http://127")
    assert_whole(tmp_path / "vae", "vae")
    with pytest.raises(DownloadFailed, match=r"Hugging Face: http.*ModelScope: .*not found"):
        lost = Hub()
        with serving(lost):
            download([TURBO], tmp_path, [nowhere, modelscope(lost)])


def test_a_source_that_breaks_off_hands_over_what_has_come(hub: Hub, tmp_path: Path) -> None:
    with serving(Hub(published())) as second:
        hub.cut["model.safetensors"] = [1200, 0, 0, 0, 0, 0]
        said: list[str] = []
        seen: list[Transfer] = []
        sources: list[ModelSource] = [hugging_face(hub), modelscope(second)]
        (result,) = download([TURBO], tmp_path, sources, report=said.append, show=seen.append)
        assert result.source == "ModelScope" and "broke off" in said[1]
        spans = [span for path, span, _ in second.asked("FilePath")]
        assert spans == ["bytes=1200-"], "the rest of one file, nothing else"
    assert seen[-1].done == seen[-1].total
    assert_whole(tmp_path / TURBO, TURBO)


def test_a_repository_without_what_is_needed_does_not_count(hub: Hub, tmp_path: Path) -> None:
    del hub.repos["ACE-Step/Ace-Step1.5"]["acestep-v15-turbo/silence_latent.pt"]
    with pytest.raises(DownloadFailed, match=r"holds no silence_latent\.pt for acestep-v15-turbo"):
        download([TURBO], tmp_path, [hugging_face(hub)])
    assert not (tmp_path / TURBO).exists()


def test_long_listings_come_in_pages(hub: Hub, tmp_path: Path) -> None:
    hub.page = 3
    download(["Qwen3-Embedding-0.6B"], tmp_path, [hugging_face(hub)])
    assert_whole(tmp_path / "Qwen3-Embedding-0.6B", "Qwen3-Embedding-0.6B")
    assert len(hub.asked("/tree/")) > 3


def test_the_same_file_in_the_cache_is_taken_from_there(hub: Hub, tmp_path: Path) -> None:
    files = model_files(TURBO)
    snapshot = cached(tmp_path / "cache", MODELS[TURBO], files) / TURBO
    (snapshot / "silence_latent.pt").resolve().write_bytes(b"torn")
    (snapshot / "config.json").unlink()
    source = replace(hugging_face(hub), cache=tmp_path / "cache")
    (result,) = download([TURBO], tmp_path / "here", [source])
    assert not hub.asked("model.safetensors")
    assert hub.asked("silence_latent.pt") and hub.asked("config.json")
    assert result.fetched == result.nbytes - len(files["model.safetensors"])
    assert_whole(tmp_path / "here" / TURBO, TURBO)


def test_a_full_disk_is_seen_before_the_first_byte(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=64 << 20))
    with pytest.raises(InvalidOutput, match=r"has 64 MiB free, 3 KiB are still to come"):
        download([TURBO], tmp_path / "new" / "er", [hugging_face(hub)])
    assert not (tmp_path / "new").exists() and not hub.asked("resolve")


def test_a_place_that_cannot_be_written(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(InvalidOutput, match=r"checkpoint_dir: .* cannot be written"):
        download(["vae"], tmp_path / "file", [hugging_face(hub)])


def test_an_unknown_name_is_refused_with_the_known_ones(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="acestep-v15-turbo, acestep-v15-xl-turbo"):
        download(["acestep"], tmp_path, [hugging_face(hub)])
    assert not hub.requests


def test_two_at_once_fetch_once(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "vae").mkdir()
    waiting = threading.Event()

    def say(sentence: str) -> None:
        if "another process" in sentence:
            waiting.set()

    with FileLock(tmp_path / "vae" / ".headroom-lock"):
        second = threading.Thread(
            target=download, args=(["vae"], tmp_path, [hugging_face(hub)]), kwargs={"report": say}
        )
        second.start()
        assert waiting.wait(60)
        assert not hub.asked("resolve")
    second.join(60)
    assert_whole(tmp_path / "vae", "vae")


@pytest.mark.parametrize(
    "answer",
    [b"<html>", b"[]", b'{"sha": 3}', b'{"Data": {"Files": [3]}}', b'{"Data": {"Files": [{"Type":'
     b' "blob", "Path": "a", "Size": "9"}]}}'],
)  # fmt: skip
def test_answers_that_make_no_sense_are_sentences(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: bytes
) -> None:
    monkeypatch.setattr(json, "dumps", lambda value, **more: answer.decode())
    for source in (hugging_face(hub), modelscope(hub)):
        with pytest.raises(DownloadFailed, match="vae could not be downloaded"):
            download(["vae"], tmp_path, [source])


def test_verify_without_a_manifest_reads_the_headers(tmp_path: Path) -> None:
    folder = tmp_path / TURBO
    folder.mkdir()
    for file, data in model_files(TURBO).items():
        (folder / file).write_bytes(data)
    found = verify(folder, DIT_KIND)
    assert found.faults == () and found.hashed == 0 and found.files == 4
    (folder / "model.safetensors").write_bytes(model_files(TURBO)["model.safetensors"][:-4])
    assert verify(folder, DIT_KIND).faults == ("model.safetensors: cut off, 2630 of 2634 bytes",)


def test_verify_counts_what_it_reads(hub: Hub, tmp_path: Path) -> None:
    download([TURBO], tmp_path, [hugging_face(hub)])
    counted: list[int] = []
    found = verify(tmp_path / TURBO, DIT_KIND, counted.append)
    assert sum(counted) == found.nbytes
    (tmp_path / TURBO / "config.json").unlink()
    (tmp_path / TURBO / "model.safetensors").write_bytes(b"x")
    assert verify(tmp_path / TURBO, DIT_KIND).faults == (
        "config.json: missing",
        "model.safetensors: 1 bytes instead of 2634",
    )
