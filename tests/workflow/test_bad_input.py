"""Bad input of every kind ends early with one clear line, no traceback and nothing half-written.

The table runs real commands: scripts on a copy of a finished tiny run with one thing wrong, and dry runs of the
workflow with a wrong configuration. `pytest tests/workflow/test_bad_input.py -s` prints it.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from helpers.programs import run_script, run_snakemake

Break = Callable[[Path], object]  # spoils something in the folder


class Malicious:
    """Unpickled, it leaves a file behind."""

    def __reduce__(self):
        return (open, ("executed", "w"))


def wrong_config(*values: str):
    return lambda folder: run_snakemake("-n", "--cores", 1, "--config", *values, cwd=folder, check=False)


def script(name: str, *flags, spoil: Break = lambda folder: None):
    """The script on the copied run, after `spoil` did its work there."""

    def run(folder: Path):
        spoil(folder)
        where = ["--logdir", "run", "--data-dir", "rollouts"]
        return run_script(name, *where, *flags, check=False, cwd=folder)

    return run


def rollout(change: Callable[[dict], object]) -> Break:
    def spoil(folder: Path) -> None:
        path = sorted((folder / "rollouts").glob("*.npz"))[1]
        with np.load(path) as archive:
            arrays = dict(archive)
        change(arrays)
        np.savez(path, **arrays)

    return spoil


def put(file: str, content: bytes) -> Break:
    return lambda folder: (folder / file).write_bytes(content)


def cut(file: str) -> Break:
    return lambda folder: put(file, (folder / file).read_bytes()[:1000])(folder)


def saved(file: str, content) -> Break:
    return lambda folder: torch.save(content, folder / file)


def remove(file: str) -> Break:
    return lambda folder: (folder / file).unlink()


def resave(file: str, change: Callable[[dict], object]) -> Break:
    def spoil(folder: Path) -> None:
        content = torch.load(folder / file, weights_only=True)
        change(content)
        torch.save(content, folder / file)

    return spoil


def shorten(steps: int) -> Break:
    def spoil(folder: Path) -> None:
        for path in (folder / "rollouts").glob("*.npz"):
            with np.load(path) as archive:
                np.savez(path, **{key: a[:steps] if a.ndim else a for key, a in archive.items()})

    return spoil


ONE = "rollouts/00000_0001.npz"
TRAIN = ("--num-epochs", "1", "--num-test-files", "1", "--images-per-epoch", "64")
CASES = {
    # the configuration, through the workflow
    "unknown section": (wrong_config("vea={}"), "config: vea: unknown key in the configuration (did you mean vae?)"),
    "unknown key": (wrong_config("ctrl={pop_sise: 3}"), "ctrl.pop_sise: unknown key (did you mean pop_size?)"),
    "wrong type": (wrong_config("vae={latent_size: many}"), "vae.latent_size: expected int, found 'many'"),
    "a float for an int": (wrong_config("vae={latent_size: 2.5}"), "vae.latent_size: expected int, found 2.5"),
    "a number for a bool": (wrong_config("mdrnn={include_reward: 1}"), "mdrnn.include_reward: expected bool, found 1"),
    "1e-3 is text": (wrong_config("vae={learning_rate: 1e-3}"), "found '1e-3' (YAML reads 1e-3 as text: write 1.0e-3)"),
    "out of bounds": (wrong_config("rollouts={ou_theta: 2.0}"), "rollouts.ou_theta: expected at most 1.0, found 2.0"),
    "negative": (wrong_config("vae={beta: -1.0}"), "vae.beta: expected at least 0.0, found -1.0"),
    "not a number": (wrong_config("vae={beta: .nan}"), "vae.beta: expected a finite number, found nan"),
    "zero rollouts": (wrong_config("rollouts={num_rollouts: 0}"), "num_rollouts: expected at least 1, found 0"),
    "zero episodes": (wrong_config("evaluate={num_episodes: 0}"), "num_episodes: expected at least 1, found 0"),
    "zero workers": (wrong_config("ctrl={max_workers: 0}"), "ctrl.max_workers: expected at least 1, found 0"),
    "empty section": (wrong_config("vae=null"), "vae: expected a section with keys, found None"),
    "not one of": (wrong_config("rollouts={policy: rando}"), "found 'rando' (did you mean random?)"),
    "a key of another section": (wrong_config("mdrnn={latent_size: 8}"), "latent_size: not set here, it comes from"),
    "text for a list": (wrong_config("ctrl={squash: tanh}"), "ctrl.squash: expected list of str, found 'tanh'"),
    "an option that pycma has not": (
        wrong_config("ctrl={cma: {CMA_diagnal: true}}"), "config: ctrl.cma: expected options of pycma, found 'CMA_dia",
    ),
    "an option of pycma that nobody asks for": (
        wrong_config("ctrl={cma: {tolx: abc}}"),
        "config: ctrl.cma: tolx is not taken: training ends by ctrl.num_generations, ctrl.max_env_steps",
    ),
    "a value that pycma cannot take": (
        wrong_config("ctrl={cma: {CMA_diagonal: maybe}}"),
        "config: ctrl.cma: CMA_diagonal: expected true or false or a whole number of at least 2, found 'maybe'",
    ),
    "hard tracks that nobody shares": (
        wrong_config("ctrl={hard_share: 0.5, common_tracks: false}"),
        "ctrl.hard_share: expected 0 where common_tracks is off, found 0.5",
    ),
    "no iterations": (wrong_config("iterations=0"), "iterations: expected a whole number of at least 1, found 0"),
    "an iteration and a half": (wrong_config("iterations=1.5"), "expected a whole number of at least 1, found 1.5"),
    "a start that is not there": (
        wrong_config("ctrl={start: nowhere}"),
        "ctrl.start: expected a checkpoint of C, the logdir of a finished run or a package, found no nowhere/ctrl/b",
    ),
    "the start of an agent that does not drive": (
        wrong_config("ctrl={start: agent}"), "config: ctrl.start: expected rollouts in which an agent drives",
    ),
    "all data held out": (
        wrong_config("vae={num_test_files: 128}"), "vae.num_test_files: expected fewer than the 128 rollouts",
    ),
    "a module without a source": (
        wrong_config("env={id: Ball-v0, import: games.ball}"),
        "config: env.import: expected a module that is installed or in the working directory, found no source of",
    ),
    "a module before the colon without a source": (
        wrong_config("env={id: 'games.ball:Ball-v0', import: json}"),
        "config: env.id: expected a module that is installed or in the working directory, found no source of",
    ),
    "a network without a source": (
        wrong_config("vae={model: 'worldmodels.models.vea:V'}"),
        "config: vae.model: expected a module that is installed or",
    ),
    # rollouts
    "no rollouts": (script("train_vae", "--data-dir", "nowhere"), "nowhere: expected rollouts (*.npz), found none"),
    "missing file": (
        script("train_vae", "--num-rollouts", 9, "--shard-size", 3), "00002_0000.npz: expected a file, found none",
    ),
    "empty file": (script("train_vae", *TRAIN, spoil=put(ONE, b"")), f"{ONE}: expected an .npz file of plain arrays"),
    "not an npz": (script("encode_latents", spoil=put(ONE, b"hello")), f"{ONE}: expected an .npz file of plain arrays"),
    "truncated npz": (script("encode_latents", spoil=cut(ONE)), f"{ONE}: expected an .npz file of plain arrays"),
    "pickled npz": (
        script("train_vae", *TRAIN, spoil=rollout(lambda a: a.update(rewards=np.array([Malicious()], object)))),
        f"{ONE}: expected an .npz file of plain arrays",
    ),
    "missing key": (
        script("train_vae", *TRAIN, spoil=rollout(lambda a: a.pop("actions"))), f"{ONE}: expected the keys",
    ),
    "wrong dtype": (
        script("train_vae", *TRAIN, spoil=rollout(lambda a: a.update(observations=a["observations"] / 255))),
        f"{ONE}: expected observations of 4 dimensions, 60 rows and type uint8, found shape",
    ),
    "wrong shape": (
        script("train_vae", *TRAIN, spoil=rollout(lambda a: a.update(actions=a["actions"][:, 0]))),
        f"{ONE}: expected actions of 2 dimensions, 60 rows",
    ),
    "rows missing": (
        script("train_vae", *TRAIN, spoil=rollout(lambda a: a.update(terminals=a["terminals"][:-1]))),
        f"{ONE}: expected terminals of 1 dimensions, 60 rows",
    ),
    "other frames": (
        script("train_vae", *TRAIN, spoil=rollout(lambda a: a.update(observations=a["observations"][:, :32, :32]))),
        f"{ONE}: expected observations shaped (64, 64, 3)",
    ),
    "NaN in the data": (
        script("encode_latents", spoil=rollout(lambda a: a["rewards"].fill(np.nan))), f"{ONE}: expected finite rewards",
    ),
    "no steps": (script("train_vae", *TRAIN, spoil=shorten(0)), "expected an episode of at least one step, found none"),
    "all files held out": (
        script("train_vae", "--num-test-files", 6), "num_test_files: expected fewer than the 6 rollouts that there are",
    ),
    "episodes of one step": (
        script("train_mdrnn", "--num-test-files", 1, "--precompute-latents", "false", spoil=shorten(1)),
        "expected episodes of at least 2 steps",
    ),
    # checkpoints
    "no V": (script("encode_latents", spoil=remove("run/vae/best.tar")), "vae/best.tar: expected a checkpoint, found"),
    "truncated V": (script("encode_latents", spoil=cut("run/vae/best.tar")), "vae/best.tar: expected a checkpoint of"),
    "malicious V": (
        script("encode_latents", spoil=saved("run/vae/best.tar", {"state_dict": Malicious()})),
        "run/vae/best.tar: expected a checkpoint of tensors and plain values",
    ),
    "malicious C": (
        script("evaluate", spoil=saved("run/ctrl/best.tar", Malicious())),
        "run/ctrl/best.tar: expected a checkpoint of tensors and plain values",
    ),
    "V of other sizes": (
        script("encode_latents", spoil=resave("run/vae/best.tar", lambda c: c["config"].update(latent_size=9))),
        "run/vae/best.tar: expected V's checkpoint, found another",
    ),
    "M of another V": (
        script("train_controller", spoil=resave("run/mdrnn/best.tar", lambda c: c["config"].update(latent_size=9))),
        "run/mdrnn/best.tar: expected M's checkpoint, found another",
    ),
    "latents of an earlier V": (
        script("train_mdrnn", spoil=resave("run/vae/best.tar", lambda c: c.update(epoch=99))),
        "latents_8.npz: expected the latents of run/vae/best.tar, found another V's; run encode_latents.py again",
    ),
    "M of an earlier V": (
        script("evaluate", spoil=resave("run/vae/best.tar", lambda c: c.update(epoch=99))),
        "run/mdrnn/best.tar: expected M trained with run/vae/best.tar, found another V's",
    ),
    "C of an earlier M": (
        script("evaluate", spoil=resave("run/mdrnn/best.tar", lambda c: c.update(epoch=99))),
        "run/ctrl/best.tar: expected C trained with run/mdrnn/best.tar, found another M's",
    ),
    "an M that says not where dreams start": (
        script("train_controller_in_dream", spoil=resave("run/mdrnn/best.tar", lambda c: c.pop("first_latents"))),
        "run/mdrnn/best.tar: expected an M that says where dreams start, found one of an earlier version; train again",
    ),
    "an M without reward": (
        script(
            "train_controller_in_dream",
            spoil=resave("run/mdrnn/best.tar", lambda c: c["config"].update(include_reward=False)),
        ),
        "run/mdrnn/best.tar: expected an M that predicts the reward, which C needs in its dreams, found one trained",
    ),
    "dreams of an M without reward": (
        wrong_config("ctrl={world: dream}", "mdrnn={include_reward: false}"),
        "mdrnn.include_reward: expected true, since C learns in M's dreams (ctrl.world), found false",
    ),
    "a negative temperature": (
        wrong_config("ctrl={world: dream, temperature: -1}"), "ctrl.temperature: expected at least 0.0, found -1.0",
    ),
    "a crop of three numbers": (
        wrong_config("env={crop: [1, 2, 3]}"), "env.crop: expected [top, bottom, left, right] or [], found [1, 2, 3]",
    ),
    "a crop that leaves nothing": (
        script("collect_rollouts", "--env-crop", "[50, 50, 0, 0]"),
        "env.crop: expected to leave pixels of pictures of 96 x 96, found [50, 50, 0, 0]",
    ),
    "a start with other inputs": (
        script("train_controller", "--features", "z", "--start", "run/ctrl/best.tar"),
        "ctrl.start: expected a C with 8 (z) numbers, hidden layers [] and 3 outputs, as ctrl.features, ctrl.hidden "
        "and M say, found run/ctrl/best.tar with 8 (z) + 16 (h) numbers, hidden layers [] and 3 outputs",
    ),
    "an agent with other hidden layers": (
        script("refit_controller", "--agent", "run", "--hidden", "[5]"),
        "ctrl.hidden: expected [], as the C of rollouts.agent has, found [5]",
    ),
    "no latents": (
        script("train_mdrnn", spoil=remove("run/latents/latents_8.npz")), "latents_8.npz: expected an .npz file",
    ),
    "damaged latents": (script("train_mdrnn", spoil=cut("run/latents/latents_8.npz")), "latents_8.npz: expected an"),
    # environments, devices, training
    "unknown environment": (
        script("collect_rollouts", "--env-id", "NoSuch-v0"), "env.id: expected an environment that can be made",
    ),
    "unknown argument of the environment": (
        script("collect_rollouts", "--env-kwargs", '{"wheels": 5}', "--env-backend", "gymnasium"),
        "env.kwargs: expected arguments that 'CarRacing-v3' can be made with, found {'wheels': 5}",
    ),
    "an environment without an end": (
        script("collect_rollouts", "--env-id", "Blackjack-v1", "--env-backend", "gymnasium"),
        "env.max_episode_steps: expected a number, since Blackjack-v1 is registered without, found 0",
    ),
    "an environment without pictures": (
        script("collect_rollouts", "--env-id", "gymnasium.envs.tabular:FrozenLake-v1"),
        "env.id: expected",
    ),
    "a module that is not there": (
        script("collect_rollouts", "--env-import", "no_such_module"),
        "env.import: expected a module to import, found 'no_such_module'",
    ),
    "too few squashes": (
        script("train_controller", "--squash", '["tanh", "tanh"]'), "ctrl.squash: expected 1 or 3 entries",
    ),
    "a device that is not here": (script("train_vae", *TRAIN, "--device", "cuda:7"), "device: expected auto"),
    "folder not writable": (
        script("train_vae", *TRAIN, "--logdir", "/proc/nowhere"), "/proc/nowhere/vae: expected a folder to write to",
    ),
    "training astray": (
        script("train_vae", *TRAIN, "--learning-rate", 1e30), "the loss became",
    ),
    "value out of bounds by flag": (
        script("train_mdrnn", "--hidden-size", 0), "argument --hidden-size: expected at least 1, found 0",
    ),
}  # fmt: skip


def files_in(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_there_are_enough():
    assert len(CASES) >= 40


@pytest.mark.parametrize("case", CASES)
def test_bad_input_ends_with_one_line_and_leaves_nothing(case, tiny_run, rollouts, tmp_path):
    run, message = CASES[case]
    shutil.copytree(tiny_run, tmp_path / "run", ignore=shutil.ignore_patterns("checkpoint.tar"))
    shutil.copytree(Path(rollouts[0]).parent, tmp_path / "rollouts")
    before = files_in(tmp_path)
    process = run(tmp_path)
    last = (process.stderr.strip().splitlines() or [""])[-1]
    print(f"{case:36} | exit {process.returncode} | {last[:160]}")
    assert process.returncode not in (0, -9)
    assert "Traceback" not in process.stderr
    assert message in last
    left = [file for file in files_in(tmp_path) - before if ".snakemake" not in file]
    assert left == [], "something was left behind"
