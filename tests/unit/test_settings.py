"""Settings: old names, order of places, sentences for bad values, secrets kept."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from headroom.errors import InvalidRequest
from headroom.memory.precision import CONVERTED, SPELLINGS
from headroom.settings import QUANTIZATIONS, declared, example, load
from headroom.settings import env_file as settings_file
from headroom.settings.declaration import amount, count
from headroom.settings.declaration import path as setting_path

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def dotenv(text: str) -> Path:
    path = Path(".env")
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("field", "text", "value"),
    [
        ("checkpoints_dir", "models", Path("models")),
        ("cache_dir", "c", Path("c")),
        ("output_dir", "songs", Path("songs")),
        ("model", "acestep-v15-base", "acestep-v15-base"),
        ("device", "CUDA:1", "cuda:1"),
        ("device", "CUDA:1, cuda:0", "cuda:1,cuda:0"),
        ("device", "simulated,simulated:b", "simulated,simulated:b"),
        ("service_cards", " CUDA:0,cuda:1  cuda:2 ", "cuda:0,cuda:1 cuda:2"),
        ("max_vram", "7.5", 7.5),
        ("max_mps_vram", "16", 16.0),
        ("max_xpu_vram", "12", 12.0),
        ("memory_limit", "4", 4.0),
        ("cards_dir", "cards", Path("cards")),
        ("gpu_priority", "-3", -3),
        ("gpu_wait", "5", 5.0),
        ("max_duration", "120", 120.0),
        ("max_batch_size", "2", 2),
        ("batch_size", "3", 3),
        ("genres_file", "genres.txt", Path("genres.txt")),
        ("lm_prompt", "Closed", "closed"),
        ("vae", "scragvae", "scragvae"),
        ("download_source", "ModelScope", "modelscope"),
        ("hf_token", "hf_x", "hf_x"),
        ("no_progress", "yes", True),
        ("policy", "Adaptive", "adaptive"),
        ("offload", "true", True),
        ("offload_dit", "off", False),
        ("quantization", "int8_weight_only", "int8_weight_only"),
        ("compile", "no", False),
        ("init_lm", "false", False),
        ("lm_model", "acestep-5Hz-lm-0.6B", "acestep-5Hz-lm-0.6B"),
        ("lm_backend", "PT", "pt"),
        ("vae_on_cpu", "1", True),
        ("decode_tile", "128", 128),
        ("gpu_management", "on", True),
        ("gpu_idle_timeout", "90", 90.0),
        ("alloc_conf", "max_split_size_mb:128", "max_split_size_mb:128"),
        ("service_host", "0.0.0.0", "0.0.0.0"),
        ("service_port", "9000", 9000),
        ("ui_port", "9001", 9001),
        ("ui_language", "PT", "pt"),
        ("service_key", "a-key-of-many-signs", "a-key-of-many-signs"),
        ("service_hosts", "Cellar, cellar.lan", "cellar,cellar.lan"),
        ("service_origins", "https://Page.example/", "https://page.example"),
        ("data_dir", "data", Path("data")),
        ("service_database", "postgresql://host/name", "postgresql://host/name"),
        ("service_storage", "s3://bucket", "s3://bucket"),
        ("service_waiting", "20", 20),
        ("service_upload_limit", "64", 64.0),
        ("service_body_limit", "0.5", 0.5),
        ("service_free_space", "5", 5.0),
        ("service_quota", "100", 100.0),
        ("service_keep_days", "30", 30.0),
        ("service_cluster", "10.0.0.1:6379", "10.0.0.1:6379"),
        ("service_engines", "1-8", "1-8"),
        ("remote", "http://cellar:8001/", "http://cellar:8001"),
        ("remote_key", "hr_secret", "hr_secret"),
    ],
)
def test_every_name_of_a_setting_is_read(field: str, text: str, value: object) -> None:
    setting = dict(declared())[field]
    for name in (setting.name, *setting.replaces):
        found = load({name: f" {text} "})
        assert getattr(found, field) == value
        place = "environment" if name == setting.name else f"environment ({name})"
        assert found.source(field) == place


def test_the_words_for_precisions_are_those_that_mean_something() -> None:
    assert QUANTIZATIONS == ("auto", "none", *CONVERTED, *SPELLINGS)
    assert tuple(SPELLINGS.values()) == CONVERTED


def test_every_setting_is_tested_above() -> None:
    marks = test_every_name_of_a_setting_is_read.pytestmark  # type: ignore[attr-defined]
    assert {case[0] for case in marks[0].args[1]} == {name for name, _ in declared()}


def test_the_environment_wins_and_then_the_new_name() -> None:
    dotenv("HEADROOM_DEVICE=cpu\nACESTEP_OUTPUT_DIR=from-file\nMAX_CUDA_VRAM=8\n")
    found = load({"ACESTEP_DEVICE": "mps", "HEADROOM_MAX_VRAM": "4", "MAX_CUDA_VRAM": "6"})
    assert (found.device, found.source("device")) == ("mps", "environment (ACESTEP_DEVICE)")
    assert (found.max_vram, found.source("max_vram")) == (4, "environment")
    assert found.output_dir == Path("from-file")
    assert found.source("output_dir") == ".env (ACESTEP_OUTPUT_DIR)"
    assert found.source("model") == "default"


def test_an_empty_value_is_no_value() -> None:
    dotenv("HEADROOM_DEVICE=cpu")
    assert load({"HEADROOM_DEVICE": " "}).device == "cpu"


def test_a_file_may_have_quotes_comments_exports_and_a_byte_order_mark() -> None:
    path = dotenv(
        '\ufeff# a comment\n\nexport HEADROOM_MODEL = "my model # 1"  # why\n'
        "HEADROOM_OUTPUT_DIR=a#b # c\nOTHER='x'\nHEADROOM_DEVICE= # nothing\n"
    )
    found = load({}, path)
    assert (found.model, found.output_dir, found.device) == ("my model # 1", Path("a#b"), "auto")


OTHERS = {
    "several lines": b'KEY="-----BEGIN KEY-----\nSECRET\n-----END KEY-----"\n',
    "a name with a hyphen": b"MY-VAR=SECRET\n",
    "YAML": b"services:\n  web:\n    - SECRET: 'x\n",
    "Latin-1": "NAME=Jos\u00e9 SECRET\n".encode("latin-1"),
    "binary": bytes(range(256)) * 8 + b"SECRET\n",
    "words": b"what is this SECRET\n",
    "a quote that stays open": b'KEY="SECRET\n',
}


@pytest.mark.parametrize("text", OTHERS.values(), ids=OTHERS)
def test_another_programs_lines_stop_nothing_and_are_never_shown(text: bytes) -> None:
    Path(".env").write_bytes(text + b"\nHEADROOM_MAX_DURATION=90\n")
    found = load({})
    assert found.max_duration == 90
    assert "SECRET" not in repr(found)
    assert found.warnings == ()


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig", "utf-32"])
def test_a_file_may_say_its_encoding(encoding: str) -> None:
    Path(".env").write_bytes("# Notepad\nHEADROOM_MODEL=stra\u00dfe\n".encode(encoding))
    assert load({}).model == "stra\u00dfe"


def test_nothing_is_put_into_a_value() -> None:
    dotenv("A=1\nHEADROOM_MODEL=${A}-$A\n")
    assert load({"A": "2"}).model == "${A}-$A"


@pytest.mark.parametrize(
    "text", ['"mine\nTOKEN=SECRET\nX="', "'\n\nTOKEN=SECRET'", "' \r\nSECRET\r\n'", '"\\nSECRET"']
)
def test_a_value_that_took_in_other_lines_is_refused_unseen(text: str) -> None:
    dotenv(f"HEADROOM_MODEL={text}\n")
    with pytest.raises(InvalidRequest, match=r"HEADROOM_MODEL: '\(several lines\)'") as error:
        load({})
    assert "SECRET" not in str(error.value) and "SECRET" not in repr(error.value.value)


def test_bytes_of_another_encoding_in_a_value_of_ours_are_a_sentence() -> None:
    Path(".env").write_bytes("HEADROOM_MODEL=Jos\u00e9\n".encode("latin-1"))
    with pytest.raises(InvalidRequest, match=r"HEADROOM_MODEL: '\(not text in UTF-8\)'"):
        load({})


def test_a_long_line_of_ours_without_a_value_is_not_shown_whole() -> None:
    dotenv("HEADROOM_" + "X" * 9000)
    (said,) = load({}).warnings
    assert said.startswith(".env line 1: HEADROOM_XX") and len(said) < 150


def test_a_line_of_ours_without_a_value_is_named() -> None:
    dotenv("OTHER=1\n\nHEADROOM_DEVICE cpu\nHEADROOM_MODEL\n")
    assert load({}).warnings == (
        ".env line 3: HEADROOM_DEVICE is not NAME=value",
        ".env line 4: HEADROOM_MODEL is not NAME=value",
    )


def test_a_file_that_is_too_large_or_no_file_is_not_read() -> None:
    Path(".env").write_bytes(b"HEADROOM_DEVICE=cpu\n" + b"#" * (1 << 20))
    assert load({}).device == "auto"
    assert load({}).warnings == (".env is larger than 256 KiB, the most that is read",)
    Path(".env").unlink()
    Path(".env").mkdir()  # as a virtual environment may be called
    assert load({}).warnings == ()


def test_a_file_is_read_in_a_time_that_grows_with_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    dotenv("A=x" + " " * 200_000 + "y\nHEADROOM_DEVICE=cpu\n")
    seen: list[int] = []
    whole = settings_file.parse_stream
    monkeypatch.setattr(
        settings_file, "parse_stream", lambda s: seen.append(len(s.getvalue())) or whole(s)
    )
    assert load({}).device == "cpu"
    assert seen[0] < 200  # blanks, for which the parser needs their number squared, are gone


def of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on whoever runs this is somebody else than who made the files here."""
    me = os.stat(".").st_uid
    monkeypatch.setattr(os, "geteuid", lambda: me + 1, raising=False)


def test_a_file_of_another_user_sets_limits_and_preferences_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dotenv(
        f"HEADROOM_MAX_DURATION=90\nHEADROOM_DEVICE=cpu\nHF_TOKEN=SECRET\n"
        f"ACESTEP_OUTPUT_DIR={tmp_path.parent}\nHEADROOM_CACHE_DIR=../c\n"
        "HEADROOM_CHECKPOINTS_DIR=models\n"
    )
    mine = load({})
    assert (mine.hf_token, mine.output_dir, mine.ignored) == ("SECRET", tmp_path.parent, ())
    of_another(monkeypatch)
    found = load({"HEADROOM_GENRES_FILE": "/g"})
    assert (found.max_duration, found.device, found.genres_file) == (90, "cpu", Path("/g"))
    assert (found.hf_token, found.output_dir, found.source("hf_token")) == (
        None, Path("outputs"), "default",
    )  # fmt: skip
    assert found.cache_dir != Path("../c")
    assert found.checkpoints_dir == Path("models")  # in the folder: a preference
    assert [one.split()[0] for one in found.ignored] == [
        "HEADROOM_CACHE_DIR", "ACESTEP_OUTPUT_DIR", "HF_TOKEN",
    ]  # fmt: skip
    assert "belongs to another user" in found.ignored[0]
    assert "SECRET" not in repr(found)


@pytest.mark.skipif(os.name == "nt", reason="links need a right there")
def test_a_link_that_leads_out_of_the_folder_is_outside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("songs").symlink_to(tmp_path.parent)
    dotenv("HEADROOM_OUTPUT_DIR=songs/x\n")
    assert load({}).output_dir == Path("songs/x")
    of_another(monkeypatch)
    assert load({}).output_dir == Path("outputs")


def test_a_file_that_was_named_is_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    of_another(monkeypatch)
    path = dotenv("HF_TOKEN=t\n")
    assert load({}, path).hf_token == "t"


def test_every_place_host_and_secret_is_declared_as_such() -> None:
    for name, setting in declared():
        if setting.takes.read is setting_path or setting.secret or "://" in setting.takes.allowed:
            assert setting.elsewhere, name


@pytest.mark.parametrize("text", ["9" * 400, "1e300", "inf", "-inf", "9" * 5000, "1e-400"])
def test_a_number_that_no_machine_has_is_a_sentence(text: str) -> None:
    numbers = [s for _, s in declared() if s.takes.read in (amount, count)]
    assert len(numbers) > 5
    for setting in numbers:
        with pytest.raises(InvalidRequest, match=f"{setting.name}: "):
            load({setting.name: text})
    with pytest.raises(InvalidRequest, match="HEADROOM_DEVICE: "):
        load({"HEADROOM_DEVICE": f"cuda:{text}"})


def test_a_file_that_was_named_must_be_there() -> None:
    assert load({}).device == "auto"
    with pytest.raises(InvalidRequest, match=r"env file: 'none.env' is not allowed"):
        load({}, Path("none.env"))


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        (
            "ACESTEP_DEVICE",
            "gpu",
            "ACESTEP_DEVICE: 'gpu' is not allowed; allowed: one of auto",
        ),
        ("HEADROOM_DEVICE", "cpu:1", "HEADROOM_DEVICE: 'cpu:1' is not allowed"),
        ("MAX_CUDA_VRAM", "-4", "MAX_CUDA_VRAM: '-4' is not allowed; allowed: a number of GiB"),
        ("MAX_CUDA_VRAM", "nan", "MAX_CUDA_VRAM: 'nan' is not allowed"),
        ("MAX_MPS_VRAM", "0", "MAX_MPS_VRAM: '0' is not allowed; allowed: a number of GiB"),
        ("MAX_XPU_VRAM", "much", "MAX_XPU_VRAM: 'much' is not allowed"),
        ("ACESTEP_MEMORY_LIMIT_GB", "inf", "ACESTEP_MEMORY_LIMIT_GB: 'inf' is not allowed"),
        ("HEADROOM_POLICY", "greedy", "allowed: one of published, adaptive."),
        ("ACESTEP_OFFLOAD_TO_CPU", "perhaps", "allowed: auto, or true or false."),
        ("ACESTEP_QUANTIZATION", "int3", "allowed: one of auto, none, int8, fp8"),
        ("ACESTEP_LM_BACKEND", "onnx", "allowed: one of auto, vllm, pt, mlx."),
        ("ACESTEP_VAE_DECODE_CHUNK_SIZE", "-1", "allowed: a whole number, at least 1."),
        ("GPU_IDLE_TIMEOUT", "nan", "allowed: a number of seconds above 0."),
        ("ACESTEP_MAX_DURATION", "long", "allowed: a number of seconds above 0."),
        ("ACESTEP_BATCH_SIZE", "2.5", "allowed: a whole number, at least 1."),
        ("ACESTEP_MAX_BATCH_SIZE", "0", "ACESTEP_MAX_BATCH_SIZE: '0' is not allowed"),
        ("ACESTEP_DOWNLOAD_SOURCE", "ftp", "allowed: one of auto, huggingface, modelscope."),
        ("ACESTEP_DISABLE_TQDM", "maybe", "allowed: true or false."),
        ("ACESTEP_API_PORT", "65536", "allowed: a whole number from 1 to 65535."),
        ("HEADROOM_SERVICE_HOSTS", "*", "allowed: names of hosts, separated by commas."),
        ("HEADROOM_SERVICE_ORIGINS", "null", "allowed: origins as in https://example.org"),
        ("HEADROOM_SERVICE_ORIGINS", "*", "allowed: origins as in https://example.org"),
        ("HEADROOM_SERVICE_QUOTA", "0", "allowed: a number of GiB above 0."),
        ("ACESTEP_OUTPUT_DIR", "~no-such-user/x", "allowed: the path of a folder."),
        ("ACESTEP_OUTPUT_DIR", "a\0b", "allowed: the path of a folder."),
    ],
)
def test_a_bad_value_is_refused_by_the_name_it_came_under(
    name: str, text: str, sentence: str
) -> None:
    with pytest.raises(InvalidRequest) as error:
        load({name: text})
    assert sentence in str(error.value)


def test_a_secret_is_never_shown() -> None:
    found = load({"HF_TOKEN": "hf_secret"})
    assert found.hf_token == "hf_secret"
    assert "hf_secret" not in repr(found) + repr(found.rows())
    assert next(r for r in found.rows() if r.name == "HF_TOKEN").value == "(set)"


def test_rows_list_every_setting_in_words() -> None:
    rows = {row.name: row for row in load({"ACESTEP_MAX_DURATION": "90"}).rows()}
    assert set(rows) == {setting.name for _, setting in declared()}
    assert rows["HEADROOM_MAX_DURATION"].value == "90.0"
    assert rows["HEADROOM_MAX_DURATION"].replaces == ("ACESTEP_MAX_DURATION",)
    assert rows["HEADROOM_MODEL"].value == "the best that is installed"
    assert rows["HEADROOM_MODEL"].source == "default"


def test_a_misspelt_setting_is_noticed() -> None:
    assert load({"HEADROOM_DEVCE": "cpu", "ACESTEP_OTHER": "1"}).unknown == (
        "HEADROOM_DEVCE (environment) is no setting, did you mean HEADROOM_DEVICE?",
    )


@pytest.mark.parametrize(
    ("name", "place", "meant"),
    [
        ("headroom_device", "environment", "HEADROOM_DEVICE"),
        ("ACESTEP_DEVCE", "environment", "ACESTEP_DEVICE"),
        ("MAX_CUDA_VRM", "environment", "MAX_CUDA_VRAM"),
        ("HF_TOKN", ".env", "HF_TOKEN"),
        ("MAX_CUDA_VRAMS", ".env", "MAX_CUDA_VRAM"),
        ("HF_TOKN", "environment", None),
        ("MAX_CONNECTIONS", ".env", None),
        ("HF_API_TOKEN", ".env", None),
        ("PYTORCH_ALLOC_CONF", ".env", None),
        ("HEADROOM_" + "X" * 100_000, ".env", None),
    ],
)
def test_a_name_is_ours_or_another_programs(name: str, place: str, meant: str | None) -> None:
    if place == ".env":
        dotenv(f"{name}=1\n")
    said = load({name: "1"} if place == "environment" else {}).unknown
    expected = f"{name} ({place}) is no setting, did you mean {meant}?"
    assert said == (() if meant is None else (expected,))


def test_an_unknown_key_of_the_file_is_noticed_where_it_looks_like_one_of_ours() -> None:
    dotenv("ACESTEP_OFFLOAD_TO_CPUS=true\nMAX_CUDA_VRM=4\nHEADROOM_POLCY=x\nTOKENIZERS=1\n")
    said = load({}).unknown
    assert [sentence.split()[0] for sentence in said] == [
        "ACESTEP_OFFLOAD_TO_CPUS", "HEADROOM_POLCY", "MAX_CUDA_VRM",
    ]  # fmt: skip
    assert [sentence.rsplit(maxsplit=1)[1] for sentence in said] == [
        "ACESTEP_OFFLOAD_TO_CPU?", "HEADROOM_POLICY?", "MAX_CUDA_VRAM?",
    ]  # fmt: skip


def test_each_kind_of_device_has_its_own_cap_and_the_smallest_limit_holds() -> None:
    found = load({"MAX_CUDA_VRAM": "8", "MAX_MPS_VRAM": "16", "MAX_XPU_VRAM": "6"})
    kinds = ("cuda", "simulated", "mps", "xpu")
    assert [found.vram_for(kind) for kind in kinds] == [8, 8, 16, 6]
    assert load({"MAX_MPS_VRAM": "16"}).vram_for("cuda") is None
    assert load({"MAX_CUDA_VRAM": "8"}).vram_for("mps") == 8
    limited = load({"MAX_CUDA_VRAM": "8", "MAX_XPU_VRAM": "6", "ACESTEP_MEMORY_LIMIT_GB": "7"})
    assert [limited.vram_for(kind) for kind in kinds] == [7, 7, 7, 6]
    assert load({}).vram_for("cuda") is None


def test_checkpoints_lie_here_where_there_is_such_a_folder_else_in_the_cache() -> None:
    assert load({"HEADROOM_CACHE_DIR": "c"}).checkpoints_dir == Path("c", "checkpoints")
    Path("checkpoints").mkdir()
    assert load({"HEADROOM_CACHE_DIR": "c"}).checkpoints_dir == Path("checkpoints")


def test_without_a_home_folder_the_cache_must_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", unknown)
    with pytest.raises(InvalidRequest, match=r"CACHE_DIR: None .* no home folder is known"):
        load({})
    assert load({"HEADROOM_CACHE_DIR": "c"}).cache_dir == Path("c")


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        load({}).device = "cpu"  # type: ignore[misc]


def test_the_example_file_is_current_and_says_nothing_until_uncommented() -> None:
    committed = (ROOT / ".env.example").read_text(encoding="utf-8")
    assert committed == example(), "run: python -m headroom.settings > .env.example"
    path = dotenv(committed)
    assert load({}, path) == load({})
    assert all(f"# {setting.name}=" in committed for _, setting in declared())


@pytest.mark.parametrize(
    "text",
    [
        "cuda:0,cuda:0", "cuda,cuda:0", "cuda:0,cuda:00", "simulated:a,simulated:A", "cuda:0,xpu:0",
        "cpu,cpu", "auto,cuda:1", "mps,mps", "cuda:0,", ",", "cuda:0 cuda:1",
        ",".join(f"cuda:{number}" for number in range(9)),
    ],
)  # fmt: skip
def test_words_that_make_no_group_of_cards_are_refused(text: str) -> None:
    allowed = r"or up to 8 different cards of one kind, as cuda:0,cuda:1\."
    with pytest.raises(InvalidRequest, match=rf"^HEADROOM_DEVICE: .* allowed: one of .*{allowed}"):
        load({"HEADROOM_DEVICE": text})


@pytest.mark.parametrize(
    "text", ["auto", "cuda:0 cuda:0", "cuda:0,cuda:1 cuda:1", "cuda cuda:00", "cuda:0,xpu:0", "gpu"]
)
def test_cards_of_engine_processes_that_make_no_sense_are_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match=r"HEADROOM_SERVICE_CARDS: .*no card twice, as in"):
        load({"HEADROOM_SERVICE_CARDS": text})
