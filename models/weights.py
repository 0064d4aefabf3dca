"""Weights into a network, from any of three forms: ours, a Bonito directory's and a Dorado directory's.

ours: `weights.safetensors`, tensors by name. Bonito: `weights_N.tar`, the highest N, a state_dict whose
tensors go to the network's of the same shape in order. Dorado: `{layer}.tensor` archives, batch norms already
parts of their convolutions, layers numbered without the clamps. No code of theirs is executed, and nothing is
unpickled but tensors.
"""

import pickle
import re
from collections import Counter, defaultdict, deque
from collections.abc import Mapping
from enum import Enum
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from models.errors import ModelFormatError
from models.layers import Layer
from models.network import Network
from models.torchscript import read_tensor

OURS = "weights.safetensors"
OPTIONAL = ("deepnorm_alpha",)
"""Buffers that a config says as well: Dorado's directories may lack them."""


class Form(Enum):
    """What a model directory is."""

    OURS = "fiveways"
    BONITO = "bonito"
    DORADO = "dorado"


def form_of(directory: Path) -> Form:
    """Return what a directory's weights are; ModelFormatError where it has none."""
    if (directory / OURS).is_file():
        return Form.OURS
    if checkpoints(directory):
        return Form.BONITO
    if any(directory.glob("*.tensor")):
        return Form.DORADO
    raise ModelFormatError(
        f"{directory}: has no weights: no {OURS}, no weights_N.tar (Bonito), no *.tensor files (Dorado)"
    )


def load_network(directory: Path, layers: tuple[Layer, ...]) -> Network:
    """Return the network of a directory's config with its weights, norms fused, ready for inference.

    ModelFormatError names the first thing that does not fit.
    """
    network = Network(layers).eval()
    match form_of(directory):
        case Form.OURS:
            put_by_name(network, read_safetensors(directory / OURS), directory / OURS)
        case Form.BONITO:
            path = max(checkpoints(directory).items())[1]
            put_in_order(network, read_state_dict(path), path)
        case Form.DORADO:
            network.fuse()
            put_by_name(network, read_archives(directory, network, layers), directory)
    network.fuse()
    return network


def checkpoints(directory: Path) -> dict[int, Path]:
    """Return the files weights_N.tar by N."""
    return {
        int(found[1]): path
        for path in directory.glob("weights_*.tar")
        if (found := re.fullmatch(r"weights_(\d+)\.tar", path.name))
    }


def read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    """Return the tensors of a safetensors file by name."""
    try:
        tensors: dict[str, torch.Tensor] = load_file(path)
    except SafetensorError as error:
        raise ModelFormatError(f"{path}: not a safetensors file: {error}") from error
    except (OSError, ValueError, RuntimeError) as error:
        raise ModelFormatError(f"{path}: cannot be read: {error}") from error
    return tensors


def read_state_dict(path: Path) -> dict[str, torch.Tensor]:
    """Return the tensors of a PyTorch state_dict, whose code, if it has any, is refused."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise ModelFormatError(f"{path}: cannot be read: {error.strerror or error}") from error
    except pickle.UnpicklingError as error:
        # torch's message is a page of advice; the sentence that says what was met is in it.
        met = re.search(r"(?:WeightsUnpickler error: |Trying to load )([^\n]*)", str(error))
        why = met[1] if met else str(error).strip().splitlines()[0]
        raise ModelFormatError(f"{path}: refused, it is not tensors alone: {why}") from error
    except Exception as error:
        # A file that is none raises as many kinds of errors as pickle has opcodes.
        why = " ".join(f"{type(error).__name__}: {error}".split())
        raise ModelFormatError(f"{path}: not a state_dict: {why}") from error
    if not isinstance(state, Mapping) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise ModelFormatError(f"{path}: not a state_dict, a table of tensors")
    return dict(state)


def read_archives(directory: Path, network: Network, layers: tuple[Layer, ...]) -> dict[str, torch.Tensor]:
    """Return the tensors of a Dorado directory under the names that `network` has for them."""
    numbers = _without_clamps(layers)
    renamed = {}
    for name in network.state_dict():
        first, dot, rest = name.removeprefix("encoder.").partition(".")
        renamed[f"{numbers.get(first, first)}{dot}{rest}"] = name
    tensors = {}
    for path in sorted(directory.glob("*.tensor")):
        stored = path.name.removesuffix(".tensor")
        tensors[renamed.get(stored, stored)] = read_tensor(path)
    for name, value in network.state_dict().items():
        if name.endswith(OPTIONAL):
            tensors.setdefault(name, value)
    return tensors


def _without_clamps(layers: tuple[Layer, ...]) -> dict[str, str]:
    """Return the numbers of Dorado's layers by ours: it counts no clamps."""
    numbers, clamps = {}, 0
    for index, layer in enumerate(layers):
        clamps += layer["type"] == "clamp"
        numbers[str(index)] = str(index - clamps)
    return numbers


def put_by_name(network: Network, tensors: Mapping[str, torch.Tensor], path: Path) -> None:
    """Put tensors into the network's of the same names; ModelFormatError names what does not fit."""
    expected = network.state_dict()
    for name, value in expected.items():
        if name not in tensors:
            raise ModelFormatError(f"{path}: {name} {tuple(value.shape)} is missing")
        if tensors[name].shape != value.shape:
            raise ModelFormatError(
                f"{path}: {name} is {tuple(tensors[name].shape)}, not {tuple(value.shape)}"
            )
    extra = sorted(tensors.keys() - expected.keys())
    if extra:
        raise ModelFormatError(f"{path}: {extra[0]} is of no layer of the config")
    network.load_state_dict({name: tensors[name].to(value.dtype) for name, value in expected.items()})


def put_in_order(network: Network, tensors: Mapping[str, torch.Tensor], path: Path) -> None:
    """Put tensors into the network's of the same shapes, in order, whatever their names, as Bonito does."""
    expected = network.state_dict()
    wanted = Counter(tuple(value.shape) for value in expected.values())
    found = Counter(tuple(value.shape) for value in tensors.values())
    for shape in wanted | found:
        if wanted[shape] != found[shape]:
            names = expected if wanted[shape] > found[shape] else tensors
            like = next(name for name, value in names.items() if tuple(value.shape) == shape)
            raise ModelFormatError(
                f"{path}: has {found[shape]} tensors of shape {shape}, and the config's layers take "
                f"{wanted[shape]}, like {like}"
            )
    waiting: dict[torch.Size, deque[torch.Tensor]] = defaultdict(deque)
    for value in tensors.values():
        waiting[value.shape].append(value)
    network.load_state_dict(
        {name: waiting[value.shape].popleft().to(value.dtype) for name, value in expected.items()}
    )
