# Before the first job: the lock of a run, its settings written down, a quiet scheduler.
from gillnext.runtime.lock import hold


def begin():
    """Refuse a second run of the same tier (a killed run leaves nothing to unlock), and write down the settings."""
    try:
        hold(f"{RESULTS}/.lock")
    except UserError as error:
        raise WorkflowError(str(error)) from None
    files.write_json(CONFIG, resolved)


def quieten():
    """Snakemake's default limit wakes its scheduler once a second for every job that has ended (docs/facts.md)."""
    limiter = workflow.scheduler.job_rate_limiter
    if limiter and (limiter.max_jobs, limiter.timespan) == (100, 1):
        workflow.scheduler.job_rate_limiter = None


onstart:
    begin()
    quieten()
