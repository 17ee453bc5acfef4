"""How many engines Ray Serve runs, by the jobs in the queue. Its controller calls this."""

from __future__ import annotations

from math import ceil
from typing import Any

WAITING_EACH = 2  # jobs that wait for each engine beyond those at work


def engines_wanted(context: Any) -> tuple[int, dict[str, Any]]:
    """As many engines as are at work, and one more for every WAITING_EACH jobs that wait.

    `context` has what each replica told of the queue (Serve's AutoscalingContext). So none is ended
    that is at work. Serve keeps the number within its bounds and waits before it acts on it.
    """
    told = context.aggregated_metrics or {}
    waiting = told.get("waiting", {}).values()
    running = told.get("running", {}).values()
    if not waiting or not running:  # nobody has told anything yet
        return context.target_num_replicas, {}
    return ceil(max(running)) + ceil(max(waiting) / WAITING_EACH), {}
