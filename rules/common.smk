# What all rules share: the checked configuration, and the strings that make a job stale.
#
# A job is stale if one of these changed: the set and contents of its input files, its options (params), the code that
# it runs (params). Large inputs are `ancient`: their time stamps mean nothing here, and the small .json beside each of
# them, which Snakemake compares by content, holds their digest. What cannot change a result (threads, workers, device,
# paths of logs) is in params.command, which Snakemake does not compare, see `command`. Where Snakemake has no record of
# a product, the summary beside it says what it was made with, see `recorded`.

import atexit
import dataclasses
import json
import os
import shlex
import shutil
import sys
import time
import types
from pathlib import Path

from snakemake.common.configfile import load_configfile

sys.path.insert(0, f"{workflow.basedir}/scripts")

from worldmodels.runtime import (
    config as sections,
    config_arguments,
    interrupts,
    loading,
    locks,
    paths,
    preflight,
    records,
    settings,
)
from worldmodels.runtime.effects import compared_fields, idle_fields
from worldmodels.runtime.errors import UserError
from worldmodels.runtime.fingerprint import program_fingerprint
from worldmodels.runtime.flags import as_flag, flags_text
from worldmodels.runtime.user_files import has_source
from worldmodels.runtime.score_text import score_text
from worldmodels.runtime.values import to_text


def read_config():
    """The configuration with each value of --config as YAML reads it: Snakemake's own reading loses quotes and types."""
    given = workflow.config_settings
    shipped = f"{workflow.basedir}/config.yaml"
    values = {}
    for file in [
        *([] if given.replace_workflow_config else [shipped]),
        *given.configfiles,
    ]:
        config_arguments.merge_config(values, load_configfile(file))
    config_arguments.merge_config(
        values, config_arguments.parse_config_arguments(given.config_args)
    )
    given.config_args = [
        config_arguments.encode_config_argument(entry) for entry in given.config_args
    ]
    return values


if not config.pop("complete", False):  # as a run of a sweep is: rules/sweep.smk
    try:
        read = read_config()
    except UserError as error:
        sys.exit(f"config: {error}")
    config.clear()
    config.update(read)
SEEDS = config.pop("seeds", [])  # a whole run for each: rules/sweep.smk
if not isinstance(SEEDS, list) or not all(
    type(seed) is int and seed >= 0 for seed in SEEDS
):
    sys.exit(
        f"config: seeds: expected a list of numbers of at least 0, found {SEEDS!r}"
    )
try:
    CONFIG = loading.load_config(config)
except UserError as error:
    sys.exit(f"config: {error}")

LOGDIR = CONFIG.logdir
DATA_DIR = CONFIG.data_dir
SHARDS = range(
    paths.num_shards(CONFIG.rollouts.num_rollouts, CONFIG.rollouts.shard_size)
)
ROLLOUTS = paths.rollout_files(
    DATA_DIR, CONFIG.rollouts.num_rollouts, CONFIG.rollouts.shard_size
)
# What Snakemake knows from its record of a job's inputs, as text for where it has none.
ROLLOUTS_USED = (
    f"{CONFIG.rollouts.num_rollouts} rollouts in shards of {CONFIG.rollouts.shard_size}"
)
ROLLOUT_SUMMARIES = [f"{DATA_DIR}/{paths.shard_name(shard)}.json" for shard in SHARDS]

# What the stages make, without its endings: each is a large file and a small .json that tells of it. Rules name these
# paths instead of `rules.vae.output`, which Snakemake resolves in quadratic time beside 10,000 rollouts.
V = f"{LOGDIR}/vae/best"
LATENTS = f"{LOGDIR}/latents/latents_{CONFIG.vae.latent_size}"
M = f"{LOGDIR}/mdrnn/best"
C = f"{LOGDIR}/ctrl/best"

# Everything a run makes: Snakemake makes a lost file again only if it is asked for.
PRODUCTS = [
    *ROLLOUTS,
    *ROLLOUT_SUMMARIES,
    *(f"{stage}.{ending}" for stage in (V, M, C) for ending in ("tar", "json")),
    *(
        [f"{LATENTS}.npz", f"{LATENTS}.json"]
        if CONFIG.latents.precompute_latents
        else []
    ),
    f"{LOGDIR}/ctrl/history.csv",
    f"{LOGDIR}/eval.json",
]

# What M's program is told of the latents. How they were encoded shows in the latents themselves, and does not matter
# where V encodes M's batches.
LATENTS_FOR_M = dataclasses.replace(
    CONFIG.latents, encode_batch_size=sections.LatentsConfig.encode_batch_size
)

# What a user has plugged in, by key: the code of the environment, and of V's network.
OF_ENV = CONFIG.env.modules
OF_VAE = CONFIG.vae.modules


def check_sources(modules):
    """End where a user's module has no source here: nobody would notice an edit of it."""
    for key, module in modules.items():
        if has_source(module):
            continue
        if not workflow.deployment_settings.deployment_method:
            sys.exit(
                f"config: {key}: expected a module that is installed or in the working directory, "
                f"found no source of {module!r}"
            )
        # The programs' environment, such as conda's, may have it.
        print(
            f"config: {key}: no source of {module!r} is found here, so an edit of it makes nothing run again",
            file=sys.stderr,
        )


check_sources(OF_ENV | OF_VAE)

# The interpreter that has the dependencies: a conda environment's, or the one that runs Snakemake.
CONDA = "conda" in {
    str(method) for method in workflow.deployment_settings.deployment_method
}
PYTHON = "python" if CONDA else shlex.quote(sys.executable)


def options_text(*sections):
    """The values that shape a job's result, as sorted flags: the same text for the same values."""
    counted = [flags_text(each, compared_fields(each, CONFIG)) for each in sections]
    return " ".join([f"--seed {CONFIG.seed}", *filter(None, counted)])


def literally(text):
    """A param that is this text: in a plain one Snakemake takes braces for wildcards."""
    return lambda wildcards: text


def options(*sections):
    """The param with the values that shape a job's result."""
    return literally(options_text(*sections))


def vary(section, changes):
    """A section as a variant has it, whose changes are {section: {key: value}}."""
    return dataclasses.replace(section, **changes.get(section.section, {}))


def varied(variants, section, before):
    """The options of a section, and of the one before it, as the variant that a job's wildcard names has them."""
    original = getattr(CONFIG, section)
    texts = {
        name: options_text(before, vary(original, changes))
        for name, changes in variants.items()
    }
    return lambda wildcards: texts[wildcards.variant]


def recorded(command, **texts):
    """The params of a job whose program writes into its summary what Snakemake compares: see worldmodels/runtime/records.py.

    Args:
        command: see `command`; it carries the texts to the program as JSON.
        texts: name -> text, or a function of wildcards that gives it.
    """
    given = {
        name: text if callable(text) else literally(text)
        for name, text in texts.items()
    }

    def whole(wildcards, threads):
        origin = {name: text(wildcards) for name, text in given.items()}
        return f"{command(wildcards, threads)} --origin {shlex.quote(to_text(origin))}"

    return {"command": whole, **given}


def code(script, *users):
    """The fingerprint of all code that a script runs, with that of a user's own modules, OF_ENV and its like."""
    named = [module for modules in users for module in modules.values()]
    return program_fingerprint(f"{workflow.basedir}/scripts/{script}", *named)


def harmless_flags(sections):
    """The flags of keys that cannot change a result, at all or under these sections' other values."""
    flags = []
    for section in sections:
        idle = idle_fields(section, CONFIG)
        harmless = [
            f.name
            for f in settings.settable(type(section))
            if f.metadata["role"] in (settings.RUNTIME, settings.COUNT)
            or f.name in idle
        ]
        flags.append(flags_text(section, harmless))
    return " ".join(filter(None, flags))


def command(
    script, *sections, rollouts=False, mpi=False, more="", variant="", variants=None
):
    """The start of a job's command: the program and the flags that cannot change its result.

    The run's folder is LOGDIR or, for the wildcard `variant`, the folder of variants that is given.

    A function of `threads`: such params Snakemake does not count among the reasons to run a job again.

    Args:
        variants: {name: changes} of the wildcard `variant`, for sections that `varied` changes.
    """
    runner = f"{PYTHON} -m mpi4py.futures" if mpi else PYTHON
    parts = [runner, shlex.quote(f"{workflow.basedir}/scripts/{script}")]
    for flag, value in (("--data-dir", DATA_DIR), ("--device", CONFIG.device)):
        parts.append(as_flag(flag, value))
    if rollouts:
        parts.append(
            f"--num-rollouts {CONFIG.rollouts.num_rollouts} --shard-size {CONFIG.rollouts.shard_size}"
        )
    harmless = {
        name: harmless_flags([vary(section, changes) for section in sections])
        for name, changes in (variants or {"": {}}).items()
    }

    def whole(wildcards, threads):
        logdir = f"{variant}/{wildcards.variant}" if variant else LOGDIR
        flags = harmless[wildcards.variant if variants else ""]
        more_flags = [as_flag("--logdir", logdir), f"--threads {threads}"]
        return " ".join([*parts, flags, *more.split(), *more_flags])

    return whole


def flag_json(value):
    """A value as JSON for `command`, which splits flags at spaces."""
    return shlex.quote(json.dumps(value, separators=(",", ":")))


def extend_profile(names):
    """What a profile says of a stage's threads and resources holds for the rules that names(stage) gives, too.

    To be called before the first rule: there Snakemake takes up the profile.
    """
    profile = workflow.resource_settings
    for table in ("overwrite_threads", "overwrite_resources"):
        said = dict(getattr(profile, table))
        more = {name: said[stage] for stage in said for name in names(stage)}
        setattr(profile, table, more | said)


# The stages of which rules/ablation.smk has variants.
VARIED = ("train_mdrnn", "train_controller", "evaluate")
extend_profile(lambda stage: [f"ablation_{stage}"] if stage in VARIED else [])
# The last, smaller shard has its own rule, in rules/rollouts.smk.
extend_profile(
    lambda stage: ["collect_last_rollouts"] if stage == "collect_rollouts" else []
)


def growing(amount):
    """A resource that a job gets more of each time it is tried again: after running out of memory or of time."""
    return lambda wildcards, attempt: int(amount * attempt)


def playing_memory(wildcards, threads, attempt):
    """MB for workers that play episodes. Measured: 1,660 MB with two workers."""
    return (1000 + 700 * threads) * attempt


def controller_memory():
    """Bytes that C's job will have on a cluster, infinite if only the job will know; None: what the machine has."""
    on_cluster = workflow.remote_exec or workflow.resource_settings.nodes  # --jobs
    if not on_cluster:
        return None
    given = workflow.resource_settings.overwrite_resources.get(
        "train_controller", {}
    ).get("mem_mb")
    try:
        given = getattr(given, "value", given)
    except ValueError:  # an expression, such as 500*attempt
        return float("inf")
    if given is None:
        given = playing_memory(None, CONFIG.ctrl.max_workers, 1)
    return given * 1e6 if isinstance(given, (int, float)) else float("inf")


def variant_tests(folder, variants):
    """An input function: the variants' tests, in the folder of variants.

    It ends where earlier rollouts tell that a variant's C does not suit the actions or the memory. Snakemake calls it
    only if the ablation is asked for.
    """

    def tests(wildcards):
        for name, changes in variants.items():
            sections = {
                section: vary(getattr(CONFIG, section), changes)
                for section in ("vae", "mdrnn", "ctrl")
            }
            controller = preflight.controller_settings(
                types.SimpleNamespace(**sections), controller_memory()
            )
            try:
                if not workflow.remote_exec:
                    preflight.check_recorded_actions(
                        ROLLOUT_SUMMARIES[0], controller, CONFIG.env
                    )
            except UserError as error:
                # No exception, which Snakemake would wrap.
                sys.exit(f"config: {error} in the ablation's {name}")
        return [f"{folder}/{name}/eval.json" for name in variants]

    return tests


# What memory the stages need: the frames of all rollouts, and of the part of them that vae.memory_gb lets in, MB.
FRAMES = CONFIG.rollouts.num_rollouts * CONFIG.rollouts.seq_len
FRAME_MB = CONFIG.env.height * CONFIG.env.width * (1 if CONFIG.env.grey else 3) / 1e6
LOADED_MB = min(FRAMES * FRAME_MB, 1000 * CONFIG.vae.memory_gb)
LATENTS_MB = FRAMES * CONFIG.vae.latent_size * 8 / 1e6


def collecting_memory(episodes):
    """MB for a job that collects. Measured: 710 MB and 45 s for 32 episodes of 1000 frames, held until they end."""
    return 600 + 1.3 * FRAME_MB * CONFIG.rollouts.seq_len * episodes


# The folders of the report, in their order.
REPORT = f"{LOGDIR}/report"
STAGES = {
    "run": "1 This run",
    "test": "2 Official test",
    "V": "3 V, vision",
    "M": "4 M, memory",
    "C": "5 C, controller",
}
FIGURES = []  # the files of all figures: rules/figures.smk


def shown(stage, file, figure):
    """A figure with its place in the report; its caption is report/<name of the file>.rst."""
    FIGURES.append(f"{REPORT}/{file}")
    return report(
        FIGURES[-1],
        category=STAGES[stage],
        labels={"figure": figure},
        caption=f"../report/{Path(file).stem}.rst",
    )


def held_out(section, most=8):
    """Some rollouts that the stage was not trained on, or of those that it was if it held out none."""
    return ROLLOUTS[-section.num_test_files :][:most]


# The programs inherit this, so that they end with this Snakemake, also when it is killed.
os.environ[interrupts.STARTER] = interrupts.process_stamp(os.getpid())


def claim_folders(jobs):
    """Claim all folders that these jobs write to, until Snakemake ends: a second Snakemake stops here.

    Snakemake itself locks only what is written from the same working directory. Before a job begins and after it
    failed, it deletes the job's output, even where another Snakemake makes it.
    """
    atexit.register(locks.release)
    try:
        for folder in sorted(
            {str(Path(file).parent) for job in jobs for file in job.output}
        ):
            Path(folder).mkdir(parents=True, exist_ok=True)
            locks.claim(folder, "run", "Snakemake")
    except (UserError, OSError) as error:
        sys.exit(f"error: {error}")


# A product without a record of Snakemake's is judged by its summary.
records.complete()

STARTED = time.time()


def print_score(path, episodes):
    """Print the mean and, if there is one, the standard deviation in a summary of so many `episodes`."""
    result = json.loads(path.read_text(encoding="utf-8"))
    score = score_text(result["mean"], result["std"])
    counted = result[episodes]
    number = counted if isinstance(counted, int) else len(counted)
    print(f"score: {score} over {number} {episodes}, {path}", file=sys.stderr)


def report_score():
    """Print the scores of tests that were played since the start, and the command that shows the whole run."""
    folders = [f"{LOGDIR}/seed_{seed}" for seed in SEEDS] or [LOGDIR]
    tests = [Path(folder, "eval.json") for folder in folders]
    tests = [path for path in tests if path.exists()]
    if not any(path.stat().st_mtime >= STARTED for path in tests):
        return
    for path in tests:
        print_score(path, "episodes")
    if SEEDS:  # which have no report together
        if Path(LOGDIR, "seeds.json").exists():
            print_score(Path(LOGDIR, "seeds.json"), "runs")
        return
    # Ahead of the other flags, which may end in targets.
    here = Path(sys.argv[0]).name == "snakemake" and not shutil.which("snakemake")
    program = sys.argv[0] if here else "snakemake"  # as .venv/bin/snakemake
    show = [program, "--report", f"{LOGDIR}/report.html", *sys.argv[1:]]
    print(f"to look at it: {shlex.join(show)}", file=sys.stderr)


def report_errors():
    """Print the error that each log written since the start ends with, of a sweep those of its runs too."""
    runs = {"": LOGDIR, **{f"seed_{seed} ": f"{LOGDIR}/seed_{seed}" for seed in SEEDS}}
    for name, folder in runs.items():
        for path in sorted(Path(folder, "logs").glob("*.log")):
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
            errors = [
                line.split("error: ", 1)[1] for line in lines if " error: " in line
            ]
            if errors and path.stat().st_mtime >= STARTED:
                print(f"{name}{path.stem}: {errors[-1]}", file=sys.stderr)
