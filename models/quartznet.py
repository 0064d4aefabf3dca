"""QuartzNet, the network of Bonito's first two generations: blocks of convolutions, and CTC probabilities.

For inference: there is no dropout. Source: Kriman et al. 2019, arXiv:1910.10261, as Bonito has it.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

EPSILON = 1e-3
"""Of the batch norms."""


class TimeChannelConvolution(nn.Module):
    """A convolution along time, or, separable, one of each channel and then one across channels."""

    def __init__(
        self, insize: int, size: int, kernel: int, stride: int, dilation: int, *, separable: bool
    ) -> None:
        super().__init__()
        self.separable = separable
        padding = kernel // 2 * dilation
        if separable:
            self.depthwise = nn.Conv1d(
                insize,
                insize,
                kernel,
                stride=stride,
                padding=padding,
                dilation=dilation,
                bias=False,
                groups=insize,
            )
            self.pointwise = nn.Conv1d(insize, size, 1, bias=False)
        else:
            self.conv = nn.Conv1d(
                insize, size, kernel, stride=stride, padding=padding, dilation=dilation, bias=False
            )

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, T] -> [N, size, T / stride]."""
        out: Tensor = self.pointwise(self.depthwise(x)) if self.separable else self.conv(x)
        return out

    def fuse(self, norm: nn.BatchNorm1d) -> None:
        """Take in the norm that follows."""
        if self.separable:
            self.pointwise = fuse_conv_bn_eval(self.pointwise.eval(), norm.eval())
        else:
            self.conv = fuse_conv_bn_eval(self.conv.eval(), norm.eval())


class Block(nn.Module):
    """`repeat` convolutions, each with its norm and activation; a residual block adds its input, through a
    convolution of width 1, before the last activation."""

    def __init__(
        self,
        insize: int,
        filters: int,
        repeat: int,
        kernel: int,
        stride: int,
        dilation: int,
        activation: nn.Module,
        *,
        residual: bool,
        separable: bool,
    ) -> None:
        super().__init__()
        self.conv = nn.ModuleList()
        for index in range(repeat):
            into = insize if index == 0 else filters
            self.conv.append(
                TimeChannelConvolution(into, filters, kernel, stride, dilation, separable=separable)
            )
            self.conv.append(nn.BatchNorm1d(filters, eps=EPSILON))
        self.residual = nn.ModuleList()
        if residual:
            self.residual.append(TimeChannelConvolution(insize, filters, 1, 1, 1, separable=False))
            self.residual.append(nn.BatchNorm1d(filters, eps=EPSILON))
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, T] -> [N, filters, T / stride**repeat]."""
        out = x
        for index, layer in enumerate(self.conv):
            if index and index % 2 == 0:
                out = self.activation(out)
            out = layer(out)
        if self.residual:
            convolution, norm = self.residual
            out = out + norm(convolution(x))
        activated: Tensor = self.activation(out)
        return activated

    def fuse(self) -> None:
        """Make the norms parts of their convolutions."""
        for stack in (self.conv, self.residual):
            for index, (convolution, norm) in enumerate(pairwise(stack)):
                if isinstance(convolution, TimeChannelConvolution) and isinstance(norm, nn.BatchNorm1d):
                    convolution.fuse(norm)
                    stack[index + 1] = nn.Identity()


class CtcScores(nn.Module):
    """Log probabilities of blank, A, C, G and T: [N, C, T] -> [N, T, 5]."""

    def __init__(self, insize: int) -> None:
        super().__init__()
        self.linear = nn.Conv1d(insize, 5, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, T] -> [N, T, 5]."""
        return torch.log_softmax(self.linear(x).transpose(1, 2), dim=-1, dtype=torch.float32)
