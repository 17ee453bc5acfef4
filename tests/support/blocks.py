"""Builds parts of the page as the service does: inside a loop, or Gradio opens loops of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

import gradio as gr

T = TypeVar("T")


def in_loop(work: Callable[[], T]) -> T:
    """What `work` answers inside a running loop."""

    async def inside() -> T:
        return work()

    return asyncio.run(inside())


def built(work: Callable[[], T]) -> T:
    """What `work` builds, inside a page of its own."""

    def inside() -> T:
        with gr.Blocks(analytics_enabled=False):
            return work()

    return in_loop(inside)
