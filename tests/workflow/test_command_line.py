"""Values of the command line reach the programs and the jobs of a cluster unchanged."""

import subprocess
import sys

import pytest
from snakemake_interface_executor_plugins.utils import format_cli_arg

from helpers.programs import ROOT
from worldmodels.runtime.config_arguments import encode_config_argument, parse_config_arguments

QUOTED = ("'@foo'", '"2024_01"', 'it\'s $(touch broken) "a"', '{a: "{x} \'\\\\"}', '"a\\nb"', "a\nb")


@pytest.mark.parametrize("text", QUOTED)
def test_command_line_values_reach_cluster_jobs_through_bash(text):
    """Through the quoting of Snakemake."""
    entry = f"vae={text}"
    line = format_cli_arg("--config", [encode_config_argument(entry)])
    process = subprocess.run(["bash", "-c", f"printf '%s\\0' {line}"], capture_output=True, text=True, check=True)
    assert parse_config_arguments(process.stdout.split("\0")[1:-1]) == parse_config_arguments([entry])


def test_what_a_dry_run_imports_is_light():
    modules = "worldmodels.runtime.loading, worldmodels.runtime.fingerprint, worldmodels.workflow.params"
    code = f"import sys; import {modules}; print('torch' in sys.modules or 'tensorboard' in sys.modules)"
    process = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT / "scripts", capture_output=True, text=True, check=True
    )
    assert process.stdout.strip() == "False"
