"""Early stopping stops after its patience, and continues from its state."""

import pytest

from worldmodels.training.early_stopping import EarlyStopping


def run(stopping: EarlyStopping, values) -> list[bool]:
    result = []
    for value in values:
        stopping.step(value)
        result.append(stopping.stop)
    return result


def test_early_stopping_stops_after_patience():
    assert run(EarlyStopping("min", 2), [3, 2, 2.5, 2.4]) == [False, False, False, True]
    assert run(EarlyStopping("max", 2), [3, 4, 3, 5, 4, 4]) == [False] * 5 + [True]
    assert run(EarlyStopping("min", 1, threshold=0.1, threshold_mode="rel"), [10, 9.5]) == [False, True]
    assert run(EarlyStopping("min", 1, threshold=0.1, threshold_mode="abs"), [10, 9.5]) == [False, False]
    assert run(EarlyStopping("min", 1), [float("nan")]) == [True]
    assert run(EarlyStopping("min", 1), [-1.0, -2.0, -1.5]) == [False, False, True]


def test_early_stopping_state_is_restored():
    first, second = EarlyStopping("min", 3), EarlyStopping("min", 3)
    run(first, [3, 4, 5])
    assert (first.last_epoch, second.last_epoch) == (2, -1)
    second.load_state_dict(first.state_dict())
    assert run(second, [6]) == [True]
    assert second.last_epoch == 3 and second.state_dict() == {"best": 3, "num_bad_epochs": 3, "last_epoch": 3}


def test_unknown_mode_raises():
    with pytest.raises(ValueError, match="mode: expected min or max, found 'up'"):
        EarlyStopping("up")
    with pytest.raises(ValueError, match="threshold_mode: expected rel or abs, found 'x'"):
        EarlyStopping("min", threshold_mode="x")
