#!/usr/bin/env python
"""All benchmarks, one after another, and the goals of all at the end.

python bench/all.py --logdir results/carracing
"""

import json
import subprocess
import sys

import common

# In the order of the chain; those marked need a finished run.
PROGRAMS = {
    "rollouts": False,
    "vae": True,
    "latents": True,
    "mdrnn": True,
    "controller": True,
    "cmaes": True,
    "evaluate": True,
    "workflow": False,
    "memory": True,
    "scaling": True,
}


def run(program: str, flags: list[str]) -> bool:
    """Whether the benchmark went through."""
    common.say(f"== {program}")
    path = common.ROOT / "bench" / f"{program}.py"
    return subprocess.run([sys.executable, str(path), *flags]).returncode == 0


def main(args) -> None:
    failed = []
    for program, needs_run in PROGRAMS.items():
        flags = ["--threads", str(args.threads), "--output", str(common.RESULTS / f"{program}.json")]
        flags += ["--rounds", str(args.rounds)] if args.rounds else []
        flags += ["--cpu-time"] if args.cpu_time else []
        if needs_run:
            flags += ["--logdir", args.logdir, "--device", args.device]
            flags += ["--data-dir", args.data_dir] if args.data_dir else []
        if not run(program, flags):
            failed.append(program)
    results = {p: json.loads((common.RESULTS / f"{p}.json").read_text()) for p in PROGRAMS if p not in failed}
    print("\nGoals")
    common.print_goals([goal for result in results.values() for goal in result.get("goals", [])])
    common.write(args, {"results": results})
    if failed:
        sys.exit(f"error: {', '.join(failed)} failed")


if __name__ == "__main__":
    made = common.parser(__doc__, rounds=0)
    common.add_run(made)
    common.main(made, main)
