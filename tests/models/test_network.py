"""Networks are what their configs say: sizes, costs, and each layer what its definition says."""

import tomllib
from pathlib import Path

import pytest
import torch
from model_directories import FAMILIES, TRANSFORMER, random_network
from torch.utils.flop_counter import FlopCounterMode

from models.config import load_config, parse_config
from models.cost import flops_per_sample
from models.network import Network
from models.transformer import QUERIES, TransformerLayer, WindowedAttention


@pytest.mark.parametrize("name", FAMILIES)
def test_scores_are_a_step_each_stride(name: str) -> None:
    config = parse_config(name, tomllib.loads(FAMILIES[name]))
    network = random_network(name, FAMILIES[name])
    with torch.inference_mode():
        scores = network(torch.randn(2, 1, 20 * config.grid_samples))
    steps = 20 * config.grid_samples // config.stride
    if config.state_len:
        assert scores.shape == (2, steps, 4**config.state_len, 4)
    else:
        assert scores.shape == (2, steps, 5)
        torch.testing.assert_close(scores.exp().sum(-1), torch.ones(2, steps))


@pytest.mark.parametrize("name", FAMILIES)
def test_fusing_norms_changes_no_score(name: str) -> None:
    network = random_network(name, FAMILIES[name])
    signal = torch.randn(2, 1, 240)
    with torch.inference_mode():
        before = network(signal)
        network.fuse()
        torch.testing.assert_close(network(signal), before, rtol=0, atol=1e-5)
    assert not any("running_mean" in key for key in network.state_dict())


@pytest.mark.parametrize(
    ("name", "parameters", "flops"),
    [
        ("dna_r10.4.1_e8.2_260bps_fast@v4.0.0", 427_984, 171_680),
        ("dna_r10.4.1_e8.2_400bps_hac@v4.3.0", 6_426_160, 2_138_784),
        ("dna_r9.4.1_e8_hac@v3.3", 6_425_320, 2_563_957),
    ],
)
def test_official_networks_have_their_known_sizes(
    shared: Path, name: str, parameters: int, flops: int
) -> None:
    layers = load_config(shared / "model_configs" / name).layers
    assert Network(layers).parameters_count == parameters
    assert round(flops_per_sample(layers)) == flops


@pytest.mark.parametrize("name", ["dna_r10.4.1_transformer", "dna_r9.4.1_quartznet"])
def test_flops_are_those_that_torch_counts(name: str) -> None:
    """But for LSTMs, and attention, of which it counts none on a CPU."""
    config = parse_config(name, tomllib.loads(FAMILIES[name]))
    network = random_network(name, FAMILIES[name])
    steps = 50
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network(torch.randn(1, 1, steps * config.grid_samples))
    attended = 0.0
    for layer in network.modules():
        if isinstance(layer, TransformerLayer):
            attended += 2 * 2 * 32 * (sum(layer.self_attn.window) + 1) * steps
    expected = flops_per_sample(config.layers) * steps * config.grid_samples - attended
    assert counter.get_total_flops() == pytest.approx(expected, rel=1e-6)


def test_attention_is_windowed_and_rotary_by_definition() -> None:
    """The definition at once, over all pairs of more steps than are attended at a time."""
    torch.manual_seed(3)
    attention = WindowedAttention(8, 2, [5, 3], theta=10_000.0)
    steps = QUERIES + 40
    x = torch.randn(2, steps, 8)
    with torch.inference_mode():
        q, k, v = attention.Wqkv(x).view(2, steps, 3, 2, 4).permute(2, 0, 3, 1, 4)
        angles = torch.arange(steps)[:, None] * torch.tensor([1.0, 10_000.0**-0.5])
        turn = torch.polar(torch.ones_like(angles), angles)
        q, k = (torch.view_as_real(torch.complex(t[..., :2], t[..., 2:]) * turn) for t in (q, k))
        weights = torch.einsum("nhqdc,nhkdc->nhqk", q, k) / 2.0
        away = torch.arange(steps) - torch.arange(steps)[:, None]
        weights = weights.masked_fill((away < -5) | (away > 3), -torch.inf).softmax(-1)
        expected = attention.out_proj((weights @ v).transpose(1, 2).reshape(2, steps, 8))
        torch.testing.assert_close(attention(x), expected, rtol=1e-4, atol=1e-5)


def test_a_transformers_scores_know_no_more_than_its_windows_show() -> None:
    network = random_network("dna_x", TRANSFORMER)
    signal = torch.randn(1, 1, 12 * 200)
    changed = signal.clone()
    changed[..., 12 * 150 :] += 1.0
    with torch.inference_mode():
        same = (network(signal) == network(changed)).all(dim=(2, 3))[0]
    # Three layers that look 8 steps of 12 samples ahead, convolutions a step more; two scores a step.
    seen = 2 * (150 - 3 * 8 - 1)
    assert same[: seen - 2].all()
    assert not same[seen + 2 :].any()
