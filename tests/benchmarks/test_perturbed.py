"""ImageNet-P from videos: constant and alternating ones by known answers, frames as cells, difficulty, what is missing."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from RobustART.benchmarks import build_benchmark
from RobustART.core.imaging.video import read_video, write_video
from RobustART.errors import ConfigError, DataError, RecordError, UnknownNameError
from RobustART.evaluation import evaluate
from RobustART.metrics import ImageNetPEvaluator
from RobustART.metrics.stability import SCORED_PERTURBATIONS
from RobustART.models import Preprocessing
from RobustART.records.lines import read_records
from tests.conftest import make_picture
from tests.sets import NOTHING, videos

DARK, BRIGHT = np.full((32, 32, 3), 20, np.uint8), np.full((32, 32, 3), 230, np.uint8)


class Brightness(nn.Module):
    """Ten classes, told by brightness alone: class k has the most votes where the mean is near k / 9."""

    preprocessing = Preprocessing(input_size=32, resize=36, mean=(0,), std=(1,))

    def forward(self, images):
        mean = images.mean(dim=(1, 2, 3))[:, None]
        return -(mean - torch.linspace(0, 1, 10, device=images.device)).abs() * 20


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
    videos(root, "rotate", ALTERNATING, CONSTANT)
    videos(root, "shot_noise_2", CONSTANT, CONSTANT)
    options = {"root_dir": str(root), "perturbations": ["rotate", "shot_noise"], "difficulty": 2}
    report = evaluate(Brightness(), NOTHING, {"imagenet_p": options}, output_dir=tmp_path, progress=False)
    table = report.data["benchmarks"]["imagenet_p"]["tables"]["stability"]
    assert [table[name][c]["value"] for name in table for c in table[name]] == [0] * 6
    assert read_records(tmp_path / "results" / "imagenet_p.jsonl").passes[1].name == "shot_noise"
    with pytest.raises(DataError, match=r"such as shot_noise_3: it holds the folders rotate, shot_noise_2\..*3565846"):
        build_benchmark("imagenet_p", NOTHING, {**options, "difficulty": 3})


def test_each_video_is_decoded_once(tmp_path, monkeypatch):
    from RobustART.data import video

    videos(tmp_path / "p", "tilt", CONSTANT, ALTERNATING)
    calls = []
    read = video.read_video
    monkeypatch.setattr(video, "read_video", lambda data, name: calls.append(name[-11:]) or read(data, name))
    options = {"root_dir": str(tmp_path / "p"), "perturbations": "tilt"}
    evaluate(Brightness(), NOTHING, {"imagenet_p": options}, output_dir=tmp_path, progress=False)
    # The length, the questions before the run, the run, the picture.
    assert sorted(calls) == ["video_0.mp4"] * 4 + ["video_1.mp4"] * 2


def test_other_lengths_than_the_published_are_noted(tmp_path):
    for name, length in (("translate", 41), ("snow", 31), ("tilt", 30), ("scale", 41)):
        videos(tmp_path / "p", name, [DARK] * length)
    options = {"root_dir": str(tmp_path / "p"), "perturbations": ["translate", "snow", "tilt", "scale"]}
    assert build_benchmark("imagenet_p", NOTHING, options).notes == (
        "ImageNet-P's videos of tilt have 30 frames; the published ones have 31",
        "ImageNet-P's videos of scale have 41 frames; the published ones have 31",
        "ImageNet-P has 1 videos of 1 classes here; the published set has 50000 of 1000",
    )
    videos(tmp_path / "p", "tilt", [DARK] * 2)
    with pytest.raises(
        DataError, match="videos of 31 frames in .*tilt, but the first has 2, too few for a distance of 3"
    ):
        build_benchmark("imagenet_p", NOTHING, {**options, "difficulty": 3, "perturbations": "tilt"})


def test_perturbations_must_hold_the_same_videos(tmp_path):
    videos(tmp_path / "p", "scale", CONSTANT, CONSTANT)
    videos(tmp_path / "p", "snow", CONSTANT)
    options = {"root_dir": str(tmp_path / "p"), "perturbations": ["scale", "snow"]}
    with pytest.raises(
        DataError, match=r"videos in all 2 folders, but snow has 1 and scale 2; n01443537/video_1.mp4 is in"
    ):
        build_benchmark("imagenet_p", NOTHING, options)
    videos(tmp_path / "p", "snow", CONSTANT, CONSTANT)
    path = next((tmp_path / "p" / "snow").rglob("video_0.mp4"))
    path.rename(path.with_name("other.mp4"))
    with pytest.raises(DataError, match=r"snow has 2 and scale 2; n01440764/other.mp4 is in only one of them"):
        build_benchmark("imagenet_p", NOTHING, options)


def test_the_folder_that_is_meant_is_named(tmp_path):
    root = videos(tmp_path / "sets" / "p", "snow", CONSTANT)
    options = {"perturbations": "snow"}
    for folder, message in (
        (tmp_path / "none", "there is no such folder"),
        (tmp_path / "sets", "such as snow: it holds the folder p .is .*sets/p meant"),
        (root / "snow", "such as snow: it holds the folder n01440764 .is .*sets/p meant"),
    ):
        with pytest.raises(DataError, match=f"{message}.*zenodo.org/record/3565846"):
            build_benchmark("imagenet_p", NOTHING, {**options, "root_dir": str(folder)})
    with pytest.raises(
        DataError, match="9 of these 10 folders are not there, such as gaussian_noise: it holds the folder snow"
    ):
        build_benchmark("imagenet_p", NOTHING, {"root_dir": str(root)})
    (root / "tilt").mkdir()
    with pytest.raises(DataError, match=r"videos in .*tilt/\{wnid\}/, but it has no such files: it is empty"):
        build_benchmark("imagenet_p", NOTHING, {"root_dir": str(root), "perturbations": "tilt"})


def test_what_is_wrong_with_videos_is_named(tmp_path):
    root = tmp_path / "p"
    videos(root, "scale", CONSTANT, CONSTANT[:30])
    videos(root, "snow", CONSTANT, CONSTANT)
    options = {"root_dir": str(root), "perturbations": ["scale", "snow"]}
    with pytest.raises(
        DataError, match=r"scale/n01443537/video_1.mp4 has 30 frames; the first video of its set has 31"
    ):
        evaluate(Brightness(), NOTHING, {"imagenet_p": options}, output_dir=tmp_path, progress=False)
    large = Brightness()
    large.preprocessing = Preprocessing(input_size=64, resize=64, mean=(0,), std=(1,))
    benchmarks = {"imagenet_p": {**options, "perturbations": "snow"}}
    with pytest.raises(DataError, match=r"video_0.mp4: the image is 32 x 32, smaller than the model's input, 64"):
        evaluate(large, NOTHING, benchmarks, output_dir=tmp_path / "b", progress=False)
    broken = next((root / "snow").rglob("video_1.mp4"))
    broken.write_bytes(broken.read_bytes()[:300])
    with pytest.raises(DataError, match=r"snow/n01443537/video_1.mp4 cannot be decoded"):
        evaluate(Brightness(), NOTHING, benchmarks, output_dir=tmp_path / "c", progress=False)
    broken = next((root / "snow").rglob("video_0.mp4"))
    broken.write_bytes(b"")
    with pytest.raises(DataError, match=r"snow/n01440764/video_0.mp4 cannot be decoded"):
        build_benchmark("imagenet_p", NOTHING, benchmarks["imagenet_p"])


def test_options_that_cannot_be(tmp_path):
    for options in ({}, {"root_dir": str(videos(tmp_path / "p", "snow", CONSTANT))}):
        with pytest.raises(UnknownNameError, match="unknown perturbation 'tiltt'; did you mean 'tilt'"):
            build_benchmark("imagenet_p", NOTHING, {**options, "perturbations": "tiltt"})
        with pytest.raises(ConfigError, match="difficulty must be one of 1, 2, 3, got 4"):
            build_benchmark("imagenet_p", NOTHING, {**options, "difficulty": 4})
        with pytest.raises(ConfigError, match="must name at least one perturbation, and none twice"):
            build_benchmark("imagenet_p", NOTHING, {**options, "perturbations": ["snow", "snow"]})


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
