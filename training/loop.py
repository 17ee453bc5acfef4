"""A training loop that can be stopped and continued: rate, averaged weights, state, curve."""

from __future__ import annotations

import json
import math
import time
from abc import ABC, abstractmethod
from dataclasses import asdict
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

AVERAGING = 0.999  # of the weights that are evaluated and written
PEAK_SHARE = 0.02  # of the steps, until the rate is at its highest
LEAST_RATE = 0.02  # of the highest rate, at the end


class Recipe(Protocol):
    """What every recipe, a frozen dataclass, has. A folder belongs to one recipe."""

    __dataclass_fields__: dict[str, object]

    @property
    def steps(self) -> int: ...

    @property
    def rate(self) -> float: ...

    @property
    def every(self) -> int:
        """Steps between evaluations and savings."""

    @property
    def seed(self) -> int: ...


R = TypeVar("R", bound=Recipe)
M = TypeVar("M", bound=nn.Module)


class Loop(ABC, Generic[R, M]):
    """A module in training, its optimizer and its averaged copy, at some step.

    `averaged` is built as `trained` is, and takes its weights.
    """

    def __init__(
        self, recipe: R, out: Path, trained: M, averaged: M, optimizer: torch.optim.Optimizer
    ) -> None:
        self.recipe, self.out = recipe, out
        self.trained, self.averaged, self.optimizer = trained, averaged, optimizer
        self.step, self.spent = 0, 0.0
        self.begun = 0  # the step from which on weights are averaged
        averaged.load_state_dict(trained.state_dict())

    @abstractmethod
    def loss(self) -> Tensor:
        """The loss of the next step. Depends on the weights, the recipe and the step alone."""

    @abstractmethod
    def figures(self) -> object:
        """The averaged weights evaluated, as a dataclass of numbers."""

    @abstractmethod
    def write(self) -> None:
        """Write the averaged weights in the official layout."""

    def resume(self) -> None:
        """Continue from `state.pt` if it exists. Raises ValueError for another recipe."""
        file = self.out / "state.pt"
        if not file.exists():
            return
        where = next(self.trained.parameters()).device
        state = torch.load(file, weights_only=True, map_location=where)
        if state["recipe"] != asdict(self.recipe):  # type: ignore[call-overload]
            raise ValueError(f"{file} was trained with another recipe: {state['recipe']}")
        self.trained.load_state_dict(state["trained"])
        self.averaged.load_state_dict(state["averaged"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.spent, self.begun = state["step"], state["spent"], state.get("begun", 0)

    def begin_from(self, file: Path) -> None:
        """Begin where `milestone` was written: its weights and step, with a fresh optimizer."""
        saved = torch.load(file, weights_only=True)
        weights = kept(file)
        self.trained.load_state_dict(weights)
        self.averaged.load_state_dict(weights)
        self.step, self.spent, self.begun = saved["step"], saved["spent"], saved["step"]

    def milestone(self, file: Path) -> None:
        """Write the averaged weights and the step: an eighth of `state.pt`."""
        weights = {name: tensor.bfloat16() for name, tensor in self.averaged.state_dict().items()}
        torch.save({"averaged": weights, "step": self.step, "spent": self.spent}, file)

    def save(self) -> None:
        """Write `state.pt`, replaced in one step, and the averaged weights."""
        state = {
            "recipe": asdict(self.recipe),  # type: ignore[call-overload]
            "trained": self.trained.state_dict(), "averaged": self.averaged.state_dict(),
            "optimizer": self.optimizer.state_dict(), "step": self.step, "spent": self.spent,
            "begun": self.begun,
        }  # fmt: skip
        torch.save(state, self.out / "state.new")
        (self.out / "state.new").replace(self.out / "state.pt")
        self.write()

    def rate(self) -> float:
        """The rate of the next step, apart from the rise at the beginning."""
        fall = 0.5 + 0.5 * math.cos(math.pi * self.step / self.recipe.steps)
        return self.recipe.rate * max(fall, LEAST_RATE)

    def advance(self) -> float:
        """Do one step, and return its loss."""
        rise = min(1.0, (self.step + 1) / max(1.0, PEAK_SHARE * self.recipe.steps))
        for group in self.optimizer.param_groups:
            group["lr"] = rise * self.rate()
        loss = self.loss()
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.trained.parameters(), 1.0)
        self.optimizer.step()
        self.step += 1
        done = self.step - self.begun
        keep = min(AVERAGING, (1 + done) / (10 + done))
        with torch.no_grad():
            pairs = zip(self.averaged.parameters(), self.trained.parameters(), strict=True)
            for mean, now in pairs:
                mean.lerp_(now, 1 - keep)
        return float(loss.detach())

    def run(self) -> None:
        """Train to the recipe's last step."""
        self.out.mkdir(parents=True, exist_ok=True)
        self.resume()
        started, before = time.process_time(), self.spent
        losses: list[float] = []
        if self.step == 0:
            self.note(None)
        while self.step < self.recipe.steps:
            losses.append(self.advance())
            self.spent = before + time.process_time() - started
            if self.step % self.recipe.every == 0 or self.step == self.recipe.steps:
                self.note(float(np.mean(losses)))
                losses = []
                self.save()

    def note(self, loss: float | None) -> None:
        """Evaluate, and append a line to the curve; `loss`: the mean since the line before."""
        point = {
            "step": self.step,
            "cpu_seconds": round(self.spent, 1),
            "loss": None if loss is None else round(loss, 4),
            **asdict(self.figures()),  # type: ignore[call-overload]
        }
        line = json.dumps(point)
        with (self.out / "curve.jsonl").open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")
        print(line, flush=True)


def kept(file: Path) -> dict[str, Tensor]:
    """The averaged weights of a milestone or of a state, in fp32 on the CPU."""
    saved = torch.load(file, weights_only=True, map_location="cpu")["averaged"]
    return {name: tensor.float() for name, tensor in saved.items()}
