"""CMA-ES maximizes, replays exactly, and takes or refuses every option of pycma."""

import warnings

import cma
import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from helpers.search import ascent, peak
from worldmodels.runtime.cma_options import ACCEPTED, REFUSED, REQUIRED, check_cma
from worldmodels.runtime.config import WMControllerConfig
from worldmodels.runtime.errors import UserError
from worldmodels.search.cma_es import CMAES


def test_cmaes_climbs():
    strategy = CMAES(10, 0.3, 16, seed=1)
    for _ in range(120):
        strategy.tell(peak(strategy.ask()))
    assert peak(strategy.means[-1])[0] > -1e-3 > peak(np.zeros(10))[0]


def test_cmaes_starts_at_the_first_mean():
    first = np.arange(5.0)
    strategy = CMAES(5, 1e-6, 8, seed=1, first=first)
    assert np.array_equal(strategy.average(0.5), first)
    np.testing.assert_allclose(strategy.ask(), np.tile(first, (8, 1)), atol=1e-4)


def test_average_of_the_last_means():
    strategy = CMAES(5, 0.3, 8, seed=1)
    assert np.array_equal(strategy.average(0.5), np.zeros(5))
    for _ in range(9):
        strategy.tell(peak(strategy.ask()))
    assert np.array_equal(strategy.average(0.0), strategy.means[-1])
    np.testing.assert_allclose(strategy.average(0.25), (strategy.means[-1] + strategy.means[-2]) / 2)
    np.testing.assert_allclose(strategy.average(1.0), np.mean(strategy.means, axis=0))


def test_cmaes_replays_exactly():
    first = CMAES(10, 0.3, 8, seed=1)
    messages = []
    for _ in range(5):
        messages.append(peak(first.ask()))
        first.tell(messages[-1])
    second = CMAES(10, 0.3, 8, seed=1)
    np.random.seed(99)
    for fitness in messages:
        second.ask()
        second.tell(fitness)
    assert np.array_equal(first.means, second.means) and first.sigma == second.sigma
    assert np.array_equal(first.ask(), second.ask())


@pytest.mark.parametrize("make", [lambda: CMAES(867, 0.1, 16, seed=1), lambda: ascent(867, pop_size=16)])
def test_search_does_not_depend_on_the_number_of_cores(make):
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


def search_with(options: dict) -> CMAES:
    """The search after 25 generations on an ill-conditioned peak; its saved mean is checked to be pycma's own."""
    check_cma(options, pop_size=8)
    strategy, scale = CMAES(20, 0.1, 8, seed=1, pycma_options=options), np.geomspace(1, 30, 20)
    for _ in range(25):
        strategy.tell(-np.square((strategy.ask() - 1) * scale).sum(axis=1))
        assert np.array_equal(strategy.mean, strategy.es.result.xfavorite)
    return strategy


def test_every_option_of_pycma_is_taken_or_refused():
    assert set(ACCEPTED) | set(REFUSED) == set(cma.CMAOptions.defaults())
    assert not set(ACCEPTED) & set(REFUSED) and set(OPTIONS) == set(ACCEPTED)


@pytest.mark.parametrize("name", OPTIONS)
def test_option_of_pycma_changes_the_search_and_writes_nothing(name, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    needed = {"CMA_mirrors": 0.3} if name == "CMA_mirrormethod" else dict([REQUIRED[name]] if name in REQUIRED else [])
    without = search_with(needed)
    for value in OPTIONS[name]:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            strategy = search_with({name: value} | needed)
        assert not np.array_equal(strategy.mean, without.mean)
    assert not list(tmp_path.iterdir()) and capfd.readouterr() == ("", "")


def test_saved_mean_is_the_one_that_pycma_evaluates():
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
        ({"CSA_dampfac": 2.0}, "CSA_dampfac: expected AdaptSigma: CSA with it, found none"),
        ({"CMA_mirrormethod": 0}, "CMA_mirrormethod: expected CMA_mirrors with it"),
        ({"CMA_diagonal": True, "updatecovwait": 3}, "updatecovwait: expected a full covariance matrix"),
    ],
)
def test_refused_option_of_pycma_raises(options, message):
    with pytest.raises(UserError, match=f"ctrl.cma: {message}"):
        WMControllerConfig(pop_size=8, cma=options)


def test_option_that_breaks_pycma_raises():
    with pytest.raises(UserError, match=r"ctrl.cma: expected options that pycma can search with, found .*'CMA_rankmu'"):
        search_with({"CMA_rankmu": 100})


def test_pycma_takes_no_options_from_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cma_signals.in").write_text("{'minstd': 9.0}")
    plain = CMAES(5, 0.3, 8, seed=1)
    plain.tell(peak(plain.ask()))
    plain.es.stop()
    assert np.all(plain.es.opts["minstd"] == 0)


@pytest.mark.parametrize("make", [lambda: CMAES(5, 0.3, 8, seed=1), lambda: ascent(5, pop_size=8)])
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
def test_unusable_returns_raise_and_leave_the_search_unchanged(make, spoiled, message):
    strategy = make()
    strategy.tell(peak(strategy.ask()))
    before, returns = strategy.mean.copy(), peak(strategy.ask())
    returns[2] = spoiled
    with pytest.raises(UserError, match=message):
        strategy.tell(returns)
    assert np.array_equal(strategy.mean, before) and len(strategy.means) == 1
    strategy.tell(peak(strategy.ask()))
    assert np.isfinite(strategy.ask()).all()
