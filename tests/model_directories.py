"""Model directories for tests: small networks of each family, in Bonito's form, Dorado's and ours."""

import copy
import tomllib
import warnings
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from models.config import parse_config
from models.network import Network
from models.quartznet import CtcScores

HEAD = '[model]\npackage = "{package}"\n[labels]\nlabels = ["N", "A", "C", "G", "T"]\n[input]\nfeatures = 1\n'

FLAT = (
    HEAD.format(package="bonito.crf")
    + """
[global_norm]
state_len = 2
[encoder]
stride = 5
winlen = 19
features = 16
rnn_type = "lstm"
activation = "swish"
scale = 5.0
blank_score = 2.0
[scaling]
strategy = "med_mad"
[qscore]
scale = 0.9
bias = -0.2
[basecaller]
chunksize = 1000
overlap = 100
batchsize = 8
"""
)


def _layer(kind: str, **fields: Any) -> str:
    text = {True: "true", False: "false"}
    return f'[[encoder.sublayers]]\ntype = "{kind}"\n' + "".join(
        f"{name} = {text.get(value, value) if isinstance(value, bool) else repr(value)}\n"
        for name, value in fields.items()
    )


def _convolution(insize: int, size: int, winlen: int, stride: int, activation: str) -> str:
    return _layer(
        "convolution",
        insize=insize,
        size=size,
        bias=True,
        winlen=winlen,
        stride=stride,
        padding=winlen // 2,
        activation=activation,
        norm="batchnorm",
    )


CLAMP = _layer("clamp", min=-0.5, max=3.5)
TYPED = (
    HEAD.format(package="bonito.crf")
    + """
[global_norm]
state_len = 2
[scaling]
strategy = "pa"
[standardisation]
standardise = 1
mean = 91.88
stdev = 22.65
[run_info]
sample_rate = 5000
[qscore]
scale = 1.1
bias = -1.1
[encoder]
type = "serial"
"""
    + _convolution(1, 16, 5, 1, "swish")
    + CLAMP
    + _convolution(16, 16, 5, 1, "swish")
    + CLAMP
    + _convolution(16, 32, 19, 6, "tanh")
    + CLAMP
    + _layer("permute", dims=[2, 0, 1])
    + "".join(_layer("lstm", size=32, insize=32, bias=True, reverse=(n + 1) % 2) for n in range(5))
    + _layer("linear", in_features=32, out_features=24)
    + _layer("linearcrfencoder", insize=24, n_base=4, state_len=2, bias=False, blank_score=2.0)
    + _layer("clamp", min=-5.0, max=5.0)
)
"""The v4.2 form: clamps, batch norms, a bottleneck."""

TRANSFORMER = """
[model]
package = "bonito.transformer"
type = "seqdistmodel"
[run_info]
sample_rate = 5000
[scaling]
strategy = "pa"
[standardisation]
standardise = 1
mean = 93.6376
stdev = 22.6004
[model.seqdist]
state_len = 2
alphabet = ["N", "A", "C", "G", "T"]
[model.encoder]
type = "namedserial"
[model.encoder.conv]
type = "serial"
[[model.encoder.conv.sublayers]]
type = "convolution"
insize = 1
size = 16
bias = true
winlen = 5
stride = 3
padding = 2
activation = "swish"
norm = "batchnorm"
[[model.encoder.conv.sublayers]]
type = "convolution"
insize = 16
size = 32
bias = true
winlen = 9
stride = 4
padding = 4
activation = "swish"
norm = "batchnorm"
[[model.encoder.conv.sublayers]]
type = "permute"
dims = [0, 2, 1]
[model.encoder.transformer_encoder]
type = "stack"
depth = 3
[model.encoder.upsample]
type = "linearupsample"
d_model = 32
scale_factor = 2
[model.encoder.crf]
type = "linearcrfencoder"
insize = 32
n_base = 4
state_len = 2
bias = false
scale = 5.0
blank_score = 2.0
expand_blanks = true
permute = [1, 0, 2]
[model.encoder.transformer_encoder.layer]
type = "transformerencoderlayer"
d_model = 32
nhead = 2
dim_feedforward = 64
deepnorm_alpha = 2.4494897
deepnorm_beta = 0.2886751
attn_window = [7, 8]
[basecaller]
chunksize = 1200
overlap = 240
batchsize = 8
"""


def _block(filters: int, repeat: int, kernel: int, stride: int, *, residual: bool, separable: bool) -> str:
    return (
        f"[[block]]\nfilters = {filters}\nrepeat = {repeat}\nkernel = [{kernel}]\nstride = [{stride}]\n"
        f"dilation = [1]\ndropout = 0.05\nresidual = {str(residual).lower()}\n"
        f"separable = {str(separable).lower()}\n"
    )


QUARTZNET = (
    HEAD.format(package="bonito.ctc")
    + '[encoder]\nactivation = "swish"\n'
    + _block(16, 1, 9, 3, residual=False, separable=False)
    + _block(24, 3, 11, 1, residual=True, separable=True)
    + _block(24, 1, 7, 1, residual=False, separable=True)
    + _block(16, 1, 5, 1, residual=False, separable=False)
    + "[basecaller]\nchunksize = 960\noverlap = 90\nbatchsize = 8\n"
)

FAMILIES = {
    "dna_r9.4.1_flat": FLAT,
    "dna_r10.4.1_typed": TYPED,
    "dna_r10.4.1_transformer": TRANSFORMER,
    "dna_r9.4.1_quartznet": QUARTZNET,
}


def random_network(name: str, text: str, seed: int = 1) -> Network:
    """A network of a config whose every tensor, norms' statistics as well, is drawn."""
    torch.manual_seed(seed)
    network = Network(parse_config(name, tomllib.loads(text)).layers)
    randomise(network)
    network.eval()
    if isinstance(network.encoder[-1], CtcScores):
        _enliven(network)
    return network


def _enliven(network: Network) -> None:
    """Have a random CTC network call as many bases as it does blanks, and not the same again and again."""
    last = network.encoder[-1].linear
    with torch.no_grad():
        last.weight *= 8.0
        last.bias -= network(torch.randn(1, 1, 3000)).mean(dim=(0, 1))


def randomise(network: torch.nn.Module) -> None:
    """Draw the statistics of a network's batch norms, which are 0 and 1 when it is made."""
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            torch.nn.init.normal_(module.running_mean, std=0.3)
            torch.nn.init.uniform_(module.running_var, 0.5, 2.0)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, std=0.3)


def write_ours(directory: Path, text: str, network: Network) -> Path:
    directory.mkdir()
    (directory / "config.toml").write_text(text)
    save_file(
        {name: value.contiguous() for name, value in network.state_dict().items()},
        directory / "weights.safetensors",
    )
    return directory


def write_bonito(directory: Path, text: str, network: Network, number: int = 1) -> Path:
    """A Bonito directory; its names are Bonito's own business, and here are no one's."""
    directory.mkdir(exist_ok=True)
    (directory / "config.toml").write_text(text)
    state = {f"module.{index}": value for index, value in enumerate(network.state_dict().values())}
    torch.save(state, directory / f"weights_{number}.tar")
    return directory


def write_dorado(directory: Path, text: str, network: Network) -> Path:
    """A Dorado directory: norms fused, one archive a tensor, layers numbered without the clamps."""
    directory.mkdir()
    (directory / "config.toml").write_text(text)
    fused = copy.deepcopy(network).eval()
    fused.fuse()
    kinds = [type(layer).__name__ for layer in fused.encoder]
    for name, value in fused.state_dict().items():
        first, _, rest = name.removeprefix("encoder.").partition(".")
        if first.isdigit():
            first = str(int(first) - kinds[: int(first)].count("Clamp"))
        save_tensor(directory / f"{first}.{rest}.tensor", value)
    return directory


def save_tensor(path: Path, value: torch.Tensor) -> None:
    """One tensor as a TorchScript archive of a module with one parameter."""
    module = torch.nn.Module()
    module.register_parameter("0", torch.nn.Parameter(value.clone(), requires_grad=False))
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        torch.jit.script(module).save(str(path))
