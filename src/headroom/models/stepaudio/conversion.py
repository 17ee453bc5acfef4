"""Makes safetensors of the published files of the smaller networks, once, without running them.

The result lies in the cache, under a stamp of its sources; a source that changes is converted anew.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import torch
from torch import Tensor

from headroom.errors import InvalidCheckpoint, InvalidFile
from headroom.files import read_text
from headroom.models.stepaudio.layout import FLOW, LINGUISTIC, SEMANTIC, VOCODER, VOICE, Folders
from headroom.models.stepaudio.networks.vocoder import fold
from headroom.weights.onnx_file import OnnxFile
from headroom.weights.other_formats import (
    is_made_of,
    read_array,
    read_torch_file,
    stamp_of,
    write_folder,
)

_FORMAT = "1"  # of what is written: another number converts everything anew
_ENCODER = "encoder."
_CODEBOOK = "/quantizer/rq/model/layers.0/_codebook/MatMul"
_EPS = 1e-5  # of batch norms
_WRAPPER = "generator."  # in front of the vocoder's names in some releases
_NORMS = (
    (".parametrizations.weight.original0", ".parametrizations.weight.original1"),
    (".weight_g", ".weight_v"),
)


def converted(part: str, folders: Folders, cache: Path) -> Path:
    """The folder with a part's weights as safetensors; they are made now if they are not there.

    Raises InvalidCheckpoint for sources that are missing or damaged, and InvalidOutput.
    """
    sources, into = folders.sources(part), folders.converted(cache, part)
    stamp = f"{_FORMAT}; {stamp_of(*sources)}"
    if not is_made_of(into, stamp):
        write_folder(into, _CONVERSIONS[part](*sources), stamp)
    return into


def linguistic(model: Path, statistics: Path, means: Path) -> dict[str, Tensor]:
    """The encoder of Paraformer, the statistics of its input, and the means of the codes.

    The decoder and all else in the file stay there.
    """
    tensors = {
        name: tensor.float()
        for name, tensor in read_torch_file(model).items()
        if name.startswith(_ENCODER)
    }
    if not tensors:
        raise InvalidCheckpoint(model.parent, [f"{model.name}: holds no encoder"])
    width = tensors.get("encoder.after_norm.weight", torch.empty(0)).shape[0]
    shift, scale = read_statistics(statistics)
    return {**tensors, "shift": shift, "scale": scale, "codebook": read_array(means, width)}


def read_statistics(path: Path) -> tuple[Tensor, Tensor]:
    """What is added to each input, and what it is multiplied by then: from a network in Kaldi's
    text form. Raises InvalidCheckpoint."""
    try:
        text = read_text(path)
    except InvalidFile as error:
        raise InvalidCheckpoint(path.parent, [f"{path.name}: {error.why}"]) from error
    rows = []
    for name in ("AddShift", "Rescale"):
        found = re.search(rf"<{name}>[^\[]*\[([^\]]*)\]", text)
        try:
            rows.append([float(word) for word in found[1].split()] if found else [])
        except ValueError as error:
            raise InvalidCheckpoint(path.parent, [f"{path.name}: <{name}>: {error}"]) from error
    if (
        not rows[0]
        or len(rows[0]) != len(rows[1])
        or not all(map(math.isfinite, (*rows[0], *rows[1])))
    ):
        fault = f"{path.name}: <AddShift> and <Rescale> with as many numbers are needed"
        raise InvalidCheckpoint(path.parent, [fault])
    return torch.tensor(rows[0]), torch.tensor(rows[1])


def semantic(path: Path) -> dict[str, Tensor]:
    """Initialisers by name, and the anonymous ones by the nodes they enter."""
    file = OnnxFile.open(path)
    made = {"positional_embedding": file.tensor("encoders.positional_embedding").float()}
    for name in ("conv1", "conv2"):
        for leaf in ("weight", "bias"):
            made[f"{name}.{leaf}"] = file.tensor(f"encoders.{name}.{leaf}").float()
    block = 0
    while f"encoders.blocks.{block}.attn_ln.weight" in file.tensors:
        at = f"blocks.{block}."
        for name in ("attn_ln", "mlp_ln"):
            for leaf in ("weight", "bias"):
                made[f"{at}{name}.{leaf}"] = file.tensor(f"encoders.{at}{name}.{leaf}").float()
        for name, biased in (("query", 1), ("key", 0), ("value", 1), ("out", 1)):
            made |= _linear(file, f"{at}attn.{name}", f"/{at[:-1]}/attn/{name}", bool(biased))
        for name in ("mlp.0", "mlp.2"):
            made |= _linear(file, f"{at}{name}", f"/{at[:-1]}/mlp/{name}", True)
        block += 1
    made["codebook"] = _only(file, _CODEBOOK).t()
    return {name: tensor.contiguous() for name, tensor in made.items()}


def _linear(file: OnnxFile, name: str, node: str, biased: bool) -> dict[str, Tensor]:
    """A product, whose matrix is stored [in, out], and the sum behind it."""
    made = {f"{name}.weight": _only(file, f"{node}/MatMul").t()}
    if biased:
        made[f"{name}.bias"] = _only(file, f"{node}/Add")
    return made


def _only(file: OnnxFile, node: str) -> Tensor:
    names = file.weights_of(node)
    if len(names) != 1:
        raise file.fault(f"{len(names)} tensors enter {node}, one is needed")
    return file.tensor(names[0]).float()


def voice(path: Path) -> dict[str, Tensor]:
    """Convolutions and batch norms by their nodes; norms become scales and shifts."""
    file, made = OnnxFile.open(path), dict[str, Tensor]()

    def conv(name: str, node: str) -> None:
        tensors = [file.tensor(key).float() for key in file.weights_of(f"{node}/Conv")]
        if not 1 <= len(tensors) <= 2:
            raise file.fault(f"{len(tensors)} tensors enter {node}/Conv")
        made.update(zip((f"{name}.weight", f"{name}.bias"), tensors, strict=False))

    def norm(name: str, node: str) -> None:
        made.update({f"{name}.{k}": v for k, v in _affine(file, node).items()})

    conv("head.conv1", "/head/conv1")
    conv("head.conv2", "/head/conv2")
    for layer in ("layer1", "layer2"):
        for i in range(2):
            at, node = f"head.{layer}.{i}", f"/head/{layer}/{layer}.{i}"
            conv(f"{at}.conv1", f"{node}/conv1")
            conv(f"{at}.conv2", f"{node}/conv2")
        conv(f"head.{layer}.0.shortcut", f"/head/{layer}/{layer}.0/shortcut/shortcut.0")
    conv("tdnn", "/xvector/tdnn/linear")
    block = 1
    while f"/xvector/block{block}/tdnnd1/linear1/Conv" in file.nodes:
        layer_number = 1
        while f"/xvector/block{block}/tdnnd{layer_number}/linear1/Conv" in file.nodes:
            at = f"blocks.{block - 1}.{layer_number - 1}"
            node = f"/xvector/block{block}/tdnnd{layer_number}"
            norm(f"{at}.norm", f"{node}/nonlinear1/batchnorm")
            conv(f"{at}.linear", f"{node}/linear1")
            for ours, theirs in (("local", "linear_local"), ("context1", "linear1"),
                                 ("context2", "linear2")):  # fmt: skip
                conv(f"{at}.{ours}", f"{node}/cam_layer/{theirs}")
            layer_number += 1
        norm(f"transits.{block - 1}.norm", f"/xvector/transit{block}/nonlinear/batchnorm")
        conv(f"transits.{block - 1}.linear", f"/xvector/transit{block}/linear")
        block += 1
    conv("dense", "/xvector/dense/linear")
    norm("out", "/xvector/dense/nonlinear/batchnorm")
    return made


def _affine(file: OnnxFile, node: str) -> dict[str, Tensor]:
    """A batch norm with its statistics: (x − mean) / √(variance + ε) · scale + shift."""
    found = file.nodes.get(f"{node}/BatchNormalization")
    if found is None or len(found.inputs) < 5:
        raise file.fault(f"no batch norm {node}")
    mean, variance = (file.tensor(name).float() for name in found.inputs[3:5])
    gain = torch.rsqrt(variance + _EPS)
    shift = torch.zeros_like(mean)
    # A norm that learned neither has no scale and shift in the file.
    if found.inputs[1] in file.tensors:
        gain = gain * file.tensor(found.inputs[1]).float()
    if found.inputs[2] in file.tensors:
        shift = file.tensor(found.inputs[2]).float()
    return {"weight": gain, "bias": shift - mean * gain}


def flow(path: Path) -> dict[str, Tensor]:
    """As it is."""
    return {name: tensor.float() for name, tensor in read_torch_file(path).items()}


def vocoder(path: Path) -> dict[str, Tensor]:
    """With folded weight norm, in either of torch's spellings."""
    stored = {
        name.removeprefix(_WRAPPER): tensor.float()
        for name, tensor in read_torch_file(path).items()
    }
    made: dict[str, Tensor] = {}
    for name, tensor in stored.items():
        split = next(((n, g, d) for g, d in _NORMS for n in (g, d) if name.endswith(n)), None)
        if split is None:
            made[name] = tensor
            continue
        ending, gain, direction = split
        base = name.removesuffix(ending)
        pair = [stored.get(base + part) for part in (gain, direction)]
        if pair[0] is None or pair[1] is None or pair[1].ndim != 3:
            raise InvalidCheckpoint(path.parent, [f"{path.name}: {base}: half of a weight norm"])
        made[f"{base}.weight"] = fold(pair[0], pair[1])
    return made


_CONVERSIONS: Mapping[str, Callable[..., dict[str, Tensor]]] = MappingProxyType(
    {LINGUISTIC: linguistic, SEMANTIC: semantic, VOICE: voice, FLOW: flow, VOCODER: vocoder}
)
