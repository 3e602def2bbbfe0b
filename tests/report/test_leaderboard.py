"""``robustart leaderboard``: numbers that may be compared stand together, all others are told apart."""

import csv
import io
import json
import re

import pytest

from RobustART.cli import main
from RobustART.errors import ConfigError, RecordError
from RobustART.report.board import ranking, render_board
from RobustART.report.board_files import board_csv, board_data
from RobustART.report.board_runs import differences, read_runs
from RobustART.report.columns import all_columns, contrasts, headlines
from RobustART.report.labels import family
from tests.report.conftest import read_page, shown
from tests.report.test_page import EVIL, poison


def better(by, source="timm:resnet50", parameters=25_557_032):
    """A model whose every number is ``by`` points from that of the run; lower errors, higher accuracies."""

    def change(data):
        kind = family({"source": source, "architecture": "Tiny"})
        data["model"] |= {"source": source, "parameters": parameters, "family": kind}
        for entry in data["benchmarks"].values():
            for name, estimate in entry["metrics"].items():
                move(estimate, -by if "error" in name or "std" in name else by)
            for table in entry["tables"].values():
                for row in table.values():
                    for estimate in row.values():
                        move(estimate, by)

    return change


def move(estimate, by):
    for key in ("value", "low", "high"):
        if estimate[key] is not None:
            estimate[key] = min(100.0, max(0.0, round(estimate[key] + by, 6)))


@pytest.fixture
def three(make_run):
    def limited(data):
        better(2, "timm:mixer_b16_224", 59_880_472)(data)
        for entry in data["benchmarks"].values():
            for row in entry["data"]:
                row |= {"images": 6, "fingerprint": "another"}

    return [
        make_run("first", better(0, "timm:tf_efficientnet_lite0", 4_652_008)),
        make_run("second", better(5)),
        make_run("limited", limited),
    ]


def cells_of(page, run):
    (row,) = page.find("tr", **{"data-run": str(run)})
    return row.find("td") + row.find("th")


def test_the_board_shows_the_numbers_of_the_reports(three, tmp_path):
    runs = read_runs(three)
    page = read_page(render_board(runs, tmp_path))
    (found,) = page.find("table", id="runs")
    heads = {int(th.attributes["data-column"]): th for th in found.find("th") if "data-column" in th.attributes}
    assert sorted(heads) == list(range(len(heads)))
    groups = [(th.text, int(th.attributes["colspan"])) for th in found.find("th", scope="colgroup")]
    assert [name for name, _ in groups] == ["clean", "imagenet_c", "imagenet_s", "adversarial"]
    of = [name for name, count in groups for _ in range(count)]
    compared, ratios = 0, set()
    for number, run in enumerate(runs):
        (row,) = found.find("tr", **{"data-run": str(number)})
        cells = [child for child in row.children if not isinstance(child, str)]
        assert len(cells) == len(heads)
        assert cells[0].text == ["2", "1", ""][number]
        assert cells[1].text.startswith(run.name)
        for place in range(6, 6 + len(of)):
            head, cell = heads[place].text, cells[place]
            assert heads[place].attributes["data-group"] == cell.attributes["data-group"] == of[place - 6]
            entry = run.report["benchmarks"][of[place - 6]]
            known = dict(entry["metrics"])
            for title, table in entry["tables"].items():
                for row_name, row_of in table.items() if title in ("robust_accuracy", "AR", "WCAR") else ():
                    for column, estimate in row_of.items():
                        plain = title == "robust_accuracy"
                        known[f"{row_name} {column}" if plain else f"{title}/{row_name}/{column}"] = estimate
            metric = max((name for name in known if head.startswith(name)), key=len)
            ratios |= {title for title in ("AR", "WCAR") if metric.startswith(f"{title}/")}
            estimate, letter = known[metric], head.removeprefix(metric).strip()[:1]
            if letter == ("B" if number == 2 else "A"):
                assert cell.text == shown(estimate)
                value = cell.attributes.get("data-value")
                assert (None if value is None else float(value)) == estimate["value"]
                compared += 1
            else:
                assert cell.text == ""
    assert compared == 3 * len(of) / 2
    assert ratios == {"AR", "WCAR"}


def test_other_data_are_never_ranked_together(three):
    runs = read_runs(three)
    columns = all_columns(runs)
    for column in columns:
        held = {number for number in range(3) if column.estimates[number] is not None}
        assert (column.letters, held) in [("A", {0, 1}), ("B", {2})]
    (letter, members, changed) = contrasts(runs, "clean")[1]
    assert (letter, members) == ("B", [2])
    assert ("data[0].images", 12, 6) in changed
    order, first = ranking(runs, headlines(runs, columns))
    assert order == [1, 0, 2]  # the better one of A, and last what has no number in this column
    assert (first.benchmark, first.letters) == ("imagenet_c", "A")
    assert [column.best() for column in columns if column.letters == "B"] == [[]] * (len(columns) // 2)


def test_an_attack_is_compared_by_its_own_settings(make_run):
    """One run has an attack more, and one has fewer steps in one attack: all other columns stay whole."""

    def more(data):
        entry = data["benchmarks"]["adversarial"]
        for key in ("robust_accuracy", "AR"):
            entry["tables"][key]["new"] = entry["tables"][key]["fgsm"]
        for radius in ("1/255", "4/255"):
            entry["attacks"][f"new/{radius}"] = entry["attacks"][f"fgsm/{radius}"]
        entry["options"]["attacks"] = [*entry["options"]["attacks"], "new"]

    def fewer(data):
        data["benchmarks"]["adversarial"]["attacks"]["pgd_l2/1"]["steps"] = 3

    runs = read_runs([make_run("usual"), make_run("more", more), make_run("fewer", fewer)])
    found = {
        (column.metric, column.letters): [number for number in range(3) if column.estimates[number] is not None]
        for column in all_columns(runs) if column.benchmark == "adversarial"
    }  # fmt: skip
    assert found[("fgsm 1/255", "A B C")] == [0, 1, 2]
    assert found[("clean_accuracy", "A B C")] == [0, 1, 2]
    assert found[("new 1/255", "B")] == [1]
    assert found[("pgd_l2 1", "A B")] == [0, 1]
    assert found[("pgd_l2 1", "C")] == [2]
    assert ("attacks.pgd_l2/1.steps", 20, 3) in [tuple(c) for _, _, cs in contrasts(runs, "adversarial") for c in cs]


def test_the_same_data_elsewhere_are_the_same(make_run):
    def stored(place):
        return lambda data: data["benchmarks"]["imagenet_c"]["options"].update(root_dir=place, meta=f"{place}/all.txt")

    here, there = make_run("a", stored("/here")), make_run("b", stored("/there"))
    assert all(column.letters == "" for column in all_columns(read_runs([here, there])))
    made = read_runs([here, make_run("c")])
    assert {c.letters for c in all_columns(made) if c.benchmark == "imagenet_c"} == {"A", "B"}
    (_, _, changed) = contrasts(made, "imagenet_c")[1]
    assert ("images", "as they are stored", "made on the fly") in changed


def test_circumstances_are_said_where_they_are_not_the_usual(make_run, tmp_path):
    def other(data):
        data["conditions"]["preprocessing"] |= {"input_size": 48, "mean": [0.4] * 3}
        data["conditions"]["seed"] = 7
        data["conditions"]["versions"]["torch"] = "2.4.0"
        data["benchmarks"]["clean"]["precision"] = "bf16"

    runs = read_runs([make_run("a"), make_run("b"), make_run("c", other)])
    marks = differences(runs)
    assert marks[:2] == [{}, {}]
    assert marks[2] == {"input_size": 48, "seed": 7, "version of torch": "2.4.0", "precision of clean": "bf16"}
    page = read_page(render_board(runs, tmp_path))
    told = cells_of(page, 2)[-2]
    assert told.text.startswith("input_size 48; seed 7; and 3 more")
    (folded,) = told.find("details")
    assert folded.text.endswith("version of torch 2.4.0; precision of clean bf16; 1 warning in its report")
    assert [sum(mark.text == "≠" for mark in row.find("span", class_="mark")) for row in page.find("tr")[2:5]] == [
        0,
        0,
        1,
    ]


def test_a_benchmarks_own_preprocessing_that_is_also_the_models(make_run):
    """The report says it only where it departs from the model's."""

    def same(data):
        data["conditions"]["preprocessing"]["interpolation"] = "bicubic"
        data["benchmarks"]["imagenet_s"]["data"][0]["preprocessing"]["interpolation"] = "bilinear"

    runs = read_runs([make_run("a"), make_run("b", same)])
    assert runs[0].report["conditions"]["preprocessing"]["interpolation"] == "bilinear"
    assert differences(runs)[1] == {"interpolation": "bicubic"}


def test_folders_that_are_no_runs(make_run, tmp_path, capsys):
    good = make_run("good")
    board = str(tmp_path / "board.html")

    def refused(*folders):
        assert main(["leaderboard", *folders, "-o", board]) == 2
        return capsys.readouterr().err

    assert "there is no folder nowhere" in refused(good, "nowhere")
    (tmp_path / "empty").mkdir()
    assert f"{tmp_path / 'empty'} has no report" in refused(good, str(tmp_path / "empty"))
    assert "Its subfolders are runs: good; name these" in refused(str(tmp_path))
    assert "is a file; name the folder of its run" in refused(good, f"{good}/results/report.json")
    half = tmp_path / "half" / "results"
    half.mkdir(parents=True)
    (half / "clean.jsonl").touch()
    assert "run the command of an unfinished run again to resume it, or write the report" in refused(
        good, str(tmp_path / "half")
    )
    old = make_run("old", lambda data: data.update(format="robustart-report/0"))
    assert "old/results/report.json is not a report of this version" in refused(good, old)
    broken = make_run("broken", lambda data: data["model"].pop("parameters"))
    assert "broken/results/report.json is damaged: model.parameters is missing" in refused(broken)
    assert "are the same run; name it once" in refused(good, f"{good}/results")
    assert not (tmp_path / "board.html").exists()
    assert main(["leaderboard", good, "-o", str(tmp_path / "no" / "board.html")]) == 2
    assert "cannot write" in capsys.readouterr().err


def test_the_command_writes_page_json_and_csv(three, tmp_path, capsys):
    files = [str(tmp_path / name) for name in ("board.html", "board.json", "board.csv")]
    assert main(["leaderboard", *three, "-o", files[0], "--json", files[1], "--csv", files[2]]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"{', '.join(files)}: 3 runs\n")
    assert "clean: timm:mixer_b16_224 may not be compared with the others (B); they differ in data[0].images" in out
    runs = read_runs(three)
    data = json.loads((tmp_path / "board.json").read_text())
    assert data == json.loads(json.dumps(board_data(runs)))
    (top1,) = [c for c in data["columns"] if (c["benchmark"], c["metric"], c["conditions"]) == ("clean", "top1", "A")]
    expected = runs[1].report["benchmarks"]["clean"]["metrics"]["top1"]
    assert (top1["better"], top1["estimates"][1], top1["estimates"][2]) == ("high", expected, None)
    rows = list(csv.DictReader(io.StringIO((tmp_path / "board.csv").read_text())))
    assert float(rows[1]["clean top1 [A] low"]) == expected["low"]
    assert rows[2]["clean top1 [A] value"] == ""
    assert rows[0]["family"] == "EfficientNet (CNN)"
    assert (tmp_path / "board.csv").read_text() == board_csv(runs)
    assert main(["leaderboard", *three, "-o", files[0] + "2"]) == 0
    assert (tmp_path / "board.html").read_bytes() == (tmp_path / "board.html2").read_bytes()


def test_outputs_never_replace_what_is_read_or_is_of_another_kind(three, tmp_path, capsys):
    def refused(*command):
        before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        assert main(["leaderboard", three[0], *command]) == 2
        assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
        return capsys.readouterr().err

    report = three[0] + "/results/report.json"
    assert f"-o {report} would overwrite {report}, which is an input" in refused("-o", report)
    board, data, table = (str(tmp_path / name) for name in ("board.html", "board.json", "board.csv"))
    assert "would overwrite" in refused("-o", board, "--json", report)
    assert f"-o and --csv are the same file, {board}" in refused("-o", board, "--csv", board)
    assert "--json and --csv are the same file" in refused(
        "-o", board, "--json", data, "--csv", f"{tmp_path}/./board.json"
    )
    labels = tmp_path / "labels.yaml"
    labels.write_text("{}")
    assert "labels.yaml, which is an input" in refused("-o", board, "--labels", str(labels), "--csv", str(labels))
    page = tmp_path / "page.html"
    page.write_text("<title>Mine</title>")
    assert "page.html exists already and is not a leaderboard" in refused("-o", str(page))
    assert "page.html exists already and is not a leaderboard's data" in refused("-o", board, "--json", str(page))
    assert "page.html exists already and is not a leaderboard's table" in refused("-o", board, "--csv", str(page))
    assert "is not a file" in refused("-o", str(tmp_path))
    for _ in range(2):  # an older one is replaced
        assert main(["leaderboard", *three, "-o", board, "--json", data, "--csv", table]) == 0
    assert "board.html exists already and is not a leaderboard's data" in refused(
        "-o", str(tmp_path / "b"), "--json", board
    )


def test_a_benchmark_that_is_not_imported_is_named(make_run, tmp_path, capsys):
    def rename(data):
        for holder in (data["benchmarks"], data["timing"]["benchmarks"]):
            holder["mine"] = holder.pop("imagenet_c")

    board = tmp_path / "board.html"
    assert main(["leaderboard", make_run("a", rename), make_run("b", rename), "-o", str(board)]) == 0
    text = board.read_text()
    assert text.count("The benchmark mine is not imported: ") == 1
    assert "Import your own benchmark with --import MODULE" in text
    assert "mean_error_of_these_cells" in text.replace("<wbr>", "")


def test_labels(make_run, tmp_path, capsys):
    folder = make_run("a")
    labels = tmp_path / "labels.yaml"
    labels.write_text(json.dumps({folder: {"name": "ours", "technique": "adversarial training"}}))
    target = ["-o", str(tmp_path / "board.html"), "--labels", str(labels)]
    assert main(["leaderboard", folder, *target]) == 0
    text = (tmp_path / "board.html").read_text()
    assert "adversarial training" in text
    assert ">ours" in text
    with pytest.raises(ConfigError, match=r"name the folder 'b', which is not on the leaderboard"):
        read_runs([folder], {"b": {}})
    with pytest.raises(ConfigError, match=r"may be the strings name, family, technique, got \{'size': 'S'\}"):
        read_runs([folder], {folder: {"size": "S"}})
    assert main(["leaderboard", folder, "-o", "x", "--labels", str(tmp_path / "none.yaml")]) == 2
    assert "cannot be read" in capsys.readouterr().err


def test_runs_of_one_model_are_told_apart_by_their_folders(make_run):
    one, two = make_run("one"), make_run("two")
    assert [run.name for run in read_runs([one, two])] == [f"Tiny ({one})", f"Tiny ({two})"]
    with pytest.raises(RecordError, match="are the same run"):
        read_runs([one, one])


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("timm:resnet50.a1_in1k", "ResNet (CNN)"), ("timm:wide_resnet50_2", "Wide ResNet (CNN)"), ("timm:resnext50_32x4d", "ResNeXt (CNN)"),
        ("torchvision:shufflenet_v2_x1_0", "ShuffleNetV2 (CNN)"), ("torchvision:mobilenet_v2", "MobileNetV2 (CNN)"),
        ("timm:mobilenetv3_large_100", "MobileNetV3 (CNN)"), ("timm:tf_efficientnet_lite0", "EfficientNet (CNN)"),
        ("timm:tf_efficientnetv2_s", "EfficientNetV2 (CNN)"), ("timm:vit_base_patch16_224", "ViT (Transformer)"),
        ("timm:deit_tiny_patch16_224", "DeiT (Transformer)"), ("timm:mixer_b16_224", "MLP-Mixer (MLP)"), ("timm:regnetx_032", "RegNet (CNN)"),
        ("timm:repvgg_a0", "RepVGG (CNN)"), ("torchvision:densenet121", "DenseNet (CNN)"), ("timm:mobilevit_s", "ClassOfIt"),
        ("robustart:mobilenet_v2_x0_5", "MobileNetV2 (CNN)"), ("robustart:vit_b16_224", "ViT (Transformer)"),
        ("my_models:resnet50", "ClassOfIt"), ("Tiny", "ClassOfIt"),
    ],
)  # fmt: skip
def test_families(source, expected):
    assert family({"source": source, "architecture": "ClassOfIt"}) == expected


def test_the_board_loads_nothing_and_texts_stay_texts(three, tmp_path, make_run):
    links = three[0] + "/results/report.html"
    open(links, "w").close()
    evil = make_run("evil", lambda data: data.update(poison(data)))
    labels = {evil: {"family": EVIL, "technique": EVIL, "name": EVIL}}
    text = render_board(read_runs([*three, evil], labels), tmp_path)
    page = read_page(text)
    assert len(page.find("script")) == 1
    assert page.find("img") == []
    assert not any(name.startswith("on") for element in page.all() for name in element.attributes)
    hrefs = [value for e in page.all() for name, value in e.attributes.items() if name in ("href", "src", "action")]
    assert [href for href in hrefs if not href.startswith("#")] == ["first/results/report.html"]
    identities = [e.attributes["id"] for e in page.all() if "id" in e.attributes]
    assert len(identities) == len(set(identities))
    assert page.find("form", class_="filters")[0].attributes.get("hidden", "no") is None  # until the script shows it
    assert "http://" not in text
    assert "https://" not in text


def test_plots_are_of_what_there_is(three, make_run, tmp_path):
    alone = read_page(render_board(read_runs([make_run("alone")]), tmp_path))
    assert [s.attributes["aria-labelledby"] for s in alone.find("section")] == ["board"]
    page = read_page(render_board(read_runs(three), tmp_path))
    names = [s.attributes["aria-labelledby"] for s in page.find("section")]
    assert names == ["board", "conditions", "accuracy", "size", "families", "robustness"]
    plots = page.find("svg", role="img")
    label = plots[0].attributes["aria-label"]
    assert "imagenet_c" in label
    assert "of 2 runs" in label
    points = [e.attributes["id"] for e in plots[0].all() if e.attributes.get("id", "").endswith("-point")]
    assert [re.search(r"run-\d+", point)[0] for point in points] == ["run-0", "run-1"]
