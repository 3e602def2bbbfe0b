"""ImageNet-P made on the fly: the frames that are written to files, one record a photo, each sequence made once."""

import json
from collections import Counter

import numpy as np
import pytest
import torch

from RobustART.benchmarks import build_benchmark
from RobustART.core.imaging import decode
from RobustART.core.seeding import numpy_generator
from RobustART.data import create_dataset
from RobustART.errors import ConfigError
from RobustART.evaluation import evaluate
from RobustART.generation.generate import generate
from RobustART.metrics import ImageNetPEvaluator
from RobustART.metrics.stability import flip_probability, top5_distance
from RobustART.models import create_model
from RobustART.noise import perturb, perturbations
from RobustART.records.lines import read_records

SIZE = {"input_size": 32, "resize": 40, "mean": [0.5] * 3, "std": [0.25] * 3}
OPTIONS = {"perturbations": ["shot_noise", "translate", "brightness"], "difficulty": 2}
FOLDERS = {"shot_noise": "shot_noise_2", "translate": "translate", "brightness": "brightness"}


@pytest.fixture
def model(own_model):
    return create_model(f"{own_model}:build", classes=12, scale=60.0, preprocessing=SIZE)


@pytest.fixture
def photos(photo_folder):
    (photo_folder.parent / "list.txt").write_text("".join(f"class_{i % 3}/{i:02d}.png {i % 3}\n" for i in range(5)))
    return create_dataset(root_dir=photo_folder, meta_file=photo_folder.parent / "list.txt")


def run(model, photos, folder, **settings):
    evaluate(model, photos, {"imagenet_p": OPTIONS}, output_dir=folder, seed=3, progress=False, **settings)
    return folder / "results" / "imagenet_p.jsonl"


def test_numbers_are_those_of_the_sequences(tmp_path, photos, model):
    path = run(model, photos, tmp_path)
    (table,) = read_records(path).passes
    assert table.cells[:2] == ("shot_noise/0", "shot_noise/1")
    assert len(table.cells) == 31 + 41 + 31
    result = ImageNetPEvaluator().eval(path)
    rates, distances = [], []
    for name, folder in FOLDERS.items():
        how = {"noise": "noise" in name, "stride": 1 if "noise" in name else 2}
        logits = []
        for i in range(5):
            photo = decode((photos.root / photos.files[i]).read_bytes())
            frames = perturb(photo, folder, size=32, rng=numpy_generator(3, i, folder))
            with torch.no_grad():
                logits.append(model(torch.from_numpy(frames).permute(0, 3, 1, 2) / 255.0))
        top5 = torch.stack(logits).argsort(dim=-1, descending=True)[..., :5]
        rates.append(flip_probability(top5[..., 0], **how).mean())
        distances.append(top5_distance(top5, **how).mean())
        found = result.summary.tables["stability"][name]
        assert found["FP (%)"].value == pytest.approx(rates[-1])
        assert found["T5D"].value == pytest.approx(distances[-1])
        assert found["zipf"].value > 0
    assert result["mFP_of_these"] == pytest.approx(np.mean(rates))
    assert result["mFP_of_these"] > 0
    text = (path.parent / "report.md").read_text()
    assert "frames are made from the clean images and are not compressed" in text
    assert '"frame"' not in text  # 103 cells with their coordinates, which are in report.json
    assert json.loads((path.parent / "report.json").read_text())["benchmarks"]["imagenet_p"]["cells"]["translate/40"]


def test_neither_workers_nor_batches_change_the_file(tmp_path, photos, model):
    one = run(model, photos, tmp_path / "one", workers=0)
    two = run(model, photos, tmp_path / "two", workers=2)
    assert one.read_bytes() == two.read_bytes()
    small = run(model, photos, tmp_path / "small", batch_size=200)  # two photos a block instead of one
    first, second = (read_records(path).passes[0] for path in (one, small))
    assert np.array_equal(first.prediction, second.prediction)


def test_each_sequence_is_made_once_for_an_image(tmp_path, photos, model, monkeypatch):
    calls = Counter()
    monkeypatch.setattr(
        perturbations, "perturb", lambda image, name, **more: calls.update([name]) or perturb(image, name, **more)
    )
    run(model, photos, tmp_path)
    # The check before, the questions (about the first sequence), five photos, the picture.
    first, *others = FOLDERS.values()
    assert calls == {first: 1 + 5 + 5 + 1, **dict.fromkeys(others, 1 + 5 + 1)}


def test_files_hold_the_same_frames_but_for_their_compression(tmp_path, photos, model):
    generate("imagenet_p", photos, tmp_path / "p", options=OPTIONS, size=32, seed=3, progress=False)
    stored = build_benchmark("imagenet_p", None, {**OPTIONS, "root_dir": str(tmp_path / "p")})
    (part,) = build_benchmark("imagenet_p", photos, OPTIONS).passes
    made = part.dataset.sample(1, part.prepare(model.preprocessing).apply)
    for number, name in enumerate(FOLDERS):
        videos = stored.passes[number]
        row = videos.dataset.files.index("class_1/01.mp4")
        sample = videos.dataset.sample(row, videos.prepare(model.preprocessing).apply)
        cells = [cell for cell in part.cells if cell.name.startswith(f"{name}/")]
        for cell, other in zip(cells, videos.cells, strict=True):
            assert cell.name == other.name
            view = cell.view(made, numpy_generator(3, 1, cell.view.draws))
            assert np.abs(view.astype(int) - other.view(sample, None)).mean() < 8


def test_options_of_files_and_no_photos_are_refused(photos):
    with pytest.raises(ConfigError, match="imagenet_p.preprocess is 'model', but it applies to published files only"):
        build_benchmark("imagenet_p", photos, {"preprocess": "model"})
    with pytest.raises(ConfigError, match="needs images: set data.test, .* its option root_dir"):
        build_benchmark("imagenet_p", None, {})


def test_a_run_that_was_cut_off_goes_on_to_the_same_file(tmp_path, photos, model):
    path = run(model, photos, tmp_path)
    whole = path.read_bytes()
    path.write_bytes(b"".join(whole.splitlines(keepends=True)[:3]))
    assert json.loads(path.read_text().splitlines()[-1])["id"] == 1
    assert run(model, photos, tmp_path).read_bytes() == whole
