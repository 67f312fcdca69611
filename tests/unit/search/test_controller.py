"""C: the controller, the search that maximises, lock-step evaluation, and the loop around them."""

import copy
import os
import warnings
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool

import cma
import gymnasium as gym
import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_limits

from worldmodels import seeding
from worldmodels.agent import Squash, WorldModel, play_episodes
from worldmodels.cma_options import NEEDS, REFUSED, TAKEN, check_cma
from worldmodels.config import EnvConfig, WMControllerConfig
from worldmodels.controller import (
    Controller,
    Evaluator,
    ManyControllers,
    Worker,
    flatten_parameters,
    load_parameters,
    share_cores,
)
from worldmodels.evaluation import WIDTH, pieces
from worldmodels.evolution import ControllerTraining
from worldmodels.mdrnn import MDRNN, to_cell
from worldmodels.settings import UserError
from worldmodels.strategy import EvolutionStrategy, ReturnAscent
from worldmodels.vae import ConvVAE, encode
from worldmodels.workers import worker_device, workers

SPACE = gym.spaces.Box(np.array([-1.0, 0.0, 0.0], np.float32), np.ones(3, np.float32))
CPU = torch.device("cpu")


def test_controller_is_one_linear_layer():
    made = Controller(32, 256, 3)
    assert sum(p.numel() for p in made.parameters()) == 867
    z, h = torch.randn(4, 32), torch.randn(4, 256)
    torch.testing.assert_close(made(z=z, h=h), torch.cat([z, h], 1) @ made.fc.weight.T + made.fc.bias)


@pytest.mark.parametrize("features", ["zh", "zhc"])
def test_a_controller_takes_its_parts_by_name_in_any_order(features):
    made = Controller(16, 16, 3, features, hidden=[5])
    parts = {name: torch.randn(4, 16) for name in features}
    expected = made(torch.cat(list(parts.values()), dim=-1))  # z before h, as the specification concatenates them
    backwards = dict(reversed(parts.items()))
    assert torch.equal(made(**backwards), expected)
    many = ManyControllers(torch.from_numpy(np.stack([flatten_parameters(made)] * 4)).float(), made)
    torch.testing.assert_close(many.act(slice(None), **backwards), expected)


Z, H = torch.zeros(2, 8), torch.zeros(2, 16)


@pytest.mark.parametrize(
    "state, parts, error, message",
    [
        ([H, Z], {}, TypeError, r"expected controller\(z=z, h=h\), or one tensor, found 2 tensors without names"),
        ([Z, H], {}, TypeError, r"expected controller\(z=z, h=h\), or one tensor, found 2 tensors without names"),
        ([Z], {"h": H}, TypeError, "found 1 tensors without names, beside h"),
        ([], {"z": Z}, TypeError, r"expected controller\(z=z, h=h\), found z"),
        ([], {}, TypeError, r"expected controller\(z=z, h=h\), found nothing"),
        ([], {"z": Z, "h": H, "c": H}, TypeError, r"expected controller\(z=z, h=h\), found z, h, c"),
        ([], {"z": H, "h": Z}, ValueError, "expected z of 8 numbers, found 16"),
        ([Z], {}, ValueError, r"expected a state of 8 \(z\) \+ 16 \(h\) numbers, found 8"),
    ],
)
def test_a_controller_refuses_parts_that_could_be_mixed_up(state, parts, error, message):
    made = Controller(8, 16, 3)
    with pytest.raises(error, match=message):
        made(*state, **parts)
    if not state:
        with pytest.raises(error, match=message):
            ManyControllers(torch.zeros(2, 75), made).act(slice(None), **parts)


def test_parameters_to_a_vector_and_back():
    one, other = Controller(32, 256, 3), Controller(32, 256, 3)
    load_parameters(flatten_parameters(one), other)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters()))
    with pytest.raises(ValueError, match="expected a vector of 867 parameters, found 3"):
        load_parameters(np.zeros(3), one)


def test_squash():
    x = torch.tensor([[0.5, 0.5, 0.5], [-9.0, -9.0, -9.0], [9.0, 9.0, 9.0]])
    out = Squash(["tanh", "tanh", "clip_tanh"], SPACE, CPU)(x)
    wave = np.tanh(0.5)
    torch.testing.assert_close(out[0], torch.tensor([wave, (wave + 1) / 2, wave], dtype=torch.float32))
    torch.testing.assert_close(out[1], torch.tensor([-1.0, 0.0, 0.0]), atol=1e-6, rtol=0)
    torch.testing.assert_close(out[2], torch.tensor([1.0, 1.0, 1.0]), atol=1e-6, rtol=0)
    torch.testing.assert_close(Squash(["clip"], SPACE, CPU)(x)[0], x[0])
    with pytest.raises(UserError, match=r"ctrl.squash: expected 1 or 3 entries, one an action, found 2"):
        Squash(["tanh", "clip"], SPACE, CPU)
    endless = gym.spaces.Box(-np.inf, np.inf, (3,), np.float32)
    with pytest.raises(UserError, match="expected finite bounds for tanh"):
        Squash(["tanh"], endless, CPU)


def peak(x: np.ndarray) -> np.ndarray:
    """Highest, 0, at x = 1."""
    return -((np.atleast_2d(x) - 1.0) ** 2).sum(axis=1)


def test_the_strategy_climbs():
    strategy = EvolutionStrategy(10, 0.3, 16, seed=1)
    for _ in range(120):
        strategy.tell(peak(strategy.ask()))
    assert peak(strategy.means[-1])[0] > -1e-3 > peak(np.zeros(10))[0]


def test_the_average_of_the_last_means():
    strategy = EvolutionStrategy(5, 0.3, 8, seed=1)
    assert np.array_equal(strategy.average(0.5), np.zeros(5))
    for _ in range(9):
        strategy.tell(peak(strategy.ask()))
    assert np.array_equal(strategy.average(0.0), strategy.means[-1])
    np.testing.assert_allclose(strategy.average(0.25), (strategy.means[-1] + strategy.means[-2]) / 2)
    np.testing.assert_allclose(strategy.average(1.0), np.mean(strategy.means, axis=0))


def ascent(size=5, sigma=0.1, rate=1.0, pop_size=64) -> ReturnAscent:
    return ReturnAscent(np.zeros(size), sigma, rate, pop_size, np.random.RandomState(1))


def test_the_ascent_climbs():
    strategy = ascent(10)
    for _ in range(300):
        strategy.tell(peak(strategy.ask()))
    assert peak(strategy.mean)[0] > -0.1 > peak(np.zeros(10))[0]
    assert peak(strategy.average(0.5))[0] > -0.01 and strategy.sigma == 0.1


def test_the_ascent_follows_the_gradient_of_the_expected_return():
    """Of a linear return its estimate is the slope, in the long run; a constant on top of it does nothing."""
    slope = np.array([3.0, 0.0, -4.0])
    strategy, other = ascent(3, rate=0.5, pop_size=100_000), ascent(3, rate=0.5, pop_size=100_000)
    strategy.tell(strategy.ask() @ slope)
    np.testing.assert_allclose(strategy.mean, 0.5 * 0.1 * slope / 5.0, atol=1e-3)  # rate * sigma along it
    other.tell(other.ask() @ slope + 900.0)
    np.testing.assert_allclose(other.mean, strategy.mean, atol=1e-6)


def test_the_ascent_weighs_by_distance():
    """One failure among a thousand candidates counts, and so does not which of the others was best by a hair; where
    all do alike, little moves."""
    strategy = ascent(5, pop_size=1000)
    candidates = strategy.ask()
    failed = candidates[:, 0] > 0.2
    strategy.tell(np.where(failed, 0.0, 900.0 + candidates[:, 1]))
    first = strategy.mean
    assert 0 < failed.sum() < 50 and first[0] < -0.02 and abs(first[1]) < 0.01
    strategy.tell(900.0 + strategy.ask()[:, 1])
    assert np.abs(strategy.mean - first).max() < 1e-3


def test_the_ascent_stays_where_returns_tell_nothing():
    strategy = ascent()
    for _ in range(2):
        strategy.ask()
        strategy.tell(np.full(64, -1.0))
    assert not strategy.mean.any()


def test_the_strategy_replays_exactly():
    one = EvolutionStrategy(10, 0.3, 8, seed=1)
    told = []
    for _ in range(5):
        told.append(peak(one.ask()))
        one.tell(told[-1])
    other = EvolutionStrategy(10, 0.3, 8, seed=1)
    np.random.seed(99)
    for fitness in told:
        other.ask()
        other.tell(fitness)
    assert np.array_equal(one.means, other.means) and one.sigma == other.sigma
    assert np.array_equal(one.ask(), other.ask())


@pytest.mark.parametrize("make", [lambda: EvolutionStrategy(867, 0.1, 16, seed=1), lambda: ascent(867, pop_size=16)])
def test_the_strategy_does_not_depend_on_the_cores(make):
    """BLAS shares products of this size among its threads, and sums in another order then."""

    def search(threads: int) -> np.ndarray:
        with threadpool_limits(threads, user_api="blas"):
            strategy = make()
            for _ in range(20):
                strategy.tell(-np.square(strategy.ask() - 1).sum(axis=1))
        return strategy.average(0.25)

    assert np.array_equal(search(1), search(2))


OPTIONS = {  # a value of each option that ctrl.cma takes, another one than pycma's default
    "AdaptSigma": [False, "TPA"], "CMA_active": [False], "CMA_active_injected": [0.5], "CMA_cmean": [0.5],
    "CMA_const_trace": [True], "CMA_diagonal": [True, 5], "CMA_diagonal_decoding": [1], "CMA_elitist": [True],
    "CMA_injections_threshold_keep_len": [0.1], "CMA_mirrormethod": [0], "CMA_mirrors": [0.3], "CMA_mu": [2],
    "CMA_on": [0, 0.5], "CMA_rankmu": [0.5], "CMA_rankone": [0.5], "CSA_clip_length_value": [0.5, [0, 0]],
    "CSA_damp_mueff_exponent": [0], "CSA_dampfac": [0.5], "CSA_disregard_length": [True], "CSA_invariant_path": [True],
    "CSA_squared": [True], "TPA_dampfac": [0.5], "conditioncov_alleviate": [[0, 2]], "maxstd": [0.05],
    "mean_shift_line_samples": [True], "mindx": [0.12], "minstd": [0.12], "pc_line_samples": [True],
    "stall_sigma_change_on_divergence_iterations": [1], "updatecovwait": [5],
}  # fmt: skip


def search_with(options: dict) -> EvolutionStrategy:
    """The search after 25 generations on an ill-conditioned peak; its saved mean is checked to be pycma's own."""
    check_cma(options, pop_size=8)
    strategy, scale = EvolutionStrategy(20, 0.1, 8, seed=1, more=options), np.geomspace(1, 30, 20)
    for _ in range(25):
        strategy.tell(-np.square((strategy.ask() - 1) * scale).sum(axis=1))
        assert np.array_equal(strategy.mean, strategy.es.result.xfavorite)
    return strategy


def test_every_option_of_pycma_is_taken_or_refused():
    assert set(TAKEN) | set(REFUSED) == set(cma.CMAOptions.defaults())
    assert not set(TAKEN) & set(REFUSED) and set(OPTIONS) == set(TAKEN)


@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_of_pycma_changes_the_search_and_writes_nothing(name, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    needed = {"CMA_mirrors": 0.3} if name == "CMA_mirrormethod" else dict([NEEDS[name]] if name in NEEDS else [])
    without = search_with(needed)
    for value in OPTIONS[name]:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            strategy = search_with({name: value} | needed)
        assert not np.array_equal(strategy.mean, without.mean)
    assert not list(tmp_path.iterdir()) and capfd.readouterr() == ("", "")


def test_the_saved_mean_is_the_one_that_pycma_evaluates():
    """Where the covariance matrix is ill-conditioned, pycma goes on in other coordinates."""
    strategy = search_with({"conditioncov_alleviate": [0, 2]})
    assert not np.allclose(strategy.es.mean, strategy.mean)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"CMA_diagnal": True}, r"expected options of pycma, found 'CMA_diagnal' \(did you mean CMA_diagonal\?\)"),
        ({"CMA_diagonal": "no"}, "CMA_diagonal: expected true or false or a whole number of at least 2, found 'no'"),
        ({"CMA_diagonal": 1}, "CMA_diagonal: expected true or false or a whole number of at least 2, found 1"),
        ({"CMA_cmean": "open('executed', 'w')"}, 'CMA_cmean: expected a number above 0 and at most 100, found "open'),
        (
            {"CSA_clip_length_value": [1, 2]},
            r"CSA_clip_length_value: expected a number of at least 0 or \[a, b\] with a <= 0 <= b, found \[1",
        ),
        ({"minstd": float("nan")}, "minstd: expected a number of at least 0, found nan"),
        ({"tolx": "abc"}, "tolx is not taken: training ends by ctrl.num_generations"),
        ({"maxiter": 3}, "maxiter is not taken: set ctrl.num_generations"),
        ({"ftarget": -9}, "ftarget is not taken: set ctrl.target_return"),
        ({"timeout": 60}, "timeout is not taken: a time limit is not reproducible"),
        ({"bounds": [-0.05, 0.05]}, "bounds is not taken: the ascent"),
        ({"scaling_of_variables": [2.0]}, "scaling_of_variables is not taken: C's parameters"),
        ({"verb_log": 1}, "verb_log is not taken: the workflow writes its own log"),
        ({"popsize": 4}, "popsize is not taken: set ctrl.pop_size"),
        ({"CMA_mu": 5}, "CMA_mu: expected at most half of ctrl.pop_size, 4, found 5"),
        ({"CSA_dampfac": 2.0}, "CSA_dampfac: expected AdaptSigma: CSA beside it, found none"),
        ({"CMA_mirrormethod": 0}, "CMA_mirrormethod: expected CMA_mirrors beside it"),
        ({"CMA_diagonal": True, "updatecovwait": 3}, "updatecovwait: expected a full covariance matrix"),
    ],
)
def test_options_of_pycma_that_are_refused_are_named(options, message):
    with pytest.raises(UserError, match=f"ctrl.cma: {message}"):
        WMControllerConfig(pop_size=8, cma=options)


def test_extreme_options_of_pycma_are_named_when_they_break_it():
    with pytest.raises(UserError, match=r"ctrl.cma: expected options that pycma can search with, found .*'CMA_rankmu'"):
        search_with({"CMA_rankmu": 100})


def test_pycma_takes_no_options_from_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cma_signals.in").write_text("{'minstd': 9.0}")
    plain = EvolutionStrategy(5, 0.3, 8, seed=1)
    plain.tell(peak(plain.ask()))
    plain.es.stop()
    assert np.all(plain.es.opts["minstd"] == 0)


@pytest.mark.parametrize("make", [lambda: EvolutionStrategy(5, 0.3, 8, seed=1), lambda: ascent(5, pop_size=8)])
@pytest.mark.parametrize(
    "spoiled, message",
    [
        (np.nan, "env.id: expected finite returns, found nan of candidate 3, generation 2"),
        (-np.inf, "env.id: expected finite returns, found -inf of candidate 3, generation 2"),
        (
            1e200,
            r"env.id: expected returns with a finite variance, found 1e\+200, generation 2; scale the rewards down",
        ),
    ],
)
def test_returns_that_nobody_can_learn_from_leave_the_search_as_it_was(make, spoiled, message):
    strategy = make()
    strategy.tell(peak(strategy.ask()))
    before, returns = strategy.mean.copy(), peak(strategy.ask())
    returns[2] = spoiled
    with pytest.raises(UserError, match=message):
        strategy.tell(returns)
    assert np.array_equal(strategy.mean, before) and len(strategy.means) == 1
    strategy.tell(peak(strategy.ask()))
    assert np.isfinite(strategy.ask()).all()


class InlinePool:
    """Stands in for the worker processes: an 'episode' is 10 steps long and returns the peak's height, with noise
    that comes from the track."""

    def __init__(self):
        self.pieces = []

    def submit(self, function, parameters, seeds):
        self.pieces.append((parameters, list(seeds)))
        noise = np.array([np.random.default_rng(s).normal(0, 0.01) for s in seeds])
        future = Future()
        future.set_result((peak(parameters) + noise, np.full(len(seeds), 10)))
        return future


def training(lanes=5, **changes) -> ControllerTraining:
    values = dict(pop_size=12, n_samples=2, num_generations=40, max_env_steps=0, validation_episodes=3, sigma0=0.3)
    config = WMControllerConfig(lanes=lanes, target_return=1e9, **(values | changes))
    strategy = EvolutionStrategy(5, config.sigma0, config.pop_size, seeding.number(1, "ctrl/strategy"))
    return ControllerTraining(strategy, Evaluator(InlinePool(), lanes), config, seed=1)


def test_the_loop_maximises_and_keeps_the_best_validated_mean():
    made = training()
    for _ in made.run():
        pass
    assert made.generation == 40
    assert sorted(made.validations) == list(range(4, 41, 4))
    assert made.best["reward"] == max(reward for reward, _ in made.validations.values()) > -0.1 > peak(np.zeros(5))[0]
    assert peak(made.best["parameters"])[0] == pytest.approx(made.best["reward"], abs=0.05)
    assert made.env_steps == 40 * 24 * 10 + 10 * 3 * 10
    rows = {row["generation"]: row for row in made.history}
    assert all(rows[g]["validation_mean"] == reward for g, (reward, _) in made.validations.items())
    assert made.over() == "40 generations done"


def test_pieces_of_work_never_show():
    one, other = training(lanes=5), training(lanes=24)
    for made in (one, other):
        for _ in made.run():
            made.history[-1].pop("seconds", None)
    assert one.history == other.history and one.best["reward"] == other.best["reward"]


@pytest.mark.parametrize(
    "changes", [{}, {"ascent_after": 550}, {"hard_share": 0.5, "sample_growth": 1300, "ascent_after": 700}]
)
def test_the_loop_continued_equals_the_loop_in_one_go(changes):
    whole = training(**changes)
    for _ in whole.run():
        pass
    for stop, finished in [(1, False), (4, False), (5, False), (9, True), (8, True)]:
        begun = training(num_generations=stop if finished else 40, **changes)
        for done, _ in enumerate(begun.run(), 1):
            state = copy.deepcopy(begun.state_dict())
            if done == stop and not finished:
                break
        assert begun.generation == stop
        again = training(**changes)
        again.load_state_dict(state)
        for _ in again.run():
            pass
        for made in (whole, again):
            for row in made.history:
                row["seconds"] = 0
        assert again.history == whole.history and again.env_steps == whole.env_steps
        assert np.array_equal(again.best["parameters"], whole.best["parameters"])


def test_the_ascent_takes_over():
    made = training(num_generations=7, ascent_after=500, ascent_rate=0.5)
    kinds, averages = [], []
    for _ in made.run():
        kinds.append(type(made.strategy))
        averages.append(made.mean)
    # After 5 generations, of 2 episodes a candidate, 240 steps each, and a validation's 30: twice 500 and more.
    assert kinds == [EvolutionStrategy] * 5 + [ReturnAscent] * 2
    assert np.array_equal(made.strategy.first, averages[4]) and len(made.strategy.means) == 2
    assert made.strategy.rate == 0.5 and made.strategy.ask().shape == (12, 5)
    never = training(ascent_after=0)
    for _ in never.run():
        pass
    assert type(never.strategy) is EvolutionStrategy


@pytest.mark.parametrize("sigma, expected", [(0.9, 0.3), (0.2, 0.2)])
def test_the_step_size_of_the_ascent(sigma, expected):
    made = training(ascent_after=500)
    next(made.run())
    made.strategy.es.sigma, made.env_steps = sigma, 1000
    made.switch()
    assert made.strategy.sigma == expected


@pytest.mark.parametrize(
    "budget",
    [{"num_generations": 7}, {"num_generations": 8}, {"max_env_steps": 1500}],
)
def test_a_smaller_budget_gives_what_a_shorter_run_would_have(budget):
    long, short, again = (training(ascent_after=350, **values) for values in ({}, budget, budget))
    for made in (long, short):
        for _ in made.run():
            pass
    again.load_state_dict(long.state_dict())
    for _ in again.run():
        pass
    assert again.generation == short.generation < long.generation and again.env_steps == short.env_steps
    assert again.best["reward"] == short.best["reward"] and again.best["epoch"] == short.best["epoch"]
    assert np.array_equal(again.best["parameters"], short.best["parameters"])


def test_a_generation_that_was_cut_is_not_played_twice():
    whole, begun, again = training(num_generations=4), training(num_generations=4), training(num_generations=4)
    for made in (whole, begun):
        steps = made.run()
        next(steps)
        next(steps)
        if made is whole:
            list(steps)
    strategy = EvolutionStrategy(5, 0.3, 12, seeding.number(1, "ctrl/strategy"))
    for returns in begun.returns:
        strategy.ask()
        strategy.tell(returns.mean(axis=1))
    begun.jobs = begun.evaluator.submit(np.repeat(strategy.ask(), 2, axis=0), begun.tracks())
    begun.jobs[2] = Future()  # not finished
    begun.cut()
    assert sorted(begun.partial) == [0, 1, 3, 4]
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
def test_budgets(changes, why):
    values = {"target_return": 1e9} | changes
    made = training()
    for name, value in values.items():
        setattr(made.config, name, value)
    for _ in made.run():
        pass
    assert made.over() == why and made.generation < 40
    assert made.best["reward"] > float("-inf")


@pytest.mark.parametrize("ascent_after", [0, 300])
@pytest.mark.parametrize("spoiled", [np.nan, -np.inf])
def test_a_return_that_is_not_finite_ends_training_before_anything_is_noted(ascent_after, spoiled):
    made = training(ascent_after=ascent_after)
    steps = made.run()
    for _ in range(4):
        next(steps)
    seed = made.tracks()[7]  # of the second episode of the fourth candidate

    def spoil(jobs):
        returns, lengths = Evaluator.collect(jobs)
        return np.where(np.arange(len(returns)) == 7, spoiled, returns), lengths

    made.evaluator.collect = spoil
    before = copy.deepcopy((made.state_dict(), made.env_steps, made.best))
    message = f"found {spoiled} of candidate 4 in the episode of seed {seed}, generation 5"
    with pytest.raises(UserError, match=message):
        next(steps)
    assert repr((made.state_dict(), made.env_steps, made.best)) == repr(before)


@pytest.mark.parametrize("generations", [3, 8])
def test_a_validation_that_is_not_finite_keeps_nothing(generations):
    """The first validation is the last thing that a run of three generations does; one of eight does it beside its
    fifth generation."""
    made, seeds = training(num_generations=generations), []

    def spoil(jobs):
        returns, lengths = Evaluator.collect(jobs)
        if len(returns) == made.config.validation_episodes:
            seeds.extend(made.validation_seeds())
            returns[1] = np.nan
        return returns, lengths

    made.evaluator.collect = spoil
    with pytest.raises(UserError, match="found nan of the validated mean in the episode of seed") as raised:
        list(made.run())
    assert f"seed {seeds[1]}, generation {min(generations, 4)}" in str(raised.value)
    assert made.best["epoch"] == 0 and not made.validations and made.generation == min(generations, 4)


def test_common_tracks():
    made = training()
    one = made.tracks()
    assert len(one) == 24 and len(set(one)) == 2 and one == one[:2] * 12
    next(made.run())
    assert set(one).isdisjoint(made.tracks())
    own = training(common_tracks=False).tracks()
    assert len(set(own)) == 24


def test_hard_tracks_come_back_the_more_often_the_worse_they_were_driven():
    made = training(hard_share=0.5)
    assert len(set(made.tracks())) == 2  # none was met yet
    made.met = {100 + i: 900.0 for i in range(39)} | {7: 700.0, 8: 500.0}
    counts = {7: 0, 8: 0}
    for generation in range(300):
        made.returns = [np.zeros(0)] * generation
        hard, fresh = made.tracks()[:2]
        counts[hard] += 1
        assert fresh not in made.met
    assert 170 < counts[8] < 230  # two of three: it lost twice as much
    made.met = {8: 500.0} | {100 + i: 900.0 for i in range(40)}  # forgotten, and nothing lost on the others
    assert set(made.tracks()).isdisjoint(made.met)


def test_a_hard_track_is_remembered_as_it_was_driven_last():
    made = training(hard_share=0.5)
    made.strategy.ask()
    made.note_returns(np.stack([np.arange(12.0), np.full(12, 3.0)], axis=1), [7, 8] * 12)
    assert made.met == {7: 5.5, 8: 3.0}
    made.strategy.ask()
    made.note_returns(np.full((12, 2), 9.0), [7, 9] * 12)
    assert list(made.met.items()) == [(8, 3.0), (7, 9.0), (9, 9.0)]


class FakeLanes:
    """Episodes with given rewards; an episode ends with its list. Frames tell the lane and the step."""

    def __init__(self, rewards, limit=1000):
        self.limit = limit
        self.rewards, self.step_of = rewards, [0] * len(rewards)
        self.stepped = []
        self.groups = [np.arange(len(rewards))]

    def frame(self, lane):
        frame = np.zeros((64, 64, 3), np.uint8)
        frame[..., 0], frame[..., 1] = lane * 40, self.step_of[lane]
        return frame

    def reset(self, lanes=None):
        return np.stack([self.frame(i) for i in range(len(self.rewards)) if lanes is None or i in lanes])

    def step(self, lanes, actions):
        assert len(lanes) == len(actions)
        self.stepped.append(list(lanes))
        rewards, ended = [], []
        for lane in lanes:
            rewards.append(self.rewards[lane][self.step_of[lane]])
            self.step_of[lane] += 1
            ended.append(self.step_of[lane] == len(self.rewards[lane]))
        frames = np.stack([self.frame(i) for i in lanes])
        return frames, np.array(rewards, np.float32), np.array(ended), np.zeros(len(lanes), bool)


@pytest.fixture(scope="module")
def world() -> WorldModel:
    torch.manual_seed(0)
    vae, mdrnn = ConvVAE(3, 8).eval().requires_grad_(False), MDRNN(8, 3, 16, 2).eval().requires_grad_(False)
    return WorldModel(vae, to_cell(mdrnn).requires_grad_(False), CPU, 0)


def idle_policy(alive, z, h):
    return torch.zeros(len(alive), 3)


def test_models_of_another_environment_are_named(world):
    with pytest.raises(UserError, match=r"best.tar: expected an M that knows.*Discrete\(4\), as 4 numbers, found 3"):
        world.squash([], gym.spaces.Discrete(4))


def test_ended_episodes_leave_the_batch(world):
    lanes = FakeLanes([[1.0] * 3, [2.0] * 5, [1.0]])
    returns, lengths = play_episodes(world, lanes, idle_policy)
    assert returns.tolist() == [3.0, 10.0, 1.0] and lengths.tolist() == [3, 5, 1]
    assert lanes.stepped == [[0, 1, 2], [0, 1], [0, 1], [1], [1]]


def test_time_limit(world):
    returns, lengths = play_episodes(world, FakeLanes([[1.0] * 9, [1.0] * 2]), idle_policy, time_limit=4)
    assert returns.tolist() == [4.0, 2.0] and lengths.tolist() == [4, 2]


def test_a_stalled_episode_is_charged_as_if_it_had_stalled_on(world):
    rewards = [[1.0] + [-0.1] * 99, [1.0, -0.1, -0.1, 1.0] * 25]
    returns, lengths = play_episodes(world, FakeLanes(rewards), idle_policy, time_limit=100, stall_limit=10)
    assert lengths.tolist() == [11, 100]
    np.testing.assert_allclose(returns, [sum(rewards[0]), sum(rewards[1])], rtol=1e-6)
    whole, _ = play_episodes(world, FakeLanes(rewards), idle_policy, time_limit=100)
    np.testing.assert_allclose(returns, whole, rtol=1e-6)


def test_a_stalled_episode_is_not_charged_beyond_the_environments_limit(world):
    lanes = FakeLanes([[1.0] + [-0.1] * 99])
    lanes.limit = 50
    returns, _ = play_episodes(world, lanes, idle_policy, time_limit=100, stall_limit=10)
    np.testing.assert_allclose(returns, [1.0 - 0.1 * 49], rtol=1e-6)


@pytest.mark.parametrize("width", [0, 4])
def test_hidden_states_follow_their_lanes(world, width):
    """The hidden state that the policy sees is that of a cell stepped alone, also after others have left."""
    seen = []

    def policy(lanes, z, h):
        lanes = list(range(width) if width else lanes)
        if 1 in lanes:
            i = lanes.index(1)
            seen.append((z[i].clone(), h[i].clone()))
        return torch.zeros(len(z), 3)

    play_episodes(world, FakeLanes([[0.0] * 2, [0.0] * 6, [0.0] * 4]), policy, width=width)
    hidden = world.cell.get_init_hidden(1)
    assert len(seen) == 6
    for z, h in seen:
        torch.testing.assert_close(h, hidden[0][0])
        hidden = world.cell.remember(torch.zeros(1, 3), z.unsqueeze(0), hidden)


def test_with_a_width_every_lane_gets_its_own_actions_and_rewards(world):
    lanes = FakeLanes([[1.0] * 3, [2.0] * 5, [1.0]])
    asked, step = [], lanes.step
    lanes.step = lambda alive, actions: (asked.append(actions[:, 0].tolist()), step(alive, actions))[1]
    rows = torch.arange(4.0).unsqueeze(1).expand(4, 3)
    returns, lengths = play_episodes(world, lanes, lambda _, **parts: rows, width=4)
    assert returns.tolist() == [3.0, 10.0, 1.0] and lengths.tolist() == [3, 5, 1]
    assert lanes.stepped == asked == [[0, 1, 2], [0, 1], [0, 1], [1], [1]]


@pytest.mark.parametrize("tracks, cores", [(1, 8), (32, 2), (100, 2), (32, 5), (17, 2), (3, 64)])
def test_pieces_of_the_test(tracks, cores):
    """Each track once, none beyond the width, no core with more than one track more to play than another."""
    dealt = pieces(list(range(tracks)), min(cores, tracks))
    assert sorted(track for piece in dealt for track in piece) == list(range(tracks))
    sizes = [len(piece) for piece in dealt]
    assert max(sizes) <= WIDTH and max(sizes) - min(sizes) <= 1
    turns = -(-tracks // (min(cores, tracks) * WIDTH))
    assert len(dealt) <= turns * cores


def test_stacked_controllers_act_as_each_would(world, monkeypatch):
    controllers = [Controller(8, 16, 3) for _ in range(3)]
    asked = []
    fake = FakeLanes([[0.0] * 3] * 3)
    fake_step = fake.step
    fake.step = lambda lanes, actions: (asked.append(actions.copy()), fake_step(lanes, actions))[1]
    fake.close = lambda: None
    monkeypatch.setattr("worldmodels.controller.make_lanes", lambda *args: fake)
    squash = Squash(["tanh"], SPACE, CPU)
    worker = Worker(world, EnvConfig(), "gymnasium", WMControllerConfig(stall_limit=0), squash)
    worker.evaluate(np.stack([flatten_parameters(c) for c in controllers]), [1, 2, 3])
    frames = FakeLanes([[0.0]] * 3).reset()
    z, _ = encode(world.vae, torch.from_numpy(frames))
    for i, c in enumerate(controllers):
        expected = squash(c(z=z[i : i + 1], h=torch.zeros(1, 16)))
        torch.testing.assert_close(torch.from_numpy(asked[0][i : i + 1]), expected, atol=1e-5, rtol=1e-5)


def die(seconds):
    os._exit(7)


def test_a_dead_worker_is_an_error_at_once():
    with workers(2) as pool:
        jobs = [pool.submit(die, 0), pool.submit(pow, 2, 3)]
        with pytest.raises(BrokenProcessPool):
            for job in jobs:
                job.result(timeout=60)


def fail(number):
    raise UserError("env.id: the port is taken")


def test_what_a_workers_preparation_raises_reaches_its_first_task():
    with pytest.raises(UserError, match="the port is taken"), workers(1, fail) as pool:
        pool.submit(pow, 2, 3).result(timeout=60)


def test_workers_have_one_thread_each():
    with workers(1) as pool:
        assert pool.submit(torch.get_num_threads).result(timeout=60) == 1


def test_workers_spread_over_the_gpus(monkeypatch):
    assert worker_device("cpu", 3) == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [str(worker_device("auto", i)) for i in range(3)] == ["cuda:0", "cuda:1", "cuda:0"]
    assert str(worker_device("cuda:1", 2)) == "cuda:1"


@pytest.mark.parametrize("cores, expected", [(1, (1, 1)), (4, (4, 1)), (7, (4, 1)), (8, (4, 2)), (64, (4, 8))])
def test_cores_beyond_the_pieces_of_a_generation_step_environments(cores, expected):
    config = WMControllerConfig(pop_size=64, n_samples=1, lanes=16, max_workers=32, max_env_steps=2500)
    assert share_cores(cores, config) == expected
    config.sample_growth = 1000  # which makes three times the pieces in the end
    assert share_cores(cores, config)[0] == min(cores, 12)


def test_episodes_a_candidate_grow_with_the_steps():
    grown = training(n_samples=1, sample_growth=1000)
    assert grown.samples == 1 and len(grown.tracks()) == grown.config.pop_size
    grown.env_steps = 2500
    assert grown.samples == 3
    tracks = grown.tracks()
    assert len(tracks) == 3 * grown.config.pop_size and len(set(tracks)) == 3
