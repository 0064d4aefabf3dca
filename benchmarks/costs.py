"""What a sample costs a model: arithmetic from `models.cost`, and the bytes its layers hand on. Pure."""

from dataclasses import dataclass

from models.config import ModelConfig
from models.cost import flops_per_sample
from models.layers import leaves

HALF_BYTES = 2


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one sample of a chunk; and, as chunks overlap, of one sample of a long read."""

    flops_per_sample: float
    bytes_per_sample: float
    chunk_samples_per_read_sample: float

    @property
    def flops_per_read_sample(self) -> float:
        """What one sample of a long read costs, the overlap of chunks included."""
        return self.flops_per_sample * self.chunk_samples_per_read_sample


def cost(config: ModelConfig) -> Cost:
    """Return what a sample costs the model of `config`."""
    return Cost(
        flops_per_sample(config.layers),
        bytes_per_sample(config),
        config.chunk_samples / (config.chunk_samples - config.overlap),
    )


def bytes_per_sample(config: ModelConfig, element_bytes: int = HALF_BYTES) -> float:
    """Return the bytes that the layers write for the next one to read, each counted once, for one sample."""
    total, per_step = 0.0, 1.0
    for layer in leaves(config.layers):
        match layer["type"]:
            case "convolution":
                per_step /= layer.get("stride", 1)
                total += layer["size"] * per_step
            case "block":
                for _ in range(layer["repeat"]):
                    per_step /= layer["stride"][0]
                    total += layer["filters"] * per_step
            case "lstm":
                total += layer["size"] * per_step
            case "linear":
                total += layer["out_features"] * per_step
            case "transformerencoderlayer":
                total += layer["d_model"] * per_step
            case "linearupsample":
                per_step *= layer["scale_factor"]
                total += layer["d_model"] * per_step
            case "linearcrfencoder":
                width = 4 if layer.get("blank_score") is not None else 5
                total += 4 ** layer["state_len"] * width * per_step
            case "ctcdecoder":
                total += 5 * per_step
    return total * element_bytes
