"""One tensor out of a TorchScript archive, as Dorado's models store each of theirs, with no code executed.

The archive is a zip whose `data.pkl` describes a module with one parameter; its opcodes are interpreted here,
few as they are, and every other one is refused. Nothing is unpickled, nothing imported, nothing called.
"""

import pickletools
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from models.errors import ModelFormatError

DTYPES = {
    "torch FloatStorage": torch.float32,
    "torch HalfStorage": torch.float16,
    "torch BFloat16Storage": torch.bfloat16,
    "torch DoubleStorage": torch.float64,
    "torch LongStorage": torch.int64,
}
MOST_PICKLE_BYTES = 1 << 16
"""A description of one tensor is a few hundred bytes."""
MOST_TENSOR_BYTES = 1 << 30
"""No layer of any known model is a gigabyte."""
_MARK = object()


@dataclass(frozen=True, slots=True)
class _Name:
    """A global that the pickle names; it stays a name."""

    value: str


@dataclass(frozen=True, slots=True)
class _Storage:
    dtype: torch.dtype
    key: str
    numbers: int


@dataclass(frozen=True, slots=True)
class _View:
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read_tensor(path: Path) -> torch.Tensor:
    """Return the one tensor of an archive; ModelFormatError says why there is none."""
    try:
        with zipfile.ZipFile(path) as archive:
            root = _root(archive, path)
            view = _describe(_member(archive, f"{root}data.pkl", MOST_PICKLE_BYTES))
            data = _member(archive, f"{root}data/{view.storage.key}", MOST_TENSOR_BYTES)
            said = f"{root}byteorder"
            byteorder = _member(archive, said, 16).strip() if said in archive.namelist() else b"little"
        return _tensor(view, data, byteorder)
    except OSError as error:
        raise ModelFormatError(f"{path}: cannot be read: {error.strerror or error}") from error
    # What a damaged zip raises is many things.
    except (zipfile.BadZipFile, ValueError, KeyError, IndexError, TypeError, NotImplementedError) as error:
        raise ModelFormatError(f"{path}: not one tensor in a TorchScript archive: {error}") from error


def _root(archive: zipfile.ZipFile, path: Path) -> str:
    found = [name for name in archive.namelist() if name.count("/") == 1 and name.endswith("/data.pkl")]
    if len(found) != 1:
        raise ValueError(f"{path.name} has no data.pkl")
    return found[0].removesuffix("data.pkl")


def _member(archive: zipfile.ZipFile, name: str, most_bytes: int) -> bytes:
    info = archive.getinfo(name)
    if info.file_size > most_bytes:
        raise ValueError(f"{name} is {info.file_size} bytes, more than {most_bytes}")
    with archive.open(info) as file:
        return file.read(most_bytes)


def _tensor(view: _View, data: bytes, byteorder: bytes) -> torch.Tensor:
    if byteorder != b"little":
        raise ValueError("its numbers are not little-endian")
    if len(data) != view.storage.numbers * view.storage.dtype.itemsize:
        raise ValueError(f"{len(data)} bytes are not {view.storage.numbers} numbers of {view.storage.dtype}")
    last = view.offset + sum((n - 1) * stride for n, stride in zip(view.shape, view.strides, strict=True))
    inside = 0 in view.shape or last < view.storage.numbers
    if min((view.offset, *view.shape, *view.strides)) < 0 or not inside:
        raise ValueError(f"shape {view.shape} reaches past the {view.storage.numbers} numbers that are there")
    flat = torch.from_numpy(np.frombuffer(data, np.uint8).copy()).view(view.storage.dtype)
    return flat.as_strided(view.shape, view.strides, view.offset).clone()


def _describe(pickled: bytes) -> _View:  # noqa: PLR0912, PLR0915 - one interpreter
    """Interpret a data.pkl; ValueError names the first opcode that no such file needs."""
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    for opcode, argument, _ in pickletools.genops(pickled):
        match opcode.name:
            case "PROTO":
                pass
            case "GLOBAL":
                stack.append(_Name(str(argument)))
            case "BINPUT" | "LONG_BINPUT":
                memo[int(argument or 0)] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(memo[int(argument or 0)])
            case "BINUNICODE" | "SHORT_BINUNICODE" | "BININT" | "BININT1" | "BININT2" | "LONG1":
                stack.append(argument)
            case "NEWTRUE" | "NEWFALSE" | "NONE":
                stack.append({"NEWTRUE": True, "NEWFALSE": False, "NONE": None}[opcode.name])
            case "EMPTY_TUPLE":
                stack.append(())
            case "EMPTY_DICT":
                stack.append({})
            case "MARK":
                stack.append(_MARK)
            case "TUPLE":
                stack.append(tuple(_since_mark(stack)))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                count = int(opcode.name[-1])
                stack[-count:] = [tuple(stack[-count:])]
            case "BINPERSID":
                stack.append(_storage(stack.pop()))
            case "REDUCE":
                arguments = stack.pop()
                stack.append(_rebuilt(stack.pop(), arguments))
            case "NEWOBJ":
                stack.pop()
                stack[-1] = {}  # the module, an instance of the class that it names
            case "SETITEM":
                value, key = stack.pop(), stack.pop()
                stack[-1][key] = value
            case "SETITEMS":
                items = _since_mark(stack)
                stack[-1].update(zip(items[::2], items[1::2], strict=True))
            case "BUILD":
                state = stack.pop()
                stack[-1].update(state)
            case "STOP":
                break
            case _:
                raise ValueError(f"its pickle has an opcode {opcode.name}, which describes no tensor")
    views = [value for value in stack[-1].values() if isinstance(value, _View)]
    if len(views) != 1:
        raise ValueError(f"it holds {len(views)} tensors")
    return views[0]


def _since_mark(stack: list[Any]) -> list[Any]:
    begin = len(stack) - 1 - stack[::-1].index(_MARK)
    items = stack[begin + 1 :]
    del stack[begin:]
    return items


def _storage(persistent: Any) -> _Storage:
    kind, dtype, key, _, numbers = persistent
    if kind != "storage" or not isinstance(dtype, _Name) or dtype.value not in DTYPES:
        raise ValueError(f"a storage of {getattr(dtype, 'value', dtype)} is not read")
    return _Storage(DTYPES[dtype.value], str(key), int(numbers))


def _rebuilt(function: Any, arguments: Any) -> Any:
    match function:
        case _Name("torch._utils _rebuild_tensor_v2"):
            storage, offset, shape, strides = arguments[:4]
            if not isinstance(storage, _Storage):
                raise TypeError("a tensor without a storage")
            return _View(storage, int(offset), tuple(map(int, shape)), tuple(map(int, strides)))
        case _Name("torch._utils _rebuild_parameter"):
            return arguments[0]
        case _Name("collections OrderedDict"):
            return {}
    raise ValueError(f"its pickle calls {getattr(function, 'value', function)}, which is refused")
