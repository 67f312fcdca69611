"""C's training keeps its budgets, validates its mean, and continues as one long run."""

import copy
from concurrent.futures import Future

import numpy as np
import pytest

from helpers.search import peak
from worldmodels.envs import seeding
from worldmodels.runtime.config import WMControllerConfig
from worldmodels.runtime.errors import UserError
from worldmodels.search.cma_es import CMAES
from worldmodels.search.evaluator import Evaluator
from worldmodels.search.gradient import EvolutionStrategiesGradient
from worldmodels.training.search_loop import SearchLoop


class InlinePool:
    """Stands in for the worker processes: an 'episode' is 10 steps long and returns the peak's height, with noise
    that comes from the track."""

    def __init__(self):
        self.pieces = []

    def submit(self, function, task, parameters, seeds):
        self.pieces.append((parameters, list(seeds)))
        noise = np.array([np.random.default_rng(s).normal(0, 0.01) for s in seeds])
        future = Future()
        future.set_result((peak(parameters) + noise, np.full(len(seeds), 10)))
        return future


def training(lanes=5, first=None, **changes) -> SearchLoop:
    values = dict(pop_size=12, n_samples=2, num_generations=40, max_env_steps=0, validation_episodes=3, sigma0=0.3)
    config = WMControllerConfig(lanes=lanes, target_return=1e9, **(values | changes))
    search = CMAES(5, config.sigma0, config.pop_size, seeding.integer_seed(1, "ctrl/strategy"), first=first)
    return SearchLoop(search, Evaluator(InlinePool(), lanes), config, seed=1)


def test_training_maximizes_and_keeps_the_best_validated_mean():
    loop = training()
    for _ in loop.run():
        pass
    assert loop.generation == 40
    assert sorted(loop.validations) == list(range(4, 41, 4))
    best = max(loop.validations.values())
    assert loop.best["reward"] == best.reward > -0.1 > peak(np.zeros(5))[0]
    assert loop.best["reward_std"] == best.reward_std < 0.03  # the noise of the three episodes
    assert peak(loop.best["parameters"])[0] == pytest.approx(loop.best["reward"], abs=0.05)
    assert loop.env_steps == 40 * 24 * 10 + 10 * 3 * 10
    rows = {row["generation"]: row for row in loop.history}
    assert all(rows[g]["validation_mean"] == validation.reward for g, validation in loop.validations.items())
    assert loop.end_reason() == "40 generations done"


def test_a_start_is_validated_and_kept_if_nothing_beats_it():
    at_the_peak = np.ones(5)
    loop, again = (training(start="results/earlier", first=at_the_peak, num_generations=5) for _ in range(2))
    states = [copy.deepcopy(loop.state_dict()) for _ in loop.run()]
    assert sorted(loop.validations) == [0, 4, 5]
    assert loop.best["epoch"] == 0 and np.array_equal(loop.best["parameters"], at_the_peak)
    assert loop.best["reward"] == loop.validations[0].reward > loop.validations[4].reward
    assert loop.env_steps == 5 * 24 * 10 + 3 * 3 * 10
    assert [row["generation"] for row in loop.history if row["validation_mean"] is not None] == [4, 5]
    again.load_state_dict(states[0])
    for _ in again.run():
        pass
    assert again.best["epoch"] == 0 and again.env_steps == loop.env_steps and again.validations == loop.validations


def test_results_do_not_depend_on_the_number_of_lanes():
    few, many = training(lanes=5), training(lanes=24)
    for loop in (few, many):
        for _ in loop.run():
            loop.history[-1].pop("seconds", None)
    assert few.history == many.history and few.best["reward"] == many.best["reward"]


@pytest.mark.parametrize(
    "changes", [{}, {"ascent_after": 550}, {"hard_share": 0.5, "sample_growth": 1300, "ascent_after": 700}]
)
def test_resumed_training_equals_training_in_one_go(changes):
    whole = training(**changes)
    for _ in whole.run():
        pass
    for stop, finished in [(1, False), (4, False), (5, False), (9, True), (8, True)]:
        begun = training(num_generations=stop if finished else 40, **changes)
        for process, _ in enumerate(begun.run(), 1):
            state = copy.deepcopy(begun.state_dict())
            if process == stop and not finished:
                break
        assert begun.generation == stop
        again = training(**changes)
        again.load_state_dict(state)
        for _ in again.run():
            pass
        for loop in (whole, again):
            for row in loop.history:
                row["seconds"] = 0
        assert again.history == whole.history and again.env_steps == whole.env_steps
        assert np.array_equal(again.best["parameters"], whole.best["parameters"])


def test_es_gradient_takes_over():
    loop = training(num_generations=7, ascent_after=500, ascent_rate=0.5)
    kinds, averages = [], []
    for _ in loop.run():
        kinds.append(type(loop.search))
        averages.append(loop.mean)
    # After 5 generations, of 2 episodes a candidate, 240 steps each, and a validation's 30: twice 500 and more.
    assert kinds == [CMAES] * 5 + [EvolutionStrategiesGradient] * 2
    assert np.array_equal(loop.search.first, averages[4]) and len(loop.search.means) == 2
    assert loop.search.rate == 0.5 and loop.search.ask().shape == (12, 5)
    never = training(ascent_after=0)
    for _ in never.run():
        pass
    assert type(never.search) is CMAES


@pytest.mark.parametrize("sigma, expected", [(0.9, 0.3), (0.2, 0.2)])
def test_es_gradient_starts_with_the_step_size_of_cmaes(sigma, expected):
    loop = training(ascent_after=500)
    next(loop.run())
    loop.search.es.sigma, loop.env_steps = sigma, 1000
    loop.switch_search()
    assert loop.search.sigma == expected


@pytest.mark.parametrize(
    "budget",
    [{"num_generations": 7}, {"num_generations": 8}, {"max_env_steps": 1500}],
)
def test_smaller_budget_gives_what_a_shorter_run_gives(budget):
    long, short, again = (training(ascent_after=350, **values) for values in ({}, budget, budget))
    for loop in (long, short):
        for _ in loop.run():
            pass
    again.load_state_dict(long.state_dict())
    for _ in again.run():
        pass
    assert again.generation == short.generation < long.generation and again.env_steps == short.env_steps
    assert again.best["reward"] == short.best["reward"] and again.best["epoch"] == short.best["epoch"]
    assert np.array_equal(again.best["parameters"], short.best["parameters"])


def test_interrupted_generation_is_not_played_twice():
    whole, begun, again = training(num_generations=4), training(num_generations=4), training(num_generations=4)
    for loop in (whole, begun):
        steps = loop.run()
        next(steps)
        next(steps)
        if loop is whole:
            list(steps)
    search = CMAES(5, 0.3, 12, seeding.integer_seed(1, "ctrl/strategy"))
    for returns in begun.returns:
        search.ask()
        search.tell(returns.mean(axis=1))
    begun.jobs = begun.evaluator.submit(np.repeat(search.ask(), 2, axis=0), begun.next_tracks())
    begun.jobs[2] = Future()  # not finished
    begun.keep_finished_pieces()
    assert sorted(begun.finished_pieces) == [0, 1, 3, 4]
    again.load_state_dict(begun.state_dict())
    again.evaluator.pool.pieces.clear()
    next(again.run())
    assert len(again.evaluator.pool.pieces) == 1
    assert np.array_equal(again.returns[2], whole.returns[2])


@pytest.mark.parametrize(
    "changes, why",
    [
        ({"num_generations": 3}, "3 generations done"),
        ({"max_env_steps": 700}, "700 environment steps done"),
        ({"target_return": -2.0}, "target return -2 reached"),
    ],
)
def test_budget_ends_training(changes, why):
    values = {"target_return": 1e9} | changes
    loop = training()
    for name, value in values.items():
        setattr(loop.config, name, value)
    for _ in loop.run():
        pass
    assert loop.end_reason() == why and loop.generation < 40
    assert loop.best["reward"] > float("-inf")


@pytest.mark.parametrize("ascent_after", [0, 300])
@pytest.mark.parametrize("spoiled", [np.nan, -np.inf])
def test_nonfinite_return_raises_before_anything_is_recorded(ascent_after, spoiled):
    loop = training(ascent_after=ascent_after)
    steps = loop.run()
    for _ in range(4):
        next(steps)
    seed = loop.next_tracks()[7]  # of the second episode of the fourth candidate

    def spoil(jobs):
        returns, lengths = Evaluator.collect(jobs)
        return np.where(np.arange(len(returns)) == 7, spoiled, returns), lengths

    loop.evaluator.collect = spoil
    before = copy.deepcopy((loop.state_dict(), loop.env_steps, loop.best))
    message = f"found {spoiled} of candidate 4 in the episode of seed {seed}, generation 5"
    with pytest.raises(UserError, match=message):
        next(steps)
    assert repr((loop.state_dict(), loop.env_steps, loop.best)) == repr(before)


@pytest.mark.parametrize("generations", [3, 8])
def test_nonfinite_validation_raises_and_keeps_nothing(generations):
    """The first validation is the last thing that a run of three generations does; one of eight does it beside its
    fifth generation."""
    loop, seeds = training(num_generations=generations), []

    def spoil(jobs):
        returns, lengths = Evaluator.collect(jobs)
        if len(returns) == loop.config.validation_episodes:
            seeds.extend(loop.tracks.validation_seeds())
            returns[1] = np.nan
        return returns, lengths

    loop.evaluator.collect = spoil
    with pytest.raises(UserError, match="found nan of the validated mean in the episode of seed") as raised:
        list(loop.run())
    assert f"seed {seeds[1]}, generation {min(generations, 4)}" in str(raised.value)
    assert loop.best["epoch"] == 0 and not loop.validations and loop.generation == min(generations, 4)


def test_common_tracks_are_shared_by_all_candidates():
    loop = training()
    tracks = loop.next_tracks()
    assert len(tracks) == 24 and len(set(tracks)) == 2 and tracks == tracks[:2] * 12
    next(loop.run())
    assert set(tracks).isdisjoint(loop.next_tracks())
    own = training(common_tracks=False).next_tracks()
    assert len(set(own)) == 24


def test_hard_tracks_return_the_more_often_the_lower_their_return():
    loop = training(hard_share=0.5)
    assert len(set(loop.next_tracks())) == 2  # none was met yet
    loop.tracks.mean_returns = {100 + i: 900.0 for i in range(39)} | {7: 700.0, 8: 500.0}
    counts = {7: 0, 8: 0}
    for generation in range(300):
        loop.returns = [np.zeros(0)] * generation
        hard, fresh = loop.next_tracks()[:2]
        counts[hard] += 1
        assert fresh not in loop.tracks.mean_returns
    assert 170 < counts[8] < 230  # two of three: it lost twice as much
    loop.tracks.mean_returns = {8: 500.0} | {
        100 + i: 900.0 for i in range(40)
    }  # forgotten, and nothing lost on the others
    assert set(loop.next_tracks()).isdisjoint(loop.tracks.mean_returns)


def test_hard_track_keeps_its_last_return():
    loop = training(hard_share=0.5)
    loop.search.ask()
    loop.tell(np.stack([np.arange(12.0), np.full(12, 3.0)], axis=1), [7, 8] * 12)
    assert loop.tracks.mean_returns == {7: 5.5, 8: 3.0}
    loop.search.ask()
    loop.tell(np.full((12, 2), 9.0), [7, 9] * 12)
    assert list(loop.tracks.mean_returns.items()) == [(8, 3.0), (7, 9.0), (9, 9.0)]


def test_episodes_per_candidate_grow_with_the_steps():
    grown = training(n_samples=1, sample_growth=1000)
    assert grown.episodes == 1 and len(grown.next_tracks()) == grown.config.pop_size
    grown.env_steps = 2500
    assert grown.episodes == 3
    tracks = grown.next_tracks()
    assert len(tracks) == 3 * grown.config.pop_size and len(set(tracks)) == 3
