# What Snakemake says, and what it ends with: the errors of jobs or the score, after its own last words.

import atexit
import time

from worldmodels.workflow import last_words

STARTED = time.time()

internals.shorten_messages(workflow)


# A second Snakemake that would write to the same folders stops here.
onstart:
    last_words.claim_folders(internals.output_folders(workflow))


onerror:
    atexit.register(last_words.report_errors, LOGDIR, RUNS.values(), STARTED)


onsuccess:
    atexit.register(last_words.report_score, LOGDIR, RUNS.values(), SEEDS, STARTED)
