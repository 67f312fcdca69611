#!/usr/bin/env python
"""What a run was: versions, configuration, seeds, and what each stage took.

Writes <logdir>/report/run.html, and stages.png beside it.
"""

import csv
import platform
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from worldmodels.runtime.config import SECTIONS
from worldmodels.runtime.errors import UserError
from worldmodels.runtime.log import log
from worldmodels.runtime.program import make_parser, run_config_from_args, run_program
from worldmodels.runtime.values import from_text, to_text
from worldmodels.showing import figures
from worldmodels.showing.figures import BLUE, ORANGE
from worldmodels.showing.tables import save_tables
from worldmodels.storage.files import prepare_folder, read_json

# The stage of each rule. A benchmark is named after its rule; the number of a shard follows.
STAGES = {
    "collect_rollouts": "rollouts",
    "collect_agent_rollouts": "rollouts",
    "train_vae": "vae",
    "encode_latents": "latents",
    "train_mdrnn": "mdrnn",
    "train_controller": "ctrl",
    "evaluate_shard": "evaluate",
    "evaluate": "evaluate",
}

PACKAGES = ("torch", "gymnasium", "envpool", "numpy", "cma")


def read_benchmark(path: str) -> dict[str, float] | None:
    """Seconds, largest memory (MB) and CPU seconds of a job, as Snakemake's benchmark has them; None if it has none."""
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
    except ValueError:  # a job too short to be measured has NA there
        return {"s": float(row["s"]), "max_rss": float("nan"), "cpu_time": float("nan")}


def stage_of(benchmark: str) -> str:
    """Return the stage that a benchmark belongs to.

    Raises:
        UserError: The file is not named after a rule that makes a stage's product.
    """
    rule = re.sub(r"_\d+$", "", Path(benchmark).stem)
    if rule not in STAGES:
        raise UserError(f"{benchmark}: expected a benchmark of the rules {', '.join(STAGES)}, found another name")
    return STAGES[rule]


def stages(benchmarks: list[str]) -> dict[str, dict[str, float]]:
    """The benchmarks by stage; jobs of one stage add up, their memory is that of the largest.

    A job without a benchmark counts for nothing: it ran for another run that shares its files.
    """
    total: dict[str, dict[str, float]] = {}
    for path in benchmarks:
        sums = total.setdefault(stage_of(path), {"jobs": 0, "s": 0.0, "max_rss": 0.0, "cpu_time": 0.0})
        job = read_benchmark(path)
        if job is None:
            continue
        sums |= {"jobs": sums["jobs"] + 1, "max_rss": max(sums["max_rss"], job["max_rss"])}
        sums |= {key: sums[key] + job[key] for key in ("s", "cpu_time")}
    return total


def clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}"


def taken(job: dict[str, float]) -> list:
    """A stage's jobs, wall time, CPU time and memory, to be read."""
    if not job["jobs"]:
        return ["-"] * 4
    cpu_time = clock(job["cpu_time"]) if job["cpu_time"] == job["cpu_time"] else "-"
    return [job["jobs"], clock(job["s"]), cpu_time, f"{job['max_rss']:,.0f}"]


def versions(shards: list[str], test: dict) -> list[list[str]]:
    """Of what made the rollouts and the test, as they say themselves, and of what is installed here."""
    rows = [["gymnasium, of the test", test["gymnasium_version"]]]
    first = read_json(shards[0], ("backend", "versions"))
    rows.append([f"rollouts, by {first['backend']}", ", ".join(f"{k} {v}" for k, v in first["versions"].items())])
    for name in PACKAGES:
        try:
            rows.append([f"{name}, installed", version(name)])
        except PackageNotFoundError:
            continue
    return [*rows, ["Python", platform.python_version()]]


def knobs(text: str) -> list[list[str]]:
    """The given values of the configuration, as JSON {section: {key: value}}, and the defaults that they replace."""
    rows = []
    try:
        given = from_text(text)
        for name in sorted(given, key=list(SECTIONS).index):
            values = given[name]
            defaults = SECTIONS[name]()
            for key, value in SECTIONS[name](**values).to_dict().items():
                if key in values:
                    default = getattr(defaults, key)
                    rows.append([f"{name}.{key.rstrip('_')}", to_text(value), "" if value == default else default])
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        raise UserError(f"--config: expected JSON of known sections and keys, found {error}") from None
    return rows


def chart(total: dict[str, dict[str, float]], steps: dict[str, int]):
    """Wall time and environment steps by stage."""
    figure = figures.new(10, 3.4)
    time, env = figure.subplots(1, 2)
    time.barh(list(total), [stage["s"] / 60 for stage in total.values()], color=BLUE)
    time.set(xlabel="wall time, minutes (jobs of a stage added up)")
    env.barh(list(steps), [count / 1e6 for count in steps.values()], color=ORANGE)
    env.set(xlabel="environment steps, million")
    for ax in (time, env):
        ax.invert_yaxis()
        ax.grid(axis="y", visible=False)
        ax.bar_label(ax.containers[0], fmt="%.2f", padding=3)
        ax.margins(x=0.15)
    return figure


def main(args) -> None:
    run = run_config_from_args(args)
    folder = f"{run.logdir}/report"
    prepare_folder(folder)
    test = read_json(f"{run.logdir}/eval.json", ("gymnasium_version", "env_steps", "lengths", "seeds"))
    total = stages(args.benchmarks)
    parts = test["env_steps"]
    steps = {"rollouts": parts["rollouts"], "ctrl": parts["controller"], "evaluate": sum(test["lengths"])}
    time = [[name, *taken(job), f"{steps[name]:,}" if name in steps else "-"] for name, job in total.items()]
    seeds = [["run", run.seed], ["tracks of the test", f"{test['seeds'][0]} to {test['seeds'][-1]}"]]
    tables = {
        "What each stage took": (
            ("stage", "jobs", "wall time, h:m:s", "CPU time, h:m:s", "memory, MB", "environment steps"),
            time,
        ),
        "Versions": (("", "version"), versions(args.shards, test)),
        "Seeds": (("", "seed"), seeds),
        "Configuration: what shapes the result": (("key", "value", "default if another"), knobs(args.config)),
    }
    save_tables(f"{folder}/run.html", "This run", tables)
    figures.save(chart(total, steps), f"{folder}/stages.png")
    log.info(
        "run: %s of work in %d stages, %s/run.html", clock(sum(j["s"] for j in total.values())), len(total), folder
    )


if __name__ == "__main__":
    made = make_parser(__doc__)
    made.add_argument("--config", default="{}", help="JSON of the configuration to show, section by section")
    made.add_argument("--shards", nargs="+", required=True, help="summaries of the rollouts' shards (.json)")
    made.add_argument("--benchmarks", nargs="+", required=True, help="Snakemake's benchmarks of the stages (.tsv)")
    run_program(made, main)
