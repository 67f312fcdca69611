"""Seeds of different purposes never collide."""

from worldmodels.envs import seeding


def test_seeds_of_different_purposes_never_collide():
    drawn = {
        purpose: {seeding.track_seed(s, purpose, g, i) for s in range(3) for g in range(30) for i in range(30)}
        for purpose in ("rollouts", "training", "validation")
    }
    drawn["evaluation"] = set(seeding.evaluation_seeds(1000))
    everything = [seed for seeds in drawn.values() for seed in seeds]
    assert len(everything) == len(set(everything))
    assert all(0 <= seed < 2**31 for seed in everything)
    assert seeding.evaluation_seeds(3) == seeding.evaluation_seeds(5)[:3]
