"""One small run that every section of a page comes from, and a reader of pages."""

import copy
import json
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from RobustART.data import create_dataset
from RobustART.evaluation import evaluate
from tests.conftest import make_picture

STAGES = {"square": {"steps": 5}, "apgd_ce": {"steps": 2}}
SHORT = {"version": "custom", "attacks": ["apgd_ce", "square"], "checks": False, "stage_options": STAGES}
BENCHMARKS = {
    "clean": {},
    "imagenet_c": {"corruptions": ["gaussian_noise", "pixelate", "fog"], "severities": [1, 3]},
    "imagenet_s": {"decoders": ["pil"], "resizes": ["pil-bilinear", "pil-nearest", "opencv-area"]},
    "adversarial": {
        "attacks": ["fgsm", "pgd_l2", {"autoattack_linf": SHORT}],
        "eps": {"Linf": ["1/255", "4/255"], "L2": [0.1, 1]},
    },
}
PREPROCESSING = {"input_size": 32, "resize": 36, "mean": [0.5] * 3, "std": [0.25] * 3}


class Tiny(nn.Module):
    """Seeded, and quick."""

    def __init__(self, seed=1, width=8):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.layers = nn.Sequential(
                nn.Conv2d(3, width, 3, stride=2),
                nn.ReLU(),
                nn.AdaptiveAvgPool2d(2),
                nn.Flatten(),
                nn.Linear(4 * width, 3),
            )

    def forward(self, images):
        return 8 * self.layers(images)


@pytest.fixture(scope="session")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for i in range(12):
        path = folder / f"class_{i % 3}" / f"{i}.jpg"
        path.parent.mkdir(exist_ok=True)
        noise = np.random.default_rng(i).integers(-20, 21, (40, 52, 3))
        Image.fromarray((make_picture(i) + noise).clip(0, 255).astype(np.uint8)).save(path, quality=92)
    return create_dataset(root_dir=folder)


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory, photos):
    """The output folder of a run; not to be changed."""
    folder = tmp_path_factory.mktemp("run")
    evaluate(Tiny(), photos, BENCHMARKS, output_dir=folder, preprocessing=PREPROCESSING, batch_size=12, progress=False)
    return folder


@pytest.fixture
def report(run_folder):
    return json.loads((run_folder / "results" / "report.json").read_text())


@pytest.fixture
def make_run(tmp_path, report):
    """Writes a variant of the run's report into a folder of its own, and returns the folder's name."""

    def make(name, change=lambda data: None):
        data = copy.deepcopy(report)
        change(data)
        (tmp_path / name / "results").mkdir(parents=True)
        (tmp_path / name / "results" / "report.json").write_text(json.dumps(data))
        return str(tmp_path / name)

    return make


class Element:
    def __init__(self, name, attributes):
        self.name, self.attributes, self.children = name, attributes, []

    @property
    def text(self):
        parts = (child if isinstance(child, str) else child.text for child in self.children)
        return "".join(parts).strip()

    def find(self, name, **wanted):
        """All elements below of a name, in the order of the page."""
        found = []
        for child in self.children:
            if isinstance(child, Element):
                if child.name == name and all(child.attributes.get(k.strip("_")) == v for k, v in wanted.items()):
                    found.append(child)
                found += child.find(name, **wanted)
        return found

    def all(self):
        return [self, *(inner for child in self.children if isinstance(child, Element) for inner in child.all())]


class Page(HTMLParser):
    """Reads a page into a tree; an element that is not closed, or closed twice, is an error."""

    VOID = ("meta", "wbr", "img", "input", "br", "link")

    def __init__(self, text):
        super().__init__()
        self.root = Element("root", {})
        self.open = [self.root]
        self.feed(text)
        self.close()
        assert len(self.open) == 1, [element.name for element in self.open]

    def handle_starttag(self, tag, attributes):
        assert len({name for name, _ in attributes}) == len(attributes), (tag, attributes)
        element = Element(tag, dict(attributes))
        self.open[-1].children.append(element)
        if tag not in self.VOID:
            self.open.append(element)

    def handle_startendtag(self, tag, attributes):
        self.open[-1].children.append(Element(tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop().name == tag

    def handle_data(self, data):
        self.open[-1].children.append(data)


def read_page(text):
    return Page(text).root


def table(page, caption):
    """The rows of the tables whose caption begins so: name of the row, and its cells."""
    found = [t for t in page.find("table") if t.find("caption")[0].text.startswith(caption)]
    assert found, caption
    rows = [row for t in found for row in t.find("tbody")[0].find("tr") if row.attributes.get("class") != "group"]
    return [(row.find("th")[0].text, row.find("td")) for row in rows]


def shown(estimate):
    """How value and interval of an estimate must be written."""
    if estimate["value"] is None:
        return f"undefined {estimate['reason']}"
    if estimate["low"] is None:
        return f"{estimate['value']:.2f}"
    return f"{estimate['value']:.2f} [{estimate['low']:.2f}, {estimate['high']:.2f}]"
