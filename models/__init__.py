"""Models: signal in, bases out. Knows no web. `models.load` is the way in."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from models.zoo import load

__all__ = ["load"]


def __getattr__(name: str) -> Any:
    """Import what loads a model when it is asked for: torch is slow to import."""
    if name == "load":
        from models.zoo import load  # noqa: PLC0415

        return load
    raise AttributeError(f"module 'models' has no attribute {name!r}")
