from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from headroom import host_compiler as host
from headroom.runtime import compiled
from headroom.runtime.compiled import compile_calls, compiler

CPU = torch.device("cpu")
# torch says this of its own code when Inductor is first imported
pytestmark = pytest.mark.filterwarnings("ignore:.*script_method:DeprecationWarning")


class Curve(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.sin(x) * 2 + 1


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv(compiled.CACHE, os.environ.get(compiled.CACHE, ""))
    monkeypatch.delenv(compiled.CACHE)
    yield
    if "torch._dynamo" in sys.modules:
        torch.compiler.reset()


@pytest.fixture
def heard(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(logging.getLogger("headroom"), "propagate", True)
    caplog.set_level(logging.WARNING, "headroom")
    return caplog


def test_without_a_compiler_nothing_changes_and_it_is_said(heard, monkeypatch, tmp_path: Path):
    monkeypatch.setattr(host.shutil, "which", lambda name: None)
    curve = Curve()
    assert compiler(CPU) is None
    assert not compile_calls([(curve, "forward")], CPU, tmp_path)
    assert "forward" not in vars(curve) and compiled.CACHE not in os.environ
    assert "no compiler for cpu was found" in heard.text


def test_each_device_has_a_compiler_of_its_own(monkeypatch):
    monkeypatch.setattr(host.shutil, "which", lambda name: f"/bin/{name}")
    monkeypatch.setattr(compiled.importlib.util, "find_spec", lambda name: None)
    assert compiler(CPU) is not None
    assert compiler(torch.device("cuda")) is None and compiler(torch.device("mps")) is None
    monkeypatch.setattr(compiled.importlib.util, "find_spec", lambda name: name == "triton")
    assert compiler(torch.device("cuda")) == "triton"


def test_a_compiler_that_fails_leaves_the_function_as_it_is(heard, monkeypatch, tmp_path: Path):
    tries = []

    def broken(function, **options):
        def backend(graph, inputs):
            tries.append(graph)
            raise ValueError("cannot do that")

        return torch._dynamo.optimize(backend)(function)

    monkeypatch.setattr(compiled.torch, "compile", broken)
    monkeypatch.setattr(compiled, "compiler", lambda device: "g++")
    first, second, x = Curve(), Curve(), torch.randn(5)
    assert compile_calls([(first, "forward"), (second, "forward")], CPU, tmp_path)
    assert torch.equal(first(x), Curve()(x)) and torch.equal(second(x), Curve()(x))
    assert len(tries) == 1
    assert heard.text.count("it runs as it is") == 1 and "cannot do that" in heard.text


def test_other_failures_pass_through(monkeypatch, tmp_path: Path):
    monkeypatch.setattr(compiled.torch, "compile", lambda function, **options: function)
    monkeypatch.setattr(compiled, "compiler", lambda device: "g++")
    curve = Curve()
    compile_calls([(curve, "forward")], CPU, tmp_path)
    with pytest.raises(TypeError):
        curve("no tensor")


def test_the_cache_is_where_it_was_told_unless_the_environment_says(monkeypatch, tmp_path: Path):
    monkeypatch.setattr(compiled, "compiler", lambda device: "g++")
    compile_calls([], CPU, tmp_path)
    assert os.environ[compiled.CACHE] == str(tmp_path / "inductor")
    monkeypatch.setenv(compiled.CACHE, "elsewhere")
    compile_calls([], CPU, tmp_path)
    assert os.environ[compiled.CACHE] == "elsewhere"


@pytest.mark.long
@pytest.mark.parametrize("device", ["cpu", "meta"])  # meta goes the way of an accelerator
def test_a_new_length_is_not_compiled_anew(device: str, monkeypatch, tmp_path: Path):
    """Two lengths teach torch that the number of rows varies; after that nothing is compiled."""
    from support.random_dit import random_dit, velocity

    made = []

    def count(graph, inputs):
        made.append(graph)
        return graph.forward

    real = torch.compile
    monkeypatch.setattr(compiled, "compiler", lambda device: "g++")
    monkeypatch.setattr(compiled.torch, "compile", lambda f, **options: real(f, backend=count))
    dit = random_dit(device=device)
    compile_calls(dit.pieces(), CPU, tmp_path)
    with torch.inference_mode():
        for frames in ([30], [64], [90], [44, 44], [90, 31]):
            velocity(dit, frames)
        before = len(made)
        for frames in ([34], [120], [200], [60, 60], [70, 12]):
            velocity(dit, frames)
            velocity(dit, frames, guided=True)
    assert 0 < before <= 3 * len(dit.layers[0].pieces)
    assert len(made) == before


@pytest.mark.slow
@pytest.mark.skipif(compiler(CPU) is None, reason="no C++ compiler here")
def test_compiled_blocks_equal_eager_ones(tmp_path: Path):
    """A tiny DiT, ragged and guided."""
    from support.near import assert_near
    from support.random_dit import random_dit, velocity

    torch.manual_seed(0)
    eager, blocks = random_dit(), random_dit()
    blocks.load_state_dict(eager.state_dict())
    assert compile_calls(blocks.pieces(), CPU, tmp_path)
    with torch.inference_mode():
        for frames, guided in ([90, 31], False), ([64], True):
            found = velocity(blocks, frames, guided=guided)
            assert_near(found, partial(velocity, eager, frames, guided=guided))
    assert any((tmp_path / "inductor").rglob("*"))
