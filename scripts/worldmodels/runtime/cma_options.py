"""The options of pycma that `ctrl.cma` takes, their values, and why it refuses the others.

pycma evaluates text as Python, and ignores most of what it does not understand. So only options that shape the search
are passed on, and only as numbers and booleans.
Importing this module must stay cheap (no torch, no numpy): every dry run does it.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from worldmodels.runtime.checks import suggestion
from worldmodels.runtime.errors import UserError


@dataclass(frozen=True)
class Values:
    """The values that an option takes.

    Attributes:
        words: the values in words, for messages.
        fits: returns whether a value is one of them.
    """

    words: str
    fits: Callable[[Any], bool]


def is_number(value: Any) -> bool:
    """Return whether a value is a finite number, and no boolean."""
    return type(value) in (int, float) and math.isfinite(value)


def number(low: float = 0.0, *, above: bool = False, high: float = math.inf) -> Values:
    """Return the numbers of at least `low`, or above it, and at most `high`."""
    words = f"a number {'above' if above else 'of at least'} {low:g}"
    words += f" and at most {high:g}" if math.isfinite(high) else ""
    return Values(words, lambda value: is_number(value) and (value > low if above else value >= low) and value <= high)


def whole_number(low: int) -> Values:
    """Return the whole numbers of at least `low`."""
    return Values(f"a whole number of at least {low}", lambda value: type(value) is int and value >= low)


def among(*values: Any) -> Values:
    """Return these values, of these types: 1 is not True."""
    words = " or ".join(str(value).lower() if type(value) is bool else str(value) for value in values)
    return Values(words, lambda value: any(type(value) is type(known) and value == known for known in values))


def either(*kinds: Values) -> Values:
    """Return the values of any of these kinds."""
    return Values(" or ".join(kind.words for kind in kinds), lambda value: any(kind.fits(value) for kind in kinds))


def pair(words: str, fits: Callable[[float, float], bool]) -> Values:
    """Return the lists of two numbers a and b that fit, as these words say."""

    def is_pair(value: Any) -> bool:
        return type(value) is list and len(value) == 2 and all(map(is_number, value)) and fits(*value)

    return Values(f"[a, b] with {words}", is_pair)


BOOLEAN = among(True, False)
ACCEPTED = {
    "AdaptSigma": either(BOOLEAN, among("CSA", "TPA")),
    "CMA_active": BOOLEAN,
    "CMA_active_injected": number(),
    "CMA_cmean": number(above=True, high=100),
    "CMA_const_trace": BOOLEAN,
    "CMA_diagonal": either(BOOLEAN, whole_number(2)),
    "CMA_diagonal_decoding": number(high=100),
    "CMA_elitist": BOOLEAN,
    "CMA_injections_threshold_keep_len": number(),
    "CMA_mirrormethod": among(0, 2),  # 1 works only in the loop of pycma itself
    "CMA_mirrors": number(above=True, high=0.49),
    "CMA_mu": whole_number(1),
    "CMA_on": number(high=100),
    "CMA_rankmu": number(high=100),
    "CMA_rankone": number(high=100),
    "CSA_clip_length_value": either(number(), pair("a <= 0 <= b", lambda a, b: a <= 0 <= b)),
    "CSA_damp_mueff_exponent": number(),
    "CSA_dampfac": number(above=True),
    "CSA_disregard_length": BOOLEAN,
    "CSA_invariant_path": BOOLEAN,
    "CSA_squared": BOOLEAN,
    "TPA_dampfac": number(above=True),
    "conditioncov_alleviate": either(
        among(False), pair("a and b 0 or above 1", lambda a, b: all(v == 0 or v > 1 for v in (a, b)))
    ),
    "maxstd": number(above=True),
    "mean_shift_line_samples": BOOLEAN,
    "mindx": number(),
    "minstd": number(),
    "pc_line_samples": BOOLEAN,
    "stall_sigma_change_on_divergence_iterations": whole_number(0),
    "updatecovwait": number(),
}

# Options without an effect unless another option has this value.
REQUIRED = {
    "CMA_active_injected": ("pc_line_samples", True),
    "CMA_injections_threshold_keep_len": ("pc_line_samples", True),
    **{name: ("AdaptSigma", name[:3]) for name in ACCEPTED if name.startswith(("CSA_", "TPA_"))},
}

# Options of the full covariance matrix. With CMA_diagonal: true they have no effect.
OF_FULL_MATRIX = ("CMA_const_trace", "CMA_diagonal_decoding", "conditioncov_alleviate", "updatecovwait")
BUDGETS = "training ends by ctrl.num_generations, ctrl.max_env_steps and ctrl.target_return"
BOUNDED = "the ascent (ctrl.ascent_after) would leave the bounds"
COORDINATES = "C's parameters are searched without a change of coordinates; set ctrl.sigma0 for the width of the search"
MESSAGES = "the workflow writes its own log and history.csv; see ctrl.display"
OBJECT = "it is a Python object, which a configuration cannot hold"
SIZE = "set ctrl.pop_size"
IDLE = "it has no effect here"
REFUSED = {
    **dict.fromkeys(("popsize", "popsize_factor"), SIZE),
    "CMA_recombination_weights": "it replaces the population's size; set ctrl.pop_size and CMA_mu",
    **dict.fromkeys(("seed", "randn"), "set seed, at the top of the configuration"),
    "maxiter": "set ctrl.num_generations",
    "maxfevals": "set ctrl.max_env_steps",
    "ftarget": "set ctrl.target_return",
    "timeout": f"a time limit is not reproducible; {BUDGETS}",
    **dict.fromkeys(
        (
            "termination_callback", "tolconditioncov", "tolfacupx", "tolflatfitness", "tolfun", "tolfunhist",
            "tolfunrel", "tolstagnation", "tolupsigma", "tolx", "tolxstagnation",
        ),
        BUDGETS,
    ),
    **dict.fromkeys(("bounds", "BoundaryHandler", "maxstd_boundrange"), BOUNDED),
    **dict.fromkeys(
        ("CMA_stds", "CMA_teststds", "fixed_variables", "scaling_of_variables", "transformation", "typical_x"),
        COORDINATES,
    ),
    "integer_variables": "C's parameters are real numbers",
    "is_feasible": "every C can be played",
    **dict.fromkeys(("CMA_eigenmethod", "CMA_sampler", "CMA_sampler_options", "vv"), OBJECT),
    **dict.fromkeys(("CMA_dampsvec_fac", "CMA_dampsvec_fade", "eval_final_mean"), IDLE),
    **dict.fromkeys(
        (
            "signals_filename", "verb_append", "verb_disp", "verb_disp_overwrite", "verb_filenameprefix", "verb_log",
            "verb_log_expensive", "verb_plot", "verb_time", "verbose",
        ),
        MESSAGES,
    ),
}  # fmt: skip


def check_cma(options: dict, pop_size: int) -> None:
    """Check the setting ctrl.cma.

    Args:
        options: name -> value, of options of pycma.
        pop_size: candidates per generation.

    Raises:
        UserError: an option or a value that ctrl.cma does not take, or an option that would have no effect.
    """
    for name, value in options.items():
        check_option(name, value)
        check_required_option(name, options)
    if "CMA_mirrormethod" in options and "CMA_mirrors" not in options:
        raise UserError("ctrl.cma: CMA_mirrormethod: expected CMA_mirrors with it, found none; alone it does nothing")
    if options.get("CMA_diagonal") is True:
        for name in OF_FULL_MATRIX:
            if name in options:
                raise UserError(f"ctrl.cma: {name}: expected a full covariance matrix, found CMA_diagonal: true")
    if options.get("CMA_mu", 1) > pop_size // 2:
        raise UserError(
            f"ctrl.cma: CMA_mu: expected at most half of ctrl.pop_size, {pop_size // 2}, found {options['CMA_mu']}"
        )


def check_option(name: str, value: Any) -> None:
    """Raise UserError if ctrl.cma does not take an option of this name with this value."""
    if name in REFUSED:
        raise UserError(f"ctrl.cma: {name} is not taken: {REFUSED[name]}")
    if name not in ACCEPTED:
        raise UserError(f"ctrl.cma: expected options of pycma, found {name!r}{suggestion(name, [*ACCEPTED, *REFUSED])}")
    if not ACCEPTED[name].fits(value):
        raise UserError(f"ctrl.cma: {name}: expected {ACCEPTED[name].words}, found {value!r}")


def check_required_option(name: str, options: dict) -> None:
    """Raise UserError if an option has no effect without another option that is missing."""
    if name not in REQUIRED:
        return
    required, value = REQUIRED[name]
    if options.get(required) != value:
        text = "true" if value is True else value
        raise UserError(f"ctrl.cma: {name}: expected {required}: {text} with it, found none; alone it does nothing")
