"""What every benchmark says of itself: meanings, one headline, cells that say where they are, checks that refuse others."""

import dataclasses
import json

import numpy as np
import pytest

import RobustART.metrics
from RobustART.benchmarks import BENCHMARKS, Benchmark, BenchmarkSpec, Cell, Pass, build_benchmark, clean, clean_view
from RobustART.benchmarks.imagenet_o import imagenet_o_classes
from RobustART.cli import main
from RobustART.core.options import to_plain
from RobustART.data import array_dataset
from RobustART.errors import ConfigError, RecordError
from RobustART.evaluation import evaluate
from RobustART.metrics.reading import read_result
from RobustART.records.lines import Records
from RobustART.records.table import PassRecords
from tests.conftest import make_picture
from tests.metrics.conftest import ours, write_records
from tests.sets import every_benchmark

SPECS = pytest.mark.parametrize("spec", BENCHMARKS.values(), ids=lambda spec: spec.name)


def table_of(name, cells, coordinates, images=2):
    """The records of one pass; every image is right."""
    zeros = np.zeros((images, len(cells)), np.int64)
    extra = {"top5": np.zeros((images, len(cells), 5), int), "zipf": zeros + 0.5, "pixel_difference": zeros + 1.0}
    return PassRecords(
        name, tuple(cells), np.arange(images), tuple(f"{i}.png" for i in range(images)), zeros[:, 0], zeros, zeros + 0.5,
        zeros, extra=extra, coordinates=tuple(coordinates),
    )  # fmt: skip


def records_of(name, passes, options=()):
    header = {
        "benchmark": name,
        "conditions": {"options": dict(options), "attacks": {}, "model": {"arguments": {}}},
        "passes": [],
    }
    return Records(header, tuple(passes))


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Every benchmark, with files and without."""
    images = array_dataset([make_picture(i, 32, 32) for i in range(3)], [imagenet_o_classes()[0], 1, 2])
    return [build_benchmark(name, images, o) for name, o in every_benchmark(tmp_path_factory.mktemp("sets"))] + [
        build_benchmark("adversarial", images, {"attacks": ["fgsm", "pgd_l2"], "eps": {"L2": [0.1, 0]}})
    ]


@pytest.fixture(scope="module")
def recorded(built):
    """Their records, as an evaluation would have them."""
    found = []
    for benchmark in built:
        passes = [
            table_of(part.name, [c.name for c in part.cells], [to_plain(dict(c.coordinates)) for c in part.cells])
            for part in benchmark.passes
        ]
        found.append((benchmark.spec, records_of(benchmark.name, passes, benchmark.options)))
    return found


@SPECS
def test_every_number_has_a_meaning(spec):
    named = [*spec.metrics, *(column for table in spec.tables for column in columns_of(table))]
    for metric in named:
        assert metric.meaning.endswith("."), metric
        assert metric.better in ("high", "low", None)
        assert metric.bounds[0] < metric.bounds[1]
    assert len({metric.name for metric in spec.metrics}) == len(spec.metrics)
    assert all(table.title and table.meaning for table in spec.tables)
    assert all(set(table.listed) <= {"*", *(column.name for column in columns_of(table))} for table in spec.tables)


def columns_of(table):
    return table.columns if isinstance(table.columns, tuple) else (table.columns,)


@SPECS
def test_there_is_exactly_one_way_to_a_headline(spec):
    """A metric that is marked, or a function: of both, one would be ignored; of none, the first number would do by chance."""
    marked = [metric.name for metric in spec.metrics if metric.headline]
    assert bool(marked) != (spec.headlines is not None)
    assert spec.headline([]) is None
    assert all(spec.headline([metric.name for metric in spec.metrics][::-1]) == marked[0] for _ in marked[:1])
    for name in marked:
        assert spec.metric(name).better is not None


@SPECS
def test_what_a_spec_names_is_there(spec):
    assert spec.title
    assert spec.noise in ("none", "natural", "system", "adversarial")
    assert spec.section in ("", "corruptions", "attacks", "systems")
    for name in spec.evaluator.split(" or ") if spec.evaluator else ():
        assert name in RobustART.metrics.__all__
    assert spec.classes is None or len(set(spec.classes())) == len(spec.classes()) == 200


def test_every_benchmark_is_built(built):
    assert {benchmark.name for benchmark in built} == set(BENCHMARKS)


def test_a_name_of_a_cell_says_its_coordinates(built):
    """As the reader of format 1 needs it."""
    for benchmark in built:
        for part in benchmark.passes:
            for cell in part.cells:
                own = to_plain(dict(cell.coordinates))
                assert benchmark.spec.coordinates(cell.name) == own, (benchmark.name, cell.name)
                assert json.loads(json.dumps(own)) == own


def test_checks_accept_what_is_made_and_all_its_numbers_are_known(recorded):
    for spec, records in recorded:
        spec.check(records, "here")
        summary = spec.numbers(records)
        assert summary.metrics
        for name in summary.metrics:
            assert spec.metric(name).meaning, (spec.name, name)
        for key, table in summary.tables.items():
            assert spec.table(key) in spec.tables, (spec.name, key)
            for column in {column for row in table.values() for column in row}:
                assert spec.table(key).column(column).meaning, (spec.name, key, column)


@SPECS
def test_checks_refuse_cells_that_are_none(spec):
    cells = ["no such cell", "no such cell/0"]
    table = table_of("", cells, map(spec.coordinates, cells))
    with pytest.raises(RecordError):
        spec.check(records_of(spec.name, [table]), "here")


@pytest.mark.parametrize("junk", [..., None, "", [], ["fog"], {"a": 1}, True, -7, float("nan")])
def test_checks_refuse_coordinates_of_other_kinds(recorded, junk):
    tried = 0
    for spec, records in recorded:
        table, *others = records.passes
        for column, place in enumerate(table.coordinates):
            for key in place:
                other = {k: junk if k == key else v for k, v in place.items() if k != key or junk is not ...}
                changed = [*table.coordinates[:column], other, *table.coordinates[column + 1 :]]
                damaged = dataclasses.replace(table, coordinates=tuple(changed))
                with pytest.raises(RecordError):
                    spec.check(dataclasses.replace(records, passes=(damaged, *others)), "here")
                tried += 1
    assert tried > 100


def test_checks_refuse_two_cells_at_one_place(recorded):
    for spec, records in recorded:
        table, *others = records.passes
        if any(table.coordinates) and len(table.cells) > 1:
            twice = (*table.coordinates[:-1], table.coordinates[-2])
            if spec.name == "transfer":
                twice = (table.coordinates[1], *table.coordinates[1:])
            damaged = dataclasses.replace(table, coordinates=twice)
            with pytest.raises(RecordError, match="here"):
                spec.check(dataclasses.replace(records, passes=(damaged, *others)), "here")


def test_formats_1_and_2_give_the_same_numbers(tmp_path):
    before, now = ours(tmp_path / "before", 1), ours(tmp_path / "now", 2)
    assert '"robustart-records/1"' in before["clean"].read_text()
    assert '"robustart-records/2"' in now["clean"].read_text()
    for name, path in before.items():
        numbers = [BENCHMARKS[name].numbers(read_result(file)).to_plain() for file in (path, now[name])]
        assert numbers[0] == numbers[1]


@pytest.mark.parametrize("name", ["imagenet_c", "imagenet_p"])
def test_coordinates_count_and_names_of_cells_do_not(tmp_path, name):
    """A cell of a file of format 2 may be called anything."""
    cells = {"imagenet_c": ["fog/1", "fog/2", "snow/3"], "imagenet_p": ["snow/0", "snow/1", "snow/2"]}[name]
    ranks = [[0, 1, 0], [1, 1, 0], [0, 0, 0]]
    more = {"top5": np.zeros((3, 3, 5), int), "zipf": np.ones((3, 3))}
    files = [
        write_records(tmp_path / "named", name, [("", cells, ranks, more)]),
        write_records(
            tmp_path / "numbered", name, [("", list("abc"), ranks, more)],
            coordinates=lambda cell: BENCHMARKS[name].coordinates(cells["abc".index(cell)]),
        ),
    ]  # fmt: skip
    first, second = (BENCHMARKS[name].numbers(read_result(path)).to_plain() for path in files)
    assert first == second


OWN = """
from RobustART.benchmarks import Benchmark, BenchmarkSpec, Cell, Pass, clean, clean_view


def build(dataset):
    return Benchmark(SPEC, (Pass(dataset, (Cell("clean", clean_view),)),))


SPEC = BenchmarkSpec("{name}", build, clean.summarize, clean.SPEC.metrics)
"""


def test_a_benchmark_is_named_by_its_path(tmp_path, monkeypatch, data, model):
    """Its module need not register it."""
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "by_its_path.py").write_text(OWN.format(name="by_its_path"))
    try:
        report = evaluate(model, data, {"by_its_path:SPEC": {}}, output_dir=tmp_path, progress=False)
        assert report.metric("by_its_path", "top1") is not None
        assert (tmp_path / "results" / "by_its_path.jsonl").is_file()
    finally:
        BENCHMARKS.remove("by_its_path")
    (tmp_path / "named_as_another.py").write_text(OWN.format(name="clean"))
    with pytest.raises(ConfigError, match="named_as_another:SPEC has the name 'clean', which another benchmark has"):
        build_benchmark("named_as_another:SPEC", data)


def test_a_result_file_of_a_benchmark_that_is_not_imported(tmp_path, capsys):
    path = str(write_records(tmp_path / "a" / "mine.jsonl", "mine", [("", ["clean"], [[0]], {})]))
    other = str(write_records(tmp_path / "b" / "mine.jsonl", "mine", [("", ["clean"], [[0]], {})]))
    for command in (["score", path], ["compare", path, other]):
        assert main(command) == 2
        told = capsys.readouterr().err
        assert "is of the benchmark 'mine'; known: adversarial, " in told
        assert "Import your own benchmark with --import MODULE" in told


def test_what_is_no_spec_is_refused():
    def build(dataset):
        return Benchmark(clean.SPEC, (Pass(dataset, (Cell("clean", clean_view),)),))

    with pytest.raises(ConfigError, match="the benchmark 'mine' must be a BenchmarkSpec, got <function"):
        BENCHMARKS.add("mine", build)
    with pytest.raises(ValueError, match="benchmark 'clean' is registered already"):
        BENCHMARKS.add("clean", BenchmarkSpec("clean", build, clean.summarize, ()))
