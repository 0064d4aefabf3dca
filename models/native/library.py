"""The compiled half of `models.native`, where there is one: built with the package, by any C++ compiler.

What always holds: without it nothing is missing but speed.
"""

import ctypes
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

_POINTER, _INT, _FLOAT, _SIZE = ctypes.c_void_p, ctypes.c_int, ctypes.c_float, ctypes.c_size_t
_SHAPE = (_INT, _FLOAT, _FLOAT)
_PRODUCT = (_POINTER, _POINTER, _POINTER)
_ARGUMENTS = {
    "native_convolution": (_POINTER, *[_INT] * 5, _POINTER, _POINTER, *_SHAPE, _POINTER),
    "native_wide_convolution": (
        *(_POINTER, *[_INT] * 4, *_PRODUCT, *_SHAPE),
        *(_POINTER, _POINTER, _SIZE, _POINTER, _SIZE),
    ),
    "native_linear": (_POINTER, _POINTER, *[_INT] * 3, *_PRODUCT, *_SHAPE, *[_POINTER] * 3),
    "native_scores": (_POINTER, _POINTER, *[_INT] * 4, *_PRODUCT, *_SHAPE, _FLOAT, _POINTER),
    "native_best_path": (_POINTER, _INT, _INT, _FLOAT, _FLOAT, *[_POINTER] * 4),
    "native_lstm": (_POINTER, _POINTER, *[_INT] * 5, *[_POINTER] * 2, *_PRODUCT, *[_POINTER] * 2),
}


@cache
def library() -> ctypes.CDLL | None:
    """Return the compiled functions, or None where they were not built or are not for this processor."""
    paths = [Path(__file__).with_name(f"_native{suffix}") for suffix in EXTENSION_SUFFIXES]
    built = [path for path in paths if path.exists()]
    if not built:
        return None
    # Not imported but opened: it knows nothing of Python, and is called without its lock.
    loaded = ctypes.CDLL(str(built[0]))
    loaded.native_supported.restype = _INT
    if not loaded.native_supported():
        return None
    loaded.native_best_path_room.argtypes, loaded.native_best_path_room.restype = (_INT, _INT), _SIZE
    loaded.native_wide_room.argtypes, loaded.native_wide_room.restype = (_INT, _INT, _INT), _SIZE
    for name, arguments in _ARGUMENTS.items():
        function = getattr(loaded, name)
        function.argtypes, function.restype = arguments, None
    return loaded
