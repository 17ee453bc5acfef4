"""Declares the options of an engine, each once: flag, variable, check and texts follow from it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, cast, get_args

from headroom.settings.declaration import (
    AUTO,
    DEVICE,
    DEVICES,
    FOLDER,
    MAYBE,
    NAME,
    SECONDS,
    SWITCH,
    THREADS,
    Declared,
    Setting,
    Takes,
    words,
)

GROUP = "Machine and model"
DType = Literal["float32", "bfloat16", "float16"]
DTYPES = (AUTO, *get_args(DType))
# The words for the precision of weights, and ACE-Step's words for the same; `memory.precision`
# defines them, and a test keeps the two in agreement.
NO_LM = "none"  # the value of `lm_model` that turns language models off
PRECISION_WORDS = (AUTO, "none", "int8", "fp8", "w8a8", "int4")
_OLD_WORDS = ("int8_weight_only", "fp8_weight_only", "w8a8_dynamic", "int4_weight_only")
QUANTIZATIONS = (*PRECISION_WORDS, *_OLD_WORDS)
PolicyName = Literal["published", "adaptive"]
POLICIES: tuple[PolicyName, ...] = get_args(PolicyName)
BACKENDS = (AUTO, "vllm", "pt", "mlx")
CHECKPOINTS = "./checkpoints where there is one, else checkpoints in the cache folder"
_POLICY = "as the policy says"


class Options(Declared):
    """What an engine is opened with, whatever the family of models.

    An option that is not given is as the settings say, and where those are silent, as its
    declaration says; None leaves the choice to the policy.
    """

    device: Annotated[
        str,
        Setting(
            GROUP,
            "where to compute; cuda and xpu may carry an index, as cuda:1; several cards, with "
            "commas between them, work as one group, as cuda:0,cuda:1",
            basic=True,
            takes=DEVICE,
            replaces=("ACESTEP_DEVICE",),
            metavar="|".join(DEVICES),
        ),
    ] = AUTO
    dtype: Annotated[
        str,
        Setting(GROUP, "precision", takes=words(*DTYPES), flag_only=True, metavar="|".join(DTYPES)),
    ] = AUTO
    model: Annotated[
        str | None,
        Setting(
            GROUP,
            "the DiT, by a name that `acestep models list` shows",
            basic=True,
            left_open="the best that is installed",
            takes=NAME,
            replaces=("ACESTEP_CONFIG_PATH",),
            old=("config_path",),
            metavar="NAME",
        ),
    ] = None
    checkpoint_dir: Annotated[
        Path | None,
        Setting(
            GROUP,
            "folder of the model folders",
            basic=True,
            left_open=CHECKPOINTS,
            takes=FOLDER,
            flag_only=True,
            metavar="FOLDER",
        ),
    ] = None
    compile: Annotated[
        bool | None,
        Setting(
            GROUP,
            "compile what runs often",
            left_open="where it pays",
            takes=MAYBE,
            replaces=("ACESTEP_COMPILE_MODEL",),
            metavar="",
        ),
    ] = None
    policy: Annotated[
        PolicyName,
        Setting(
            GROUP,
            "what the card's published tier says, or the best that fits",
            takes=words(*POLICIES),
            metavar="|".join(POLICIES),
        ),
    ] = "published"
    offload: Annotated[
        bool | None,
        Setting(
            GROUP,
            "parts leave the card while nobody uses them",
            left_open=_POLICY,
            takes=MAYBE,
            replaces=("ACESTEP_OFFLOAD_TO_CPU",),
            old=("offload_to_cpu",),
            metavar="auto|on|off",
            bare="on",
        ),
    ] = None
    offload_dit: Annotated[
        bool | None,
        Setting(
            GROUP,
            "the DiT leaves the card too",
            left_open=_POLICY,
            takes=MAYBE,
            replaces=("ACESTEP_OFFLOAD_DIT_TO_CPU",),
            old=("offload_dit_to_cpu",),
            metavar="auto|on|off",
            bare="on",
        ),
    ] = None
    quantization: Annotated[
        str | None,
        Setting(
            GROUP,
            "precision of the DiT's weights",
            left_open=_POLICY,
            takes=words(*QUANTIZATIONS),
            replaces=("ACESTEP_QUANTIZATION",),
            metavar="|".join(PRECISION_WORDS),
        ),
    ] = None
    init_lm: Annotated[
        bool | None,
        Setting(
            GROUP,
            "load the planner language model",
            left_open=_POLICY,
            takes=MAYBE,
            replaces=("ACESTEP_INIT_LM_DEFAULT", "ACESTEP_INIT_LLM"),
            old=("init_llm",),
            metavar="",
        ),
    ] = None
    lm_model: Annotated[
        str | None,
        Setting(
            GROUP,
            "planner language model, or none",
            basic=True,
            left_open=_POLICY,
            takes=Takes("the name of a model folder, or none"),
            replaces=("ACESTEP_LM_MODEL_PATH",),
            old=("lm_model_path",),
            metavar="NAME",
        ),
    ] = None
    lm_backend: Annotated[
        str | None,
        Setting(
            GROUP,
            "how the language model runs",
            left_open=AUTO,
            takes=words(*BACKENDS),
            replaces=("ACESTEP_LM_BACKEND",),
            metavar="|".join(BACKENDS),
        ),
    ] = None
    gpu_management: Annotated[
        bool,
        Setting(
            GROUP,
            "give the card's memory back after each request and when idle",
            flag="enable-gpu-management",
            takes=SWITCH,
            metavar="",
        ),
    ] = False
    gpu_idle_timeout: Annotated[
        float,
        Setting(
            GROUP,
            "seconds until an idle part leaves the card, under management",
            takes=SECONDS,
            replaces=("GPU_IDLE_TIMEOUT",),
            metavar="SECONDS",
        ),
    ] = 600.0
    threads: Annotated[
        int | None,
        Setting(
            GROUP,
            "threads of the processor",
            left_open="as torch has",
            takes=THREADS,
            flag_only=True,
            metavar="N",
        ),
    ] = None

    @property
    def precision(self) -> DType | None:
        """The precision named by `dtype`; None leaves it to the device."""
        return None if self.dtype == AUTO else cast("DType", self.dtype)


_OWN = ("device", "dtype", "model", "checkpoint_dir", "compile", "threads")
OF_TIER = tuple(name for name in Options.model_fields if name not in _OWN)  # a tier decides these
