"""Which process am I: torchrun's variables, Slurm's, or neither."""

import pytest

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
    assert read_placement({**slurm, "SLURM_JOB_ID": "20123"}).port == place.port
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
        ({"RANK": "x", "WORLD_SIZE": "2", "LOCAL_RANK": "0"}, "RANK must be a whole number, got 'x'"),
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
