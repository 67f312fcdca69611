#!/usr/bin/env python
"""Refit the C of an earlier agent to the V and M of this run, along its rollouts: where C's search starts.

Reads V and M from <logdir>, V, M and C from the logdir of the agent, and the rollouts. Writes <logdir>/ctrl/start.tar,
a checkpoint of C, and start.json, its summary with the error of the fit. Of the settings of ctrl only features and
hidden count.
"""

from argparse import Namespace
from pathlib import Path

from worldmodels.models.load_controller import make_controller
from worldmodels.playing.agent import load_agent, load_world_model
from worldmodels.runtime.config import WMControllerConfig
from worldmodels.runtime.devices import choose_device
from worldmodels.runtime.digests import file_digest
from worldmodels.runtime.flags import section_from_args
from worldmodels.runtime.identity import product_origin, shard_summaries
from worldmodels.runtime.log import log
from worldmodels.runtime.paths import refit_file
from worldmodels.runtime.preflight import read_actions
from worldmodels.runtime.program import (
    add_rollout_flags,
    make_parser,
    rollout_files_from_args,
    run_config_from_args,
    run_program,
)
from worldmodels.storage.checkpoints import save_checkpoint
from worldmodels.storage.files import claim_folder, read_json, write_json
from worldmodels.training.refit import Agent, output_limits, refit_controller


def main(args: Namespace) -> None:
    run = run_config_from_args(args)
    config = section_from_args(args, WMControllerConfig, logdir=run.logdir)
    claim_folder(f"{run.logdir}/ctrl", "start")
    device, files = choose_device(run.device), rollout_files_from_args(args)
    world, earlier, saved = load_agent(args.agent, device)
    new_world = load_world_model(run.logdir, device)
    controller = make_controller(config.to_dict(), new_world.cell).to(device)
    summaries = shard_summaries(files)
    actions = read_actions(read_json(summaries[0], ("action_space",))["action_space"])
    limits = output_limits(earlier, saved["config"]["squash"], actions)
    parts = [*(f"{run.logdir}/{stage}/best.json" for stage in ("vae", "mdrnn")), f"{args.agent}/ctrl/best.json"]
    origin = product_origin(args, [*parts, *summaries])
    fit = refit_controller(files, Agent(world, earlier), Agent(new_world, controller), limits)
    cell = new_world.cell
    sizes = {"latent_size": cell.latents, "hidden_size": cell.hiddens, "action_size": cell.actions}
    shape = {"features": config.features, "hidden": config.hidden, "squash": saved["config"]["squash"]}
    path = refit_file(run.logdir)
    # The agent's environment steps are counted with the rollouts already.
    start = {"state_dict": controller.cpu().state_dict(), "config": sizes | shape, "env_steps": {}, **new_world.digests}
    save_checkpoint(path, start)
    summary = {"sha256": file_digest(path), "agent": file_digest(f"{args.agent}/ctrl/best.tar"), **fit._asdict()}
    write_json(Path(path).with_suffix(".json"), {**summary, **origin})
    log.info(
        "refit: C of %s on %d steps: root mean square error %.3f, outputs with standard deviation %.3f, %s",
        args.agent, fit.rows, fit.rmse, fit.std, path,
    )  # fmt: skip


if __name__ == "__main__":
    parser = make_parser(__doc__, WMControllerConfig)
    add_rollout_flags(parser)
    parser.add_argument("--agent", required=True, metavar="FOLDER", help="logdir of the agent's run")
    run_program(parser, main)
