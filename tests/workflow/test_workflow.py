"""Every preset has a dry run, and an independent replay confirms the scores of the smoke preset."""

import argparse
import dataclasses
import json
import re
import shutil
import subprocess

import gymnasium as gym
import numpy as np
import pytest
import torch
import yaml
from PIL import Image

import compare_agents
from helpers.programs import ROOT, planned, run_script, run_snakemake
from worldmodels.models.controller import Controller
from worldmodels.models.mdrnn import MDRNN, MDRNNCell
from worldmodels.models.precision import has_bfloat16
from worldmodels.models.vae import ConvVAE
from worldmodels.runtime.config import SECTIONS, WMMDNRNNConfig
from worldmodels.runtime.flags import add_flags, flag_name, section_from_args
from worldmodels.runtime.loading import load_config
from worldmodels.runtime.settings import settable
from worldmodels.runtime.values import from_text
from worldmodels.workflow.ablation import VARIANTS

SHARDS = {
    "": 8, "smoke": 2, "record": 8, "paper": 100, "cartpole": 4, "acrobot": 8, "doom": 20, "doom_paper": 100,
}  # fmt: skip
CHAIN = ("train_vae", "encode_latents", "train_mdrnn", "train_controller", "evaluate", "all")


def test_every_preset_has_a_dry_run():
    assert {path.stem for path in (ROOT / "presets").glob("*.yaml")} == set(SHARDS) - {""}


@pytest.mark.parametrize("preset", SHARDS, ids=lambda preset: preset or "defaults")
def test_dry_runs(preset, tmp_path):
    presets = ["doom", preset] if preset == "doom_paper" else [preset] if preset else []
    if "doom" in presets:
        pytest.importorskip("vizdoom")  # a dry run looks for its source
    given = ["--configfile", *(ROOT / f"presets/{name}.yaml" for name in presets)] if presets else []
    for stage in ("vae", "mdrnn", "ctrl"):  # of the default run whose agent drives for the record
        for ending in ("tar", "json"):
            path = tmp_path / f"results/carracing/{stage}/best.{ending}"
            path.parent.mkdir(parents=True, exist_ok=True)
            if preset == "record":
                path.touch()
    jobs = planned(run_snakemake("-n", "--cores", 2, *given, cwd=tmp_path).stdout)
    dreaming = {"train_controller": "train_controller_in_dream"} if "doom" in presets else {}
    chain = [dreaming.get(name, name) for name in CHAIN]
    assert {name: jobs[name] for name in chain} == dict.fromkeys(chain, 1)
    assert jobs["collect_agent_rollouts" if preset == "record" else "collect_rollouts"] == SHARDS[preset]


def test_the_record_needs_an_earlier_run(tmp_path):
    process = run_snakemake("-n", "--configfile", ROOT / "presets/record.yaml", cwd=tmp_path, check=False)
    message = (
        "config: rollouts.agent: expected the logdir of a finished run or a package, found no results/carracing/vae"
    )
    assert message in process.stdout + process.stderr


@pytest.mark.parametrize("target", ["rollouts", "vae", "latents", "mdrnn", "ctrl", "evaluate"])
def test_stages_are_targets(target, tmp_path):
    jobs = planned(run_snakemake("-n", "--cores", 2, target, cwd=tmp_path).stdout)
    assert target in jobs and "all" not in jobs
    assert ("train_controller" in jobs) == (target in ("ctrl", "evaluate"))


def test_without_precomputed_latents_none_are_made(tmp_path):
    jobs = planned(
        run_snakemake("-n", "--cores", 2, "--config", "latents={precompute_latents: false}", cwd=tmp_path).stdout
    )
    assert "encode_latents" not in jobs and jobs["train_mdrnn"] == 1


def test_a_wrong_configuration_is_one_line(tmp_path):
    process = run_snakemake("-n", "--cores", 2, "--config", "ctrl={pop_sise: 3}", cwd=tmp_path, check=False)
    assert process.returncode != 0 and "Traceback" not in process.stderr
    assert "config: ctrl.pop_sise: unknown key (did you mean pop_size?)" in process.stderr


def test_smoke_eval_json(smoke):
    result = json.loads((smoke / "results/smoke/eval.json").read_text())
    assert result["env"] == "CarRacing-v3" and result["gymnasium_version"] == gym.__version__
    assert len(result["seeds"]) == len(result["returns"]) == len(result["lengths"]) == result["episodes"] == 2
    assert result["mean"] == pytest.approx(np.mean(result["returns"]))
    assert result["std"] == pytest.approx(np.std(result["returns"], ddof=1))
    low, high = result["mean_95_interval"]
    assert low <= result["mean"] <= high
    steps = result["env_steps"]
    assert steps["total"] == steps["rollouts"] + steps["controller"] and 800 < steps["rollouts"] <= 1600


def test_smoke_scores_are_what_an_independent_replay_gets(smoke):
    """Written out step by step, with none of the workflow's own loops."""
    logdir = smoke / "results/smoke"
    saved = {s: torch.load(logdir / s / "best.tar", weights_only=True) for s in ("vae", "mdrnn", "ctrl")}
    vae = ConvVAE(3, 32)
    vae.load_state_dict(saved["vae"]["state_dict"])
    mdrnn = MDRNN(32, 3, 256, 5)
    mdrnn.load_state_dict(saved["mdrnn"]["state_dict"])
    cell = MDRNNCell(32, 3, 256, 5)
    for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
        getattr(cell.rnn, kind).data.copy_(getattr(mdrnn.rnn, f"{kind}_l0").data)
    controller = Controller(32, 256, 3)
    controller.load_state_dict(saved["ctrl"]["state_dict"])
    torch.set_num_threads(1)
    result = json.loads((logdir / "eval.json").read_text())
    env = gym.make("CarRacing-v3", max_episode_steps=250)  # as short_episodes.yaml has it
    for seed, expected, length in zip(result["seeds"], result["returns"], result["lengths"]):
        frame, _ = env.reset(seed=seed)
        hidden, total, steps, over = cell.get_init_hidden(1), 0.0, 0, False
        with torch.no_grad():
            while not over:
                small = np.asarray(Image.fromarray(frame).resize((64, 64), Image.Resampling.BILINEAR)).copy()
                with torch.autocast("cpu", torch.bfloat16, enabled=has_bfloat16(torch.device("cpu"))):
                    mu, _ = vae.encoder(torch.from_numpy(small).permute(2, 0, 1).unsqueeze(0).float() / 255)
                mu = mu.float()
                out = controller(z=mu, h=hidden[0])[0]
                steer, gas, brake = torch.tanh(out[0]), (torch.tanh(out[1]) + 1) / 2, torch.tanh(out[2]).clamp(0, 1)
                action = torch.stack([steer, gas, brake])
                *_, hidden = cell(action.unsqueeze(0), mu, hidden)
                frame, reward, terminated, truncated, _ = env.step(action.numpy())
                total, steps, over = total + float(reward), steps + 1, terminated or truncated
        assert steps == length
        assert total == pytest.approx(expected, abs=1e-3)
    env.close()


def test_the_users_mistake_is_the_last_thing_to_be_seen(smoke, tmp_path):
    """A stage's error inside of Snakemake, with a logdir that asks for trouble."""
    logdir = "it's $(touch broken) ü"
    shutil.copytree(smoke / "results/smoke/rollouts", tmp_path / "rollouts")
    (tmp_path / "rollouts/00000_0001.npz").write_bytes(b"damaged")
    where = [f"logdir={json.dumps(logdir)}", "data_dir=rollouts"]
    config = ["--configfile", ROOT / "presets/smoke.yaml", "--config", *where]
    run_snakemake("--cores", 2, *config, "--touch", "rollouts", cwd=tmp_path)
    process = run_snakemake("--cores", 2, *config, "--", "vae", cwd=tmp_path, check=False)
    assert process.returncode != 0 and "Traceback" not in process.stderr
    last = process.stderr.strip().splitlines()[-1]
    assert last.startswith(
        "train_vae: rollouts/00000_0001.npz: expected an .npz file of plain arrays, found a damaged one"
    )
    assert not (tmp_path / "broken").exists() and not (tmp_path / logdir / "vae/best.tar").exists()


def described_jobs(output: str) -> dict[str, str]:
    """Return what a dry run prints of the jobs of each rule."""
    jobs: dict[str, str] = {}
    for rule, text in re.findall(r"^rule (\w+):\n((?:    .*\n)+)", output, re.M):
        jobs[rule] = jobs.get(rule, "") + text
    return jobs


def test_dry_run_of_10000_rollouts_is_short(tmp_path):
    """Lists of files are shortened, and of many jobs of a rule only the first ones are described."""
    values = ["rollouts={num_rollouts: 10000}", "latents={precompute_latents: false}"]
    output = run_snakemake("-n", "--cores", 2, "--config", *values, cwd=tmp_path).stdout
    assert planned(output)["collect_rollouts"] == 625
    lines = output.splitlines()
    assert len(lines) < 400 and max(map(len, lines)) <= 500
    jobs = described_jobs(output)
    assert "results/carracing/rollouts/00624.json (10625 files)" in jobs["train_vae"]
    assert "(more jobs of rule collect_rollouts: the table below counts them)" in lines


def test_commands_of_a_sweep_are_printed_with_the_folders_of_their_run(tmp_path):
    output = run_snakemake("-n", "-p", "--cores", 1, "--config", "seeds=[4,5]", cwd=tmp_path).stdout
    commands = [words(line, tmp_path) for line in shell_lines(output)]
    folders = {
        (line[line.index("--seed") + 1], line[line.index("--logdir") + 1]) for line in commands if "--seed" in line
    }
    assert folders == {("4", "results/carracing/seed_4"), ("5", "results/carracing/seed_5")}


def test_a_sweep_is_a_run_for_each_seed(tmp_path):
    """Its stages keep what a profile says of theirs."""
    resources = ["--set-threads", "train_vae=3"]
    process = run_snakemake("-n", "--cores", 4, *resources, "--config", "seeds=[1,2]", cwd=tmp_path)
    jobs = planned(process.stdout)
    assert {
        f"seed_{seed}_{stage}"
        for seed in (1, 2)
        for stage in ("collect_rollouts", "train_vae", "train_controller", "evaluate")
    } <= set(jobs)
    assert jobs["compare_runs"] == 1 and jobs["seed_2_train_vae"] == 1
    vae = described_jobs(process.stdout)["seed_2_train_vae"]
    assert "results/carracing/seed_2/vae/best.tar" in vae and "threads: 3" in vae
    refused = run_snakemake("-n", "--config", "seeds=[1,x]", cwd=tmp_path, check=False)
    assert "config: seeds: expected a list of numbers of at least 0, found [1, 'x']" in refused.stdout + refused.stderr


def test_variants_of_the_ablation_keep_what_a_profile_says_of_stages(tmp_path):
    resources = ["--set-threads", "train_mdrnn=3", "--set-resources", "train_controller:mem_mb=1234"]
    output = run_snakemake("-n", "--cores", 4, *resources, "--", "ablation", cwd=tmp_path).stdout
    expected = {
        "ablation_random_m_train_mdrnn": "threads: 3",
        "ablation_random_m_train_controller": "mem_mb=1234",
        "ablation_v_only_train_controller": "mem_mb=1234",
        "ablation_v_hidden_train_controller": "mem_mb=1234",
    }
    jobs = described_jobs(output)
    assert {rule: rule in jobs and text in jobs[rule] for rule, text in expected.items()} == dict.fromkeys(
        expected, True
    )


def test_the_last_smaller_shard_keeps_what_a_profile_says_of_shards(tmp_path):
    more = ["--set-resources", "collect_rollouts:mem_mb=1234", "--config", "rollouts={num_rollouts: 17}"]
    printed = run_snakemake("-n", "--cores", 1, *more, "--", "rollouts", cwd=tmp_path).stdout
    assert planned(printed) == {"rollouts": 1, "collect_rollouts": 1, "collect_last_rollouts": 1}
    jobs = described_jobs(printed)
    assert "rollouts/00000.json (17 files)" in jobs["collect_rollouts"]
    assert (
        "output: results/carracing/rollouts/00001_0000.npz, results/carracing/rollouts/00001.json\n"
        in (jobs["collect_last_rollouts"])
    )
    assert printed.count(" mem_mb=1234, ") == 2


def shell_lines(output: str) -> list[str]:
    """The commands that a dry run with -p prints."""
    return [line for line in re.findall(r"^Shell command: (.*)$", output, re.M) if line != "None"]


def words(command: str, folder) -> list[str]:
    """The words of a command as bash passes them to its program."""
    process = subprocess.run(["bash", "-euc", f"printf '%s\\0' {command}"], cwd=folder, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    return process.stdout.split("\0")[:-1]


def test_every_rule_quotes_the_folder(tmp_path):
    """Of every rule's command each word with the folder's name has it whole."""
    logdir = 'it\'s $(touch broken) "a" b;ü'
    for run in ("", *(f"ablation/{name}" for name in VARIANTS), "temperatures/0.5"):
        (tmp_path / logdir / run / "logs").mkdir(parents=True)  # where a command's own redirections go
    where = [f"logdir={json.dumps(logdir)}", "evaluate={shards: 2}", "temperatures=[0.5]"]
    where.append("rollouts={shard_size: 32}")  # a dry run prints only the first jobs of a rule
    targets = ("all", "ablation", "temperatures")
    output = run_snakemake("-n", "-p", "--cores", 2, "--config", *where, "--", *targets, cwd=tmp_path).stdout
    lines = shell_lines(output)
    assert len(lines) == sum(count for rule, count in planned(output).items() if rule not in targets)
    for line in lines:
        passed = [word for word in words(line, tmp_path) if "touch" in word and not word.startswith("{")]
        assert passed and all(word.startswith(f"{logdir}/") or word == logdir for word in passed), line
    folder = next(words(line, tmp_path) for line in lines if "compare_agents.py" in line)
    assert folder[folder.index("--output") + 1] == f"{logdir}/ablation"
    assert not (tmp_path / "broken").exists()


def test_variants_of_the_ablation_get_every_value(tmp_path):
    """Also those that have no effect in a variant, but in the run itself."""
    values = ["mdrnn={learning_rate: 0.002, grad_clip: 3.0, scheduler_patience: 2, early_stopping_patience: 7}"]
    output = run_snakemake("-n", "-p", "--cores", 2, "--config", *values, "--", "ablation", cwd=tmp_path).stdout
    line = next(line for line in shell_lines(output) if "/train_mdrnn.py" in line and "ablation/random_m" in line)
    variant = words(line, tmp_path)
    keys = [flag_name(WMMDNRNNConfig, f) for f in settable(WMMDNRNNConfig)]
    assert {key: variant.count(key) for key in keys} == dict.fromkeys(keys, 1)
    wanted = {"--learning-rate": "0.002", "--grad-clip": "3.0", "--scheduler-patience": "2", "--num-epochs": "0"}
    wanted |= {"--early-stopping-patience": "7"}
    assert {key: variant[variant.index(key) + 1] for key in wanted} == wanted


def test_text_reaches_programs_as_it_stands(tmp_path):
    text = "x{shard} {wildcards.shard} {{y}} {} $(touch broken) `id` 'q' \"d\" \\ ü -"
    values = {
        "env": {"kwargs": {"a": text, "b": {0: text, "0": 1}}, "import": "json"},
        "rollouts": {"agent": "a $(touch broken) 'b'"},
        "vae": {"extra": {"note": text}},
        "ctrl": {"extra": {text: {2: text}}},
    }
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(values, allow_unicode=True))
    given = ["--configfile", "mine.yaml", "--", "results/carracing/eval.json", "results/carracing/report/run.html"]
    lines = shell_lines(run_snakemake("-n", "-p", "--cores", 2, *given, cwd=tmp_path).stdout)
    expected = load_config(values)
    programs = {
        "collect_rollouts": ("env", "rollouts"), "train_vae": ("vae",), "train_controller": ("env", "ctrl"),
        "evaluate": ("env", "evaluate"),
    }  # fmt: skip
    for program, sections in programs.items():
        flags = next(words(line, tmp_path) for line in lines if f"/{program}.py" in line)
        parser = argparse.ArgumentParser(allow_abbrev=False)
        for section in sections:
            add_flags(parser, SECTIONS[section])
        parsed, _ = parser.parse_known_args(flags[2:])
        for section in sections:
            wanted = getattr(expected, section)
            names = {f.name for f in dataclasses.fields(wanted)} & {"env_name", "env_kwargs"}
            from_env = {name: getattr(wanted, name) for name in names}
            assert section_from_args(parsed, SECTIONS[section], **from_env) == wanted, program
    shown = next(words(line, tmp_path) for line in lines if "/plot_run.py" in line)
    assert from_text(shown[shown.index("--config") + 1])["vae"]["extra"] == {"note": text}
    assert not (tmp_path / "broken").exists()


def test_values_of_the_command_line_keep_their_quotes(tmp_path):
    given = ["--config", 'logdir="2024_01"', "vae={extra: {a: '1', b: '{x}', c: ''}}", "env={kwargs: {a: {0: no}}}"]
    lines = shell_lines(run_snakemake("-n", "-p", "--cores", 2, *given, "--", "vae", cwd=tmp_path).stdout)
    flags = next(words(line, tmp_path) for line in lines if "/train_vae.py" in line)
    assert flags[flags.index("--logdir") + 1] == "2024_01"
    assert json.loads(flags[flags.index("--extra") + 1]) == {"a": "1", "b": "{x}", "c": ""}
    env = next(words(line, tmp_path) for line in lines if "/collect_rollouts.py" in line)
    assert from_text(env[env.index("--env-kwargs") + 1]) == {"a": {0: False}}


def test_what_went_wrong_in_a_sweep_is_the_last_thing_to_be_seen(tmp_path):
    small = "rollouts={num_rollouts: 9, shard_size: 9}"
    given = ["--config", "seeds=[4,5]", small, "env={id: NoSuch-v0}", "--", "seed_5_rollouts"]
    process = run_snakemake("--cores", 1, *given, cwd=tmp_path, check=False)
    last = process.stderr.strip().splitlines()[-1]
    assert (
        process.returncode != 0 and last.startswith("seed_5 collect_rollouts_00000: env.id: ") and "NoSuch-v0" in last
    )


def test_agents_are_compared_in_a_fixed_order():
    names = ["full", "v_gru", "random_m", "v_only"]
    assert sorted(names, key=compare_agents.rank) == ["v_only", "random_m", "v_gru", "full"]


def test_scores_of_several_runs_are_compared(tmp_path):
    for name, mean in (("a", 800.0), ("b", 900.0)):
        test = {"mean": mean, "std": 10.0, "episodes": 4, "env_steps": {"total": 5}}
        (tmp_path / f"{name}.json").write_text(json.dumps(test))
    run_script("compare_runs", "--output", tmp_path / "c.json", tmp_path / "a.json", tmp_path / "b.json")
    compared = json.loads((tmp_path / "c.json").read_text())
    assert compared["mean"] == 850.0 and compared["std"] == pytest.approx(70.71, abs=0.01)
