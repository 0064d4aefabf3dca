"""A config of any form says what is called and how, and a field that nobody knows is named."""

import tomllib
from pathlib import Path

import pytest
from model_directories import FAMILIES, FLAT, QUARTZNET, TRANSFORMER, TYPED

from models.config import ModelConfig, load_config, parse_config
from models.errors import ModelFormatError
from models.layers import leaves


def parsed(text: str, name: str = "dna_r10.4.1") -> ModelConfig:
    return parse_config(name, tomllib.loads(text))


@pytest.mark.parametrize(
    ("name", "state_len", "stride", "grid", "sample_rate", "strategy"),
    [
        ("dna_r10.4.1_e8.2_260bps_fast@v4.0.0", 3, 5, 5, 4000, "quantile"),
        ("dna_r10.4.1_e8.2_400bps_hac@v4.3.0", 4, 6, 6, 5000, "pa"),
        ("dna_r10.4.1_e8.2_400bps_sup@v5.0.0", 5, 6, 12, 5000, "pa"),
        ("dna_r9.4.1_e8_hac@v3.3", 4, 5, 5, 4000, "med_mad"),
    ],
)
def test_official_configs_are_read(
    shared: Path, name: str, state_len: int, stride: int, grid: int, sample_rate: float, strategy: str
) -> None:
    config = load_config(shared / "model_configs" / name)
    assert (config.state_len, config.stride, config.grid_samples) == (state_len, stride, grid)
    assert config.sample_rate == sample_rate
    assert config.scaling.strategy == strategy
    assert config.blank_score == 2.0
    assert config.trims
    assert config.beam_width == 32


def test_the_official_transformer_is_read_whole(shared: Path) -> None:
    config = load_config(shared / "model_configs" / "dna_r10.4.1_e8.2_400bps_sup@v5.0.0")
    kinds = [layer["type"] for layer in leaves(config.layers)]
    assert kinds == [
        *["convolution"] * 5,
        "permute",
        *["transformerencoderlayer"] * 18,
        "linearupsample",
        "linearcrfencoder",
    ]
    assert (config.chunk_samples, config.overlap, config.batch_chunks) == (12288, 600, 128)
    assert (config.scaling.mean, config.scaling.stdev) == (93.6376, 22.6004)


def test_a_flat_encoder_implies_its_layers() -> None:
    layers = parsed(FLAT).layers
    assert [layer["type"] for layer in layers] == [
        *["convolution"] * 3,
        "permute",
        *["lstm"] * 5,
        "linearcrfencoder",
    ]
    assert [layer["size"] for layer in layers if layer["type"] == "convolution"] == [4, 16, 16]
    assert [layer["reverse"] for layer in layers if layer["type"] == "lstm"] == [True, False] * 2 + [True]
    assert layers[-1]["activation"] == "tanh"
    assert layers[-1]["scale"] == 5.0


def test_blocks_are_a_ctc_model_of_one_feature() -> None:
    config = parsed(QUARTZNET, "dna_r9.4.1@v2")
    assert [layer["type"] for layer in config.layers] == ["block"] * 4 + ["ctcdecoder"]
    assert [layer["insize"] for layer in config.layers] == [1, 16, 24, 24, 16]
    assert (config.state_len, config.stride, config.beam_width) == (0, 3, 5)
    assert config.scaling.strategy == "med_mad"


def test_qualities_scaling_and_cutting_are_the_configs() -> None:
    config = parsed(TYPED)
    assert (config.q_scale, config.q_bias) == (1.1, -1.1)
    assert (config.scaling.strategy, config.scaling.mean, config.scaling.stdev) == ("pa", 91.88, 22.65)
    assert (config.chunk_samples, config.overlap) == (3984, 498)  # of Bonito's 4,000 and 500
    quantiles = """
[normalisation]
quantile_a = 0.1
quantile_b = 0.8
shift_multiplier = 0.5
scale_multiplier = 0.6
"""
    scaling = parsed(FLAT.replace("med_mad", "quantile") + quantiles).scaling
    assert (scaling.quantile_a, scaling.quantile_b) == (0.1, 0.8)
    assert (scaling.shift_multiplier, scaling.scale_multiplier) == (0.5, 0.6)
    assert parsed(FLAT + "[decoder]\nx = 1\n[training]\ny = 2\n").q_start == 0
    assert parsed(FLAT.replace("bias = -0.2", "bias = -0.2\nmean_qscore_start_pos = 60")).q_start == 60


def test_chunks_of_an_upsampling_network_are_whole_numbers_of_its_wider_steps() -> None:
    config = parsed(TRANSFORMER.replace("chunksize = 1200", "chunksize = 1210"))
    assert (config.stride, config.grid_samples) == (6, 12)
    assert config.chunk_samples == 1200  # of 1,210


@pytest.mark.parametrize(
    ("text", "old", "new", "message"),
    [
        (FLAT, "winlen = 19", "winlen = 19\nwinlem = 20", r"encoder\.winlem is not known here"),
        (FLAT, "[scaling]", "[scalling]", "scalling is not known here, and could change the result"),
        (FLAT, "batchsize = 8", "batchsize = 8\nchunk = 5", r"basecaller\.chunk is not known here"),
        (FLAT, "state_len = 2", "", r"global_norm\.state_len is missing"),
        (FLAT, "features = 1\n", "features = 13\n", r"input\.features: Input should be 1, not 13"),
        (FLAT, '"bonito.crf"', '"dorado.mods"', r"model\.package: Input should be .*, not 'dorado\.mods'"),
        (FLAT, '["N", "A"', '["N", "U"', "the labels are"),
        (FLAT, "overlap = 100", "overlap = 1000", r"overlap is 1000 samples of chunks of 960"),
        (FLAT, "winlen = 19", "winlen = 18", "a convolution of winlen 18 has padding 9"),
        (TYPED, '"lstm"', '"gru"', r"encoder\.sublayers\.7\.type: layer type 'gru' is not known"),
        (TYPED, "reverse = 1", "reverse = 1\ndropout = 0.1", r"sublayers\.7\.dropout is not known here"),
        (TYPED, "size = 32\n", "", r"encoder\.sublayers\.4\.size is missing"),
        (TYPED, "padding = 9", "padding = 8", "a convolution of winlen 19 has padding 8"),
        (TYPED, "state_len = 2", "state_len = 3", None),
        (
            TYPED,
            "[standardisation]\nstandardise = 1",
            "[standardisation]",
            "standardisation.standardise is missing",
        ),
        (TYPED, 'strategy = "pa"', 'strategy = "quantile"', "standardisation is of scaling.strategy 'pa'"),
        (TYPED, "blank_score = 2.0", "blank_score = 7.0", "blank_score 7.0 is outside the clamp"),
        (TYPED, "sample_rate = 5000", 'sample_rate = 5000\nsample_type = "rna004"', r"run_info\.sample_type"),
        (TRANSFORMER, "nhead = 2", "nhead = 3", "d_model 32 does not divide into 3 even heads"),
        (TRANSFORMER, "attn_window = [7, 8]", "attn_window = [7]", r"transformer_encoder|attn_window"),
        (TRANSFORMER, "scale_factor = 2", "scale_factor = 5", "an upsampling by 5 of steps of 12 samples"),
        (QUARTZNET, "kernel = [7]", "kernel = [8]", "a block has kernel 8"),
        (QUARTZNET, "residual = true", 'residual = true\nsqueeze = "yes"', r"squeeze is not known here"),
    ],
)
def test_what_is_wrong_in_a_config_is_named(text: str, old: str, new: str, message: str | None) -> None:
    assert old in text
    changed = text.replace(old, new, 1)
    if message is None:  # the global state_len alone
        message = "state_len is 3, and that of the linearcrfencoder 2"
    with pytest.raises(ModelFormatError, match=message):
        parsed(changed)


def test_models_of_rna_are_refused() -> None:
    with pytest.raises(ModelFormatError, match="models of RNA are not read"):
        parsed(FLAT, "rna002_70bps_hac@v3")


@pytest.mark.parametrize("name", FAMILIES)
def test_a_config_says_the_same_wherever_it_lies(name: str, tmp_path: Path) -> None:
    directory = tmp_path / name
    directory.mkdir()
    (directory / "config.toml").write_text(FAMILIES[name])
    assert load_config(directory) == parsed(FAMILIES[name], name)
