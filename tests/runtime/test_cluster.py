"""A cluster of two nodes on this machine, one of which is lost halfway."""

import os
import re
import sys
import time
from collections import Counter

import pytest
import ray
from ray import cloudpickle
from ray.cluster_utils import Cluster

from gillnext.config.load import from_dict
from gillnext.runtime.workers import Workers

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # actors cannot import this file
BATCHES = [[4 * i, 4 * i + 1, 4 * i + 2, 4 * i + 3] for i in range(60)]


def slow_squares():
    def answer(batch):
        time.sleep(0.1)
        return [n * n for n in batch]

    return answer


pytestmark = pytest.mark.skipif(
    bool(re.search(r"[^\w./+-]", sys.executable)),
    reason="nodes that Ray's own commands start have no workers from an environment in a folder of such a name",
)


@pytest.fixture
def cluster(monkeypatch):
    monkeypatch.setenv("RAY_TMPDIR", "/tmp")  # TMPDIR may be too long for its sockets
    two = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    second = two.add_node(num_cpus=1)
    two.wait_for_nodes()
    yield two, second
    ray.shutdown()
    two.shutdown()


def test_every_row_comes_once_though_a_node_is_lost_halfway(cluster):
    two, second = cluster
    config = from_dict({"run": {"threads": 1}, "ray": {"actors": 2, "address": two.address}})
    found = []
    with Workers(slow_squares, config) as workers:
        for batch, answer in workers.map(BATCHES):
            found.append((batch, answer))
            nodes = {place.split("/")[0] for place in workers.counts}
            if second and len(nodes) == 2 and len(found) >= len(BATCHES) // 2:
                two.remove_node(second, allow_graceful=False)
                second = None
    assert second is None and workers.replaced == 1, "the node was never lost"
    assert Counter(n for batch, _ in found for n in batch) == Counter(range(240))
    assert all(answer == [n * n for n in batch] for batch, answer in found)
    assert str(os.getpid()) not in {place.split("/")[-1] for place in workers.counts}
