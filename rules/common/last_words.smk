# What Snakemake says, and what it ends with: the errors of jobs or the score, after its own last words.

import atexit
import time

from worldmodels.workflow import last_words
from worldmodels.workflow.changes import save_programs

STARTED = time.time()
CODE_FILE = f"{LOGDIR}/logs/code.json"


def report_score():
    """Print the score after Snakemake's own last words."""
    files = internals.requested_files(workflow)
    atexit.register(last_words.report_score, LOGDIR, RUNS.values(), SEEDS, files)


internals.shorten_messages(workflow, CODE_FILE)
if not IS_MODULE:
    internals.call_when_idle(workflow, report_score)


# A second Snakemake that would write to the same folders stops here.
onstart:
    last_words.claim_folders(internals.output_folders(workflow))
    save_programs(CODE_FILE)


onerror:
    atexit.register(last_words.report_errors, LOGDIR, RUNS.values(), STARTED)


onsuccess:
    report_score()
