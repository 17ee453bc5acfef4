"""An Oobleck encoder and decoder that reads weights in the `AutoencoderOobleck` format.

Weight norm is folded and Snake's parameters are prepared once, at load (`FoldedKeys`), so a forward
pass is 37 convolutions and 36 Snakes and nothing else. Everything inside is four-dimensional,
[B, C, 1, T], so that the convolutions can run channels-last where that is the fast layout.

Source: Stable Audio (Evans et al., 2024); the released ACE-Step 1.5 VAE.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headroom.nn.minimal_filter import MinimalConv
from headroom.nn.oobleck_layout import DEEP_BLOCKS, DILATIONS, KERNEL, OobleckConfig
from headroom.nn.snake import Snake, gain_from, rate_from

STD_FLOOR = 1e-4
FOLDED_WIDTH = 512  # channels from which `folded_conv` is used on a card


def memory_format(device: torch.device) -> torch.memory_format:
    """Layout of activations: channels-last on devices whose convolutions are fast with it."""
    return torch.channels_last if device.type in ("cpu", "cuda") else torch.contiguous_format


def _rows(x: Tensor) -> Tensor:
    """[B, C, 1, T] → [B, T, C]; a view if x is channels-last."""
    return x.squeeze(2).transpose(1, 2)


def _columns(rows: Tensor) -> Tensor:
    """[B, T, C] → [B, C, 1, T], channels-last, a view."""
    return rows.transpose(1, 2).unsqueeze(2)


class Conv(nn.Module):
    """A 1-D convolution as a 2-D one of height 1; weight [Cout, Cin, 1, k], folded."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        *,
        stride: int = 1,
        padding: int = 0,
        dilation: int = 1,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.stride, self.padding, self.dilation = stride, padding, dilation
        self.weight = nn.Parameter(torch.empty(outputs, inputs, 1, kernel), requires_grad=False)
        self.bias: nn.Parameter | None
        self.register_parameter(
            "bias", nn.Parameter(torch.empty(outputs), requires_grad=False) if bias else None
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(
            x, self.weight, self.bias, (1, self.stride), (0, self.padding), (1, self.dilation)
        )


class Pointwise(nn.Module):
    """The parameters of a convolution of one tap: weight [C, C, 1, 1], bias [C]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width, width, 1, 1), requires_grad=False)
        self.bias = nn.Parameter(torch.empty(width), requires_grad=False)


class TransposedConv(nn.Module):
    """Upsamples by `stride` exactly: kernel 2 · stride, padding stride / 2.

    Each input row and the one before it give `stride` output rows, by two matrix products into one
    buffer; as channels-last rows they are already in place. torch's transposed convolution is
    several times slower. weight [stride · Cout, 2 · Cin], from the file's [Cin, Cout, 2 · stride].
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.weight = nn.Parameter(torch.empty(stride * outputs, 2 * inputs), requires_grad=False)
        self.bias = nn.Parameter(torch.empty(outputs), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        rows, (before, now) = _rows(x), self.weight.T.chunk(2)
        batch, length, _ = rows.shape
        if torch.compiler.is_compiling():
            y = F.pad(rows @ now, (0, 0, 0, 1)) + F.pad(rows @ before, (0, 0, 1, 0))
        else:
            y = rows.new_empty(batch, length + 1, self.weight.shape[0])
            for part, target in zip(rows, y, strict=True):
                torch.mm(part, now, out=target[:-1])
                target[-1].zero_()
                target[1:].addmm_(part, before)
        y = y.view(batch, -1, self.bias.shape[0])
        half = self.stride // 2
        return _columns(_plus(y[:, half:-half], self.bias))


def _plus(y: Tensor, *others: Tensor) -> Tensor:
    """A sum, in place unless compiling (a compiler would undo it, element by element)."""
    for other in others:
        y = y + other if torch.compiler.is_compiling() else y.add_(other)
    return y


def as_pairs(weight: Tensor) -> Tensor:
    """Transposed weight [Cin, Cout, 2s] → [s · Cout, 2 · Cin]; its second half is for x[n − 1]."""
    inputs, outputs, kernel = weight.shape
    halves = weight.view(inputs, outputs, 2, kernel // 2).flip(2)
    return halves.permute(3, 1, 2, 0).reshape(-1, 2 * inputs)


class ResidualUnit(nn.Module):
    """x + conv1(snake(conv7(snake(x)))), length kept."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.snake1 = Snake(width)
        self.conv1: Conv | MinimalConv = Conv(
            width, width, KERNEL, padding=dilation * (KERNEL // 2), dilation=dilation
        )
        self.snake2 = Snake(width)
        self.conv2 = Pointwise(width)

    def forward(self, x: Tensor) -> Tensor:
        y = self.snake2(self._convolved(self.snake1(x)))
        y = _columns(F.linear(_rows(y), self.conv2.weight[:, :, 0, 0]))
        return _plus(y, self.conv2.bias.view(-1, 1, 1), x)

    def _convolved(self, x: Tensor) -> Tensor:
        """The first convolution. For its widest dilation cuDNN has no fast kernel at some lengths
        and takes a thousand times as long: see `docs/log.md`."""
        conv, wide = self.conv1, x.shape[1] >= FOLDED_WIDTH
        on_card = x.device.type == "cuda" and not torch.compiler.is_compiling()
        if on_card and wide and isinstance(conv, Conv) and conv.dilation == DILATIONS[-1]:
            return folded_conv(conv, x)
        y: Tensor = conv(x)
        return y


def folded_conv(conv: Conv, x: Tensor) -> Tensor:
    """A dilated, length-preserving `conv` as a plain one down the columns of an image whose rows
    hold `dilation` consecutive samples: [B, C, 1, T] viewed as [B, C, T / dilation, dilation]."""
    length, across = x.shape[-1], conv.dilation
    if -length % across:
        x = F.pad(x, (0, -length % across))
    picture = x.unflatten(3, (-1, across)).squeeze(2)
    reach = conv.padding // across
    y = F.conv2d(picture, conv.weight.transpose(2, 3), conv.bias, padding=(reach, 0))
    return y.flatten(2).unsqueeze(2)[..., :length]


class DecoderBlock(nn.Module):
    """[B, inputs, 1, n] → [B, outputs, 1, stride · n]."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.snake1 = Snake(inputs)
        self.conv_t1 = TransposedConv(inputs, outputs, stride)
        self.res_unit1, self.res_unit2, self.res_unit3 = (
            ResidualUnit(outputs, dilation) for dilation in DILATIONS
        )

    def steps(self) -> Iterator[nn.Module]:
        """In order, for `_through`."""
        yield nn.Sequential(self.snake1, self.conv_t1)
        yield from (self.res_unit1, self.res_unit2, self.res_unit3)


class EncoderBlock(nn.Module):
    """[B, inputs, 1, n] → [B, outputs, 1, floor(n / stride)]."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.res_unit1, self.res_unit2, self.res_unit3 = (
            ResidualUnit(inputs, dilation) for dilation in DILATIONS
        )
        self.snake1 = Snake(inputs)
        self.conv1 = Conv(inputs, outputs, 2 * stride, stride=stride, padding=stride // 2)

    def steps(self) -> Iterator[nn.Module]:
        """In order, for `_through`."""
        yield from (self.res_unit1, self.res_unit2, self.res_unit3)
        yield nn.Sequential(self.snake1, self.conv1)


def _through(x: Tensor, *parts: nn.Module) -> Tensor:
    """Apply the parts in order. Rebinding the tensor frees each step's input."""
    for part in parts:
        steps = part.steps() if isinstance(part, DecoderBlock | EncoderBlock) else (part,)
        for step in steps:
            x = step(x)
    return x


class Decoder(nn.Module):
    """Latents to audio.

    `deep` and `wide` are the two halves of `forward`: the first two blocks hold nearly all of the
    weights and see few rows, the others the reverse, so each half is tiled in time separately.
    """

    def __init__(self, config: OobleckConfig) -> None:
        super().__init__()
        self.config = config
        widths = config.decoder_widths
        self.conv1 = Conv(config.latent_channels, widths[0], 7, padding=3)
        self.block = nn.ModuleList(
            DecoderBlock(widths[i], widths[i + 1], stride)
            for i, stride in enumerate(config.strides)
        )
        self.snake1 = Snake(widths[-1])
        self.conv2 = Conv(widths[-1], config.audio_channels, 7, padding=3, bias=False)

    def deep(self, latents: Tensor) -> Tensor:
        """[B, 64, T] → [B, C, 1, r · T], r the product of the first strides."""
        x = latents.unsqueeze(2).contiguous(memory_format=memory_format(latents.device))
        return _through(x, self.conv1, *self.block[:DEEP_BLOCKS])

    def wide(self, x: Tensor) -> Tensor:
        """[B, C, 1, r · T] → [B, 2, 1920 · T]."""
        return _through(x, *self.block[DEEP_BLOCKS:], self.snake1, self.conv2).squeeze(2)

    def forward(self, latents: Tensor) -> Tensor:
        """[B, 64, T] → [B, 2, 1920 · T]."""
        audio: Tensor = self.wide(self.deep(latents))
        return audio


class Encoder(nn.Module):
    """Audio to the mean and standard deviation of latents."""

    def __init__(self, config: OobleckConfig) -> None:
        super().__init__()
        self.config = config
        widths = config.encoder_widths
        self.conv1 = Conv(config.audio_channels, widths[0], 7, padding=3)
        self.block = nn.ModuleList(
            EncoderBlock(widths[i], widths[i + 1], stride) for i, stride in enumerate(config.ratios)
        )
        self.snake1 = Snake(widths[-1])
        self.conv2 = Conv(widths[-1], config.encoder_width, 3, padding=1)

    def forward(self, audio: Tensor) -> tuple[Tensor, Tensor]:
        """[B, 2, n] → mean and std, [B, 64, floor(n / 1920)] each; n ≥ 1920.

        A latent is mean + std · ε; the caller draws ε (on the host, from the song's seed).
        """
        x = audio.unsqueeze(2).contiguous(memory_format=memory_format(audio.device))
        x = _through(x, self.conv1, *self.block, self.snake1, self.conv2)
        mean, scale = x.squeeze(2).chunk(2, dim=1)
        return mean, F.softplus(scale) + STD_FLOOR


def filter_minimally(part: Decoder | Encoder, least_width: int) -> None:
    """Replace dilated convolutions of at least this width, in fp32; see `minimal_filter`."""
    for unit in part.modules():
        if not isinstance(unit, ResidualUnit) or not isinstance(unit.conv1, Conv):
            continue
        conv = unit.conv1
        if conv.weight.shape[0] >= least_width and conv.bias is not None:
            unit.conv1 = MinimalConv.of(conv.weight, conv.bias, conv.dilation)


def fold(weight_g: Tensor, weight_v: Tensor) -> Tensor:
    """g · v / ‖v‖, at least in fp32.

    The norm runs over every dim but 0, which in a transposed convolution is the *input* channel.
    """
    dtype = torch.promote_types(weight_v.dtype, torch.float32)
    g, v = weight_g.to(dtype), weight_v.to(dtype)
    weight: Tensor = v * (g / torch.linalg.vector_norm(v, dim=(1, 2), keepdim=True))
    return weight


class FoldedKeys:
    """How a loader makes our parameters from a file's tensors.

    `prefix` is the component's prefix in the file, `decoder.` or `encoder.`; names are those of
    `named_parameters()`. `build` returns at least fp32; the loader casts.
    """

    def __init__(self, prefix: str = "") -> None:
        self.prefix = prefix

    def needs(self, name: str) -> tuple[str, ...]:
        """Keys of the file that the parameter `name` is made of."""
        owner, _, leaf = name.rpartition(".")
        leaves = {
            "weight": ("weight_g", "weight_v"),
            "rate": ("alpha",),
            "gain": ("beta",),
        }.get(leaf, (leaf,))
        return tuple(f"{self.prefix}{owner}.{leaf}" for leaf in leaves)

    def build(self, name: str, *tensors: Tensor) -> Tensor:
        """The parameter `name` from the tensors of `needs(name)`, in that order."""
        leaf = name.rpartition(".")[2]
        if leaf == "weight":
            weight_g, weight_v = tensors
            weight = fold(weight_g, weight_v)
            return as_pairs(weight) if ".conv_t1." in f".{name}" else weight.unsqueeze(2)
        (tensor,) = tensors
        if leaf == "rate":
            return rate_from(tensor)
        return gain_from(tensor) if leaf == "gain" else tensor
