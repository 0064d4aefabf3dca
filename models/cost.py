"""What one sample costs a network: multiplications and additions, counted from its layers."""

from collections.abc import Iterable

from models.layers import Layer, leaves


def flops_per_sample(layers: Iterable[Layer]) -> float:
    """Return the multiplications and additions that one sample costs, attention at its full window."""
    total, per_step = 0.0, 1.0
    for layer in leaves(layers):
        match layer["type"]:
            case "convolution":
                per_step /= layer.get("stride", 1)
                total += 2 * layer["insize"] * layer["size"] * layer["winlen"] * per_step
            case "block":
                insize, size, kernel = layer["insize"], layer["filters"], layer["kernel"][0]
                if layer["residual"]:
                    total += 2 * insize * size * per_step
                for _ in range(layer["repeat"]):
                    per_step /= layer["stride"][0]
                    taps = kernel + size if layer["separable"] else kernel * size
                    total += 2 * insize * taps * per_step
                    insize = size
            case "lstm":
                total += 8 * layer["size"] * (layer["insize"] + layer["size"]) * per_step
            case "linear":
                total += 2 * layer["in_features"] * layer["out_features"] * per_step
            case "transformerencoderlayer":
                size = layer["d_model"]
                seen = sum(layer["attn_window"]) + 1
                products = 4 * size * size + 3 * size * layer["dim_feedforward"] + 2 * size * seen
                total += 2 * products * per_step
            case "linearupsample":
                total += 2 * layer["d_model"] ** 2 * layer["scale_factor"] * per_step
                per_step *= layer["scale_factor"]
            case "linearcrfencoder":
                width = 4 if layer.get("blank_score") is not None else 5
                total += 2 * layer["insize"] * 4 ** layer["state_len"] * width * per_step
            case "ctcdecoder":
                total += 2 * layer["insize"] * 5 * per_step
    return total
