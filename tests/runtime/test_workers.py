"""Models on several actors: every item once, whoever works on it, whatever dies."""

import os
import signal
import sys
import time
from functools import partial

import pytest
from ray import cloudpickle

from gillnext.config.load import from_dict
from gillnext.runtime.errors import UserError
from gillnext.runtime.workers import Workers

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # actors cannot import this file


def squares(delay=0.0):
    def answer(batch):
        time.sleep(delay)
        return [n * n for n in batch]

    return answer


def dies_over(poison, flag=None):
    """Kills its own process over an item; with `flag`, a file, only the first time."""

    def answer(batch):
        if poison in batch and not (flag and os.path.exists(flag)):
            if flag:
                open(flag, "w").close()
            os.kill(os.getpid(), signal.SIGKILL)
        return [n * n for n in batch]

    return answer


def hangs_over(poison):
    def answer(batch):
        if poison in batch:
            time.sleep(600)
        return [n * n for n in batch]

    return answer


def refuses():
    raise UserError("no such model", where="there", remedy="name another")


def answers(make, actors, batches, **settings):
    config = from_dict({"ray": {"actors": actors, **settings}})
    with Workers(make, config) as workers:
        found = list(workers.map(batches))
    return found, workers


BATCHES = [[3 * i, 3 * i + 1, 3 * i + 2] for i in range(20)]


@pytest.mark.parametrize("actors", [0, 1, 3])
def test_every_batch_comes_back_once_with_its_answer(actors):
    found, workers = answers(squares, actors, BATCHES)
    assert sorted(batch for batch, _ in found) == BATCHES
    assert all(answer == [n * n for n in batch] for batch, answer in found)
    assert sum(workers.counts.values()) == 60 and len(workers.counts) <= max(actors, 1)


def test_nothing_to_do_starts_nothing():
    def never():
        raise AssertionError

    assert answers(never, 2, [])[0] == [] and answers(never, 0, [[]])[0] == []


def test_several_actors_share_the_work():
    _, workers = answers(partial(squares, 0.05), 2, BATCHES)
    assert len(workers.counts) == 2 and min(workers.counts.values()) >= 12


def test_an_actor_that_dies_is_replaced_and_nothing_is_lost(tmp_path):
    found, workers = answers(partial(dies_over, 31, str(tmp_path / "flag")), 2, BATCHES)
    assert sorted(batch for batch, _ in found) == BATCHES and None not in [answer for _, answer in found]
    assert workers.replaced == 1


def test_an_item_that_no_actor_lives_through_is_set_aside_alone():
    found, _ = answers(partial(dies_over, 31), 2, BATCHES)
    assert [batch for batch, answer in found if answer is None] == [[31]]
    assert sorted(n for batch, _ in found for n in batch) == list(range(60))


def test_an_actor_that_hangs_is_replaced():
    found, _ = answers(partial(hangs_over, 7), 2, BATCHES[:4], timeout=3)
    assert [batch for batch, answer in found if answer is None] == [[7]]


def test_too_many_deaths_end_the_job_with_a_remedy():
    with pytest.raises(UserError, match=r"ray\.restarts"):
        answers(partial(dies_over, 31), 1, BATCHES, restarts=1)


@pytest.mark.parametrize("actors", [0, 1])
def test_an_error_of_the_model_is_told_as_it_is(actors):
    with pytest.raises(UserError, match="no such model"):
        answers(refuses, actors, BATCHES)


def test_a_cluster_that_is_not_there_is_named():
    with pytest.raises(UserError, match=r"ray\.address"):
        answers(squares, 1, BATCHES, address="127.0.0.1:1")


def test_actors_for_which_there_is_no_room_end_the_job_with_a_remedy():
    """One processor more than the cluster has."""
    import ray

    ray.init(num_cpus=1, include_dashboard=False, _node_ip_address="127.0.0.1", log_to_driver=False)
    try:
        with pytest.raises(UserError, match=r"ray\.start_timeout"):
            config = from_dict({"run": {"threads": 2}, "ray": {"actors": 1, "start_timeout": 3}})
            with Workers(squares, config) as workers:
                list(workers.map(BATCHES))
    finally:
        ray.shutdown()
