"""Pre-training on ImageNet-21k's number of classes, then fine-tuning with a new head, all by the config."""

import torch

from RobustART.training.checkpoint import read_checkpoint
from RobustART.training.cls_solver import main
from tests.training.test_training import flags, lines

CLASSES = 21841
CONFIG = """
model: {{type: "{module}:build", kwargs: {{width: 2, classes: 21841}}, preprocessing: {{input_size: 8, resize: 8}}}}
optimizer: {{type: SGD, kwargs: {{momentum: 0.9, weight_decay: 1e-4, nesterov: true}}}}
lr_scheduler: {{type: Cosine, kwargs: {{base_lr: 0.1, max_iter: 2}}}}
label_smooth: 0.1
data:
  batch_size: 6
  num_workers: 0
  use_ranked: true
  train: {{root_dir: photos, meta_file: meta_train_cleaned.txt, sampler: {{type: ranked_iteration}}, transforms: {{type: STANDARD}}}}
saver: {{print_freq: 1}}
training: {{device: cpu}}
"""


def test_a_new_head_after_21841_classes(digits, photo_folder, tmp_path, monkeypatch):
    """Its targets are never written out: a row of them would be as long as there are classes."""
    (network,) = tmp_path.glob("network_*.py")
    files = sorted(path.relative_to(photo_folder) for path in photo_folder.rglob("*.png"))
    labels = [CLASSES - 1 - 1800 * i for i in range(len(files))]
    meta = "".join(f"{file} {label}\n" for file, label in zip(files, labels, strict=True))
    (tmp_path / "meta_train_cleaned.txt").write_text(meta)
    config = tmp_path / "large.yaml"
    config.write_text(CONFIG.format(module=network.stem))
    with monkeypatch.context() as patch:
        patch.setattr("torch.nn.functional.one_hot", None)
        assert main(["--config", str(config), "--quiet", *flags("output_dir=large")]) == 0
    before = read_checkpoint(tmp_path / "large" / "checkpoints" / "ckpt.pth.tar")["model"]
    assert before["8.weight"].shape == (CLASSES, 64)
    assert [round(row["loss"]) for row in lines(tmp_path / "large")] == [10, 10]  # log(21841)
    start = "path: large/checkpoints/ckpt.pth.tar, ignore: {key: [optimizer, last_iter], model: ['8']}"
    cold = [
        "lr_scheduler.kwargs={base_lr: 1e-9, warmup_lr: 1e-9, max_epoch: 2}",
        "data.test=null",
        "model.kwargs.width=2",
    ]
    assert main(["--config", str(digits), "--quiet", *flags(f"saver.pretrain={{{start}}}", *cold)]) == 0
    after = read_checkpoint(tmp_path / "checkpoints" / "ckpt.pth.tar")["model"]
    assert after["8.weight"].shape == (10, 64)
    assert lines(tmp_path)[0]["step"] == 1
    assert torch.allclose(after["3.weight"], before["3.weight"], atol=1e-5)
    assert before["3.weight"].std() > 0.05
