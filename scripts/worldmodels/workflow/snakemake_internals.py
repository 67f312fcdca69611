"""Every use of Snakemake that its documentation does not promise. Checked against Snakemake 9.27.1.

A later version may need changes here and nowhere else, with one exception. In rules/sweep.smk and rules/ablation.smk a
module's name is a variable: `use rule * from run as run_*` looks up the variables `run` and `run_`.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from snakemake.common import NOTHING_TO_BE_DONE_MSG
from snakemake.common.configfile import load_configfile
from snakemake.logging import logger
from snakemake.spawn_jobs import SpawnedJobArgsFactory

from worldmodels.runtime.config_arguments import encode_config_argument, merge_config, parse_config_arguments
from worldmodels.runtime.paths import input_name
from worldmodels.workflow import changes, printing, records

try:
    from snakemake.persistence import RECORD_FORMAT_VERSION, MetadataRecord, PersistenceBase
except ImportError:
    PersistenceBase = None

CHECKED_VERSION = "9.27.1"
TRAP = "trap : TERM"  # a shell with a trap waits for its program before it ends
LISTED_JOBS = 5  # jobs of a rule that a dry run describes one by one
PARAMS_CHANGED = "Params have changed since last execution: "  # what the changed params follow in a job's reason


# ---- Command line and profile ----------------------------------------------------------------------------------------


def read_configuration(workflow: Any) -> dict:
    """Return the configuration with each value of --config as YAML reads it.

    Why: Snakemake's own reading of --config loses quotes and leaves nested values as text. What it passes on to jobs of
    a cluster it quotes as Python would, which breaks backslashes and single quotes; so the values are encoded for them.

    Raises:
        UserError: a value of the command line is no YAML.
    """
    given = workflow.config_settings
    shipped = [] if given.replace_workflow_config else [f"{workflow.basedir}/config.yaml"]
    values: dict = {}
    for file in [*shipped, *given.configfiles]:
        merge_config(values, load_configfile(file))
    merge_config(values, parse_config_arguments(given.config_args))
    given.config_args = [encode_config_argument(entry) for entry in given.config_args]
    return values


def deploys_software(workflow: Any) -> bool:
    """Whether --software-deployment-method is given. Why: the programs may then see modules that are not found here."""
    return bool(workflow.deployment_settings.deployment_method)


def uses_conda(workflow: Any) -> bool:
    """Whether --use-conda is given. Why: `python` is then the environment's, otherwise the one that runs Snakemake."""
    return "conda" in {str(method) for method in workflow.deployment_settings.deployment_method}


def is_job_process(workflow: Any) -> bool:
    """Whether this process runs a single job on another machine. Why: it parses the Snakefile, too."""
    return bool(workflow.remote_exec)


def submits_jobs(workflow: Any) -> bool:
    """Whether jobs run on a cluster (--jobs). Why: they have the memory that they ask for, not this machine's."""
    return bool(workflow.remote_exec or workflow.resource_settings.nodes)


def keep_shells_alive(workflow: Any) -> None:
    """Let the shell in which a cluster's job starts its program outlive SIGTERM.

    Why: SLURM ends a job's step as soon as the step's first process ends. With slurm-pass-command-as-script that is a
    shell, so at the time limit the program would have no time to save. The program itself still gets the signal.
    The setting of --precommand does the same, but no job passes it on to the shell of its step.
    """
    if not is_job_process(workflow):
        return
    precommand = SpawnedJobArgsFactory.precommand

    def keep_alive(self: SpawnedJobArgsFactory, *arguments: Any, **keywords: Any) -> str:
        return " && ".join(filter(None, [TRAP, precommand(self, *arguments, **keywords)]))

    if precommand.__name__ != keep_alive.__name__:  # a module's Snakefile comes here, too
        SpawnedJobArgsFactory.precommand = keep_alive


def given_memory(workflow: Any, rule: str) -> float | None:
    """Return the MB that --set-resources or a profile gives a rule. Why: the check of C's memory needs the number.

    Returns:
        None if nothing is given; infinite for an expression, such as 500*attempt, which only the job evaluates.
    """
    given = workflow.resource_settings.overwrite_resources.get(rule, {}).get("mem_mb")
    if given is None:
        return None
    try:
        value = getattr(given, "value", given)
    except ValueError:
        return float("inf")
    return value if isinstance(value, (int, float)) else float("inf")


def extend_profile(workflow: Any, same: dict[str, str], prefixes: Iterable[str]) -> None:
    """Give rules the threads and resources that a profile or the command line sets for a rule like them.

    Why: a profile names `train_vae`, and a sweep calls it `seed_1_train_vae`. Snakemake takes up these tables at the
    first rule, so this comes before it.

    Args:
        same: rule -> a rule that gets the same.
        prefixes: what modules put before the names of all rules.
    """
    if is_job_process(workflow):  # Its command line has the extended tables.
        return
    settings = workflow.resource_settings
    for table in ("overwrite_threads", "overwrite_resources"):
        given = dict(getattr(settings, table))
        given = {same[rule]: values for rule, values in given.items() if rule in same} | given
        prefixed = {f"{prefix}{rule}": values for prefix in prefixes for rule, values in given.items()}
        setattr(settings, table, prefixed | given)


# ---- Jobs ------------------------------------------------------------------------------------------------------------


def output_folders(workflow: Any) -> list[str]:
    """Return the folders that the jobs of this run write to, sorted. Why: they are claimed before any job starts."""
    jobs = workflow.dag.needrun_jobs()
    return sorted({str(Path(file).parent) for job in jobs for file in job.output})


def requested_files(workflow: Any) -> set[Path]:
    """Return the files that this run makes or finds up to date. Why: the last words are about these alone."""
    return {Path(file) for job in workflow.dag.jobs for file in job.output}


def call_when_idle(workflow: Any, function: Callable[[], Any]) -> None:
    """Call a function where all files are up to date. Why: Snakemake calls onsuccess only after jobs."""

    def notice(record: logging.LogRecord) -> bool:
        if record.msg == NOTHING_TO_BE_DONE_MSG and not workflow.dryrun:
            function()
        return True

    logger.addFilter(notice)


# ---- Records ---------------------------------------------------------------------------------------------------------


class Checksums(dict):
    """Digests of inputs by their name in a run. Snakemake asks for them by their path."""

    def get(self, path: str, default: Any = None) -> Any:
        """Return the digest of the input with this path."""
        return super().get(input_name(path), default)


def record_beside(path: Path) -> "MetadataRecord | None":
    """Return Snakemake's record as the summary beside a product has it; None if it has none."""
    product = records.read_product(path)
    if product is None:
        return None
    record = MetadataRecord(
        rule=path.parent.name,
        params=sorted(map(repr, product.texts)),
        record_format_version=RECORD_FORMAT_VERSION,
        starttime=product.written,
        endtime=product.written,
        job_hash=product.number,
    )
    record.input_checksums = Checksums(product.inputs)
    return record


def has_other_inputs(record: "MetadataRecord | None", inputs: Iterable) -> bool:
    """Whether a small input, of whatever age, has another content than when the product was made.

    Args:
        record: of the product; one of Snakemake's own has none but the same inputs.
        inputs: of the product's job. Those without a digest in the record, and those that do not exist, count as same.
    """
    if record is None or not isinstance(record.input_checksums, Checksums):
        return False
    small = [path for path in inputs if not path.is_ancient]  # A stage may have 10,000 large inputs.
    pairs = ((record.input_checksums.get(path), records.content_digest(Path(path))) for path in small)
    return any(recorded and current and recorded != current for recorded, current in pairs)


def complete_records() -> None:
    """Have Snakemake take a summary's origin for the record that it lacks.

    Why: a product without a record counts as up to date, whatever the configuration says. See records.py.
    """
    if not hasattr(PersistenceBase, "_input_changed"):
        logger.warning(
            "This version of Snakemake takes results without its own records for up to date; "
            f"{CHECKED_VERSION} does not."
        )
        return
    own_metadata, own_answer = PersistenceBase.metadata, PersistenceBase._input_changed
    if own_metadata.__module__ == __name__:  # another run of a sweep has been here
        return

    def metadata(self: Any, target: str) -> "MetadataRecord | None":
        record, path = own_metadata(self, target), Path(target)
        recorded, written = record and record.endtime, records.time_stamp(path)
        if recorded and written and written <= recorded:
            return record
        return record_beside(path) or record

    def _input_changed(self: Any, job: Any, file: str | None = None) -> bool:
        return own_answer(self, job, file=file) or has_other_inputs(self.metadata(file), job.input)

    PersistenceBase.metadata = metadata
    PersistenceBase._input_changed = _input_changed


# ---- Messages --------------------------------------------------------------------------------------------------------


class ShortMessages(logging.Filter):
    """Shortens the lists of files and params in Snakemake's messages, and the list of jobs in a dry run.

    Why: half of the rules have all rollouts as inputs, and Snakemake prints each name, thrice a job. Of changed params
    it prints all that have not changed, too.
    """

    def __init__(self, workflow: Any, code_file: str) -> None:
        """Prepare the messages of a workflow, see changes.py for code_file."""
        super().__init__()
        self.workflow, self.code_file = workflow, code_file
        self.jobs: Counter = Counter()
        self.is_hidden = False

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the message is shown, and shorten its lists. A dry run shows a few jobs per rule."""
        event = getattr(record, "event", None)
        if event == "job_info" and self.workflow.dryrun:
            self.jobs[record.rule_name] += 1
            self.is_hidden = self.jobs[record.rule_name] > LISTED_JOBS
            if self.jobs[record.rule_name] == LISTED_JOBS + 1:
                record.event = None
                record.msg = f"(more jobs of rule {record.rule_name}: the table below counts them)"
                return True
        if event in ("job_info", "shellcmd") and self.is_hidden:
            return False
        self.shorten(record)
        return True

    def shorten(self, record: logging.LogRecord) -> None:
        """Shorten the lists in all parts of a record that Snakemake prints."""
        for name in ("input", "output"):
            if isinstance(getattr(record, name, None), list):
                setattr(record, name, printing.shorten_files(getattr(record, name)))
        for name in ("shellcmd", "cmd"):
            if getattr(record, name, None):
                setattr(record, name, printing.shorten_command(getattr(record, name)))
        if getattr(record, "reason", None):
            record.reason = self.shorten_reason(record)
        if getattr(record, "rule_msg", None):
            record.rule_msg = printing.shorten_message(record.rule_msg)
        for job in getattr(record, "job_error_info", None) or []:
            job["output"] = printing.shorten_files(job["output"])
        if getattr(record, "shellcmd", None) and isinstance(record.msg, str):
            record.msg = printing.shorten_command(record.msg)
        elif isinstance(record.msg, str) and not hasattr(record, "stats"):
            record.msg = printing.shorten_message(record.msg)

    def shorten_reason(self, record: logging.LogRecord) -> str:
        """Return the reason of a job, with what has changed in place of its params."""
        if PARAMS_CHANGED in record.reason:
            dag = self.workflow.dag
            job = next(job for job in dag.jobs if dag.jobid(job) == record.jobid)
            change = dag.reason(job).params_changed
            line = changes.describe_change(change.only_old, change.only_new, param_names(job), self.code_file)
            before, params, after = record.reason.partition(f"{PARAMS_CHANGED}{change}")
            if line and params:
                return f"{printing.shorten_message(before)}{line}{printing.shorten_message(after)}"
        return printing.shorten_message(record.reason)


def param_names(job: Any) -> dict[str, str]:
    """Return the names of params by their recorded text: the job's params of today, and the params of its product."""
    origin = records.read_origin(records.summary_beside(Path(job.output[0]))) or {}
    return {repr(value): name for name, value in [*origin.items(), *job.params.items()]}


def shorten_messages(workflow: Any, code_file: str) -> None:
    """Have Snakemake print a few files and jobs of many. Jobs on a cluster do so, too: they parse the Snakefile."""
    if not any(isinstance(each, ShortMessages) for each in logger.filters):
        logger.addFilter(ShortMessages(workflow, code_file))
