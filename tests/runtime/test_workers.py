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
from gillnext.runtime.workers import Workers, on_actors

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


def raises_over(*poison):
    """A bug or a device's error over some items: an exception, and the process lives on."""

    def answer(batch):
        if bad := sorted(set(poison) & set(batch)):
            raise ValueError(f"cannot take {bad[0]}")
        return [n * n for n in batch]

    return answer


def refuses_over(poison):
    def answer(batch):
        if poison in batch:
            raise UserError("no vocabulary", where="there", remedy="name one")
        return [n * n for n in batch]

    return answer


def refuses():
    raise UserError("no such model", where="there", remedy="name another")


def breaks():
    raise ValueError("half a checkpoint")


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


def loads(seconds, delay):
    time.sleep(seconds)
    return squares(delay)


@pytest.mark.parametrize("actors", [0, 2])
def test_the_seconds_of_the_work_leave_the_loading_out(actors):
    """Four batches of 0.1 s on one device or two, after two seconds of loading; two calls' seconds add up."""
    least, began = 0.4 / max(actors, 1), time.monotonic()
    with Workers(partial(loads, 2.0, 0.1), from_dict({"ray": {"actors": actors}})) as workers:
        list(workers.map(BATCHES[:4]))
        once, whole = workers.seconds, time.monotonic() - began
        list(workers.map(BATCHES[4:8]))
    assert least <= once <= whole - 2.0 and workers.seconds >= once + least


@pytest.mark.parametrize(("actors", "devices"), [(0, 1), (3, 3)])
def test_a_pace_is_told_of_gpus_alone(actors, devices):
    workers = Workers(squares, from_dict({"ray": {"actors": actors}, "run": {"device": "cuda"}}))
    assert workers.pace == {}  # nothing was left to do
    workers.counts.update({"here": 50, "there": 10})
    workers.seconds = 1.5
    assert workers.pace == {"pace": {"devices": devices, "items": 60, "seconds": 1.5}}
    workers.config = from_dict({"ray": {"actors": actors}})
    assert workers.pace == {}


def test_nothing_to_do_starts_nothing():
    def never():
        raise AssertionError

    found, workers = answers(never, 2, [])
    assert found == [] and workers.hands == [] and answers(never, 0, [[]])[0] == []


@pytest.mark.parametrize(
    ("actors", "device", "seen"), [(0, "cuda:1", "cuda:1"), (2, "cuda:1", "cuda"), (2, "cpu", "cpu")]
)
def test_an_actors_gpu_is_the_first_that_it_sees(actors, device, seen):
    assert on_actors(from_dict({"ray": {"actors": actors}, "run": {"device": device}})).run.device == seen


def meets(folder, delay):
    """Answers from when two processes have begun to, or a minute is over."""

    def answer(batch):
        open(os.path.join(folder, str(os.getpid())), "w").close()
        end = time.monotonic() + 60
        while len(os.listdir(folder)) < 2 and time.monotonic() < end:
            time.sleep(0.01)
        time.sleep(delay)
        return [n * n for n in batch]

    return answer


def test_several_actors_share_the_work(tmp_path):
    _, workers = answers(partial(meets, str(tmp_path), 0.05), 2, BATCHES)
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


def test_an_item_over_which_the_model_raises_is_set_aside_alone_and_told(capsys):
    """Every other item is answered, and answered once, whatever shared its batch or its actor's queue."""
    found, workers = answers(partial(raises_over, 31), 2, BATCHES)
    assert [batch for batch, answer in found if answer is None] == [[31]]
    assert sorted(n for batch, _ in found for n in batch) == list(range(60))
    assert all(answer == [n * n for n in batch] for batch, answer in found if answer is not None)
    assert workers.replaced == 4  # two over [30, 31, 32], one over a half of two, one over 31 alone
    assert "ValueError: cannot take 31" in capsys.readouterr().err


def test_a_model_that_raises_too_often_ends_the_job_with_its_error():
    with pytest.raises(UserError, match=r"ray\.restarts.*cannot take 31"):
        answers(partial(raises_over, 31), 1, BATCHES, restarts=1)


def test_what_items_that_are_set_aside_cost_is_not_counted_where_others_are_answered():
    """Each costs four actors, and no more than four are allowed; where none is answered in between, that holds."""
    bad = (4, 31, 55)
    found, workers = answers(partial(raises_over, *bad), 1, BATCHES, restarts=4)
    assert [batch for batch, answer in found if answer is None] == [[n] for n in bad]
    assert sorted(n for batch, _ in found for n in batch) == list(range(60)) and workers.replaced == 12
    with pytest.raises(UserError, match=r"ray\.restarts"):
        answers(partial(raises_over, *range(60)), 1, BATCHES, restarts=4)


def test_an_error_that_the_user_can_act_on_is_laid_to_no_batch():
    with pytest.raises(UserError, match="no vocabulary"):
        answers(partial(refuses_over, 31), 2, BATCHES)


@pytest.mark.parametrize("actors", [0, 1])
def test_a_model_that_cannot_be_made_is_not_tried_again(actors):
    with pytest.raises(ValueError, match="half a checkpoint"):
        answers(breaks, actors, BATCHES)


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


def test_no_other_cluster_is_joined_without_an_address(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    assert len(answers(squares, 1, BATCHES[:2])[0]) == 2


def test_actors_for_which_there_is_no_room_end_the_job_with_a_remedy(monkeypatch):
    """One processor more than the cluster has."""
    import ray

    monkeypatch.setenv("RAY_TMPDIR", "/tmp")  # TMPDIR may be too long for its sockets
    ray.init(num_cpus=1, include_dashboard=False, _node_ip_address="127.0.0.1", log_to_driver=False)
    try:
        with pytest.raises(UserError, match=r"ray\.start_timeout"):
            config = from_dict({"run": {"threads": 2}, "ray": {"actors": 1, "start_timeout": 3}})
            with Workers(squares, config) as workers:
                list(workers.map(BATCHES))
    finally:
        ray.shutdown()
