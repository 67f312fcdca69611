"""The official test deals each track to one worker, and balances the cores."""

import pytest

from worldmodels.playing.evaluation import WIDTH, split_seeds


@pytest.mark.parametrize("tracks, cores", [(1, 8), (32, 2), (100, 2), (32, 5), (17, 2), (3, 64)])
def test_pieces_hold_each_track_once_and_balance_the_cores(tracks, cores):
    """Each track once, none beyond the width, no core with more than one track more to play than another."""
    dealt = split_seeds(list(range(tracks)), min(cores, tracks))
    assert sorted(track for piece in dealt for track in piece) == list(range(tracks))
    sizes = [len(piece) for piece in dealt]
    assert max(sizes) <= WIDTH and max(sizes) - min(sizes) <= 1
    turns = -(-tracks // (min(cores, tracks) * WIDTH))
    assert len(dealt) <= turns * cores
