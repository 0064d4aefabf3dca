import pytest

from benchmarks.costs import cost
from models import zoo
from models.config import load_config


def test_the_default_models_cost_is_what_its_layers_say():
    found = cost(load_config(zoo.find(zoo.DEFAULT)))
    # Convolutions 1-4, 4-16 (5 wide) and 16-96 (19 wide, stride 5), five LSTMs of 96, 64 states of 4.
    convolutions = 2 * (5 * 4 + 5 * 4 * 16) + 2 * 19 * 16 * 96 / 5
    lstms, scores = 5 * 8 * 96 * 192 / 5, 2 * 96 * 256 / 5
    assert found.flops_per_sample == pytest.approx(convolutions + lstms + scores)
    assert found.bytes_per_sample == pytest.approx(2 * (4 + 16 + 96 / 5 + 5 * 96 / 5 + 256 / 5))
    assert found.flops_per_read_sample == pytest.approx(found.flops_per_sample * 4000 / 3600)
