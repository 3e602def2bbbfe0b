"""Spaces: encodings, costs and drawing."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from RobustART.errors import ConfigError, RecordError
from RobustART.nas import SPACES, Network, create_space
from RobustART.nas.sampling import draw_subnets, parse_range, read_subnets, subnet_lines
from RobustART.nas.spaces import factors, identity


def hook_cost(network, size):
    """Counts multiply-adds where they happen: an output value of a layer costs as many as it has inputs."""
    total = 0

    def count(layer, _, out):
        nonlocal total
        total += out.numel() * layer.weight[0].numel()

    for layer in network.modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            layer.register_forward_hook(count)
    network(torch.empty(1, 3, size, size, device="meta"))
    return total


@pytest.mark.parametrize("name", SPACES)
def test_costs_are_those_of_the_modules(name):
    space = create_space(name, {})
    rng = np.random.default_rng(0)
    for encoding in (space.smallest(), space.largest(), *(space.sample(rng) for _ in range(2))):
        with torch.device("meta"):
            network = Network(space.plan(encoding), encoding["input_size"]).eval()
        cost = space.cost(encoding)
        assert cost.parameters == sum(value.numel() for value in network.parameters())
        assert cost.macs == hook_cost(network, encoding["input_size"])


@pytest.mark.parametrize("name", SPACES)
def test_encodings_survive_json_and_differ_in_cost_or_shape(name):
    space = create_space(name, {})
    rng = np.random.default_rng(1)
    plans = {}
    for _ in range(300):
        encoding = space.sample(rng)
        again = space.check(json.loads(json.dumps(encoding)))
        assert again == encoding
        assert identity(again) == identity(encoding)
        plans[identity(encoding)] = space.plan(encoding), encoding["input_size"]
    assert len(set(plans.values())) == len(plans)


def test_whole_numbers_and_fractions_are_the_same_encoding():
    space = create_space("mobilenet_v3", {})
    encoding = space.largest()
    text = json.dumps(encoding).replace("6", "6.0", 1).replace("6, 6", "6.0, 6")
    assert identity(space.check(json.loads(text))) == identity(encoding)


def test_the_size_of_a_space_is_the_number_of_its_encodings():
    space = create_space("resnet", SMALL)
    rng = np.random.default_rng(0)
    assert space.size == 2 * (2 * (2 + 4)) ** 2
    assert len({identity(space.sample(rng)) for _ in range(6000)}) == space.size


SMALL = {
    "channels": [32, 64], "depths": [[1, 2], [1, 2]], "strides": [1, 2], "widths": [0.5, 1.0], "expansions": [0.25, 0.5],
    "input_sizes": [16, 24], "stem": 8, "stem_kernel": 3, "pool": False, "divisor": 4, "num_classes": 10,
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"widths": [0.9, 1.0], "divisor": 8}, r"widths \[0.9, 1.0\] round to \[32, 32\] channels"),
        ({"expansions": [0.25, 0.26]}, "expansions"),
        ({"input_sizes": [24, 16]}, "input_sizes must be integers above 0 in ascending order"),
        ({"kernels": [2]}, "kernels must be odd"),
        ({"channels": [32]}, "an entry for each stage"),
        ({"widthz": [1]}, "unknown option 'widthz'.*did you mean 'widths'"),
        ({"widths": 3}, "the space 'resnet': widths must be a list .an integer or a number above 0 each., got 3"),
        ({"channels": [32, True]}, r"channels\[1\] must be an integer from 1 up, got True"),
    ],
)
def test_impossible_spaces_are_refused(change, message):
    with pytest.raises(ConfigError, match=message):
        create_space("resnet", {**SMALL, **change})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda e: e.update(input_size=17), "input_size must be 16 or 24, got 17"),
        (lambda e: e.update(space="resnet2"), "space must be 'resnet'"),
        (lambda e: e["stages"].pop(), "stages must be a list of 2"),
        (lambda e: e["stages"][0].update(kernel=[3, 3, 3]), r"stages\[0\].kernel must be a list of 1 or 2 values"),
        (lambda e: e["stages"][0].update(width=0.7), r"stages\[0\].width must be 0.5 or 1.0, got 0.7"),
        (lambda e: e["stages"][1].update(expansion=[0.25]), "the same number of values"),
        (lambda e: e.pop("stages"), "must be a mapping with"),
    ],
)
def test_encodings_of_no_network_are_refused(change, message):
    space = create_space("resnet", SMALL)
    encoding = space.largest()
    change(encoding)
    with pytest.raises(ConfigError, match=message):
        space.check(encoding)


def test_factors_are_means_over_what_there_is():
    encoding = {
        "space": "x", "input_size": 24,
        "stages": [{"width": 0.5, "kernel": [3], "expansion": [0.25]}, {"width": 1.0, "kernel": [3, 7], "expansion": [0.5, 0.25]}],
    }  # fmt: skip
    expected = {"depth": 3, "width": 0.75, "kernel": 4.333333, "expansion": 0.333333, "resolution": 24}
    assert factors(encoding) == expected


def test_drawing_is_seeded_distinct_and_within_the_range():
    space = create_space("mobilenet_v3", {})
    found = draw_subnets(space, 600, seed=0, macs=parse_range("100M-600M"))
    assert len({subnet.id for subnet in found}) == 600
    assert all(100e6 <= subnet.cost.macs <= 600e6 for subnet in found)
    assert draw_subnets(space, 5, seed=0, macs=(100e6, 600e6)) == found[:5]
    assert draw_subnets(space, 5, seed=1, macs=(100e6, 600e6)) != found[:5]


@pytest.mark.parametrize(
    ("count", "text", "message"),
    [
        (3, "2G-", r"none from 2G to any: resnet has networks from .*K to .*M multiply-adds"),
        (1000, "0-9G", "only 288 different networks"),
        (280, "0-600K", r"\d+ of 280 networks were found .* 98 % of those drawn have"),
    ],
)
def test_a_range_that_cannot_be_met_says_what_can(count, text, message):
    with pytest.raises(ConfigError, match=message):
        draw_subnets(create_space("resnet", SMALL), count, seed=0, macs=parse_range(text))


@pytest.mark.parametrize(("text", "ends"), [("1.5g-2G", (1.5e9, 2e9)), ("-300M", (0, 3e8)), ("5K-", (5e3, np.inf))])
def test_ranges_are_read(text, ends):
    assert parse_range(text) == ends


@pytest.mark.parametrize("text", ["-", "600M-100M", "many", "1M"])
def test_what_is_no_range_is_refused(text):
    with pytest.raises(ConfigError, match="range of multiply-adds"):
        parse_range(text)


def test_files_of_subnets_are_read_back_and_checked(tmp_path):
    space = create_space("resnet", SMALL)
    subnets = draw_subnets(space, 4, seed=0)
    path = tmp_path / "subnets.jsonl"
    path.write_text("".join(subnet_lines(space, subnets, {"seed": 0})))
    assert read_subnets(path, space) == subnets
    with pytest.raises(RecordError, match="another space than the model: widths differ"):
        read_subnets(path, create_space("resnet", {**SMALL, "widths": [0.5, 0.75, 1.0]}))
    lines = path.read_text().splitlines()
    for change, message in (
        ([*lines, lines[1]], "again"),
        ([lines[0], lines[1].replace('"macs": ', '"macs": 1')], "disagrees with what its network has"),
        (lines[1:], "not a file of sub-networks"),
        (lines[:1], "names no sub-network"),
        ([lines[0], "{"], "line 2 .* is not a JSON object"),
    ):
        path.write_text("\n".join(change))
        with pytest.raises(RecordError, match=message):
            read_subnets(path, space)
