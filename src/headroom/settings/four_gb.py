"""The settings of the 4 GB mode: the lines of its `.env`, in force where nothing else sets them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from headroom.errors import InvalidOutput
from headroom.settings.env_file import FILE

MODE = "4 GB mode"
# Each variable with its value, and the comment above it in the file.
_LINES = (
    ("MAX_CUDA_VRAM", "4", "Use no more than 4 GiB of the card"),
    ("ACESTEP_INIT_LM_DEFAULT", "false", "Load no language model"),
    ("ACESTEP_OFFLOAD_TO_CPU", "true", "Parts leave the card while nobody uses them"),
    ("ACESTEP_OFFLOAD_DIT_TO_CPU", "true", "The DiT leaves it too"),
    ("ACESTEP_MAX_DURATION", "180", "Longest song, in seconds"),
    ("ACESTEP_MAX_BATCH_SIZE", "1", "Most songs at once"),
    (
        "PYTORCH_CUDA_ALLOC_CONF",
        "garbage_collection_threshold:0.6,max_split_size_mb:128",
        "Options of torch's allocator",
    ),
)
FOUR_GB: Mapping[str, str] = MappingProxyType({name: value for name, value, _ in _LINES})


def write_env(folder: Path) -> bool:
    """Write the mode's `.env` into a folder that has none; whether it was written.

    Raises InvalidOutput if the folder takes no file.
    """
    lines = [f"# {MODE}. `acestep settings` shows what is in force; the environment wins.\n"]
    lines += [f"# {comment}\n{name}={value}\n" for name, value, comment in _LINES]
    path = folder / FILE
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write("\n".join(lines))
    except FileExistsError:
        return False
    except OSError as error:
        why = f"cannot be written ({error.strerror or error})"
        raise InvalidOutput("env file", path, why, "a folder that takes files") from error
    return True
