"""ImageNet-P from videos: constant and alternating ones by known answers, frames as cells, difficulty, what is missing."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from RobustART.data import array_dataset
from RobustART.data.imagenet import imagenet_wnids
from RobustART.errors import ConfigError, DataError, RecordError, UnknownNameError
from RobustART.evaluation import evaluate
from RobustART.evaluation.benchmarks import build_benchmark
from RobustART.imaging.video import read_video, write_video
from RobustART.metrics import ImageNetPEvaluator
from RobustART.metrics.stability import SCORED_PERTURBATIONS
from RobustART.models import Preprocessing
from RobustART.records import read_records
from tests.conftest import make_picture

NOTHING = array_dataset([make_picture(0, 32, 32)], [0], "nothing")
DARK, BRIGHT = np.full((32, 32, 3), 20, np.uint8), np.full((32, 32, 3), 230, np.uint8)


class Brightness(nn.Module):
    """Ten classes, told by brightness alone: class k has the most votes where the mean is near k / 9."""

    preprocessing = Preprocessing(input_size=32, resize=36, mean=(0,), std=(1,))

    def forward(self, images):
        mean = images.mean(dim=(1, 2, 3))[:, None]
        return -(mean - torch.linspace(0, 1, 10, device=images.device)).abs() * 20


def save(path, frames):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(write_video(frames, crf=0))


def videos(root, perturbation, *contents):
    for i, frames in enumerate(contents):
        save(root / perturbation / imagenet_wnids()[i] / f"video_{i}.mp4", frames)


CONSTANT, ALTERNATING = [DARK] * 31, [DARK, BRIGHT] * 15 + [DARK]


def test_video_files_keep_their_frames():
    frames = [make_picture(i, 32, 48) for i in range(4)]
    again = read_video(write_video(frames, crf=0))
    assert again.shape == (4, 32, 48, 3)
    assert np.abs(again.astype(int) - np.stack(frames)).mean() < 1
    with pytest.raises(DataError, match=r"x.mp4 cannot be decoded"):
        read_video(write_video(frames)[:200], "x.mp4")


def test_flip_probability_of_known_videos(tmp_path):
    root = tmp_path / "imagenet-p"
    videos(root, "brightness", CONSTANT, ALTERNATING)
    videos(root, "gaussian_noise", CONSTANT, ALTERNATING)
    options = {"root_dir": str(root), "perturbations": ["gaussian_noise", "brightness"]}
    report = evaluate(
        Brightness(), NOTHING, {"imagenet_p": options}, output_dir=tmp_path, batch_size=16, progress=False
    )
    path = tmp_path / "results" / "imagenet_p.jsonl"
    noise, brightness = read_records(path).passes
    assert (noise.name, brightness.name) == ("gaussian_noise", "brightness")
    assert brightness.cells[:2] == ("brightness/0", "brightness/1")
    assert brightness.prediction[0].tolist() == [1] * 31
    assert brightness.prediction[1].tolist() == [1, 8] * 15 + [1]
    assert brightness.extra["top5"].shape == (2, 31, 5)
    table = report.data["benchmarks"]["imagenet_p"]["tables"]["stability"]
    assert table["brightness"]["FP (%)"]["value"] == 50  # 0 and 100
    assert table["gaussian_noise"]["FP (%)"]["value"] == 25  # 0 and 50
    assert table["gaussian_noise"]["T5D"]["value"] == pytest.approx(table["brightness"]["T5D"]["value"] / 2)
    assert table["brightness"]["T5D"]["value"] == 7.5  # no class of one half is in the other: 15; the constant one: 0
    assert table["brightness"]["zipf"]["value"] > 0
    result = ImageNetPEvaluator().eval(path)
    assert list(result) == ["mFP_of_these", "mean_T5D_of_these", "mean_zipf_of_these"]
    assert result["mFP_of_these"] == 37.5
    divided = ImageNetPEvaluator().eval(path, baseline=path)
    assert divided["mFR_of_these"] == pytest.approx(100)
    assert divided["mT5D_of_these"] == pytest.approx(100)


def test_all_ten_make_the_mean(tmp_path):
    root = tmp_path / "imagenet-p"
    for i, name in enumerate(SCORED_PERTURBATIONS):
        videos(root, name, ALTERNATING[:4] if i < 3 else CONSTANT[:4])
    report = evaluate(
        Brightness(), NOTHING, {"imagenet_p": {"root_dir": str(root)}}, output_dir=tmp_path, progress=False
    )
    # gaussian and shot noise flip in 2 of 3 comparisons with the first frame, motion blur in 3 of 3
    assert report.metric("imagenet_p", "mFP") == pytest.approx((200 / 3 + 200 / 3 + 100) / 10)
    assert len(report.data["conditions"]["data"]) == 10


def test_difficulty_strides_frames_and_reads_other_noise(tmp_path):
    root = tmp_path / "p"
    videos(root, "rotate", ALTERNATING)
    videos(root, "shot_noise_2", CONSTANT)
    options = {"root_dir": str(root), "perturbations": ["rotate", "shot_noise"], "difficulty": 2}
    report = evaluate(Brightness(), NOTHING, {"imagenet_p": options}, output_dir=tmp_path, progress=False)
    table = report.data["benchmarks"]["imagenet_p"]["tables"]["stability"]
    assert [table[name][c]["value"] for name in table for c in table[name]] == [0] * 6
    assert read_records(tmp_path / "results" / "imagenet_p.jsonl").passes[1].name == "shot_noise"
    with pytest.raises(DataError, match=r"shot_noise_3, but there is no such folder.*zenodo.org/record/3565846"):
        build_benchmark("imagenet_p", NOTHING, {**options, "difficulty": 3})


def test_each_video_is_decoded_once(tmp_path, monkeypatch):
    from RobustART.data import video

    videos(tmp_path / "p", "tilt", CONSTANT, ALTERNATING)
    calls = []
    read = video.read_video
    monkeypatch.setattr(video, "read_video", lambda data, name: calls.append(name) or read(data, name))
    options = {"root_dir": str(tmp_path / "p"), "perturbations": "tilt"}
    evaluate(Brightness(), NOTHING, {"imagenet_p": options}, output_dir=tmp_path, progress=False)
    first = f"{imagenet_wnids()[0]}/video_0.mp4"
    assert sorted(calls) == [first] * 3 + [f"{imagenet_wnids()[1]}/video_1.mp4"]  # the length, the run, the picture


def test_what_is_wrong_with_videos_is_named(tmp_path):
    root = tmp_path / "p"
    videos(root, "scale", CONSTANT, CONSTANT[:30])
    videos(root, "snow", CONSTANT)
    options = {"root_dir": str(root), "perturbations": ["scale", "snow"]}
    assert (
        "different numbers of videos, {'scale': 2, 'snow': 1}"
        in build_benchmark("imagenet_p", NOTHING, options).notes[0]
    )
    with pytest.raises(DataError, match=r"video_1.mp4 has 30 frames; the first video of its set has 31"):
        evaluate(Brightness(), NOTHING, {"imagenet_p": options}, output_dir=tmp_path, progress=False)
    large = Brightness()
    large.preprocessing = Preprocessing(input_size=64, resize=64, mean=(0,), std=(1,))
    with pytest.raises(DataError, match=r"video_0.mp4: the picture is 32 x 32, smaller than the model's input, 64"):
        evaluate(
            large,
            NOTHING,
            {"imagenet_p": {**options, "perturbations": "snow"}},
            output_dir=tmp_path / "b",
            progress=False,
        )
    (root / "tilt").mkdir()
    with pytest.raises(DataError, match="there are no videos"):
        build_benchmark("imagenet_p", NOTHING, {"root_dir": str(root), "perturbations": "tilt"})
    with pytest.raises(UnknownNameError, match="unknown perturbation 'tillt'; did you mean 'tilt'"):
        build_benchmark("imagenet_p", NOTHING, {"root_dir": str(root), "perturbations": "tillt"})
    with pytest.raises(ConfigError, match="difficulty must be 1, 2 or 3, got 4"):
        build_benchmark("imagenet_p", NOTHING, {"root_dir": str(root), "difficulty": 4})
    with pytest.raises(ConfigError, match="must name each perturbation once"):
        build_benchmark("imagenet_p", NOTHING, {"root_dir": str(root), "perturbations": ["snow", "snow"]})


def test_the_originals_files(tmp_path):
    for name, rows in (("brightness", [[1] * 31, [1, 2] * 15 + [1]]), ("shot_noise", [[1] * 31, [1, 2] * 15 + [1]])):
        text = "".join(json.dumps({"predictions": row}) + "\n" for row in rows)
        (tmp_path / f"{name}-results.txt.{'all' if name == 'brightness' else 'rank0'}").write_text(text)
    both = ImageNetPEvaluator().eval(tmp_path)
    assert both["mFP_of_these"] == (50 + 25) / 2
    assert both.summary.tables["stability"]["shot_noise"]["FP (%)"].value == 25
    assert ImageNetPEvaluator().eval(tmp_path / "brightness-results.txt.all")["mFP_of_these"] == 50
    assert ImageNetPEvaluator(difficulty=2).eval(tmp_path / "brightness-results.txt.all")["mFP_of_these"] == 0
    assert ImageNetPEvaluator().eval(tmp_path, baseline=tmp_path)["mFR_of_these"] == 100
    (tmp_path / "x.txt").write_text('{"predictions": [1, 2]}\n')
    with pytest.raises(RecordError, match=r"must be named \{perturbation\}-results.txt"):
        ImageNetPEvaluator().eval(tmp_path / "x.txt")
    (tmp_path / "tilt-results.txt.all").write_text('{"predictions": [1, 2]}\n{"predictions": [1]}\n')
    with pytest.raises(RecordError, match="needs 'predictions', a list"):
        ImageNetPEvaluator().eval(tmp_path / "tilt-results.txt.all")
    (tmp_path / "empty").mkdir()
    with pytest.raises(RecordError, match="holds no files named"):
        ImageNetPEvaluator().eval(tmp_path / "empty")
