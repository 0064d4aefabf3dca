"""What a training may learn from, and what it is judged by, never meet."""

from uuid import UUID

import numpy as np

from models.material import Judgement, is_held_out

IDS = [str(UUID(bytes=np.random.default_rng(n).bytes(16))) for n in range(2000)]


def test_the_share_that_was_asked_for_is_held_out() -> None:
    assert not any(is_held_out(read_id, 0.0) for read_id in IDS)
    assert 0.08 < np.mean([is_held_out(read_id, 0.1) for read_id in IDS]) < 0.12


def test_a_larger_share_holds_out_the_same_reads_and_more() -> None:
    small, large = ({read_id for read_id in IDS if is_held_out(read_id, share)} for share in (0.05, 0.2))
    assert small < large


def test_weights_that_map_fewer_reads_are_worth_less() -> None:
    assert Judgement(10, 10, 0.88, 0.88).figure > Judgement(10, 9, 0.9, 0.9).figure
    assert Judgement(10, 0, None, None).figure == 0.0
