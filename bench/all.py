"""Run all benchmarks, one after another, and list the goals of all at the end.

python -m bench.all --logdir results/carracing
"""

import json
import subprocess
import sys
from argparse import Namespace

from bench import ROOT, program, report
from bench.measure import print_progress

# Program -> whether it needs a finished run. In the order of the chain.
PROGRAMS = {
    "rollouts": False,
    "vae": True,
    "latents": True,
    "mdrnn": True,
    "controller": True,
    "dreams": True,
    "cmaes": True,
    "evaluate": True,
    "workflow": False,
    "memory": True,
    "curves": True,
    "scaling": True,
}


def main(args: Namespace) -> None:
    failed = [name for name in PROGRAMS if not run(name, flags_of(name, args))]
    results = {
        name: json.loads((report.RESULTS / f"{name}.json").read_text()) for name in PROGRAMS if name not in failed
    }
    print("\nGoals")
    report.print_goals([goal for result in results.values() for goal in result.get("goals", [])])
    report.write_result(args, {"results": results})
    if failed:
        sys.exit(f"error: {', '.join(failed)} failed")


def flags_of(name: str, args: Namespace) -> list[str]:
    """Return the flags of a benchmark."""
    flags = ["--threads", str(args.threads), "--output", str(report.RESULTS / f"{name}.json")]
    if args.rounds:
        flags += ["--rounds", str(args.rounds)]
    if args.cpu_time:
        flags += ["--cpu-time"]
    if PROGRAMS[name]:
        flags += ["--logdir", args.logdir, "--device", args.device]
        if args.data_dir:
            flags += ["--data-dir", args.data_dir]
    return flags


def run(name: str, flags: list[str]) -> bool:
    """Run a benchmark and return whether it succeeded."""
    print_progress(f"== {name}")
    return subprocess.run([sys.executable, "-m", f"bench.{name}", *flags], cwd=ROOT).returncode == 0


if __name__ == "__main__":
    parser = program.make_parser(__doc__, rounds=0)
    program.add_run_flags(parser)
    program.run_benchmark(parser, main)
