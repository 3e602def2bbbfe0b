"""Every experiment under exprs/: its config is checked against data in the published layouts, its network built."""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest
import torch

from RobustART.benchmarks.imagenet_p import published_frames
from RobustART.config.loader import load_config
from RobustART.errors import ConfigError
from RobustART.metrics.stability import SCORED_PERTURBATIONS
from RobustART.models.zoo import build_network, check_name
from RobustART.training.build import batch_size_of
from RobustART.training.cls_solver import each_model, main
from RobustART.training.inputs import trains
from RobustART.training.preflight import check
from tests.conftest import ROOT, solver_environ
from tests.miniature import make_data
from tests.sets import videos

EXPRS = ROOT / "exprs"
CONFIGS = sorted(path for path in EXPRS.rglob("config.yaml") if path.parent.name != "quickstart")
TRAININGS = [path for path in CONFIGS if "loop" not in path.parent.name and "eval" not in path.parent.name]
ORIGINAL = {
    "robust_baseline_exp": {
        "deit": 3, "densenet": 3, "efficientnet": 8, "efficientnet_nodrop": 15, "imagenet_21k_exp": 5, "mlp_mixer": 2,
        "mobilenet_v2": 4, "mobilenet_v3": 5, "regnetx": 5, "repvgg": 2, "resnet": 5, "resnext": 2, "shufflenetv2": 4,
        "vit": 2, "wide_resnet": 2,
    },
    "nips_benchmark": {"augmentation": 6, "ema": 6, "label_smooth": 6, "pgd_adv_train": 6, "new_adv_train": 3},
}  # fmt: skip
"""The original's folders and how many experiments each has."""


def name_of(path):
    return "/".join(path.parent.relative_to(EXPRS).parts)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """The miniature, with a checkpoint of every model that is evaluated: of the right name, which is all --check asks."""
    folder = make_data(tmp_path_factory.mktemp("data"), corrupted=True)
    names = {name for path in CONFIGS for name in load_config(path, data_root=folder).eval_list}
    for place in (folder / "checkpoints", folder / "checkpoints" / "adversarial"):
        place.mkdir()
        for name in names:
            (place / f"{name}.pth.tar").touch()
    for name in SCORED_PERTURBATIONS:
        videos(folder / "imagenet-p", name, np.zeros((published_frames(name), 32, 32, 3), np.uint8))
    return folder


def test_the_originals_folders_are_there():
    for study, families in ORIGINAL.items():
        found = {family: len(list((EXPRS / study / family).glob("*/config.yaml"))) for family in families}
        assert found == families
    assert (EXPRS / "exp" / "models" / "resnet18_batch1k_epoch100_nesterov_wd0.0001" / "config.yaml").is_file()
    for name in (
        "imagenet_21k_exp/21k_shufflenetv2_2.0",
        "efficientnet_nodrop/efficientnet_b4_nodrop_380",
        "mlp_mixer/mixer_b16_224",
    ):
        assert (EXPRS / "robust_baseline_exp" / name / "config.yaml").is_file()
    for name in ("batch_eval_adv", "batch_eval_transfer", "adv_eval"):
        assert (EXPRS / "nips_benchmark" / name / "config.yaml").is_file()
    for name in ("imagenet-a_o-loop", "imagenet-p-loop", "imagenet_c_loop", "imagenet_s_loop"):
        assert (EXPRS / "exp" / name / "config.yaml").is_file()


@pytest.mark.parametrize("path", CONFIGS, ids=name_of)
def test_config(path, data, monkeypatch):
    """Loads, resolves, passes --check, and its networks can be built."""
    lines = path.read_text().splitlines()
    assert 5 <= len(lines) <= 15
    folder = name_of(path)
    assert lines[1].startswith(f"# bash exprs/{folder}/run.sh --data DIR    about ")
    assert lines[2].startswith("# Expected: ")
    config = load_config(path, data_root=data)
    training = trains(config)
    assert training == (path in TRAININGS)
    models = each_model(config, training, recovering=False)
    if "transfer" in folder:  # whose check would load the weights
        others = config.evaluation.benchmarks["transfer"]["models"]
        assert len({check_name(spec["type"]) for spec in others.values()} | {check_name(models[0].model.type)}) == 6
        return
    for one in models[:2]:
        check(one, path.parent)


@pytest.mark.parametrize("path", CONFIGS, ids=name_of)
def test_script(path):
    script = path.parent / "run.sh"
    assert script.stat().st_mode & 0o111
    assert f"bash exprs/{name_of(path)}/run.sh --data DIR" in script.read_text()
    launch = next(line for line in script.read_text().splitlines() if line.startswith("exec"))
    relative = launch.split('"$here/')[1].split('"')[0]
    assert (path.parent / relative).resolve() == EXPRS / "launch.sh"


def test_all_networks_can_be_built(data):
    seen = set()
    for path in TRAININGS:
        config = load_config(path, data_root=data)
        classes = 21841 if "imagenet_21k_exp" in path.parts else 1000
        if (config.model.type, classes) not in seen:
            seen.add((config.model.type, classes))
            with torch.device("meta"):
                network = build_network(config.model.type, config.model.kwargs).network
            last = [module for module in network.modules() if isinstance(module, torch.nn.Linear)][-1]
            assert last.out_features == classes, path
    assert (
        len(seen) == 44 + 3 + 8 + 5 + 3 + 2
    )  # B5 to B7, without dropout, ImageNet-21k, ConvNeXts and vit_base, supernets


SMALL = ["data.num_workers=0", "data.images_per_step=2", "evaluation.device=cpu", "evaluation.batch_size=2"]
FAMILIES = {
    "resnet/resnet18": 64, "resnext/resnext50_32x4d": 64, "wide_resnet/wide_resnet50_2": 64, "densenet/densenet121": 64,
    "shufflenetv2/shufflenetv2_0.5": 64, "mobilenet_v2/mobilenet_v2_x0_5": 64,
    "mobilenet_v3/mobilenet_v3_large_x0_35": 64, "regnetx/regnetx_400m": 64, "repvgg/repvgg_A0": 64,
    "efficientnet/efficientnet_b0": 64, "vit/vit_base_patch32_224": 224, "deit/deit_tiny_patch16_224": 224,
    "mlp_mixer/mixer_b16_224": 224,
}  # fmt: skip
"""The smallest network of each family, and pixels that it can be trained at."""
QUICK = ("resnet/resnet18", "mobilenet_v3/mobilenet_v3_large_x0_35", "deit/deit_tiny_patch16_224")


def flags(*values):
    return [word for value in values for word in ("--set", value)]


def ten_steps(family, tmp_path, capsys):
    config = EXPRS / "robust_baseline_exp" / family / "config.yaml"
    size = FAMILIES[family]
    command = ["--config", str(config), "--data", "/nowhere", "--trial", "--quiet"]
    command += flags(*SMALL, "data.train.type=fake", "data.test.type=fake", f"output_dir={tmp_path}")
    command += flags(f"model.preprocessing={{input_size: {size}, resize: {size}}}") if size != 224 else []
    assert main(command) == 0
    assert "images are made up" in capsys.readouterr().err
    log = (tmp_path / "trial" / "train.jsonl").read_text()
    assert '"step": 10' in log


@pytest.mark.parametrize("family", QUICK)
def test_ten_steps_on_made_up_images(family, tmp_path, capsys):
    ten_steps(family, tmp_path, capsys)


@pytest.mark.slow
@pytest.mark.parametrize("family", sorted(set(FAMILIES) - set(QUICK)))
def test_ten_steps_of_the_other_families(family, tmp_path, capsys):
    ten_steps(family, tmp_path, capsys)


def test_trained_then_evaluated_by_the_scripts(data, tmp_path):
    """As its README says: a training of one network, then the benchmarks on what it left, the data in the published layouts."""
    environ = solver_environ(PYTHON=sys.executable, ROBUSTART_DATA=str(data))
    small = flags(*SMALL, "model.preprocessing={input_size: 64, resize: 72}")

    def run(experiment, *arguments):
        command = ["bash", str(EXPRS / experiment / "run.sh"), "--nproc", "1", "--trial", "2", *arguments]
        done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout

    run("robust_baseline_exp/resnet/resnet18", *small, *flags(f"output_dir={tmp_path / 'resnet18'}"))
    weights = tmp_path / "resnet18" / "trial" / "checkpoints" / "ckpt.pth.tar"
    of_it = flags("eval_list=[resnet18]", f"model.weights={weights}", f"output_dir={tmp_path}")
    printed = run("exp/imagenet-a_o-loop", *small[2:], *of_it)
    assert "imagenet_a" in printed
    assert "aupr" in printed
    assert (tmp_path / "resnet18" / "trial" / "results" / "report.html").is_file()


def launch(*arguments, cwd, script=EXPRS / "launch.sh", **environ):
    environ = solver_environ(PYTHON=sys.executable, **environ)
    return subprocess.run(
        ["bash", str(script), *arguments], cwd=cwd, env=environ, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no config given"),
        (["--nproc", "abc", "c.yaml"], "--nproc takes a number of processes, got 'abc'"),
        (["c.yaml", "--nproc"], "--nproc takes a number of processes"),
        (["--nproc=0", "c.yaml"], "--nproc takes a number of processes, got '0'"),
        (["--data", "x", "c.yaml"], "the config comes before the solver's flags, got '--data'"),
        (["--slurm", "-p", "g", "--", "c.yaml", "--nproc", "2"], "--nproc is for this machine alone"),
        (["--slurm", "-p", "g"], "--slurm takes srun's flags, then --"),
    ],
)
def test_launcher_refuses(tmp_path, arguments, message):
    done = launch(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr


def test_scripts_are_found_through_links_and_from_anywhere(tmp_path, data):
    link = tmp_path / "try me.sh"
    link.symlink_to(EXPRS / "exp" / "imagenet_s_loop" / "run.sh")
    done = launch("--check", "--nproc=1", cwd=tmp_path, script=link, CDPATH=f"{tmp_path}:.", ROBUSTART_DATA=str(data))
    assert done.returncode == 0, done.stderr
    assert "imagenet_s" in done.stdout
    assert "--trial" in launch("--help", cwd=tmp_path, script=link).stdout  # the solver's flags


def test_the_recipe_is_the_same_on_any_number_of_processes(data):
    config = load_config(EXPRS / "robust_baseline_exp" / "resnet" / "resnet50" / "config.yaml", data_root=data)
    assert [batch_size_of(config, world) for world in (1, 8, 16)] == [512, 64, 32]
    with pytest.raises(ConfigError, match="images_per_step is 512, which 3 processes cannot share"):
        batch_size_of(config, 3)
    stated = dataclasses.replace(config, data=dataclasses.replace(config.data, batch_size=32))
    with pytest.raises(ConfigError, match="set one of them"):
        batch_size_of(stated, 16)
