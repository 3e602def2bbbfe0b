"""CSV cells that a spreadsheet would run, deleted folders, full disks, and options that had no flag."""

import csv
import errno
import io
import json
import resource
import shutil
import signal

import pytest
import torch

from RobustART.cli import main as robustart
from RobustART.core.tables import csv_table
from RobustART.errors import RecordError, TrainingError
from RobustART.evaluation import evaluate
from RobustART.training.checkpoint import read_checkpoint, save_checkpoint
from RobustART.training.cls_solver import main
from tests.field.test_kills import TRAINING
from tests.sets import wnid_folder

FORMULAS = ["=HYPERLINK(1)", "+1+1", "-cmd", "@SUM(A1)", "\t=1"]
PLAIN = ["resnet18", "a=b", "-1.5", "+3", "-inf", "1e-3", "", -2, -0.25, None]


@pytest.mark.parametrize("cell", FORMULAS)
def test_a_formula_is_shown_not_computed(cell):
    ((shown, other),) = csv.reader(io.StringIO(csv_table([[cell, "x"]]), newline=""))
    assert (shown, other) == (f"'{cell}", "x")


def test_a_carriage_return_does_not_end_a_row():
    assert list(csv.reader(io.StringIO(csv_table([["a\r=1", "x"]]), newline=""))) == [["a =1", "x"]]


def test_numbers_and_other_strings_stay():
    (row,) = csv.reader(io.StringIO(csv_table([PLAIN])))
    assert row == ["" if cell is None else str(cell) for cell in PLAIN]


def test_the_leaderboard_has_no_formulas(model, data, tmp_path):
    folder = tmp_path / "=HYPERLINK(1)"
    evaluate(model, data, {"clean": {}}, output_dir=folder)
    (tmp_path / "labels.yaml").write_text(json.dumps({str(folder): {"name": "=1+1", "family": "@x"}}))
    arguments = [
        "-o",
        str(tmp_path / "b.html"),
        "--csv",
        str(tmp_path / "b.csv"),
        "--labels",
        str(tmp_path / "labels.yaml"),
    ]
    assert robustart(["leaderboard", str(folder), *arguments]) == 0
    rows = list(csv.reader((tmp_path / "b.csv").open()))
    assert {"'=1+1", "'@x"} <= set(rows[1])
    assert not any(cell.startswith(("=", "@", "+")) for row in rows for cell in row)


def test_a_deleted_folder_is_not_said_to_be_kept(model, data, tmp_path, monkeypatch):
    from RobustART.records import journal

    def write(self, data):
        shutil.rmtree(tmp_path / "out")
        raise OSError(errno.ENOENT, "No such file or directory")

    monkeypatch.setattr(journal.Journal, "_write", write)
    with pytest.raises(RecordError, match="was deleted during the run, and the records in it are lost") as caught:
        evaluate(model, data, {"clean": {}}, output_dir=tmp_path / "out")
    assert "kept" not in str(caught.value)


@pytest.fixture
def small_disk():
    """Limits files to 200 kB while the test runs."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # write() fails instead
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


def test_a_limit_on_files_is_not_a_deleted_file(model, data, tmp_path, small_disk):
    small_disk(500)
    with pytest.raises(RecordError, match=r"File too large\. A limit on the size of files \(ulimit -f\)") as caught:
        evaluate(model, data, {"clean": {}}, output_dir=tmp_path / "out")
    assert "deleted" not in str(caught.value)


def test_a_full_disk_leaves_the_checkpoint_before(tmp_path, small_disk):
    save_checkpoint(tmp_path, {"last_iter": 1, "model": {"w": torch.ones(10)}})
    small_disk(20_000)
    with pytest.raises(
        TrainingError, match=r"cannot be written: File too large; the checkpoint before is kept"
    ) as caught:
        save_checkpoint(tmp_path, {"last_iter": 2, "model": {"w": torch.ones(100_000)}})
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["ckpt.pth.tar"]
    assert read_checkpoint(tmp_path / "ckpt.pth.tar")["last_iter"] == 1


def test_a_training_on_a_full_disk_is_one_line_and_resumes(small_config, small_disk, capsys):
    text = small_config.read_text().replace("adversarial: {eps: [1/255, 8/255]}", "")
    data = "data: {batch_size: 4, num_workers: 0, train: {root_dir: photos, transforms: {type: STANDARD}}, test:"
    small_config.write_text(text.replace("data: {test:", data) + TRAINING)
    small_disk(3_000)
    assert main(["--config", str(small_config), "--quiet"]) == 2
    shown = capsys.readouterr().err
    assert "File too large" in shown.splitlines()[-1]
    assert shown.splitlines()[-1].startswith("error: ")
    small_disk(resource.getrlimit(resource.RLIMIT_FSIZE)[1])
    assert main(["--config", str(small_config), "--quiet"]) == 0


def test_generate_numbers_class_folders_by_their_order(tmp_path):
    source = wnid_folder(tmp_path / "source", [217, 482, 0])
    for flags, labels in (([], [0, 217, 482]), (["--classes", "folder"], [0, 1, 2])):
        out = tmp_path / f"out_{len(flags)}"
        arguments = [
            "--benchmark",
            "imagenet_c",
            "--source",
            str(source),
            "--out",
            str(out),
            "--size",
            "32",
            "--resize",
            "36",
        ]
        assert (
            robustart(
                ["noise", "generate", *arguments, *flags, "--set", "corruptions=[fog]", "--set", "severities=[1]"]
            )
            == 0
        )
        photos = [json.loads(line) for line in (out / "photos.jsonl").read_text().splitlines()]
        assert sorted(photo["label"] for photo in photos) == labels


def test_check_compares_labels_with_the_models_outputs(small_config, capsys):
    photos = small_config.parent / "photos"
    for i in range(3):
        (photos / f"class_{i}").rename(photos / str(i * 5))
    assert main(["--config", str(small_config), "--check"]) == 2
    assert "has the label 10, but the model has 3 outputs" in capsys.readouterr().err
    assert main(["--config", str(small_config), "--check", "--set", "model.type=torchvision:squeezenet1_0", "--set",
                 "model.kwargs={num_classes: 11}", "--set", "model.preprocessing.input_size=64"]) == 0  # fmt: skip
