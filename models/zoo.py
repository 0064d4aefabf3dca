"""Models by name: this project's own, in `zoo/`, and directories of the same form, Bonito's or Dorado's."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from safetensors.torch import save

from models.basecaller import Basecaller
from models.caller import Caller
from models.config import load_config
from models.errors import ModelError, UnknownModelError
from models.fleet import Fleet
from models.null import NullCaller
from models.weights import load_network
from reads.atomic import replacing

ZOO = Path(__file__).parent / "zoo"
DEFAULT = "r9.4.1_fast@v3"


def names() -> list[str]:
    """Return the names of the shipped models, sorted."""
    return sorted(path.parent.name for path in ZOO.glob("*/config.toml"))


def find(name_or_path: str) -> Path:
    """Return the directory of a model; UnknownModelError says which there are."""
    for directory in (ZOO / name_or_path, Path(name_or_path)):
        if (directory / "config.toml").is_file():
            return directory
    raise UnknownModelError(
        f"no model {name_or_path!r}: it is neither shipped ({', '.join(names())}) "
        "nor a directory with a config.toml"
    )


def load(name_or_path: str = DEFAULT, device: str = "auto", *, precise: bool = False) -> Caller:
    """Return the model of a shipped name, "null", or a model directory, ready on `device`.

    `device` is auto (the first GPU, or else the CPU), cpu, or cuda:N, or several with commas between, which
    share the batches. On devices that know a faster way than float32, `precise` keeps to float32, whose calls
    are those of every other device.

    Raises UnknownModelError, ModelFormatError, or ModelError where the device is not there.
    """
    if name_or_path == NullCaller.name:
        return NullCaller()
    directory = find(name_or_path)
    config = load_config(directory)
    places = [find_device(one.strip()) for one in device.split(",")]

    def load_on(place: torch.device) -> Basecaller:
        return Basecaller(config, load_network(directory, config.layers), place, precise=precise)

    if len(places) == 1:
        return load_on(places[0])
    with ThreadPoolExecutor(len(places)) as pool:
        return Fleet(list(pool.map(load_on, places)))


def find_device(device: str) -> torch.device:
    """Return the torch device that a user's word means; ModelError where it is not there."""
    if device == "auto":
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(device)
        known = found.type in {"cpu", "cuda"}
    except RuntimeError:
        known = False
    if not known:
        raise ModelError(f"device {device!r} is not one of auto, cpu, cuda, cuda:N")
    if found.type == "cuda" and not (found.index or 0) < torch.cuda.device_count():
        raise ModelError(
            f"device {device!r} is not there: this torch sees {torch.cuda.device_count()} CUDA devices"
        )
    return found


def write_weights(tensors: dict[str, torch.Tensor], path: Path) -> None:
    """Write weights as 16-bit floats, whole or not at all."""
    content = save({name: value.half().contiguous() for name, value in tensors.items()})
    with replacing(path) as temporary:
        temporary.write_bytes(content)
