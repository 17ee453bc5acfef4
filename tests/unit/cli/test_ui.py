"""`acestep ui` takes the flags with which ACE-Step starts its page, and a bare `acestep` is it."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from headroom.cli import main, serve, ui
from headroom.cli.parser import spelt
from headroom.errors import InvalidRequest

OLD_LINE = (
    "--server-name 0.0.0.0 --port 7860 --init_service true --offload_to_cpu true --language pt"
)


SERVE = serve.serve


@dataclass
class Started:
    """What would have been served."""

    config: Any = None
    options: Any = None
    share: bool = False
    calls: list[Sequence[str]] = field(default_factory=list)

    def __call__(self, config: Any, options: Any, share: bool = False) -> int:
        self.config, self.options, self.share = config, options, share
        return 0


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Started:
    made = Started()
    monkeypatch.setattr(ui, "serve", made)
    monkeypatch.setattr(serve, "serve", made)
    return made


@pytest.mark.parametrize("hyphens", [False, True])
def test_the_line_of_the_4gb_mode(started: Started, hyphens: bool) -> None:
    line = OLD_LINE.replace("_", "-") if hyphens else OLD_LINE
    assert ui.run(line.split()) == 0
    config = started.config
    assert (config.host, config.ports) == ("0.0.0.0", (7860,))
    assert config.settings.ui_language == "pt"
    assert started.options.offload is True
    assert config.page.path == "/ui" and not started.share


def test_every_old_flag_is_taken() -> None:
    old = (
        "--port 7000 --server-name 127.0.0.1 --debug --language zh --allowed-path a "
        "--service_mode true --init_service yes --checkpoint c --config_path acestep-v15-turbo "
        "--lm_model_path acestep-5Hz-lm-0.6B --device cpu --init_llm false --backend pt "
        "--use_flash_attention true --offload_to_cpu false --offload_dit_to_cpu true "
        "--download-source modelscope --enable-api --auth-username me "
        "--auth-password a-password-of-many-signs --quantization int8_weight_only --batch_size 2"
    )
    words = list(ui.today(spelt(old.split())))
    args = ui.parser().parse_args(words)
    assert (args.port, args.language, args.download_source) == ("7000", "zh", "modelscope")
    assert (args.api_key, args.batch_size) == ("a-password-of-many-signs", "2")
    options = serve.engine_flags(args)
    assert (options.offload, options.offload_dit, options.init_lm) == (False, True, False)
    assert (options.model, options.lm_model) == ("acestep-v15-turbo", "acestep-5Hz-lm-0.6B")
    assert (options.lm_backend, options.quantization) == ("pt", "int8_weight_only")


def test_what_has_no_effect_is_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("WARNING"):
        assert list(ui.today(["--init-service", "true", "--debug", "--port", "1"])) == [
            "--port", "1",
        ]  # fmt: skip
    assert "--init-service has no effect here" in caplog.text
    assert "--debug has no effect here" in caplog.text


def test_switches_that_are_open_are_left_to_the_policy() -> None:
    assert list(ui.today(["--init-llm", "auto", "--offload-to-cpu"])) == ["--offload=on"]


@pytest.mark.parametrize(("flag", "value"), [("--port", "0"), ("--language", "xx")])
def test_what_a_flag_does_not_take(started: Started, flag: str, value: str) -> None:
    with pytest.raises(InvalidRequest) as error:
        ui.run([flag, value])
    assert error.value.field == flag[2:]


def test_without_a_command_the_page_opens(started: Started) -> None:
    assert main.main([]) == 0
    assert started.config.ports == (7860,)
    assert main.main(["--port", "7001"]) == 0
    assert started.config.ports == (7001,)
    for name in ("acestep.acestep_v15_pipeline", "acestep.gradio_ui"):
        started.config = None
        assert importlib.import_module(name).main(OLD_LINE.split()) == 0
        assert started.config.settings.ui_language == "pt"


def test_the_service_serves_the_page_on_a_port_of_its_own(started: Started) -> None:
    assert serve.run(["--ui", "--port", "8002"]) == 0
    assert started.config.ports == (8002, 7860) and started.config.page is not None
    assert serve.run([]) == 0
    assert started.config.ports == (8001,) and started.config.page is None


def test_sharing_is_asked_for(started: Started) -> None:
    assert ui.run(["--share"]) == 0 and started.share


def test_nothing_is_shared_without_a_key(started: Started) -> None:
    ui.run(["--share"])
    with pytest.raises(InvalidRequest, match="share: 'on' is not allowed; allowed: with a key"):
        SERVE(started.config, started.options, started.share)
    ui.run(["--share", "--api-key", "a-password-of-many-signs"])
    assert started.config.key == "a-password-of-many-signs"
