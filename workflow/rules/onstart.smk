# Before the first job: the lock of a run, its settings written down, a quiet scheduler.
from gillnext.runtime.lock import hold


def begin():
    """Refuse a second run of the same tier (a killed run leaves nothing to unlock), and write down the settings."""
    try:
        hold(f"{RESULTS}/.lock")
    except UserError as error:
        raise WorkflowError(str(error)) from None
    files.write_json(CONFIG, resolved)


def gpus_enough():
    """Refuse a job that asks for more GPUs than this machine has; a cluster has its own."""
    if not GPU or not workflow.local_exec or not (here := len(gpus.visible())):
        return  # where none is seen at all, the first job that computes tells
    for job in workflow.dag.needrun_jobs():
        if (asked := job.resources.get("gpu", 0)) > here:
            setting = "adapter.processes" if job.rule.name == "adapter" else "ray.actors"
            raise WorkflowError(
                f"{job.rule.name}: {asked} GPUs for a job, and {here} to be seen here\n"
                f"  remedy: {setting}: {here} at most; `nvidia-smi -L` shows them, CUDA_VISIBLE_DEVICES hides some"
            )


def quieten():
    """Snakemake's default limit wakes its scheduler once a second for every job that has ended (docs/facts.md)."""
    limiter = workflow.scheduler.job_rate_limiter
    if limiter and (limiter.max_jobs, limiter.timespan) == (100, 1):
        workflow.scheduler.job_rate_limiter = None


onstart:
    gpus_enough()
    begin()
    quieten()
