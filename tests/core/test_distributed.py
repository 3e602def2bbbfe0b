"""Which process am I: torchrun's variables, Slurm's, or neither; and how processes meet."""

import threading
import time

import pytest
import torch.distributed as dist

from RobustART.core import joining
from RobustART.core.distributed import World, choose_device, expand_nodelist, read_placement
from RobustART.errors import ConfigError


@pytest.mark.parametrize(
    ("nodelist", "hosts"),
    [
        ("node[3-5,8]", "node3 node4 node5 node8"),
        ("node1", "node1"),
        ("a[08-10]-x,b,c[1-2]d[3,4]", "a08-x a09-x a10-x b c1d3 c1d4 c2d3 c2d4"),
        ("SH-IDC1-10-198-6-[7,12]", "SH-IDC1-10-198-6-7 SH-IDC1-10-198-6-12"),
        ("gpu[001-003].cluster.org", "gpu001.cluster.org gpu002.cluster.org gpu003.cluster.org"),
    ],
)
def test_slurm_node_lists(nodelist, hosts):
    assert expand_nodelist(nodelist) == hosts.split()


@pytest.mark.parametrize("nodelist", ["node[3-", "node[a]", "node[5-3]", "n]", "", "node[]"])
def test_broken_node_lists(nodelist):
    with pytest.raises(ConfigError, match="Slurm node list"):
        expand_nodelist(nodelist)


def test_placement_prefers_torchrun_then_slurm_then_alone():
    torchrun = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "MASTER_ADDR": "h", "MASTER_PORT": "1234"}
    slurm = {"SLURM_PROCID": "1", "SLURM_NTASKS": "2", "SLURM_LOCALID": "1", "SLURM_NODELIST": "localhost"}
    place = read_placement({**slurm, **torchrun})
    assert (place.rank, place.size, place.local_rank, place.address, place.port) == (3, 4, 1, "h", 1234)
    place = read_placement({**slurm, "SLURM_JOB_ID": "20123"})
    assert (place.rank, place.size, place.address, place.port) == (1, 2, "localhost", 20123)
    assert read_placement({**slurm, "SLURM_JOB_ID": "20123", "SLURM_STEP_ID": "0"}).port == place.port
    assert read_placement({**slurm, "SLURM_JOB_ID": "20123", "SLURM_STEP_ID": "1"}).port != place.port  # side by side
    assert not place.served
    assert not read_placement(torchrun).served  # the variables alone, as Kubernetes sets them
    assert read_placement({**torchrun, "TORCHELASTIC_USE_AGENT_STORE": "True"}).served
    assert read_placement({}).size == 1


def test_host_without_address(monkeypatch):
    monkeypatch.setattr("socket.getaddrinfo", lambda *a: (_ for _ in ()).throw(OSError("unknown")))
    slurm = {"SLURM_PROCID": "1", "SLURM_NTASKS": "2", "SLURM_LOCALID": "1", "SLURM_NODELIST": "node[3-5,8]"}
    assert read_placement(slurm).address == "127.0.0.1"
    assert read_placement({**slurm, "MASTER_ADDR": "10.1.1.1"}).address == "10.1.1.1"
    with pytest.raises(ConfigError, match="'node3', has no address; set MASTER_ADDR"):
        read_placement({**slurm, "SLURM_LOCALID": "0"})


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        (
            {"RANK": "2", "WORLD_SIZE": "2", "LOCAL_RANK": "0"},
            "RANK must be from 0 to 1 because WORLD_SIZE is 2, got 2",
        ),
        ({"RANK": "x", "WORLD_SIZE": "2", "LOCAL_RANK": "0"}, "RANK must be an integer, got 'x'"),
        ({"RANK": "0", "WORLD_SIZE": "2"}, "LOCAL_RANK is missing"),
    ],
)
def test_broken_variables(environ, message):
    with pytest.raises(ConfigError, match=message):
        read_placement(environ)


def test_devices(monkeypatch):
    assert choose_device("cpu", 3).type == "cpu"
    with pytest.raises(ConfigError, match="device must be auto, cpu, cuda"):
        choose_device("gpu", 0)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert str(choose_device("auto", 1)) == "cuda:1"
    assert str(choose_device("cuda:0", 1)) == "cuda:0"
    with pytest.raises(ConfigError, match="needs GPU number 2, but 2 can be seen"):
        choose_device("auto", 2)


def test_a_world_alone():
    with World("cpu", {}) as world:
        assert world.is_main
        world.barrier()


def test_each_start_has_a_name_that_none_before_had():
    """In a store that is older than the processes, as torchrun's is."""
    store, names = dist.HashStore(), []
    for _ in range(3):
        started = [
            threading.Thread(
                target=lambda rank=rank: names.append(joining._follow(store, rank, "", time.monotonic() + 20))
            )
            for rank in (1, 2)
        ]
        for thread in started:
            thread.start()
        time.sleep(0.2)  # all the while there is the name of the start before
        names.append(joining._begin(store, 3, "", time.monotonic() + 20))
        for thread in started:
            thread.join(20)
        assert len(set(names[-3:])) == 1
    assert len(names) == 9
    assert len(set(names)) == 3


def test_missing_processes_are_named(caplog, monkeypatch):
    monkeypatch.setattr(joining, "_QUIET", 0.0)
    store = dist.HashStore()
    with pytest.raises(ConfigError, match="waits for process 1, 2, 3, 4, 5, 6, 7, 8 and 3 more, and gives up; srun or"):
        joining._begin(store, 12, "process 0 of 12 waits for", time.monotonic() + 0.1)
    assert caplog.text.count("waits for process 1, 2, 3, 4, 5, 6, 7, 8 and 3 more, for 0 s more") == 1
    with pytest.raises(ConfigError, match="waits for process 0, and gives up"):
        joining._follow(dist.HashStore(), 1, "process 1 of 12 waits for process 0", time.monotonic() + 0.1)
    with pytest.raises(ConfigError, match="ROBUSTART_JOIN_SECONDS must be an integer, got 'x'"):
        World("cpu", {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "ROBUSTART_JOIN_SECONDS": "x"})
