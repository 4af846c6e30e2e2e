# Before the first job: the lock of a run, its settings written down, a quiet scheduler.
from gillnext.runtime.lock import hold


def begin():
    """Refuse a second run of the same tier (a killed run leaves nothing to unlock), and write down the settings."""
    try:
        hold(f"{RESULTS}/.lock")
    except UserError as error:
        raise WorkflowError(str(error)) from None
    files.write_json(CONFIG, resolved)


def gpus_of_their_own():
    """Every job takes the first GPUs that it sees: of two jobs at a time, both would sit on the same.

    A cluster gives each job GPUs of its own.
    """
    given = workflow.global_resources.get("gpu")
    at_a_time = given.value if given else None  # None: as many as there are cores
    if GPU and workflow.local_exec and (at_a_time is None or at_a_time >= 2 * HANDS):
        raise WorkflowError(
            "several jobs at a time would share the first GPUs of this machine\n"
            f"  remedy: --resources gpu={HANDS}, and as many ray.actors as there are GPUs"
        )


def quieten():
    """Snakemake's default limit wakes its scheduler once a second for every job that has ended (docs/facts.md)."""
    limiter = workflow.scheduler.job_rate_limiter
    if limiter and (limiter.max_jobs, limiter.timespan) == (100, 1):
        workflow.scheduler.job_rate_limiter = None


onstart:
    gpus_of_their_own()
    begin()
    quieten()
