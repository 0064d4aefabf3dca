"""The transformer of the v5 models: attention in a window with rotary positions, a gated MLP, upsampling.

Everything is [N, T, C]. Deepnorm: each half is RMSNorm(its output + alpha * its input).
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention, silu

QUERIES = 256
"""Queries attended at a time: what keeps memory linear in the length of a chunk."""


class WindowedAttention(nn.Module):
    """Multi-head attention of each step to those from window[0] before it to window[1] after it."""

    def __init__(self, d_model: int, nhead: int, window: list[int], theta: float) -> None:
        super().__init__()
        self.heads, self.width, self.window = nhead, d_model // nhead, window
        self.Wqkv = nn.Linear(d_model, 3 * d_model, bias=False)
        self.out_proj = nn.Linear(d_model, d_model, bias=True)
        self.theta = theta

    def forward(self, x: Tensor) -> Tensor:
        """[N, T, C] -> the same."""
        batch, steps, channels = x.shape
        qkv = self.Wqkv(x).view(batch, steps, 3, self.heads, self.width)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        attended = self._attend(self._rotate(q), self._rotate(k), v)
        out: Tensor = self.out_proj(attended.transpose(1, 2).reshape(batch, steps, channels))
        return out

    def _rotate(self, x: Tensor) -> Tensor:
        """Turn pairs of [N, H, T, D], half of D apart, by angles that grow with the step."""
        # In 32 bits whatever the network is in: 16 do not tell an angle of a thousand turns.
        exponents = torch.arange(0, self.width, 2, device=x.device, dtype=torch.float32) / self.width
        steps = torch.arange(x.shape[2], device=x.device, dtype=torch.float32)
        angles = torch.outer(steps, self.theta**-exponents)
        cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
        first, second = x.chunk(2, dim=-1)
        return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)

    def _attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        back, ahead = self.window
        steps = q.shape[2]
        every = torch.arange(steps, device=q.device)
        pieces = []
        for begin in range(0, steps, QUERIES):
            end = min(begin + QUERIES, steps)
            low, high = max(0, begin - back), min(steps, end + ahead)
            away = every[low:high] - every[begin:end, None]
            seen = (away >= -back) & (away <= ahead)
            part = scaled_dot_product_attention(
                q[:, :, begin:end], k[:, :, low:high], v[:, :, low:high], attn_mask=seen
            )
            pieces.append(part)
        return torch.cat(pieces, dim=2)


class GatedMlp(nn.Module):
    """SwiGLU: the second half of fc1's output, through SiLU, gates the first."""

    def __init__(self, d_model: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(d_model, 2 * hidden, bias=False)
        self.fc2 = nn.Linear(hidden, d_model, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[N, T, C] -> the same."""
        data, gate = self.fc1(x).chunk(2, dim=-1)
        out: Tensor = self.fc2(silu(gate) * data)
        return out


class TransformerLayer(nn.Module):
    """One layer of the stack: [N, T, C] -> the same."""

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int,
        deepnorm_alpha: float,
        window: list[int],
        theta: float,
    ) -> None:
        super().__init__()
        self.self_attn = WindowedAttention(d_model, nhead, window, theta)
        self.ff = GatedMlp(d_model, dim_feedforward)
        self.norm1 = nn.RMSNorm(d_model)
        self.norm2 = nn.RMSNorm(d_model)
        self.register_buffer("deepnorm_alpha", torch.tensor(deepnorm_alpha))

    def forward(self, x: Tensor) -> Tensor:
        """[N, T, C] -> the same."""
        alpha = self.get_buffer("deepnorm_alpha")
        x = self.norm1(self.self_attn(x) + x * alpha)
        out: Tensor = self.norm2(self.ff(x) + x * alpha)
        return out


class LinearUpsample(nn.Module):
    """`scale_factor` steps out of each: [N, T, C] -> [N, scale_factor * T, C]."""

    def __init__(self, d_model: int, scale_factor: int) -> None:
        super().__init__()
        self.scale_factor = scale_factor
        self.linear = nn.Linear(d_model, scale_factor * d_model)

    def forward(self, x: Tensor) -> Tensor:
        """[N, T, C] -> [N, scale_factor * T, C]."""
        batch, steps, channels = x.shape
        out: Tensor = self.linear(x).reshape(batch, self.scale_factor * steps, channels)
        return out
