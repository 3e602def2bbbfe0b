"""The engine and the report: each image once, exact resume, and errors that name the image and the cell."""

import json
from collections import Counter

import numpy as np
import pytest
import torch
from torch import nn

from RobustART.data import array_dataset, create_dataset
from RobustART.errors import ConfigError, DataError, ModelError, RecordError
from RobustART.evaluation import BENCHMARKS, Benchmark, Cell, Pass, evaluate
from RobustART.evaluation.benchmarks import build_benchmark, clean_view
from RobustART.evaluation.checks import chance_warning
from RobustART.evaluation.engine import grid
from RobustART.evaluation.scoring import score, to_float
from RobustART.metrics import summaries
from RobustART.models import create_model, wrap_model
from RobustART.noise.attacks import pgd_linf
from RobustART.records import read_records
from RobustART.seeding import image_seeds
from tests.conftest import make_picture
from tests.evaluation.conftest import SIZE


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


def test_finished_images_are_not_computed_again(tmp_path, data, model):
    counted = Counted(model)
    report = evaluate(counted, data, {"clean": {}}, output_dir=tmp_path, batch_size=4, progress=False)
    assert counted.images == 12 + 1 + 1  # the images, one to ask for the classes, one for the picture
    path = tmp_path / "results" / "clean.jsonl"
    whole = path.read_bytes()
    counted.images = 0
    again = evaluate(counted, data, {"clean": {}}, output_dir=tmp_path, batch_size=4, progress=False)
    assert counted.images == 1
    assert path.read_bytes() == whole
    path.write_bytes(whole[:-30])
    counted.images = 0
    third = evaluate(counted, data, {"clean": {}}, output_dir=tmp_path, batch_size=4, progress=False)
    assert counted.images == 4 + 1
    assert path.read_bytes() == whole
    for other in (again, third):
        assert {k: v for k, v in other.data.items() if k != "timing"} == {
            k: v for k, v in report.data.items() if k != "timing"
        }
    counted.images = 0
    evaluate(counted, data, {"clean": {}}, output_dir=tmp_path, batch_size=4, progress=False, fresh=True)
    assert counted.images >= 12 + 1
    assert path.read_bytes() == whole


@pytest.mark.parametrize(
    ("change", "named"),
    [({"seed": 1}, "seed: 0 -> 1"), ({"batch_size": 5}, "batch_size: 4 -> 5"), ({"limit": 6}, "subset: null ->")],
)
def test_other_conditions_are_refused(tmp_path, data, model, change, named):
    settings = {"batch_size": 4, "progress": False}
    evaluate(model, data, {"clean": {}}, output_dir=tmp_path, **settings)
    with pytest.raises(RecordError, match=f"another config: its hash is .* this run's is .*{named}"):
        evaluate(model, data, {"clean": {}}, output_dir=tmp_path, **{**settings, **change})
    changed = create_model(model.source, scale=9.0, preprocessing=SIZE)
    with pytest.raises(RecordError, match=r"model\.weights: "):
        evaluate(changed, data, {"clean": {}}, output_dir=tmp_path, **settings)


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


def test_benchmark_of_a_users_own(tmp_path, data, model):
    """Two passes, two views, restricted classes: without a change to the engine."""

    def flipped(sample, rng):
        return np.ascontiguousarray(sample.crop[:, ::-1])

    @BENCHMARKS.register("flip")
    def flip(dataset, *, classes=(0, 1, 2)):
        both = Pass(dataset, (Cell("plain", clean_view), Cell("flipped", flipped)), tuple(classes), "both")
        second = Pass(array_dataset(data.images[:2], [0, 1], "few"), (Cell("plain", clean_view),), None, "few")
        return Benchmark(
            "flip",
            (both, second),
            lambda records: summaries.calibration(records.passes[1].confidence[:, 0], records.passes[1].correct[:, 0]),
        )

    try:
        evaluate(model, data, {"flip": {"classes": [0, 2]}}, output_dir=tmp_path, batch_size=3, progress=False)
        both, few = read_records(tmp_path / "results" / "flip.jsonl").passes
        assert both.prediction.shape == (12, 2)
        assert set(both.prediction.flatten().tolist()) <= {0, 2}
        assert both.label_rank[1].tolist() == [2, 2]
        assert few.ids.tolist() == [0, 1]
        assert few.prediction[:, 0].tolist() == [row["prediction"][0] for row in _clean(tmp_path, data, model)[:2]]
    finally:
        BENCHMARKS.remove("flip")


def _clean(tmp_path, data, model):
    evaluate(model, data, {"clean": {}}, output_dir=tmp_path / "clean", batch_size=3, progress=False)
    return rows(tmp_path / "clean", "clean")


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("tuple", r"must return logits as a tensor \(N, K\), got tuple. Wrap it .*\[0\]"),
        ("map", r"must return logits of shape \(1, K\), got torch.float32 \(1, 3, 1\)"),
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
    with pytest.raises(DataError, match="photos has 3 class folders .class_0, class_1, class_2, .* the model has 10"):
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


def test_full_disk_stops_the_run(tmp_path, data, model, monkeypatch):
    from RobustART.journal import Journal

    write, calls = Journal._write, []

    def full(self, lines):
        calls.append(1)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        write(self, lines)

    monkeypatch.setattr(Journal, "_write", full)
    with pytest.raises(RecordError, match="No space left on device. What was recorded before is kept"):
        evaluate(model, data, {"clean": {}}, output_dir=tmp_path, batch_size=4, progress=False)
    assert len(rows(tmp_path, "clean")) == 4


def test_output_that_cannot_be_written(tmp_path, data, model):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="output_dir .*file cannot be written"):
        evaluate(model, data, {"clean": {}}, output_dir=tmp_path / "file", progress=False)


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


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("clena", {}, "unknown benchmark 'clena'; did you mean 'clean'"),
        ("clean", {"x": 1}, "unknown option 'x' of the benchmark clean; Allowed: none"),
        (
            "imagenet_c",
            {"severity": [1]},
            "unknown option 'severity' of the benchmark imagenet_c; did you mean 'severities'",
        ),
        ("imagenet_c", {"severities": [0]}, "severities must be from 1 to 5, got 0"),
        ("imagenet_c", {"corruptions": ["fogg"]}, "did you mean 'fog'"),
        ("imagenet_c", {"corruptions": []}, "at least one corruption"),
        ("imagenet_c", {"corruptions": ["fog", "fog"]}, "names something twice"),
        ("imagenet_c", {"backend": "magic"}, "backend must be one of robustart, imagecorruptions, got 'magic'"),
        ("imagenet_c", {"jpeg_quality": 0}, "jpeg_quality must be"),
        ("adversarial", {"attacks": ["pgd_linff"]}, "unknown attack 'pgd_linff'; did you mean 'pgd_linf'"),
        (
            "adversarial",
            {"attacks": [{"pgd_linf": {"stps": 3}}]},
            "unknown option 'stps' of the attack pgd_linf; did you mean 'steps'",
        ),
        ("adversarial", {"attacks": []}, "at least one attack"),
        ("adversarial", {"attacks": [3]}, "adversarial.attacks must be one entry or a list"),
        ("adversarial", {"attacks": ["fgsm", "fgsm"]}, "twice"),
        ("adversarial", {"eps": [-1]}, "radii from 0 up"),
        ("adversarial", {"eps": ["8/254", "x"]}, "adversarial.eps must be a number"),
        ("adversarial", {"attacks": ["fgsm", "pgd_l2"], "eps": [0.1]}, "of the norms L2, Linf, whose radii"),
        ("adversarial", {"eps": {"L3": [1]}}, "names 'L3', which is neither a norm"),
        ("imagenet_a", {}, "needs the option 'root_dir'"),
    ],
)
def test_bad_options(data, name, options, message):
    with pytest.raises(ValueError, match=message):
        build_benchmark(name, data, options)


def test_eps_by_norm_and_default(data):
    benchmark = build_benchmark("adversarial", data, {"attacks": ["fgsm", "pgd_l2"], "eps": {"L2": [1]}})
    names = [cell.name for cell in benchmark.passes[0].cells]
    assert names == ["clean", "fgsm/0.5/255", "fgsm/2/255", "fgsm/8/255", "pgd_l2/1"]


def test_imagenet_a_from_its_folder(tmp_path, lite0):
    import shutil

    from RobustART.data.datasets import imagenet_wnids
    from RobustART.metrics import ImageNetAEvaluator
    from RobustART.metrics.baselines import imagenet_a_classes

    photos = create_dataset("foolbox_photos")
    inside = [i for i, label in enumerate(photos.labels) if label in imagenet_a_classes()]
    assert inside
    for i in inside:
        folder = tmp_path / "imagenet-a" / imagenet_wnids()[photos.labels[i]]
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(photos.root / photos.files[i], folder)
    report = evaluate(
        lite0, photos, {"imagenet_a": {"root_dir": str(tmp_path / "imagenet-a")}}, output_dir=tmp_path, progress=False
    )
    result = ImageNetAEvaluator().eval(tmp_path / "results" / "imagenet_a.jsonl")
    assert result["top1"] == pytest.approx(report.metric("imagenet_a", "top1"))
    assert {row["prediction"][0] for row in rows(tmp_path, "imagenet_a")} <= set(imagenet_a_classes())
    (tmp_path / "imagenet-a" / imagenet_wnids()[0]).mkdir()
    shutil.copy(photos.root / photos.files[0], tmp_path / "imagenet-a" / imagenet_wnids()[0])
    with pytest.raises(DataError, match="WordNet ids of ImageNet-A's 200 classes"):
        evaluate(
            lite0,
            photos,
            {"imagenet_a": {"root_dir": str(tmp_path / "imagenet-a")}},
            output_dir=tmp_path,
            progress=False,
        )


def test_half_precision_is_for_images_that_are_not_attacked(tmp_path, data, model):
    wanted = {"clean": {}, "adversarial": {"attacks": ["fgsm"], "eps": [0]}}
    evaluate(model, data, wanted, output_dir=tmp_path, amp="bf16", progress=False)
    half, full = rows(tmp_path, "clean"), rows(tmp_path, "adversarial")
    assert [row["confidence"][0] for row in half] != [row["confidence"][0] for row in full]
    assert [row["confidence"][0] for row in half] == pytest.approx([row["confidence"][0] for row in full], abs=0.05)
    header = json.loads((tmp_path / "results" / "adversarial.jsonl").read_text().splitlines()[0])
    assert header["conditions"]["precision"] == "float32"
    assert all(row["prediction"][0] == row["prediction"][1] for row in full)


def test_bad_settings(tmp_path, data, model):
    for settings in ({"batch_size": 0}, {"workers": -1}, {"amp": "half"}, {"seed": 1.5}, {"limit": 13}):
        with pytest.raises(ConfigError, match=next(iter(settings))):
            evaluate(model, data, {"clean": {}}, output_dir=tmp_path, progress=False, **settings)
    with pytest.raises(ConfigError, match="benchmarks is empty"):
        evaluate(model, data, {}, output_dir=tmp_path, progress=False)
    with pytest.raises(ModelError, match=r"fails on an image of shape \(1, 3, 32, 32\)"):
        evaluate(nn.Conv2d(1, 3, 32), data, {"clean": {}}, output_dir=tmp_path, preprocessing=SIZE)


def test_report_files(tmp_path, data, model):
    report = evaluate(
        model, data, {"clean": {}, "adversarial": {"eps": [2 / 255]}}, output_dir=tmp_path, progress=False
    )
    written = json.loads((tmp_path / "results" / "report.json").read_text())
    assert written == report.data
    assert written["format"] == "robustart-report/1"
    top1 = written["benchmarks"]["clean"]["metrics"]["top1"]
    assert top1["low"] < top1["value"] < top1["high"]
    assert top1["n"] == 12
    assert written["benchmarks"]["adversarial"]["attacks"]["fgsm/2/255"]["eps"] == 2 / 255
    markdown = (tmp_path / "results" / "report.md").read_text()
    assert "| top1 |" in markdown
    assert "## Conditions" in markdown
    from PIL import Image

    with Image.open(tmp_path / "results" / "noise.png") as picture:
        assert picture.size[0] > 300
        assert len(np.unique(np.array(picture))) > 50


def test_each_image_is_read_and_decoded_once_for_all_its_cells(tmp_path, photo_folder, own_model, monkeypatch):
    from RobustART.data import datasets

    calls = Counter()
    decode, read = datasets.decode, datasets.read_bytes
    monkeypatch.setattr(datasets, "decode", lambda data, **options: calls.update(["decode"]) or decode(data, **options))
    monkeypatch.setattr(datasets, "read_bytes", lambda path: calls.update(["read"]) or read(path))
    model = create_model(f"{own_model}:build", preprocessing=SIZE)
    photos = create_dataset(root_dir=photo_folder)
    options = {"corruptions": ["pixelate", "contrast", "fog"]}
    evaluate(model, photos, {"imagenet_c": options}, output_dir=tmp_path, batch_size=8, progress=False)
    assert len(rows(tmp_path, "imagenet_c")[0]["prediction"]) == 15
    assert calls == {"read": 12 + 1, "decode": 12 + 1}  # one more for the picture


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


def test_norm_of_an_attack_can_be_an_option(data):
    options = {"attacks": [{"apgd_ce": {"norm": "L2"}}]}
    cells = build_benchmark("adversarial", data, options).passes[0].cells
    assert [cell.name for cell in cells] == ["clean", "apgd_ce/0.5", "apgd_ce/2", "apgd_ce/8"]
    with pytest.raises(ConfigError, match="norm of apgd_ce must be one of Linf, L2, L1, got 'L3'"):
        build_benchmark("adversarial", data, {"attacks": [{"apgd_ce": {"norm": "L3"}}]})


@pytest.mark.parametrize("change", ["contents", "exif", "argument", "layer"])
def test_what_the_numbers_depend_on_belongs_to_the_conditions(tmp_path, photo_folder, own_model, change):
    settings = {"output_dir": tmp_path, "batch_size": 4, "progress": False}
    evaluate(
        create_model(f"{own_model}:build", preprocessing=SIZE),
        create_dataset(root_dir=photo_folder),
        {"clean": {}},
        **settings,
    )
    before = (tmp_path / "results" / "clean.jsonl").read_bytes()
    model = create_model(f"{own_model}:build", preprocessing=SIZE, **({"scale": 8} if change == "argument" else {}))
    photos = create_dataset(root_dir=photo_folder, exif_orientation=change == "exif")
    named = r"data\[0\]\.fingerprint"
    if change == "contents":
        from PIL import Image

        Image.fromarray(make_picture(99)).save(photo_folder / photos.files[0])
        named = r"class_0/00\.png is not the image that .*clean\.jsonl was made from"
    if change == "argument":
        named = r'model\.arguments: \{\} -> |model\.arguments\.scale: null -> "8"'
    if change == "layer":
        model.network.network[1] = nn.LeakyReLU()  # the same weights
        named = r"model\.weights: "
    with pytest.raises(RecordError, match=named):
        evaluate(model, photos, {"clean": {}}, **settings)
    assert (tmp_path / "results" / "clean.jsonl").read_bytes() == before


def test_killed_before_the_merge(tmp_path, data, model):
    settings = {"output_dir": tmp_path, "batch_size": 4, "progress": False}
    evaluate(model, data, {"clean": {}}, **settings)
    path = tmp_path / "results" / "clean.jsonl"
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:5] + lines[9:]))
    path.with_name("clean.jsonl.rank1").write_bytes(b"".join([lines[0], *lines[5:9]]))
    evaluate(model, data, {"clean": {}}, **settings)
    assert path.read_bytes() == whole
    assert not path.with_name("clean.jsonl.rank1").exists()


def test_second_run_on_the_same_folder_is_refused(tmp_path, data, model):
    from RobustART.distributed import World
    from RobustART.evaluation.checks import only_writer, prepare_output

    results = prepare_output(tmp_path)
    refused = pytest.raises(RecordError, match="another run is writing to")
    with World("cpu", {}) as world, only_writer(results, world), refused:
        evaluate(model, data, {"clean": {}}, output_dir=tmp_path, progress=False)
    evaluate(model, data, {"clean": {}}, output_dir=tmp_path, progress=False)


def test_channels_last_is_what_the_record_says(tmp_path, data, model):
    evaluate(model, data, {"clean": {}}, output_dir=tmp_path / "last", channels_last=True, progress=False)
    convolution = model.network.network[0].weight
    assert convolution.is_contiguous(memory_format=torch.channels_last)
    evaluate(model, data, {"clean": {}}, output_dir=tmp_path / "first", progress=False)
    assert convolution.is_contiguous()
    pair = [rows(tmp_path / name, "clean") for name in ("last", "first")]
    assert [r["confidence"][0] for r in pair[0]] == pytest.approx([r["confidence"][0] for r in pair[1]], abs=1e-5)


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


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("imagenet_c", {"corruptions": None}, "imagenet_c.corruptions must be one entry or a list of them, got None"),
        ("imagenet_c", {"severities": None}, "imagenet_c.severities must be one entry or a list"),
        ("imagenet_c", {"severities": 2.0}, "imagenet_c.severities must be one entry or a list"),
        ("imagenet_c", {"corruptions": [["fog"]]}, "imagenet_c.corruptions must be"),
        ("imagenet_c", {"corruptions": {"fog": {"severities": [1]}}}, "imagenet_c.corruptions must be"),
        ("adversarial", {"attacks": None}, "adversarial.attacks must be"),
        (
            "adversarial",
            {"attacks": [{"fgsm": {"eps": 0.1}}]},
            r"radii of fgsm do not stand with its options; say adversarial.eps: \{fgsm",
        ),
        ("adversarial", {"stop": "frist"}, "adversarial.stop must be 'first' or null, got 'frist'"),
        ("adversarial", {"attacks": [{"pgd_linf": {"steps": "abc"}}]}, "'steps' of the attack pgd_linf must be a whole number, got 'abc'"),
        ("adversarial", {"eps": [float("nan")]}, "radii from 0 up"),
        ("adversarial", {"eps": [float("inf")]}, "radii from 0 up"),
        ("imagenet_a", {"root_dir": 3}, "imagenet_a.root_dir must be a folder, got 3"),
        ("clean", True, "options of the benchmark clean must be a mapping, got True"),
    ],
)
def test_mistakes_in_options_are_named(data, name, options, message):
    with pytest.raises(ConfigError, match=message):
        build_benchmark(name, data, options)


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


def test_ranges_are_lists(tmp_path, data, model):
    options = {"corruptions": "fog", "severities": range(1, 3)}
    evaluate(model, data, {"imagenet_c": options}, output_dir=tmp_path, progress=False)
    assert read_records(tmp_path / "results" / "imagenet_c.jsonl").passes[0].cells == ("fog/1", "fog/2")


def test_report_of_another_data_set_names_that(tmp_path, data, model):
    other = array_dataset(data.images[:5], [0] * 5, "others")

    @BENCHMARKS.register("others")
    def others(dataset):
        return Benchmark("others", (Pass(other, (Cell("clean", clean_view),)),), summaries.classification)

    try:
        report = evaluate(model, data, {"others": {}}, output_dir=tmp_path, progress=False)
    finally:
        BENCHMARKS.remove("others")
    assert "others: 5 images" in report.heading()
    assert "arrays" not in report.heading()


def test_full_disk_at_the_report(tmp_path, data, model, monkeypatch, caplog):
    import os

    replace = os.replace

    def full(source, target):
        if str(target).endswith("report.md"):
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr("RobustART.evaluation.report.os.replace", full)
    with pytest.raises(
        RecordError, match="cannot write .*report.md: No space left on device. The results are recorded"
    ):
        evaluate(model, data, {"clean": {}}, output_dir=tmp_path, progress=False)
    monkeypatch.undo()

    def broken(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("PIL.Image.Image.save", broken)
    report = evaluate(model, data, {"clean": {}}, output_dir=tmp_path, progress=False)
    assert report.metric("clean", "top1") is not None
    assert "noise.png could not be written: No space left" in caplog.text


def test_processes_agree_on_the_merge_though_process_0_has_begun_it(tmp_path, data, model):
    """Process 1 decides before the first barrier; behind it, process 0 may have merged the parts already."""
    from types import SimpleNamespace

    from RobustART.evaluation.engine import run_benchmark
    from RobustART.evaluation.settings import Settings
    from RobustART.journal import Journal

    evaluate(model, data, {"clean": {}}, output_dir=tmp_path, batch_size=4, progress=False)
    path = tmp_path / "results" / "clean.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:5] + lines[9:]))
    path.with_name("clean.jsonl.rank1").write_bytes(b"".join([lines[0], *lines[5:9]]))
    header, benchmark = json.loads(lines[0]), build_benchmark("clean", data)
    barriers = []

    def barrier():
        barriers.append(1)
        if len(barriers) in (1, 3):  # process 0 merges behind the first and, after the work, behind the third
            keys = [[(0, i) for i in block] for block in grid(range(12), benchmark.passes[0].cells, 4)]
            Journal(path, header, keys).compact()

    world = SimpleNamespace(rank=1, size=2, is_main=False, device=torch.device("cpu"), barrier=barrier)
    settings = Settings(batch_size=4, progress=False)
    run_benchmark({None: model}, benchmark, header, [list(range(12))], model.preprocessing, path, world, settings)
    assert len(barriers) == 4  # as many as process 0 waits at
    assert path.read_bytes() == b"".join(lines)
