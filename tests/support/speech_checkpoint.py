"""A tiny Step-Audio-EditX in the official layout: every component, drawn at random."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from headroom.models.stepaudio.layout import MODEL, PARAFORMER, SOUND, TOKENIZER
from headroom.models.stepaudio.networks.config import Step1Sizes
from headroom.models.stepaudio.networks.flow import Flow
from headroom.models.stepaudio.networks.linguistic import LinguisticTokenizer
from headroom.models.stepaudio.networks.semantic import SemanticTokenizer
from headroom.models.stepaudio.networks.shapes import (
    FlowSizes,
    LinguisticSizes,
    SemanticSizes,
    SpeakerSizes,
    VocoderSizes,
)
from headroom.models.stepaudio.networks.speaker import SpeakerNetwork
from headroom.models.stepaudio.networks.step1 import Step1
from headroom.models.stepaudio.networks.vocoder import Vocoder, folded_norm
from headroom.models.stepaudio.text.audio_ids import AUDIO_STOP
from support import wire
from support.real_sizes import randomised
from support.speech import pieces_as_rows

LANGUAGE = Step1Sizes(8, 12, 2, 4, 2, AUDIO_STOP, 1e-5, 32_768)
LINGUISTIC = LinguisticSizes(560, 8, 1, 12, 2, 11, 1024)
SEMANTIC = SemanticSizes(128, 8, 1, 12, 1, 1500, 4096)
VOICE = SpeakerSizes(2, 4, 2, 4, (1, 1), 6)
FLOW = FlowSizes(5121, 8, 6, 80, 2, 12, 1, 1, 3, 8, 2, 4, 12, 1, 8)
VOCODER = VocoderSizes(80, 16, (8, 5, 3), (16, 11, 7), (3,), (7, 7, 11), (1,), 16, 9, 6)


def write_checkpoint(place: Path, seed: int = 0, name: str = MODEL) -> Path:
    """Write the two folders below `place` → the model's folder."""
    model, tokenizer = place / name, place / TOKENIZER
    for folder in (model / SOUND, tokenizer / PARAFORMER):
        folder.mkdir(parents=True)
    _language(model, seed)
    torch.save(randomised(Flow(FLOW), seed).state_dict(), model / SOUND / "flow.pt")
    torch.save(vocoder_file(randomised(Vocoder(VOCODER), seed, 0.1)), model / SOUND / "hift.pt")
    (model / SOUND / "campplus.onnx").write_bytes(voice_file(voice(seed)))
    (tokenizer / "speech_tokenizer_v1.onnx").write_bytes(semantic_file(semantic(seed)))
    _linguistic(tokenizer, seed)
    return model


def semantic(seed: int = 0) -> SemanticTokenizer:
    made = randomised(SemanticTokenizer(SEMANTIC), seed)
    assert isinstance(made, SemanticTokenizer)
    return made


def voice(seed: int = 0) -> SpeakerNetwork:
    made = randomised(SpeakerNetwork(VOICE), seed)
    assert isinstance(made, SpeakerNetwork)
    return made


def linguistic(seed: int = 0) -> LinguisticTokenizer:
    made = randomised(LinguisticTokenizer(LINGUISTIC), seed)
    assert isinstance(made, LinguisticTokenizer)
    return made


def _language(folder: Path, seed: int) -> None:
    s = LANGUAGE
    config = {
        "architectures": ["Step1ForCausalLM"], "model_type": "step1", "hidden_size": s.width,
        "intermediate_size": s.hidden, "num_hidden_layers": s.layers,
        "num_attention_heads": s.heads, "num_attention_groups": s.kv_heads,
        "vocab_size": s.vocabulary, "max_seq_len": s.most_tokens, "rms_norm_eps": s.eps,
        "torch_dtype": "bfloat16",
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer.model").write_bytes(wire.pieces_model(pieces_as_rows()))
    network = randomised(Step1(s), seed)
    tensors = {
        name if name.startswith("lm_head.") else f"model.{name}": tensor.bfloat16()
        for name, tensor in network.state_dict().items()
    }
    save_file(tensors, folder / "model.safetensors")


def _linguistic(folder: Path, seed: int) -> None:
    state = linguistic(seed).state_dict()
    encoder = {name: t for name, t in state.items() if name.startswith("encoder.")}
    unused = {"decoder.embed.0.weight": torch.zeros(3, 2)}
    torch.save({**encoder, **unused}, folder / PARAFORMER / "model.pt")
    rows = (" ".join(f"{v:.9g}" for v in state[name].tolist()) for name in ("shift", "scale"))
    shift, scale = rows
    (folder / PARAFORMER / "am.mvn").write_text(
        f"<Nnet>\n<Splice> 560 560\n[ 0 ]\n<AddShift> 560 560\n<LearnRateCoef> 0 [ {shift} ]\n"
        f"<Rescale> 560 560\n<LearnRateCoef> 0 [ {scale} ]\n</Nnet>\n"
    )
    np.save(folder / "linguistic_tokenizer.npy", state["codebook"].numpy())


def vocoder_file(network: nn.Module, prefix: str = "") -> dict[str, torch.Tensor]:
    """The tensors as they are published, with weight norms."""
    stored: dict[str, torch.Tensor] = {}
    for name, tensor in network.state_dict().items():
        recipe = folded_norm(name)
        if recipe is None:
            stored[prefix + name] = tensor
            continue
        gain, direction = recipe.keys
        stored[prefix + gain] = torch.linalg.vector_norm(tensor, dim=(1, 2), keepdim=True)
        stored[prefix + direction] = tensor * 3
    return stored


def semantic_file(network: SemanticTokenizer) -> bytes:
    """The graph as it is published: named initialisers, and anonymous ones at nodes."""
    tensors: dict[str, np.ndarray] = {}
    nodes: list[bytes] = []
    for name, tensor in network.state_dict().items():
        array = tensor.numpy()
        parts = name.split(".")
        if name == "codebook":
            node, kind, array = "/quantizer/rq/model/layers.0/_codebook/MatMul", "MatMul", array.T
        elif ".attn." in name or ".mlp." in name:
            path = "/" + ".".join(parts[:2]) + f"/{parts[2]}/"
            path += parts[3] if parts[2] == "attn" else f"mlp.{parts[3]}"
            kind = "MatMul" if name.endswith("weight") else "Add"
            node, array = f"{path}/{kind}", array.T if kind == "MatMul" else array
        else:
            tensors[f"encoders.{name}"] = array
            continue
        key = f"onnx::{kind}_{len(tensors)}"
        tensors[key] = np.ascontiguousarray(array)
        inputs = ("x", key) if kind == "MatMul" else (key, "x")
        nodes.append(wire.node(kind, node, inputs, ("y",)))
    return wire.onnx(tensors, nodes)


def voice_file(network: SpeakerNetwork) -> bytes:
    """The graph as it is published: convolutions with folded norms, norms before convolutions."""
    state = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    tensors: dict[str, np.ndarray] = {}
    nodes: list[bytes] = []
    for base in dict.fromkeys(name.rpartition(".")[0] for name in state):
        weight, bias = state[f"{base}.weight"], state.get(f"{base}.bias")
        if weight.ndim > 1:
            keys = [f"onnx::Conv_{len(tensors)}"]
            tensors[keys[0]] = weight
            if bias is not None:
                keys.append(f"onnx::Conv_{len(tensors)}")
                tensors[keys[1]] = bias
            nodes.append(wire.node("Conv", f"{_node_of(base)}/Conv", ("x", *keys), ("y",)))
            continue
        assert bias is not None
        mean, variance = np.float32(0.25) + 0 * bias, np.float32(3.0) + 0 * bias
        gain = weight * np.sqrt(variance + 1e-5)
        keys = []
        for value in (gain, bias + mean * weight, mean, variance):
            keys.append(f"norm.{len(tensors)}")
            tensors[keys[-1]] = value.astype(np.float32)
        name = f"{_node_of(base)}/BatchNormalization"
        nodes.append(wire.node("BatchNormalization", name, ("x", *keys), ("y",)))
    return wire.onnx(tensors, nodes)


def _node_of(base: str) -> str:
    parts = base.split(".")
    if parts[0] == "head":
        if len(parts) == 2:
            return f"/head/{parts[1]}"
        inner = "shortcut/shortcut.0" if parts[3] == "shortcut" else parts[3]
        return f"/head/{parts[1]}/{parts[1]}.{parts[2]}/{inner}"
    if parts[0] == "blocks":
        at = f"/xvector/block{int(parts[1]) + 1}/tdnnd{int(parts[2]) + 1}"
        names = {
            "norm": "nonlinear1/batchnorm", "linear": "linear1", "local": "cam_layer/linear_local",
            "context1": "cam_layer/linear1", "context2": "cam_layer/linear2",
        }  # fmt: skip
        return f"{at}/{names[parts[3]]}"
    if parts[0] == "transits":
        inner = "nonlinear/batchnorm" if parts[2] == "norm" else "linear"
        return f"/xvector/transit{int(parts[1]) + 1}/{inner}"
    ends = {"tdnn": "tdnn/linear", "dense": "dense/linear", "out": "dense/nonlinear/batchnorm"}
    return f"/xvector/{ends[parts[0]]}"
