"""Signal is scaled as each generation of models was trained, and what precedes the strand is cut off."""

import numpy as np
import pytest

from models.scaling import LEAST_TRIM, Scaling, normalise, scaled, strand_start
from reads.read import Calibration, Read


@pytest.fixture
def read() -> Read:
    signal = np.random.default_rng(0).normal(500, 80, 10001).astype(np.int16)
    return Read("r", signal, Calibration(offset=-240.0, scale=0.2), 5000.0)


def test_a_constant_signal_is_normalised_to_zeros() -> None:
    assert normalise(np.full(9, 512, np.int16)).tolist() == [0.0] * 9


def test_normalising_gives_median_0_and_mad_1(read: Read) -> None:
    values = scaled(read, Scaling("med_mad"))
    assert np.median(values) == 0.0
    assert np.median(np.abs(values)) * 1.4826 == pytest.approx(1.0, rel=1e-6)


def test_quantiles_set_shift_and_scale_in_picoamperes(read: Read) -> None:
    picoamps = (read.signal - 240.0) * 0.2
    a, b = np.quantile(picoamps, [0.2, 0.9])
    expected = (picoamps - 0.51 * (a + b)) / (0.53 * (b - a))
    np.testing.assert_allclose(scaled(read, Scaling("quantile")), expected, atol=1e-4)
    a, b = np.quantile(picoamps, [0.3, 0.8])
    expected = (picoamps - 0.4 * (a + b)) / (0.6 * (b - a))
    other = Scaling("quantile", quantile_a=0.3, quantile_b=0.8, shift_multiplier=0.4, scale_multiplier=0.6)
    np.testing.assert_allclose(scaled(read, other), expected, atol=1e-4)


def test_quantile_scaling_has_a_least_shift_and_scale() -> None:
    flat = Read("r", np.zeros(50, np.int16), Calibration(0.0, 1.0), 4000.0)
    assert scaled(flat, Scaling("quantile")).tolist() == [-10.0] * 50


def test_picoamperes_are_standardised_by_the_models_constants(read: Read) -> None:
    expected = ((read.signal - 240.0) * 0.2 - 91.88) / 22.65
    standard = Scaling("pa", mean=91.88, stdev=22.65, standardised=True)
    np.testing.assert_allclose(scaled(read, standard), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(scaled(read, Scaling("pa")), (read.signal - 240.0) * 0.2, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("strategy", ["med_mad", "quantile", "pa"])
def test_no_samples_stay_none(strategy: str) -> None:
    empty = Read("r", np.zeros(0, np.int16), Calibration(0.0, 1.0), 4000.0)
    assert scaled(empty, Scaling(strategy)).shape == (0,)
    assert strand_start(np.zeros(0, np.float32), Scaling(strategy)) == 0


def test_the_strand_begins_after_the_first_peak() -> None:
    signal = np.zeros(10_000, np.float32)
    signal[500:900] = 3.0  # the adapter's peak
    start = strand_start(signal, Scaling("med_mad"))
    assert 900 <= start < 940
    assert start % 40 == LEAST_TRIM


@pytest.mark.parametrize("peak", [slice(0, 0), slice(100, 103), slice(4000, 10_000), slice(6000, 6400)])
def test_without_a_peak_that_ends_in_the_first_half_the_least_is_cut(peak: slice) -> None:
    signal = np.zeros(10_000, np.float32)
    signal[peak] = 3.0
    assert strand_start(signal, Scaling("med_mad")) == LEAST_TRIM


def test_standardised_signal_loses_the_least_whatever_is_in_it() -> None:
    signal = np.zeros(10_000, np.float32)
    signal[500:900] = 3.0
    assert strand_start(signal, Scaling("pa", standardised=True)) == LEAST_TRIM


@pytest.mark.parametrize("samples", range(15))
def test_short_signals_lose_no_more_than_there_is(samples: int) -> None:
    assert strand_start(np.full(samples, 9.0, np.float32), Scaling("med_mad")) == min(samples, LEAST_TRIM)
