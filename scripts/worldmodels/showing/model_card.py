"""The model card of a package: README.md as model hubs show it."""

import json
import platform
from importlib.metadata import version

from worldmodels.runtime.config import EnvConfig
from worldmodels.runtime.flags import flags_text
from worldmodels.runtime.packages import STAGES
from worldmodels.runtime.score_text import interval_text, score_text
from worldmodels.runtime.settings import default_of, settable

PACKAGES = ("torch", "gymnasium", "numpy")

TEXT = """\
---
{head}
---

# World Models agent for {env}

A World Models agent (Ha & Schmidhuber, 2018): V, a convolutional VAE, encodes each frame as a vector z. M, an MDN-RNN,
predicts the next z. C, a small controller, acts on z and on M's hidden state.

{film}## Score

| environment | mean return | 95 % interval of the mean | episodes | environment steps used to train |
|---|---|---|---|---|
| {env} | {score} | {interval} | {episodes} | {steps} |

Settings of the environment, as flags of the workflow's programs: `{flags}`

The episodes are an official test on seeds that no training has met. eval.json has the seed, return and length of each.

## Sizes

| model | file | sizes |
|---|---|---|
| V | vae.safetensors | {vae} |
| M | mdrnn.safetensors | {mdrnn} |
| C | ctrl.safetensors | {ctrl} |

## Use

With a clone of the workflow that made this package, and PACKAGE as the path of this folder or of its .zip:

    snakemake --cores 2 --config agent=PACKAGE                            # test it, and film it
    snakemake --cores 2 --config agent=PACKAGE "ctrl={{start: agent}}"      # train C further
    python scripts/play.py --logdir PACKAGE --render human                # watch it, or drive yourself
    python scripts/dream.py --logdir PACKAGE                              # film its dream

In Python, after `pip install .` in that clone:

    from worldmodels import load_agent
    world, controller, checkpoint = load_agent("PACKAGE")

The .safetensors files hold plain tensors under the parameters' names, and no code. config.json has every setting and
the digest of each file.

## Versions

{versions}
"""


def model_card(env: EnvConfig, test: dict, configs: dict[str, dict], has_film: bool) -> str:
    """Return the card.

    Args:
        env: the environment.
        test: the content of eval.json.
        configs: of the checkpoints, by stage.
        has_film: whether the package has the film episode.gif.
    """
    vae, mdrnn, ctrl = (configs[stage] for stage in STAGES)
    versions = {name: version(name) for name in PACKAGES} | {"Python": platform.python_version()}
    special = [f.name for f in settable(EnvConfig) if getattr(env, f.name) != default_of(f)]
    return TEXT.format(
        head="\n".join(hub_lines(env.id, test)),
        env=env.id,
        film="![an episode of the official test](episode.gif)\n\n" if has_film else "",
        score=score_text(test["mean"], test["std"]),
        interval=interval_text(test["mean_95_interval"]),
        episodes=test["episodes"],
        steps=f"{test['env_steps']['total']:,}",
        vae=f"{vae.get('model', 'ConvVAE')}, z of {vae['latent_size']} numbers, "
        f"frames {vae.get('height', 64)} x {vae.get('width', 64)} x {vae['img_channels']}",
        mdrnn=f"{mdrnn.get('cell', 'lstm')} of {mdrnn['hidden_size']} units, {mdrnn['gmm_components']} Gaussians",
        ctrl=f"inputs {ctrl.get('features', 'zh')}, hidden layers {ctrl.get('hidden', [])}, "
        f"{ctrl['action_size']} outputs",
        flags=flags_text(env, {"id", *special}),
        versions="\n".join(f"- {name} {number}" for name, number in versions.items()),
    )


def hub_lines(env_id: str, test: dict) -> list[str]:
    """Return the lines of metadata that model hubs read: the library, tags, and the score."""
    name, score = json.dumps(env_id), json.dumps(score_text(test["mean"], test["std"]))
    return [
        "library_name: pytorch",
        f"tags: [reinforcement-learning, world-models, {name}]",
        "model-index:",
        "- name: World Models",
        "  results:",
        "  - task: {type: reinforcement-learning, name: reinforcement-learning}",
        f"    dataset: {{type: {name}, name: {name}}}",
        f"    metrics: [{{type: mean_reward, name: mean_reward, value: {score}}}]",
    ]
