"""Images of other libraries: torch data sets and loaders, pairs of images and labels, and what their transforms did."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset, WeightedRandomSampler
from torchvision import transforms as T
from torchvision.datasets import CIFAR10, MNIST, ImageFolder
from torchvision.transforms import v2

from RobustART.data import GivenDataset, ImageDataset, array_dataset, as_dataset, create_dataset
from RobustART.data.imagenet import ORDER
from RobustART.errors import ConfigError, DataError, RecordError
from RobustART.evaluation import evaluate
from tests.conftest import ROOT, make_picture, solver_environ

PICTURES = [make_picture(i, 32, 32) for i in range(12)]
LABELS = [i % 3 for i in range(12)]
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.247, 0.2435, 0.2616)


class Pictures(Dataset):
    """As torchvision's: PIL images, with a transform."""

    def __init__(self, transform=None, target_transform=None, as_dict=False):
        self.transform, self.target_transform, self.as_dict = transform, target_transform, as_dict

    def __len__(self):
        return 12

    def __getitem__(self, i):
        image, label = Image.fromarray(PICTURES[i]), LABELS[i]
        image = self.transform(image) if self.transform else image
        label = self.target_transform(label) if self.target_transform else label
        return {"image": image, "label": label, "file": i} if self.as_dict else (image, label)


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 3)
    )


def pixels(dataset):
    return np.stack([dataset.read(i) for i in range(len(dataset))])


def to_tensors(*more):
    return T.Compose([T.ToTensor(), *more])


batch = torch.from_numpy(np.stack(PICTURES)).permute(0, 3, 1, 2)
FORMS = {
    "tensor": (batch, torch.tensor(LABELS)),
    "floats": (batch / 255, LABELS),
    "floats to 255": (batch.float(), LABELS),
    "half": ((batch / 255).half(), LABELS),
    "array": (np.stack(PICTURES), np.array(LABELS)),
    "channels first": (batch.numpy(), LABELS),
    "pil": ([Image.fromarray(picture) for picture in PICTURES], LABELS),
    "pairs": list(zip(PICTURES, LABELS, strict=True)),
    "tensors": TensorDataset(batch, torch.tensor(LABELS)),
    "items": Pictures(),
    "mappings": Pictures(as_dict=True),
    "ToTensor": Pictures(to_tensors()),
    "Normalize": Pictures(to_tensors(T.Normalize(MEAN, STD))),
    "v2": Pictures(v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)])),
    "uint8 v2": Pictures(v2.ToImage()),
    "loader": DataLoader(Pictures(to_tensors()), batch_size=5, shuffle=True, drop_last=True),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_has_the_same_pixels_and_labels(form):
    dataset = as_dataset(FORMS[form])
    assert np.array_equal(pixels(dataset), np.stack(PICTURES))
    assert dataset.labels == tuple(LABELS)
    assert dataset.files == tuple(f"{i:06d}" for i in range(12))
    assert dataset.form.side == 32
    assert "32 x 32" in dataset.pixels
    assert dataset.sample(1, lambda image: image).digest == array_dataset(PICTURES, LABELS).sample(1, np.copy).digest


def loop(model, dataset):
    with torch.inference_mode():
        return torch.cat([model(images).argmax(1) for images, _ in DataLoader(dataset, batch_size=5)]).tolist()


@pytest.mark.parametrize(
    "transform",
    [
        to_tensors(),
        to_tensors(T.Normalize(MEAN, STD)),
        T.Compose([T.Resize(28), T.CenterCrop(24), T.ToTensor(), T.Normalize((0.5,) * 3, (0.25,) * 3)]),
    ],
)
def test_a_plain_network_gets_what_its_own_loop_gives_it(tmp_path, transform):
    """Size, mean and std are the transform's: ImageNet's, on images enlarged to 224, would be numbers of another model."""
    model, data = network().eval(), Pictures(transform)
    report = evaluate(model, data, {"clean": {}}, output_dir=tmp_path, batch_size=5, progress=False)
    lines = (tmp_path / "results" / "clean.jsonl").read_text().splitlines()
    assert [json.loads(line)["prediction"][0] for line in lines[1:]] == loop(model, data)
    stated = json.loads(lines[0])["conditions"]
    side = transform(Image.fromarray(PICTURES[0])).shape[1]
    assert stated["preprocessing"]["input_size"] == side
    assert f"float32 tensors of {side} x {side}" in stated["data"][0]["pixels"]
    assert "ToTensor()" in stated["data"][0]["pixels"]
    assert stated["data"][0]["pixels"].endswith("given to the model as they are")
    assert report.data["conditions"]["data"][0]["pixels"] == stated["data"][0]["pixels"]
    assert "images as" in (tmp_path / "results" / "report.html").read_text()
    assert any("the model states no preprocessing, and has that of the data" in w for w in report.data["warnings"])


def test_a_classifier_keeps_its_own_normalisation(tmp_path, model):
    model.notes = ()
    data = Pictures(to_tensors(T.Normalize(MEAN, STD)))
    report = evaluate(model, data, {"clean": {}}, output_dir=tmp_path, progress=False)
    plain = array_dataset(PICTURES, LABELS)
    same = {"resize": 32}
    other = evaluate(model, plain, {"clean": {}}, output_dir=tmp_path / "b", progress=False, preprocessing=same)
    assert report.data["benchmarks"]["clean"]["metrics"] == other.data["benchmarks"]["clean"]["metrics"]
    assert any("Pictures normalises with mean [0.4914" in warning for warning in report.data["warnings"])
    assert model.notes == ()


def test_images_of_another_size_than_the_classifier_takes(tmp_path, model):
    data = Pictures(T.Compose([T.Resize(24), T.ToTensor()]))
    with pytest.raises(ConfigError, match=r"are float32 tensors of 24 x 24.*but the model takes 32 x 32.*'resize': 24"):
        evaluate(model, data, {"clean": {}}, output_dir=tmp_path)
    chosen = {"input_size": 32, "resize": 32}
    evaluate(model, data, {"clean": {}}, output_dir=tmp_path, preprocessing=chosen, progress=False)
    stated = json.loads((tmp_path / "results" / "clean.jsonl").read_text().splitlines()[0])["conditions"]
    assert stated["data"][0]["pixels"].endswith("resized and cropped as the model's preprocessing says")


@pytest.mark.parametrize(
    "transform",
    [
        T.Compose([T.RandomHorizontalFlip(), T.ToTensor()]),
        T.Compose([T.RandomApply([T.Grayscale(3)], p=0.01), T.ToTensor()]),
        v2.Compose([v2.ToImage(), v2.RandomErasing(0.1)]),
        lambda image: np.asarray(image) // np.uint8(np.random.randint(1, 3)),
        lambda image: T.functional.to_tensor(image) * torch.rand(1),
    ],
)
def test_a_random_transform_is_refused(transform):
    with pytest.raises(ConfigError, match=r"random.*no number could be computed again"):
        as_dataset(Pictures(transform))
    with pytest.raises(ConfigError, match="random"):
        as_dataset(Subset(Pictures(transform), [3]))


def test_a_random_transform_that_never_acts():
    assert len(as_dataset(Pictures(T.Compose([T.RandomHorizontalFlip(p=0), T.ToTensor()])))) == 12


def test_an_image_folder_is_read_from_its_files(photo_folder):
    folder = ImageFolder(str(photo_folder))
    dataset, files = as_dataset(folder), create_dataset(root_dir=photo_folder, classes="folder")
    assert type(dataset) is ImageDataset
    assert dataset == files
    assert dataset.labelled_by == ORDER
    some = as_dataset(Subset(Subset(folder, [0, 5, 7, 9]), [3, 1]))
    assert (some.files, some.labels) == ((files.files[9], files.files[5]), (files.labels[9], files.labels[5]))
    assert as_dataset(str(photo_folder)) == create_dataset(root_dir=photo_folder)


def test_an_image_folder_with_a_transform_keeps_its_names(photo_folder):
    folder = ImageFolder(str(photo_folder), T.Compose([T.Resize((32, 32)), T.ToTensor()]))
    dataset = as_dataset(Subset(folder, range(2, 6)))
    assert dataset.files == create_dataset(root_dir=photo_folder).files[2:6]
    assert dataset.class_names == ("class_0", "class_1", "class_2")
    assert "Resize(size=(32, 32)" in dataset.pixels


def test_labels_are_those_of_the_items():
    data = Pictures(to_tensors(), target_transform=lambda label: 2 - label)
    assert as_dataset(data).labels == tuple(2 - label for label in LABELS)
    data.targets = LABELS  # the transform applies to these too
    assert as_dataset(data).labels == tuple(2 - label for label in LABELS)
    data.target_transform, data.targets = None, [0] * 12
    assert as_dataset(data).labels == tuple(LABELS)
    changed = as_dataset(Pictures(to_tensors()))
    changed.source.target_transform = lambda label: label + 1
    with pytest.raises(DataError, match="000000 of Pictures has the label 1 now, but had 0 before the run"):
        changed.read(0)


def test_loaders():
    data = Pictures(to_tensors())
    subset = DataLoader(data, sampler=torch.utils.data.SubsetRandomSampler([5, 2, 9]))
    assert as_dataset(subset).files == ("000002", "000005", "000009")
    for loader, message in (
        (DataLoader(data, collate_fn=list), "collate_fn"),
        (DataLoader(data, sampler=WeightedRandomSampler([1.0] * 12, 12)), "WeightedRandomSampler"),
        (DataLoader(data, batch_sampler=[[0], [1]]), "batch_sampler"),
        (DataLoader(Stream()), "IterableDataset"),
        (Stream(), "IterableDataset"),
    ):
        with pytest.raises(ConfigError, match=message):
            as_dataset(loader)


class Stream(IterableDataset):
    def __iter__(self):
        return iter(Pictures())


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (5, "must be a data set of RobustART"),
        ([1, 2, 3], r"item 0 of list must be \(image, label\)"),
        ([Image.fromarray(PICTURES[0])] * 3, r"item 0 of list must be \(image, label\)"),
        ((batch, LABELS[:3]), "12 images but 3 labels"),
        ((batch / 255 * 3 - 1, LABELS), r"have values from -1 to 2; images must be PIL.*leave that out of the data"),
        ((batch * float("nan"), LABELS), "not finite"),
        ((batch.int() * 3, LABELS), "integers from 0 to 765"),
        ((torch.zeros(3, 5, 8, 8), [0] * 3), r"uint8 or float in \[0, 1\], got float32 tensors of shape \(5, 8, 8\)"),
        ((batch, torch.rand(12)), "must be integers from 0"),
        ([(PICTURES[0], 0), (batch[0] / 255, 1)], "must have one type, got float32 tensors and uint8 arrays"),
        ([("a.png", 0), ("b.png", 1)], "got str"),
    ],
)
def test_what_is_refused(data, message):
    with pytest.raises((ConfigError, DataError), match=message):
        as_dataset(data)


def test_an_item_that_cannot_be_read(tmp_path):
    class Broken(Pictures):
        def __getitem__(self, i):
            if i == 7:
                raise KeyError("gone")
            return super().__getitem__(i)

    with pytest.raises(DataError, match="item 7 of Broken cannot be read: KeyError: 'gone'"):
        as_dataset(Broken())


def test_a_later_image_outside_the_range():
    images = torch.rand(200, 3, 8, 8)
    images[1] = 2
    dataset = as_dataset((images, [0] * 200))
    with pytest.raises(DataError, match="000001 of images has values outside the range"):
        dataset.read(1)


def test_rounding_is_stated():
    assert "rounded to 8 bits" in as_dataset((torch.rand(4, 3, 8, 8), [0] * 4)).pixels
    assert "rounded" not in as_dataset(FORMS["Normalize"]).pixels


@pytest.mark.parametrize("kind", [CIFAR10, MNIST])
def test_torchvisions_own(tmp_path, kind):
    """Their images, labels and class names, with and without transforms."""
    data = object.__new__(kind)
    data.root, data.train, data.transforms, data.transform, data.target_transform = tmp_path, False, None, None, None
    grey = torch.from_numpy(np.stack(PICTURES)[..., 0].copy())
    data.data = np.stack(PICTURES) if kind is CIFAR10 else grey
    data.targets = LABELS if kind is CIFAR10 else torch.tensor(LABELS)
    data.transform = T.ToTensor()
    if kind is CIFAR10:
        data.classes = [f"class {i}" for i in range(10)]
    dataset = as_dataset(data)
    wanted = np.stack(PICTURES) if kind is CIFAR10 else np.stack([grey] * 3, axis=-1)
    assert np.array_equal(pixels(dataset), wanted)
    assert dataset.labels == tuple(LABELS)
    assert len(dataset.class_names) == 10
    assert isinstance(dataset, GivenDataset)


def run(folder, workers=0):
    options = {"clean": {}, "imagenet_c": {"corruptions": ["fog"], "severities": [3]}}
    data = Pictures(to_tensors())
    evaluate(network(), data, options, output_dir=folder, workers=workers, batch_size=4, progress=False)


def files(folder, *names):
    return [(folder / "results" / f"{name}.jsonl").read_bytes() for name in names or ("clean", "imagenet_c")]


def test_files_are_equal_for_any_number_of_processes(tmp_path):
    run(tmp_path / "one")
    run(tmp_path / "workers", workers=2)
    (tmp_path / "run.py").write_text("import sys\nfrom tests.data.test_given import run\nrun(sys.argv[1])\n")
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    done = subprocess.run(
        [*launch, str(tmp_path / "run.py"), str(tmp_path / "two")],
        env=solver_environ(PYTHONPATH=str(ROOT)), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert files(tmp_path / "one") == files(tmp_path / "workers") == files(tmp_path / "two")


def test_resuming_and_subsets(tmp_path, monkeypatch):
    def go(data):
        run = {"output_dir": tmp_path, "limit": 6, "batch_size": 2, "progress": False}
        return evaluate(network(), data, {"clean": {}}, **run)

    assert go(Pictures(to_tensors())).data["conditions"]["data"][0]["images"] == 6
    before = files(tmp_path, "clean")
    go(DataLoader(Pictures(to_tensors()), shuffle=True))
    assert files(tmp_path, "clean") == before
    with pytest.raises(RecordError, match="pixels"):
        go(Pictures(T.Compose([T.Grayscale(3), T.ToTensor()])))
    monkeypatch.setattr("tests.data.test_given.PICTURES", PICTURES[::-1])
    with pytest.raises(RecordError, match="digest|changed|other"):
        go(Pictures(to_tensors()))
