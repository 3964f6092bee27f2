"""A Ray cluster on one machine, in a process of its own: `python -m tests.faults.cluster_host WORKER_NODES`.

A head without CPUs and nodes with one CPU each. It answers one line of JSON to each line on standard input: `nodes`
(ids of the nodes that are alive and ran a task just now), `kill ID`, `end`.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import ray
from ray.cluster_utils import Cluster
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

SHARED: dict[str, Any] = {"object_store_memory": 80 * 2**20, "include_dashboard": False}


def tell(content: Any) -> None:
    print(json.dumps(content), flush=True)


def working(address: str) -> list[str]:
    """Join the cluster, run a task on every node that has CPUs, leave it."""
    with ray.init(address, log_to_driver=False, logging_level="ERROR"):
        task = ray.remote(num_cpus=0)(lambda: ray.get_runtime_context().get_node_id())
        nodes = [node["NodeID"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
        strategies = [NodeAffinitySchedulingStrategy(node, soft=False) for node in nodes]
        found: list[str] = ray.get([task.options(scheduling_strategy=one).remote() for one in strategies], timeout=60)
    return found


def main(count: int) -> None:
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **SHARED})
    nodes = {node.node_id: node for node in [cluster.add_node(num_cpus=1, **SHARED) for _ in range(count)]}
    cluster.wait_for_nodes()
    tell({"address": cluster.address, "nodes": list(nodes)})
    for line in sys.stdin:
        word, _, node = line.strip().partition(" ")
        if word == "kill":
            cluster.remove_node(nodes.pop(node), allow_graceful=False)
            tell("killed")
        elif word == "nodes":
            tell(working(cluster.address))
        else:
            break
    cluster.shutdown()


if __name__ == "__main__":
    main(int(sys.argv[1]))
