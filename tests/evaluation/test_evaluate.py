"""The engine and the report: each image once, exact records, and errors that name the image and the cell."""

import json
from collections import Counter

import numpy as np
import pytest
import torch
from torch import nn

from RobustART.benchmarks import build_benchmark, clean_view
from RobustART.core.seeding import image_seeds
from RobustART.data import create_dataset
from RobustART.errors import ConfigError, DataError, ModelError
from RobustART.evaluation import Cell, evaluate
from RobustART.evaluation.engine import grid
from RobustART.evaluation.scoring import score, to_float
from RobustART.models import create_model, wrap_model
from RobustART.noise.attacks import pgd_linf
from RobustART.records.lines import read_records
from RobustART.report.build import chance_warning
from tests.conftest import SIZE


def rows(folder, benchmark):
    return [json.loads(line) for line in (folder / "results" / f"{benchmark}.jsonl").read_text().splitlines()[1:]]


def test_records_equal_a_plain_loop(tmp_path, data, model):
    evaluate(model, data, {"clean": {}}, output_dir=tmp_path, batch_size=5, progress=False)
    images = torch.stack([torch.from_numpy(image) for image in data.images]).permute(0, 3, 1, 2) / 255
    with torch.inference_mode():
        probability = model(images).softmax(1)
    for i, row in enumerate(rows(tmp_path, "clean")):
        assert (row["id"], row["file"], row["label"]) == (i, f"{i:06d}", i % 3)
        assert row["prediction"] == [int(probability[i].argmax())]
        assert row["confidence"][0] == pytest.approx(float(probability[i].max()), abs=1e-6)
        assert row["label_rank"] == [int((probability[i] > probability[i, i % 3]).sum())]


def test_attack_cells_equal_the_attack_on_the_correct_images(tmp_path, data, model):
    options = {"attacks": [{"pgd_linf": {"steps": 3}}], "eps": [2 / 255], "stop": None}
    evaluate(model, data, {"adversarial": options}, output_dir=tmp_path, batch_size=12, seed=7, progress=False)
    images = torch.stack([torch.from_numpy(image) for image in data.images]).permute(0, 3, 1, 2).contiguous() / 255
    labels = torch.tensor(data.labels)
    with torch.inference_mode():
        right = model(images).argmax(1) == labels
    assert 0 < right.sum() < 12
    ids = right.nonzero().flatten().tolist()
    seeds = image_seeds(7, ids, "pgd_linf/2/255")
    attacked = pgd_linf(model, images[right], labels[right], eps=2 / 255, steps=3, seeds=seeds)
    with torch.inference_mode():
        after = model(attacked).argmax(1).tolist()
    table = rows(tmp_path, "adversarial")
    assert [table[i]["prediction"][1] for i in ids] == after
    for i in set(range(12)) - set(ids):
        assert table[i]["prediction"][0] == table[i]["prediction"][1]


def test_views_see_the_same_noise_in_any_grid(tmp_path, data, model):
    options = {"corruptions": ["gaussian_noise"], "severities": [5]}
    for batch_size in (1, 7):
        evaluate(
            model,
            data,
            {"imagenet_c": options},
            output_dir=tmp_path / str(batch_size),
            batch_size=batch_size,
            progress=False,
        )
    one, seven = rows(tmp_path / "1", "imagenet_c"), rows(tmp_path / "7", "imagenet_c")
    assert [row["prediction"] for row in one] == [row["prediction"] for row in seven]
    assert [row["confidence"][0] for row in one] == pytest.approx([row["confidence"][0] for row in seven], abs=1e-6)


class Counted(nn.Module):
    """Counts forward passes by image."""

    def __init__(self, inner):
        super().__init__()
        self.inner, self.images = inner, 0
        self.preprocessing = inner.preprocessing

    def forward(self, images):
        self.images += len(images)
        return self.inner.network(images)


ASKED = 4 * 8
"""Images by which a model is asked whether its answers are steady: eight twice, alone, and in another order."""


def test_finished_images_are_not_computed_again(tmp_path, data, model):
    counted = Counted(model)
    report = evaluate(counted, data, {"clean": {}}, output_dir=tmp_path, batch_size=4, progress=False)
    assert counted.images == 12 + 1 + ASKED  # the images, and one to ask for the classes
    path = tmp_path / "results" / "clean.jsonl"
    whole = path.read_bytes()
    counted.images = 0
    again = evaluate(counted, data, {"clean": {}}, output_dir=tmp_path, batch_size=4, progress=False)
    assert counted.images == 1
    assert path.read_bytes() == whole
    path.write_bytes(whole[:-30])
    counted.images = 0
    third = evaluate(counted, data, {"clean": {}}, output_dir=tmp_path, batch_size=4, progress=False)
    assert counted.images == 4 + 1 + ASKED
    assert path.read_bytes() == whole
    for other in (again, third):
        assert {k: v for k, v in other.data.items() if k != "timing"} == {
            k: v for k, v in report.data.items() if k != "timing"
        }
    counted.images = 0
    evaluate(counted, data, {"clean": {}}, output_dir=tmp_path, batch_size=4, progress=False, fresh=True)
    assert counted.images >= 12 + 1
    assert path.read_bytes() == whole


def test_each_benchmark_says_its_time_and_passes(tmp_path, data, model):
    """A run that goes on tells how much it computed; what nothing is left to do of keeps the time of the run that did it."""
    both = {"clean": {}, "adversarial": {"attacks": ["fgsm"], "eps": [2 / 255, 8 / 255]}}

    def timings(benchmarks):
        report = evaluate(model, data, benchmarks, output_dir=tmp_path, batch_size=4, progress=False)
        return report.data["timing"], report.data["benchmarks"]

    first, entries = timings(both)
    for name, timing in first["benchmarks"].items():
        assert (timing["images"], timing["images_computed"]) == (12, 12), name
        assert timing["images_per_second"] == pytest.approx(12 / timing["wall_seconds"], rel=0.1)
    assert sum(timing["wall_seconds"] for timing in first["benchmarks"].values()) <= first["wall_seconds"] + 0.01
    assert entries["clean"]["cost"] == {"forward": 12, "backward": 0}
    spent = entries["adversarial"]["passes"].values()
    assert entries["adversarial"]["cost"] == {
        "forward": 12 + sum(cost["forward"] for cost in spent), "backward": sum(cost["backward"] for cost in spent),
    }  # fmt: skip
    assert entries["adversarial"]["cost"]["backward"] > 0
    path = tmp_path / "results" / "clean.jsonl"
    path.write_bytes(path.read_bytes()[:-30])
    second, _ = timings({**both, "imagenet_c": {"corruptions": ["fog"], "severities": [1, 2]}})
    clean, fog = second["benchmarks"]["clean"], second["benchmarks"]["imagenet_c"]
    assert (clean["images"], clean["images_computed"], fog["images_computed"]) == (12, 4, 12)
    assert second["images_computed"] == 16
    assert second["benchmarks"]["adversarial"] == first["benchmarks"]["adversarial"]
    assert "| clean | 12 | 4 |" in (tmp_path / "results" / "report.md").read_text()
    for name in ("run.json", "report.json"):
        (tmp_path / "results" / name).unlink()
    third, entries = timings({"imagenet_c": {"corruptions": ["fog"], "severities": [1, 2]}})
    assert (
        third["benchmarks"]["imagenet_c"]["images_computed"]
        == third["benchmarks"]["imagenet_c"]["images_per_second"]
        == 0
    )
    assert entries["imagenet_c"]["cost"] == {"forward": 24, "backward": 0}
    assert "| imagenet_c | 12 | 0 |  |  | 24 | 0 |" in (tmp_path / "results" / "report.md").read_text()


def test_limit_takes_a_balanced_subset_and_says_so(tmp_path, data, model):
    report = evaluate(model, data, {"clean": {}}, output_dir=tmp_path, limit=6, progress=False)
    assert Counter(row["label"] for row in rows(tmp_path, "clean")) == {0: 2, 1: 2, 2: 2}
    assert report.data["conditions"]["data"] == [{"name": "arrays", "images": 6, "of": 12}]
    assert "6 of 12 images" in report.text()
    assert "class-balanced" in report.markdown()


def test_grid_covers_each_image_once_in_full_batches():
    ids = list(range(50))
    cells = [Cell(f"fog/{i}", lambda sample, rng: None) for i in range(95)]
    for batch_size in (1, 16, 64, 256):
        for some in (cells[:1], cells[:13], cells):
            blocks = grid(ids, some, batch_size)
            assert [i for block in blocks for i in block] == ids
            views = len(blocks[0]) * len(some)
            assert views <= 5 * batch_size + len(some)
    shared = [Cell("clean", clean_view), Cell("fgsm/8/255", clean_view, attack=pgd_linf)]
    assert len(grid(ids, shared, 16)[0]) == 16


def test_score_by_hand():
    logits = torch.tensor([[1.0, 3.0, 3.0, 0.0], [5.0, 1.0, 2.0, 0.0]])
    prediction, confidence, rank = score(logits, torch.tensor([2, 3]))
    assert prediction.tolist() == [1, 0]
    assert rank.tolist() == [1, 3]
    assert confidence.tolist() == pytest.approx(logits.double().softmax(1).amax(1).tolist())
    prediction, confidence, rank = score(logits, torch.tensor([2, 3]), torch.tensor([2, 3]))
    assert prediction.tolist() == [2, 2]
    assert rank.tolist() == [0, 1]
    assert confidence.tolist() == pytest.approx([1 / (1 + np.exp(-3)), 1 / (1 + np.exp(-2))])
    assert score(logits, torch.tensor([0, 3]), torch.tensor([2, 3]))[2].tolist() == [2, 1]


def test_to_float_is_exact():
    pixels = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16, 1).repeat(1, 1, 1, 3)
    images = to_float(pixels)
    assert images.shape == (1, 3, 16, 16)
    assert torch.equal(images[0, 1].flatten(), torch.arange(256) / 255)
    assert images.is_contiguous()


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("tuple", r"must return logits as a tensor \(N, K\), got tuple. Wrap it .*\[0\]"),
        ("map", r"must return logits of shape \(1, K\) with K of at least 2, got float32 \(1, 3, 1\)"),
        ("nan", r"nan or infinity in the cell 'clean' for 000003 \(image 3\)"),
    ],
)
def test_models_that_are_no_classifiers(tmp_path, data, own_model, output, message):
    odd = create_model(f"{own_model}:build", output=output, preprocessing=SIZE)
    with pytest.raises(ModelError, match=message):
        evaluate(odd, data, {"clean": {}}, output_dir=tmp_path, batch_size=4, progress=False)


def test_labels_that_do_not_fit(tmp_path, data, own_model, photo_folder):
    narrow = create_model(f"{own_model}:build", classes=2, preprocessing=SIZE)
    with pytest.raises(DataError, match=r"000002 of arrays has the label 2, but the model has 2 outputs"):
        evaluate(narrow, data, {"clean": {}}, output_dir=tmp_path, progress=False)
    wide = create_model(f"{own_model}:build", classes=10, preprocessing=SIZE)
    with pytest.raises(DataError, match="photos has 3 classes .class_0, class_1, class_2, .* the model has 10"):
        evaluate(wide, create_dataset(root_dir=photo_folder), {"clean": {}}, output_dir=tmp_path, progress=False)


def test_broken_image_stops_the_run_and_keeps_what_was_recorded(tmp_path, photo_folder, own_model):
    model = create_model(f"{own_model}:build", preprocessing=SIZE)
    photos = create_dataset(root_dir=photo_folder)
    broken = photo_folder / photos.files[9]
    good = broken.read_bytes()
    broken.write_bytes(good[:100])
    with pytest.raises(DataError, match=f"{photos.files[9]} cannot be decoded"):
        evaluate(model, photos, {"clean": {}}, output_dir=tmp_path, batch_size=4, progress=False)
    assert len(rows(tmp_path, "clean")) == 8
    broken.write_bytes(good)
    evaluate(model, photos, {"clean": {}}, output_dir=tmp_path, batch_size=4, progress=False)
    assert [row["id"] for row in rows(tmp_path, "clean")] == list(range(12))


def test_chance_warning(tmp_path, lite0):
    assert chance_warning(0, 20, 1000) is not None
    assert chance_warning(2, 20, 1000) is None
    assert chance_warning(2, 20, 10) is not None
    assert chance_warning(18, 20, 1000) is None
    photos = create_dataset("foolbox_photos")
    # A model that is given 0 to 255 instead of 0 to 1.
    report = evaluate(
        wrap_model(lite0, {"mean": [0] * 3, "std": [1 / 255 / 2] * 3}),
        photos,
        {"clean": {}},
        output_dir=tmp_path,
        batch_size=10,
        progress=False,
    )
    assert any("clean accuracy is at chance" in warning for warning in report.data["warnings"])


def test_report_files(tmp_path, data, model):
    report = evaluate(
        model,
        data,
        {"clean": {}, "adversarial": {"attacks": ["fgsm"], "eps": [2 / 255]}},
        output_dir=tmp_path,
        progress=False,
    )
    written = json.loads((tmp_path / "results" / "report.json").read_text())
    assert written == report.data
    assert written["format"] == "robustart-report/4"
    top1 = written["benchmarks"]["clean"]["metrics"]["top1"]
    assert top1["low"] < top1["value"] < top1["high"]
    assert top1["n"] == 12
    assert written["benchmarks"]["adversarial"]["attacks"]["fgsm/2/255"]["eps"] == 2 / 255
    markdown = (tmp_path / "results" / "report.md").read_text()
    assert "| top1 |" in markdown
    assert "## Conditions" in markdown
    timing = written["timing"]["benchmarks"]["clean"]
    assert (
        f"| clean | 12 | all | {timing['wall_seconds']:,.1f} s | {timing['images_per_second']:,.1f} | 12 | 0 |"
        in markdown
    )
    from PIL import Image

    with Image.open(tmp_path / "results" / "noise.png") as picture:
        assert picture.size[0] > 300
        assert len(np.unique(np.array(picture))) > 50


def test_each_image_is_read_and_decoded_once_for_all_its_cells(tmp_path, photo_folder, own_model, monkeypatch):
    from RobustART.data import datasets, samples

    calls = Counter()
    decode, read = samples.decode, datasets.read_bytes
    monkeypatch.setattr(samples, "decode", lambda data, **options: calls.update(["decode"]) or decode(data, **options))
    monkeypatch.setattr(datasets, "read_bytes", lambda path: calls.update(["read"]) or read(path))
    model = create_model(f"{own_model}:build", preprocessing=SIZE)
    photos = create_dataset(root_dir=photo_folder)
    options = {"corruptions": ["pixelate", "contrast", "fog"]}
    evaluate(model, photos, {"imagenet_c": options}, output_dir=tmp_path, batch_size=8, progress=False)
    assert len(rows(tmp_path, "imagenet_c")[0]["prediction"]) == 15
    # One more for the picture, and eight to ask the model about.
    assert calls == {"read": 12 + 1 + 8, "decode": 12 + 1 + 8}


def test_verdicts_and_costs_of_attacks_are_recorded(tmp_path, data, model):
    attacks = ["fgsm", {"autoattack_linf": {"stage_options": {"square": {"steps": 50}}, "checks": False}}]
    options = {"attacks": attacks, "eps": [0.5 / 255, 8 / 255]}
    report = evaluate(model, data, {"adversarial": options}, output_dir=tmp_path, batch_size=5, progress=False)
    table = read_records(tmp_path / "results" / "adversarial.jsonl").passes[0]
    assert table.cells == ("clean", "fgsm/0.5/255", "fgsm/8/255", "autoattack_linf/0.5/255", "autoattack_linf/8/255")
    clean = table.correct[:, 0]
    assert 0 < clean.sum() < 12
    for image in range(12):
        for cell in range(1, 5):
            verdict = table.broken_by[image][cell]
            if not clean[image]:
                assert verdict == "clean"
                assert table.forward[image, cell] == table.backward[image, cell] == 0
            elif table.correct[image, cell]:
                assert verdict is None
            else:
                assert verdict in ({"fgsm"} if cell < 3 else {"apgd_ce", "apgd_t", "fab_t", "square"})
                assert table.forward[image, cell] > 0
        assert table.broken_by[image][0] is None
    entry = report.data["benchmarks"]["adversarial"]
    assert entry["passes"]["fgsm/8/255"] == {
        "forward": int(table.forward[:, 2].sum()),
        "backward": int(table.backward[:, 2].sum()),
    }
    assert set(entry["passes"]) == set(table.cells[1:])
    shares = entry["tables"]["broken_by"]["autoattack_linf/8/255"]
    assert sum(cell["value"] for cell in shares.values()) == pytest.approx(
        100 * (clean & ~table.correct[:, 4]).sum() / 12
    )
    assert "broken by" in report.text()


class Lazy(nn.Module):
    """Makes a table in its first forward pass, as models with position codes do."""

    def __init__(self):
        super().__init__()
        self.table = None
        self.last = nn.Linear(3, 3)

    def forward(self, images):
        if self.table is None:
            self.table = torch.linspace(0, 1, 32)
        return self.last((images * self.table).mean(dim=(2, 3)) * 9)


def test_models_that_cache_tensors_can_be_attacked(tmp_path, data):
    evaluate(
        Lazy(), data, {"adversarial": {"attacks": ["fgsm"]}}, output_dir=tmp_path, preprocessing=SIZE, progress=False
    )


def test_backend_of_the_corruptions_is_a_condition(tmp_path, data, model):
    headers = []
    for backend in ({}, {"backend": "imagecorruptions"}):
        options = {"imagenet_c": {"corruptions": ["gaussian_noise"], "severities": [1], **backend}}
        folder = tmp_path / str(len(headers))
        evaluate(model, data, options, output_dir=folder, progress=False)
        headers.append(json.loads((folder / "results" / "imagenet_c.jsonl").read_text().splitlines()[0]))
    assert [header["conditions"]["options"]["backend"] for header in headers] == ["robustart", "imagecorruptions"]
    assert headers[0]["hash"] != headers[1]["hash"]
    assert rows(tmp_path / "0", "imagenet_c") != rows(tmp_path / "1", "imagenet_c")


def test_missing_frost_pictures_stop_the_run_before_it_starts(data, monkeypatch):
    monkeypatch.setattr("RobustART.noise.corruptions.weather.importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="pip install imagecorruptions-imaug"):
        build_benchmark("imagenet_c", data, {})
    build_benchmark("imagenet_c", data, {"corruptions": ["fog"]})
