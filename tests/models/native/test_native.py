"""The compiled half: PyTorch's scores to the rounding of states to bytes, whoever is in the batch."""

from pathlib import Path

import numpy as np
import pytest
import torch

from models.config import ModelConfig, load_config, parse_config
from models.native.library import library
from models.native.native import NativeNetwork, native
from models.native.packing import UnpackableError, pack
from models.network import Network

needs_library = pytest.mark.skipif(
    library() is None, reason="needs a C++ compiler at installation, and AVX-512 VNNI"
)


def flat(features: int = 32, activation: str = "swish") -> ModelConfig:
    return parse_config(
        "flat",
        {
            "model": {"package": "bonito.crf"},
            "labels": {"labels": ["N", "A", "C", "G", "T"]},
            "input": {"features": 1},
            "global_norm": {"state_len": 2},
            "encoder": {
                "stride": 5,
                "winlen": 19,
                "features": features,
                "rnn_type": "lstm",
                "activation": activation,
                "scale": 5.0,
                "blank_score": 2.0,
            },
        },
    )


LAYERED = {
    "model": {"package": "bonito.crf"},
    "labels": {"labels": ["N", "A", "C", "G", "T"]},
    "input": {"features": 1},
    "global_norm": {"state_len": 2},
    "encoder": {
        "type": "serial",
        "sublayers": [
            {
                "type": "convolution",
                "insize": 1,
                "size": 16,
                "bias": True,
                "winlen": 5,
                "stride": 1,
                "padding": 2,
                "activation": "swish",
                "norm": "batchnorm",
            },
            {"type": "clamp", "min": -0.5, "max": 3.5},
            {
                "type": "convolution",
                "insize": 16,
                "size": 48,
                "bias": True,
                "winlen": 19,
                "stride": 6,
                "padding": 9,
                "activation": "tanh",
                "norm": "batchnorm",
            },
            {"type": "permute", "dims": [2, 0, 1]},
            {"type": "lstm", "insize": 48, "size": 48, "bias": True, "reverse": True},
            {"type": "lstm", "insize": 48, "size": 48, "bias": False, "reverse": False},
            {"type": "linear", "in_features": 48, "out_features": 32},
            {
                "type": "linearcrfencoder",
                "insize": 32,
                "n_base": 4,
                "state_len": 2,
                "bias": False,
                "blank_score": 2.0,
            },
            {"type": "clamp", "min": -5.0, "max": 5.0},
        ],
    },
}


def network(config: ModelConfig, seed: int = 1) -> Network:
    torch.manual_seed(seed)
    made = Network(config.layers).eval()
    for module in made.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            module.running_mean.uniform_(-0.5, 0.5)
            module.running_var.uniform_(0.5, 2.0)
    made.fuse()
    return made


def packed(made: Network) -> NativeNetwork:
    found = native(made)
    assert found is not None
    return found


def signal(rows: int, samples: int, seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.repeat(rng.standard_normal((rows, samples // 8 + 1)), 8, 1)[:, :samples].astype(np.float32)


def scored(made: NativeNetwork, batch: np.ndarray) -> np.ndarray:
    out = made.scores(*batch.shape)
    made.score(batch, out)
    return out


@needs_library
@pytest.mark.parametrize("samples", [600, 1235])
@pytest.mark.parametrize(
    "config", [flat(), flat(96, "tanh"), parse_config("layered", LAYERED)], ids=["flat", "tanh", "layered"]
)
def test_scores_are_those_of_pytorch_to_bytes(config: ModelConfig, samples: int) -> None:
    made, batch = network(config), signal(7, samples)
    with torch.inference_mode():
        expected = made(torch.from_numpy(batch)[:, None]).numpy()
    found = scored(packed(made), batch)
    assert found.shape == expected.shape
    # A byte tells states a 127th apart, and those of random networks are small.
    assert np.abs(found - expected).max() < 0.1 * np.abs(expected).max()
    assert np.abs(found - expected).mean() < 0.03 * np.abs(expected).std() + 0.003


@needs_library
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_greatest_sums_that_weights_allow_do_not_overflow(sign: float) -> None:
    made = network(flat(96))
    with torch.no_grad():
        for name, value in made.named_parameters():
            value.fill_(0.0 if "bias" in name else sign * 50.0 if "rnn" in name else 0.5)
    batch = np.linspace(0.1, 40.0, 3 * 500, dtype=np.float32).reshape(3, 500)
    with torch.inference_mode():
        expected = made(torch.from_numpy(batch)[:, None]).numpy()
    # All gates are saturated: a sum that wrapped round would turn them over.
    assert np.abs(scored(packed(made), batch) - expected).max() < 0.03


@needs_library
def test_outputs_of_very_unlike_size_keep_their_own_scale() -> None:
    made = network(flat(96))
    torch.manual_seed(2)
    with torch.no_grad():
        for name, value in made.named_parameters():
            if "weight" in name:
                factors = 10.0 ** (torch.rand(len(value)) * 4 - 3.5)
                factors[0] = 0.0
                value.mul_(factors.reshape(-1, *[1] * (value.dim() - 1)))
    batch = signal(4, 600)
    with torch.inference_mode():
        expected = made(torch.from_numpy(batch)[:, None]).numpy()
    assert np.abs(scored(packed(made), batch) - expected).max() < 0.05 * np.abs(expected).max()


@needs_library
def test_a_spike_spoils_no_more_than_what_it_reaches() -> None:
    made, batch = packed(network(flat())), signal(1, 2000)
    spiked = batch.copy()
    spiked[0, 0] = 1e5
    # Far behind it, nothing is left of it in states, and nothing was in scales.
    assert np.abs(scored(made, spiked)[:, 250:] - scored(made, batch)[:, 250:]).max() < 1e-6


@needs_library
def test_a_rows_scores_do_not_depend_on_its_company() -> None:
    made, batch = packed(network(flat())), signal(13, 800)
    together = scored(made, batch)
    for first in range(13):
        for last in range(first + 1, 14):
            assert np.array_equal(scored(made, batch[first:last]), together[first:last])


@needs_library
def test_a_slice_of_a_larger_room_is_filled_and_nothing_else() -> None:
    made, batch = packed(network(flat())), signal(4, 500)
    room = made.scores(6, 500)
    room[:] = -77.0
    made.score(batch, room[1:5])
    assert np.array_equal(room[1:5], scored(made, batch))
    assert (room[[0, 5]] == -77.0).all()


@needs_library
def test_extreme_signal_gives_finite_scores() -> None:
    made = packed(network(flat()))
    batch = np.stack([np.full(500, 1e6), np.full(500, -1e6), np.zeros(500)]).astype(np.float32)
    assert np.isfinite(scored(made, batch)).all()


def test_weights_that_are_not_finite_are_left_to_pytorch() -> None:
    made = network(flat())
    with torch.no_grad():
        next(value for name, value in made.named_parameters() if "weight_hh" in name)[0, 0] = float("nan")
    with pytest.raises(UnpackableError, match="not finite"):
        pack(made)


def test_other_families_are_left_to_pytorch() -> None:
    layers = [
        {"type": "convolution", "insize": 1, "size": 20, "winlen": 5, "stride": 1, "padding": 2},
        {"type": "permute", "dims": [2, 0, 1]},
    ]
    with pytest.raises(UnpackableError):
        pack(Network(layers))  # type: ignore[arg-type]


def test_the_default_model_is_of_the_family() -> None:
    directory = Path(__file__).parents[3] / "models/zoo/r9.4.1_fast@v3"
    found = pack(Network(load_config(directory).layers).eval())
    assert [layer.is_narrow for layer in found.convolutions] == [True, True, False]
    assert [layer.reverse for layer in found.recurrent] == [True, False, True, False, True]  # type: ignore[union-attr]
    assert found.states == 64
