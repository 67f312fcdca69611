#!/usr/bin/env python
"""Show what a run was: versions, seeds, the configuration, and the time and memory of each stage.

Writes <logdir>/report/run.html and stages.png.
"""

import csv
import math
import platform
import re
from argparse import Namespace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from matplotlib.figure import Figure

from worldmodels.runtime.config import SECTIONS
from worldmodels.runtime.errors import UserError
from worldmodels.runtime.log import log
from worldmodels.runtime.program import make_parser, run_config_from_args, run_program
from worldmodels.runtime.values import from_text, to_text
from worldmodels.showing import figures
from worldmodels.showing.figures import BLUE, ORANGE
from worldmodels.showing.tables import save_tables
from worldmodels.storage.files import read_json

# The stage of each rule. A benchmark is named after its rule; the number of a shard follows.
STAGES = {
    "collect_rollouts": "rollouts",
    "collect_agent_rollouts": "rollouts",
    "train_vae": "vae",
    "encode_latents": "latents",
    "train_mdrnn": "mdrnn",
    "refit_controller": "ctrl",
    "train_controller": "ctrl",
    "train_controller_in_dream": "ctrl",
    "evaluate_shard": "evaluate",
    "evaluate": "evaluate",
}

PACKAGES = ("torch", "gymnasium", "envpool", "numpy", "cma")

# What Snakemake measured: "s", wall time, seconds; "cpu_time", seconds; "max_rss", memory, MB. Of a stage also "jobs".
Usage = dict[str, float]


def main(args: Namespace) -> None:
    run = run_config_from_args(args)
    folder = figures.report_folder(run.logdir)
    test = read_json(f"{run.logdir}/eval.json", ("gymnasium_version", "env_steps", "lengths", "seeds"))
    usage = sum_usage(args.benchmarks)
    trained = test["env_steps"]
    env_steps = {"rollouts": trained["rollouts"], "ctrl": trained["controller"], "evaluate": sum(test["lengths"])}
    columns = ("stage", "jobs", "wall time, h:m:s", "CPU time, h:m:s", "memory, MB", "environment steps")
    test_seeds = f"{test['seeds'][0]} to {test['seeds'][-1]}"
    tables = {
        "What each stage took": (columns, list_usage(usage, env_steps)),
        "Versions": (("", "version"), list_versions(args.shards, test)),
        "Seeds": (("", "seed"), [["run", run.seed], ["tracks of the test", test_seeds]]),
        "Configuration: what shapes the result": (("key", "value", "default if different"), list_values(args.config)),
    }
    save_tables(folder / "run.html", "This run", tables)
    figures.save_figure(draw_usage(usage, env_steps), folder / "stages.png")
    seconds = sum(stage["s"] for stage in usage.values())
    log.info("run: %s of work in %d stages, %s/run.html", format_time(seconds), len(usage), folder)


def read_benchmark(path: str) -> Usage | None:
    """Return what a job took, read from Snakemake's benchmark file. Without a file it is None.

    Raises:
        UserError: The file is no benchmark of Snakemake.
    """
    try:
        with open(path, encoding="utf-8", newline="") as file:
            row = next(csv.DictReader(file, delimiter="\t"))
        return {key: float(row[key]) for key in ("s", "max_rss", "cpu_time")}
    except FileNotFoundError:
        return None
    except StopIteration:
        raise UserError(f"{path}: expected a benchmark of Snakemake, found an empty file") from None
    except KeyError as error:
        raise UserError(f"{path}: expected a benchmark of Snakemake, found no column {error}") from None
    except ValueError:  # Snakemake writes NA for jobs that were too short to be measured.
        return {"s": float(row["s"]), "max_rss": math.nan, "cpu_time": math.nan}


def stage_of(benchmark: str) -> str:
    """Return the stage that a benchmark belongs to.

    Raises:
        UserError: The file is not named after a rule that makes a stage's product.
    """
    rule = re.sub(r"_\d+$", "", Path(benchmark).stem)
    if rule not in STAGES:
        raise UserError(f"{benchmark}: expected a benchmark of the rules {', '.join(STAGES)}, found another name")
    return STAGES[rule]


def sum_usage(benchmarks: list[str]) -> dict[str, Usage]:
    """Return stage -> what its jobs took. Times add up. The memory is the largest of the jobs.

    A job without a benchmark does not count: it ran for another run that shares its files.
    """
    usage: dict[str, Usage] = {}
    for path in benchmarks:
        stage = usage.setdefault(stage_of(path), {"jobs": 0, "s": 0.0, "max_rss": 0.0, "cpu_time": 0.0})
        job = read_benchmark(path)
        if job is None:
            continue
        stage["jobs"] += 1
        stage["s"] += job["s"]
        stage["cpu_time"] += job["cpu_time"]
        stage["max_rss"] = max(stage["max_rss"], job["max_rss"])
    return usage


def list_usage(usage: dict[str, Usage], env_steps: dict[str, int]) -> list[list]:
    """Return the rows of the table of stages. A hyphen stands for what is not known."""
    rows = []
    for name, stage in usage.items():
        cells = ["-"] * 4
        if stage["jobs"]:
            cpu_time = "-" if math.isnan(stage["cpu_time"]) else format_time(stage["cpu_time"])
            cells = [stage["jobs"], format_time(stage["s"]), cpu_time, f"{stage['max_rss']:,.0f}"]
        rows.append([name, *cells, f"{env_steps[name]:,}" if name in env_steps else "-"])
    return rows


def format_time(seconds: float) -> str:
    """Return a time as hours:minutes:seconds."""
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}"


def list_versions(shards: list[str], test: dict) -> list[list[str]]:
    """Return the rows of the table of versions.

    Args:
        shards: summaries of the rollouts' shards. The first one tells what the rollouts were made with.
        test: eval.json, which tells what the test was made with.
    """
    rollouts = read_json(shards[0], ("backend", "versions"))
    rollout_versions = ", ".join(f"{name} {number}" for name, number in rollouts["versions"].items())
    rows = [
        ["gymnasium, of the test", test["gymnasium_version"]],
        [f"rollouts, by {rollouts['backend']}", rollout_versions],
    ]
    for name in PACKAGES:
        try:
            rows.append([f"{name}, installed", version(name)])
        except PackageNotFoundError:
            continue
    return [*rows, ["Python", platform.python_version()]]


def list_values(text: str) -> list[list]:
    """Return the rows of the table of the configuration: key, value, and the default if it is different.

    Args:
        text: JSON {section: {key: value}}.

    Raises:
        UserError: The text is no JSON of known sections and keys.
    """
    rows = []
    try:
        config = from_text(text)
        for name in sorted(config, key=list(SECTIONS).index):
            values, defaults = config[name], SECTIONS[name]()
            for key, value in SECTIONS[name](**values).to_dict().items():
                if key in values:
                    default = getattr(defaults, key)
                    rows.append([f"{name}.{key.rstrip('_')}", to_text(value), "" if value == default else default])
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        raise UserError(f"--config: expected JSON of known sections and keys, found {error}") from None
    return rows


def draw_usage(usage: dict[str, Usage], env_steps: dict[str, int]) -> Figure:
    """Draw the wall time and the environment steps of each stage."""
    figure = figures.new_figure(10, 3.4)
    time, steps = figure.subplots(1, 2)
    time.barh(list(usage), [stage["s"] / 60 for stage in usage.values()], color=BLUE)
    time.set(xlabel="wall time, minutes (jobs of a stage added up)")
    steps.barh(list(env_steps), [count / 1e3 for count in env_steps.values()], color=ORANGE)
    steps.set(xlabel="environment steps, thousand")
    for ax, text in ((time, "{:.2f}"), (steps, "{:,.1f}")):
        ax.invert_yaxis()
        ax.grid(axis="y", visible=False)
        ax.bar_label(ax.containers[0], fmt=text, padding=3)
        ax.margins(x=0.2)
    return figure


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument("--config", default="{}", help="the configuration to show, JSON {section: {key: value}}")
    parser.add_argument("--shards", nargs="+", required=True, help="summaries of the rollouts' shards (.json)")
    parser.add_argument("--benchmarks", nargs="+", required=True, help="Snakemake's benchmarks of the stages (.tsv)")
    run_program(parser, main)
