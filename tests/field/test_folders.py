"""Class folders and lists of images: labels that are what the user means, and a count of everything that is left out."""

import codecs
import dataclasses
import json
import os

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import ImageFolder

from RobustART.benchmarks.building import build_benchmark
from RobustART.config.loader import load_config
from RobustART.data import create_dataset
from RobustART.data.imagenet import NUMBERS, ORDER, WNIDS, imagenet_wnids
from RobustART.errors import ConfigError, DataError
from RobustART.evaluation import evaluate
from RobustART.evaluation.checks import check_labels, check_same_classes
from RobustART.models import create_model
from RobustART.report.reading import report_faults
from RobustART.training.cls_solver import main
from RobustART.training.inputs import build_dataset, clean_dataset
from tests.conftest import SIZE, make_picture, run_solver
from tests.sets import corruption_folders, wnid_folder


def tree(root, *files):
    """Makes images at the given places, empty folders where a place ends in a slash; returns the folder."""
    for i, file in enumerate(files):
        path = root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        if file.endswith("/"):
            path.mkdir()
        elif path.suffix in (".png", ".JPEG", ".gif"):
            Image.fromarray(make_picture(i, 32, 32)).save(path)
        else:
            path.write_text("no image")
    return root


def classes(root, *names):
    return tree(root, *(f"{name}/x.png" for name in names))


def labels_of(dataset):
    return {file.partition("/")[0]: label for file, label in zip(dataset.files, dataset.labels, strict=True)}


def as_torchvision(root):
    return ImageFolder(str(root), allow_empty=True).class_to_idx


# Which label a class folder has.


@pytest.mark.parametrize("numbers", [range(12), range(1000), (3, 17, 142), (0, 5), (2019, 2020)])
def test_numbers_are_the_labels(tmp_path, numbers):
    root = tmp_path / "numbers"
    for number in numbers:
        (root / str(number)).mkdir(parents=True)
        (root / str(number) / "x.png").touch()
    dataset = create_dataset(root_dir=root)
    assert labels_of(dataset) == {str(number): number for number in numbers}
    assert (dataset.class_names, dataset.labelled_by) == (None, NUMBERS)


@pytest.mark.parametrize("count", [1, 2, 12])
def test_numbers_from_one_are_asked_about(tmp_path, count):
    root = classes(tmp_path / "one", *map(str, range(1, count + 1)))
    with pytest.raises(DataError, match=f"are 1 to {count}, without 0.*Name them from 0.*data.test.classes: folder"):
        create_dataset(root_dir=root)
    assert labels_of(create_dataset(root_dir=root, classes="folder")) == as_torchvision(root)


@pytest.mark.parametrize(
    "names",
    [
        ["cat", "dog", "ant"],
        [f"{i:03d}" for i in range(12)],
        [f"{i:02d}" for i in range(1, 13)],
        ["0", "00"],
        ["-1", "0"],
        ["1.5", "2"],
        ["0", "1", "background"],
        ["n01440764", "n99999999"],
    ],
)
def test_other_names_are_numbered_in_their_order(tmp_path, names):
    root = classes(tmp_path / "names", *names)
    for chosen in (None, "folder"):
        dataset = create_dataset(root_dir=root, classes=chosen)
        assert labels_of(dataset) == as_torchvision(root)
        assert dataset.class_names == tuple(sorted(names))
        assert dataset.labelled_by == ORDER


def test_wordnet_ids_are_imagenets(tmp_path):
    root = wnid_folder(tmp_path / "wnids", [999, 0, 243, 7])
    dataset = create_dataset(root_dir=root)
    assert sorted(dataset.labels) == [0, 7, 243, 999]
    assert dataset.labelled_by == WNIDS
    ordered = create_dataset(root_dir=root, classes="folder")
    assert labels_of(ordered) == as_torchvision(root)
    assert ordered.labelled_by == ORDER


def test_folders_of_other_programs_are_no_classes(tmp_path):
    """One __MACOSX among WordNet ids gave every image another label."""
    root = wnid_folder(tmp_path / "wnids", [999, 0])
    for foreign in ("__MACOSX", "lost+found", "@eaDir"):
        (root / foreign).mkdir()
    dataset = create_dataset(root_dir=root)
    assert dataset.labels == (0, 999)
    assert "folders of other programs (3: @eaDir, __MACOSX, lost+found)" in dataset.note


def test_classes_is_of_class_folders_alone(tmp_path):
    (tmp_path / "list.txt").write_text("a.png 0")
    with pytest.raises(ConfigError, match="classes: folder numbers class folders; the data set meta_file has none"):
        create_dataset(meta_file=tmp_path / "list.txt", classes="folder")
    with pytest.raises(ConfigError, match="the data set fake has none"):
        create_dataset("fake", classes="folder")
    with pytest.raises(ConfigError, match=r"classes.*'folder'.*got 'folders'"):
        create_dataset(root_dir=classes(tmp_path / "x", "a"), classes="folders")


# A model of other classes than ImageNet's.


def test_a_label_beyond_the_outputs_says_what_to_do(tmp_path):
    """Imagenette and its like: ten classes of ImageNet and a network of ten outputs."""
    dataset = create_dataset(root_dir=wnid_folder(tmp_path / "wnids", [217, 482, 0]))
    message = (
        "has the label 217, but the model has 3 outputs.*of which there are 3. If these.*data.test.classes: folder"
    )
    with pytest.raises(DataError, match=message):
        check_labels(dataset, range(3), 3)
    with pytest.raises(
        DataError, match="of which there are 3$"
    ):  # the order of three folders is not that of ten outputs
        check_labels(dataset, range(3), 10)
    check_labels(dataset, range(3), 1000)
    numbers = create_dataset(root_dir=classes(tmp_path / "numbers", "7", "20", "300"))
    with pytest.raises(DataError, match=r"7/x.png of numbers has the label 7.*data.test.classes: folder"):
        check_labels(numbers, [2], 3)


def test_evaluation_and_training_by_the_order_of_folders(tmp_path, own_model, capsys):
    wnid_folder(tmp_path / "val", [217, 482, 0, 217], size=32)
    config = tmp_path / "config.yaml"
    text = f"""
model: {{type: "{own_model}:build", preprocessing: {{input_size: 32, resize: 32, mean: [0.5], std: [0.25]}}}}
optimizer: {{type: SGD}}
lr_scheduler: {{type: Step, kwargs: {{base_lr: 0.01, lr_steps: [], lr_mults: [], warmup_lr: 0.01, warmup_steps: 0, max_iter: 2}}}}
data:
  batch_size: 2
  num_workers: 0
  train: {{root_dir: val, TRAIN transforms: {{type: JUSTNORM}}}}
  test: {{root_dir: val, TEST}}
training: {{device: cpu}}
evaluation: {{device: cpu, workers: 0, benchmarks: {{clean: {{}}}}}}
"""
    for train, test in (("", ""), ("classes: folder,", ""), ("", "classes: folder")):
        config.write_text(text.replace("TRAIN", train).replace("TEST", test))
        assert main(["--config", str(config), "--check"]) != 0
        assert "data.test.classes: folder (and data.train.classes)" in capsys.readouterr().err
    config.write_text(text.replace("TRAIN", "classes: folder,").replace("TEST", "classes: folder"))
    done = run_solver(config)
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "results" / "report.json").read_text())
    assert report["conditions"]["data"] == [{"name": "val", "images": 4, "of": 4, "labels": ORDER}]


def test_a_config_takes_folder_alone(tmp_path, small_config):
    section = load_config(small_config).data.test
    names = clean_dataset(load_config(small_config), tmp_path).class_names
    assert build_dataset(dataclasses.replace(section, classes="folder"), tmp_path, "data.test").class_names == names
    small_config.write_text(small_config.read_text().replace("root_dir: photos", "root_dir: photos, classes: folders"))
    with pytest.raises(ConfigError, match=r"data\.test\.classes must be .*'folder'.*got 'folders'"):
        load_config(small_config)


def test_two_data_sets_of_a_run_number_a_folder_in_one_way(tmp_path, model):
    names = [str(i) for i in range(12)]
    numbers = create_dataset(root_dir=classes(tmp_path / "numbers", *names))
    ordered = create_dataset(root_dir=tmp_path / "numbers", classes="folder")
    check_same_classes([numbers, numbers, create_dataset(root_dir=classes(tmp_path / "more", "3", "20"))])
    with pytest.raises(
        DataError, match=r"folder 10 has the label 10 in numbers \(numbers of the .*\) but 2 in numbers"
    ):
        check_same_classes([numbers, ordered])
    (tmp_path / "list.txt").write_text("".join(f"{i}/x.png {i % 2}\n" for i in range(2)) + "many/a 0\nmany/b 1\n")
    check_same_classes([numbers, create_dataset(meta_file=tmp_path / "list.txt")])
    photos = create_dataset(root_dir=wnid_folder(tmp_path / "val", [217, 482, 0]), classes="folder")
    options = {
        "root_dir": str(corruption_folders(tmp_path / "c", [("fog", 1)])),
        "corruptions": ["fog"],
        "severities": [1],
    }
    with pytest.raises(DataError, match="class folder n01440764|has the label"):
        evaluate(model, photos, {"clean": {}, "imagenet_c": options}, output_dir=tmp_path / "out")


# The report says which rule was used and what was left out.


@pytest.mark.parametrize(
    ("names", "rule"), [(["0", "1", "2"], NUMBERS), (["a", "b", "c"], ORDER), (["n01440764", "n01443537"], WNIDS)]
)
def test_the_rule_is_in_the_report(tmp_path, model, names, rule):
    dataset = create_dataset(root_dir=classes(tmp_path / "photos", *names))
    report = evaluate(model, dataset, {"clean": {}}, output_dir=tmp_path / "out")
    assert report.data["conditions"]["data"][0]["labels"] == rule
    assert report.data["warnings"] == []
    assert not list(report_faults(report.data))
    assert rule.replace("'", "&#39;") in (tmp_path / "out" / "results" / "report.html").read_text()


LEFT_OUT = (
    "birds/a.gif",
    "birds/b.gif",
    "empty/",
    "cats/a.png",
    "cats/.DS_Store",
    "cats/.hidden.png",
    "cats/notes.TXT",
    "cats/README",
    "cats/.cache/a.png",
    "dogs/deep/a.png",
    "__MACOSX/cats/._a.png",
    "beside.png",
    "labels.csv",
    ".git/",
)
NOTE = (
    "not all in photos is read; left out are class folders without an image (2: birds, empty), files of other kinds (4: "
    "2 .gif, .txt, no suffix), folders of other programs (1: __MACOSX), hidden files (2), hidden folders (2), images "
    "beside the class folders (1)"
)


def test_what_is_left_out_is_a_warning_with_counts(tmp_path, own_model):
    dataset = create_dataset(root_dir=tree(tmp_path / "photos", *LEFT_OUT))
    assert dataset.files == ("cats/a.png", "dogs/deep/a.png")
    assert labels_of(dataset) == {"cats": 1, "dogs": 2}  # empty class folders keep their number
    assert dataset.note == NOTE
    model = create_model(f"{own_model}:build", preprocessing=SIZE, classes=4)
    report = evaluate(model, dataset, {"clean": {}}, output_dir=tmp_path / "out")
    assert report.data["warnings"] == [NOTE]
    assert NOTE in (tmp_path / "out" / "results" / "report.md").read_text()


def test_of_many_suffixes_some_are_named(tmp_path):
    root = tree(tmp_path / "photos", "a/a.png", *(f"a/x.{i}" for i in range(100)))
    assert create_dataset(root_dir=root).note.endswith(
        "files of other kinds (100: .0, .1, .10, .11, .12, ... (100 in all))"
    )


def test_a_folder_without_images_says_what_is_there(tmp_path):
    with pytest.raises(DataError, match=r"hold no images .*: .*files of other kinds \(2: 2 \.gif\)"):
        create_dataset(root_dir=tree(tmp_path / "photos", "a/a.gif", "a/b.gif"))


def test_published_sets_count_what_is_left_out(tmp_path, model):
    wnid_folder(tmp_path / "a", [6, 11])
    tree(tmp_path / "a", f"{imagenet_wnids()[6]}/x.gif")
    part = build_benchmark("imagenet_a", None, {"root_dir": str(tmp_path / "a")}).passes[0]
    assert part.dataset.note == "not all in ImageNet-A is read; left out are files of other kinds (1: .gif)"
    corruption_folders(tmp_path / "c", [("fog", 1), ("fog", 2)])
    for level in (1, 2):
        tree(tmp_path / "c/fog" / str(level), f"{imagenet_wnids()[0]}/.x.png", f"{imagenet_wnids()[0]}/deep/x.png")
    options = {"root_dir": str(tmp_path / "c"), "corruptions": ["fog"], "severities": [1, 2]}
    part = build_benchmark("imagenet_c", None, options).passes[0]
    assert part.dataset.note == (
        "not all in ImageNet-C is read; left out are folders in class folders (2), hidden files (2)"
    )
    tree(tmp_path / "v2", "0/a.png", "10/a.png", "10/a.txt")
    part = build_benchmark("imagenet_v2", None, {"root_dir": str(tmp_path / "v2")}).passes[0]
    assert part.dataset.note == "not all in ImageNet-V2 is read; left out are files of other kinds (1: .txt)"


# Links.


def test_links_to_folders_are_followed_as_in_torchvision(tmp_path):
    root = tree(tmp_path / "photos", "a/own.png", "a/deep/x.png", "b/x.png")
    tree(tmp_path / "elsewhere", "one.png", "more/two.png")
    (root / "a" / "link").symlink_to(tmp_path / "elsewhere")
    (root / "c").symlink_to(tmp_path / "elsewhere" / "more")
    dataset = create_dataset(root_dir=root)
    theirs = ImageFolder(str(root)).samples
    assert sorted(zip(dataset.files, dataset.labels, strict=True)) == sorted(
        (os.path.relpath(path, root), label) for path, label in theirs
    )
    assert dataset.note == ""


def test_links_in_a_circle_end(tmp_path):
    root = tree(tmp_path / "photos", "a/deep/x.png", "b/y.png")
    (root / "a" / "up").symlink_to(root / "a")
    (root / "a" / "root").symlink_to(root)
    (root / "a" / "first").symlink_to(root / "a" / "deep")
    (root / "b" / "itself").symlink_to(root / "b" / "itself")
    dataset = create_dataset(root_dir=root)
    assert dataset.files == ("a/deep/x.png", "a/root/b/y.png", "b/y.png")
    assert "links to folders that are read already (3)" in dataset.note


def test_links_that_would_double_at_every_step_end(tmp_path):
    for i in range(40):
        tree(tmp_path / str(i), "x.png")
        for name in ("left", "right"):
            (tmp_path / str(i) / name).symlink_to(tmp_path / str(i + 1))
    (tmp_path / "40").mkdir()
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a").symlink_to(tmp_path / "0")
    dataset = create_dataset(root_dir=tmp_path / "photos")
    assert len(dataset) == 40
    assert dataset == create_dataset(root_dir=tmp_path / "photos")


# Lists.


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize(
    "text", ["ä b.png 0\r\nc.png 1\r\n", '{"filename": "ä b.png", "label": 0}\n{"filename": "c.png", "label": 1}']
)
def test_a_list_with_a_byte_order_mark_reads(tmp_path, text, encoding):
    mark = {"utf-16-le": codecs.BOM_UTF16_LE, "utf-16-be": codecs.BOM_UTF16_BE}.get(encoding, b"")
    (tmp_path / "list.txt").write_bytes(mark + text.encode(encoding))
    dataset = create_dataset(meta_file=tmp_path / "list.txt")
    assert (dataset.files, dataset.labels) == (("ä b.png", "c.png"), (0, 1))
    assert dataset.labelled_by == "list list.txt"


def test_a_list_is_a_file_of_text(tmp_path):
    os.mkfifo(tmp_path / "pipe.txt")
    (tmp_path / "zero.txt").symlink_to("/dev/zero")
    np.save(tmp_path / "array.npy", np.full(9, 200, np.uint8))
    for name, kind in (
        ("pipe.txt", "it is a pipe"),
        ("zero.txt", "it is a device"),
        ("array.npy", "codec can't decode"),
    ):
        with pytest.raises(DataError, match=rf"the list of images .*{name} cannot be read: .*{kind}"):
            create_dataset(meta_file=tmp_path / name)
