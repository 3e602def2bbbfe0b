"""What others raise: models, attacks, modules, weights files and terminals. One line, naming what it is about."""

import argparse
import io
import json
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.datasets import ImageFolder

from RobustART.cli import main as robustart
from RobustART.data import array_dataset, create_dataset
from RobustART.errors import ConfigError, DataError, ModelError, UserError, WeightsError, reason
from RobustART.evaluation import evaluate
from RobustART.models import create_model, load_weights, wrap_model
from RobustART.noise import ATTACKS, CORRUPTIONS, AddNoise
from RobustART.noise.attacks import fab, fgsm
from RobustART.training.cls_solver import main
from tests.conftest import ROOT, SIZE, make_picture, own_benchmark, solver_environ


class Odd(nn.Module):
    """A linear network that changes its input, its output or its mind."""

    def __init__(self, before=lambda x: x, after=lambda x: x):
        super().__init__()
        torch.manual_seed(0)
        self.network = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(900, 3))
        self.before, self.after, self.calls = before, after, 0

    def forward(self, images):
        self.calls += 1
        return self.after(self.network(self.before(images)))


def fails_on(value):
    """Returns a step that raises on an image whose first pixel has this value."""

    def step(images):
        if (images[:, 0, 0, 0] == value).any():
            raise KeyError("dark")
        return images

    return step


PLAIN = {**SIZE, "mean": [0.0], "std": [1.0]}


@pytest.fixture
def marked():
    """Twelve images, of which the eighth alone has a first pixel of 255."""
    images = [make_picture(i, 32, 32) for i in range(12)]
    for i, image in enumerate(images):
        image[0, 0] = 255 if i == 7 else 1
    return array_dataset(images, [i % 3 for i in range(12)])


# A model that raises.


@pytest.mark.parametrize("batch_size", [1, 5, 12])
def test_a_failing_model_has_cell_and_image(marked, tmp_path, batch_size):
    model = wrap_model(Odd(fails_on(1.0)), PLAIN)
    benchmarks = {"clean": {}, "imagenet_c": {"corruptions": ["brightness"], "severities": [1]}}
    message = (
        r"the model fails: KeyError: 'dark' \(.*test_foreign_errors.py, line \d+\) \(in the cell 'clean' of 000007"
    )
    with pytest.raises(ModelError, match=message):
        evaluate(model, marked, benchmarks, batch_size=batch_size, output_dir=tmp_path)
    kept = (tmp_path / "results" / "clean.jsonl").read_text().splitlines()
    assert len(kept) == 1 + 7 // batch_size * batch_size
    model.network.before = lambda x: x
    evaluate(model, marked, benchmarks, batch_size=batch_size, output_dir=tmp_path)


def test_a_model_that_fails_in_the_middle(data, tmp_path):
    network = Odd(lambda x: x if network.calls < 4 else 1 / 0)
    with pytest.raises(ModelError, match=r"ZeroDivisionError: division by zero .*in the cell 'clean' of 00000\d"):
        evaluate(network, data, {"clean": {}}, batch_size=3, preprocessing=SIZE, output_dir=tmp_path)


def test_a_model_that_fails_on_batches(data, tmp_path):
    def alone(images):
        assert len(images) == 1, "one at a time"
        return images

    message = (
        "AssertionError: one at a time .*in a batch of 3, from the cell 'clean' of 000000.*000002.*not in each alone"
    )
    with pytest.raises(ModelError, match=message):
        evaluate(Odd(alone), data, {"clean": {}}, batch_size=3, preprocessing=SIZE, output_dir=tmp_path)


@pytest.mark.parametrize("step", [lambda x: 1 / 0, lambda x: x[:, :2], lambda x: x.int(), lambda x: None])
def test_a_model_that_fails_at_its_first_call(step, data, tmp_path):
    with pytest.raises(ModelError, match=r"the model fails on an image of shape \(1, 3, 32, 32\): \w+: "):
        evaluate(Odd(step), data, {"clean": {}}, preprocessing=SIZE, output_dir=tmp_path)


@pytest.mark.parametrize("output", [lambda x: (x, x), lambda x: x[:2], lambda x: x.long(), lambda x: x.numpy()])
def test_an_answer_that_is_no_logits_has_cell_and_image(output, data, tmp_path):
    network = Odd(after=lambda x: x if network.calls < 4 else output(x))
    with pytest.raises(ModelError, match=r"must return logits .*in .*the cell 'clean' of 00000\d"):
        evaluate(network, data, {"clean": {}}, batch_size=3, preprocessing=SIZE, output_dir=tmp_path)


def test_a_model_that_fails_under_attack(marked, tmp_path):
    network = Odd(lambda x: x if not x.requires_grad else 1 / 0)
    with pytest.raises(ModelError, match=r"ZeroDivisionError.*in the cell 'fgsm/8/255' of 0000\d\d .* to 0000\d\d"):
        evaluate(
            network, marked, {"adversarial": {"attacks": ["fgsm"], "eps": [8 / 255]}}, preprocessing=PLAIN,
            output_dir=tmp_path,
        )  # fmt: skip


def broken(model, images, labels, *, eps, seeds=None):
    return images / 0 if len(images) == 0 else images[99]


def test_an_attack_that_fails_has_cell_and_image(data, model, tmp_path):
    name = f"{__name__}:broken"
    with pytest.raises(
        ModelError, match=r"the attack fails: IndexError: .*test_foreign_errors.py.*in the cell .*broken/"
    ):
        evaluate(model, data, {"adversarial": {"attacks": [name], "eps": [8 / 255]}}, output_dir=tmp_path)


def failing(*_, **__):
    raise KeyError("mine")


@pytest.mark.parametrize("workers", [0, 1])
def test_a_users_corruption_data_set_and_benchmark_that_fail(workers, data, model, tmp_path):
    CORRUPTIONS.add("failing", failing)
    try:
        options = {"imagenet_c": {"corruptions": ["failing"], "severities": [1]}}
        with pytest.raises(DataError, match=r"the view 'failing/1' of 000000 fails: KeyError: 'mine' \(.*, line \d+\)"):
            evaluate(model, data, options, workers=workers, output_dir=tmp_path)
    finally:
        CORRUPTIONS.remove("failing")
    with pytest.raises(DataError, match="cannot be made: KeyError: 'mine'"):
        create_dataset(f"{__name__}:failing")
    with own_benchmark("failing", failing), pytest.raises(ConfigError, match="cannot be built: KeyError: 'mine'"):
        evaluate(model, data, {"failing": {}}, output_dir=tmp_path)
    with pytest.raises(ConfigError, match="must be a BenchmarkSpec, got <function failing>"):
        evaluate(model, data, {f"{__name__}:failing": {}}, output_dir=tmp_path)


# Networks without a gradient.


def frozen():
    with torch.no_grad():
        return torch.jit.freeze(torch.jit.trace(Odd().eval(), torch.zeros(2, 3, 32, 32)).eval())


def exported():
    count = torch.export.Dim("count", min=1, max=64)
    program = torch.export.export(Odd().eval(), (torch.zeros(2, 3, 32, 32),), dynamic_shapes=[{0: count}])
    return program.module()


class NoGrad(Odd):
    @torch.no_grad()
    def forward(self, images):
        return super().forward(images)


WITHOUT = {
    "no_grad": NoGrad,
    "detached": lambda: Odd(after=torch.Tensor.detach),
    "input detached": lambda: Odd(torch.Tensor.detach),
    "numpy": lambda: Odd(lambda x: torch.from_numpy(x.detach().numpy().copy())),
    "quantised": lambda: torch.ao.quantization.quantize_dynamic(
        nn.Sequential(nn.Flatten(), nn.Linear(3072, 3)), {nn.Linear}, dtype=torch.qint8
    ),
    "inference": lambda: torch.inference_mode()(Odd()),
}
GRADIENT = [
    "fgsm", "pgd_linf", "pgd_l2", "pgd_l1", "mim_linf", "ddn_l2", "cw_l2", "deepfool_l2", "fab", "apgd_ce", "apgd_t",
    "autoattack_linf",
]  # fmt: skip


@pytest.mark.parametrize("kind", [kind for kind in WITHOUT if kind != "inference"])
def test_a_gradient_attack_on_a_network_without_gradient(kind):
    model = wrap_model(WITHOUT[kind](), SIZE)
    images = torch.rand(3, 3, 32, 32)
    labels = model(images).argmax(1)
    for name in GRADIENT:
        with pytest.raises(ModelError, match="no gradient to follow.*'square'"):
            ATTACKS[name](model, images, labels, eps=8 / 255)
    noise = AddNoise("fgsm")
    noise.set_config(model=model, eps=8 / 255, backend="foolbox")
    with pytest.raises(ModelError, match="no gradient to follow"):
        noise.add_noise(images, label=labels)


@pytest.mark.parametrize("make", [frozen, exported])
def test_frozen_and_exported_networks_run(make, data, tmp_path):
    """They may have a gradient or not; either way there is a number or one line."""
    benchmarks = {"clean": {}, "adversarial": {"attacks": ["fgsm", "deepfool_l2"], "eps": None}}
    for name, options in benchmarks.items():
        message = ""
        try:
            evaluate(make(), data, {name: options}, preprocessing=SIZE, output_dir=tmp_path / name)
        except ModelError as error:
            message = str(error)
        assert not message or ("gradient" in message and name != "clean")


# Modules.


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\nundefined\n", r"NameError: name 'undefined' is not defined \(.*, line 2\)"),
        ("def f(:\n", r"SyntaxError: .*line 1"),
        ("import no_such_library\n", r"ModuleNotFoundError: No module named 'no_such_library' \(.*, line 1\)"),
        ("raise RuntimeError('two\\nlines')\n", r"RuntimeError: two lines \(.*, line 1\)"),
        ("1 / 0\n", r"ZeroDivisionError: division by zero \(.*, line 1\)"),
    ],
)
@pytest.mark.parametrize("where", ["model", "imports", "data", "benchmark"])
def test_a_module_that_fails_shows_its_error_once(text, message, where, small_config, capsys):
    name = f"failing_{abs(hash((text, where))) % 10**9}"
    (small_config.parent / f"{name}.py").write_text(text)
    overrides = {
        "model": [f"model.type={name}:build"],
        "imports": [f"imports=[{name}]"],
        "data": [f"data.test.type={name}:data"],
        "benchmark": [f"evaluation.benchmarks={{'{name}:x': {{}}}}"],
    }[where]
    assert main(["--config", str(small_config), "--check", *(word for o in overrides for word in ("--set", o))]) == 2
    shown = capsys.readouterr().err
    assert shown.count("\n") == 1
    assert shown.count(message.partition(":")[0]) == 1
    assert pytest.importorskip("re").search(rf"cannot be imported: {message}", shown), shown


def test_a_builder_that_fails_shows_its_error_once(small_config, capsys):
    (small_config.parent / "failing_builder.py").write_text("def build():\n    return {}['none']\n")
    arguments = ["--config", str(small_config), "--set", "model.type=failing_builder:build"]
    for more in (["--check"], []):
        assert main([*arguments, *more]) == 2
        shown = capsys.readouterr().err
        assert "KeyError: 'none'" in shown
        assert "failing_builder.py, line 2)" in shown
        assert "Traceback" not in shown


def test_a_data_set_of_torchvision_names_ours(model, photo_folder, tmp_path):
    folder = ImageFolder(str(photo_folder))
    for data in (folder, torch.utils.data.DataLoader(folder), [1, 2], str(photo_folder)):
        with pytest.raises(
            ConfigError, match=r"must be a data set of RobustART.*create_dataset\(root_dir=.*array_dataset"
        ):
            evaluate(model, data, {"clean": {}}, output_dir=tmp_path)


# Messages.


def test_messages_have_no_addresses_and_no_codes_of_terminals():
    message = str(
        ConfigError(f"got {nn.Flatten().forward!r} \x1b[1mnot\x1b[0m <object object at 0x7f00aa11>\x07, 0x10")
    )
    assert "0x7f" not in message
    assert message.endswith("not <object object>, 0x10")
    assert pickle.loads(pickle.dumps(ConfigError("a at 0x12"))).args == ("a",)
    assert str(UserError()) == ""


def test_reason_is_one_line():
    with pytest.raises(ValueError, match="Expecting") as caught:
        json.loads("{")
    assert reason(caught.value).startswith("JSONDecodeError: Expecting property name")
    assert reason(RuntimeError("a\n\n b")) == "RuntimeError: a b"
    assert reason(RuntimeError()) == "RuntimeError"


# Weights.


def network():
    return Odd().network


def held(state, *keys):
    for key in reversed(keys):
        state = {key: state, "epoch": 3}
    return state


@pytest.mark.parametrize(
    "prefix",
    [
        "", "module.", "_orig_mod.", "model.", "_orig_mod.module.", "module._orig_mod.", "module.module.", "model._orig_mod.",
        "model.module.", "module.model.", "model.model.", "net._orig_mod.module.", "_fsdp_wrapped_module.", "network.",
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    "keys", [(), ("state_dict",), ("model",), ("model_state_dict",), ("model", "state_dict"), ("net",)]
)
def test_prefixes_in_any_order_and_depth(prefix, keys, tmp_path, caplog):
    caplog.set_level("INFO", logger="RobustART")
    state = {f"{prefix}{name}": value for name, value in network().state_dict().items()}
    torch.save(held(state, *keys), tmp_path / "x.pt")
    fresh = network()
    nn.init.zeros_(fresh[0].weight)
    assert load_weights(fresh, tmp_path / "x.pt") == []
    assert torch.equal(fresh[0].weight, network()[0].weight)
    if prefix:
        assert all(part in caplog.text for part in prefix.split("."))


def test_a_prefix_of_the_networks_own_is_kept(tmp_path):
    own = nn.ModuleDict({"model": network()})
    torch.save({f"module.{name}": value for name, value in own.state_dict().items()}, tmp_path / "x.pt")
    assert load_weights(own, tmp_path / "x.pt") == []


def test_a_compiled_part_is_found(tmp_path):
    own = nn.Sequential(nn.Sequential(nn.Linear(2, 2)), nn.Linear(2, 2))
    state = {k.replace("0.0.", "0._orig_mod.0."): v for k, v in own.state_dict().items()}
    torch.save(state, tmp_path / "x.pt")
    assert load_weights(own, tmp_path / "x.pt") == []


def test_a_checkpoint_of_madrylab(tmp_path, caplog):
    state = {f"module.{part}.{n}": v for part in ("model", "attacker.model") for n, v in network().state_dict().items()}
    state |= {
        f"module.{part}.new_{n}": torch.ones(3)
        for part in ("normalizer", "attacker.normalize")
        for n in ("mean", "std")
    }
    torch.save({"model": state, "epoch": 1}, tmp_path / "x.pt")
    assert load_weights(network(), tmp_path / "x.pt") == []
    assert "its normalisation is not loaded; model.preprocessing states mean and std" in caplog.text


def test_a_checkpoint_of_timm_has_a_namespace(tmp_path):
    args = argparse.Namespace(lr=0.1, opt="sgd", model="resnet18")
    torch.save({"epoch": 1, "arch": "x", "state_dict": network().state_dict(), "args": args}, tmp_path / "x.pth.tar")
    assert load_weights(network(), tmp_path / "x.pth.tar") == []


class Evil:
    def __reduce__(self):
        return os.system, ("false",)


def test_weights_that_could_run_code_name_it(tmp_path):
    torch.save({"state_dict": network().state_dict(), "x": Evil()}, tmp_path / "x.pt")
    with pytest.raises(
        WeightsError, match="is refused: it holds (posix|nt).system, and only tensors and plain data are read"
    ):
        load_weights(network(), tmp_path / "x.pt")
    (tmp_path / "y.pt").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(WeightsError, match="y.pt is (refused|damaged)"):
        load_weights(network(), tmp_path / "y.pt")


def test_other_files_than_weights(tmp_path):
    for content in (b"", b"\x80", b"PK\x03\x04", b"hello", pickle.dumps([1, 2]), b"\x00" * 1000):
        for name in ("x.pt", "x.safetensors"):
            (tmp_path / name).write_bytes(content)
            with pytest.raises(WeightsError, match=name) as caught:
                load_weights(network(), tmp_path / name)
            assert "\n" not in str(caught.value)
            assert "\x1b" not in str(caught.value)
    for data in ({3: torch.ones(1)}, {"a": 3}, {}, torch.ones(3), {"state_dict": {"a": [torch.ones(1)]}}):
        torch.save(data, tmp_path / "x.pt")
        with pytest.raises(WeightsError, match="holds no state dict"):
            load_weights(network(), tmp_path / "x.pt")
    with pytest.raises(WeightsError, match="is a folder, not a file"):
        load_weights(network(), tmp_path)
    with pytest.raises(WeightsError, match="there is no weights file"):
        load_weights(network(), tmp_path / ("a" * 5000))
    os.mkfifo(tmp_path / "pipe.pt")
    with pytest.raises(WeightsError, match="there is no weights file"):
        load_weights(network(), tmp_path / "pipe.pt")


@pytest.mark.parametrize("form", ["zip", "legacy", "safetensors"])
def test_damaged_weights(form, tmp_path):
    """Cut, overwritten or shifted anywhere: an error in one line, or the very weights."""
    from safetensors.torch import save

    buffer, state = io.BytesIO(), network().state_dict()
    if form != "safetensors":
        torch.save(state, buffer, _use_new_zipfile_serialization=form == "zip")
    whole = save(state) if form == "safetensors" else buffer.getvalue()
    path = tmp_path / f"x.{'safetensors' if form == 'safetensors' else 'pt'}"
    rng = np.random.default_rng(5)
    for _ in range(int(os.environ.get("ROBUSTART_MUTATIONS", "40"))):
        data, place = bytearray(whole), int(rng.integers(len(whole) if rng.random() < 0.5 else 600))
        kind = rng.integers(4)
        if kind == 0:
            del data[place:]
        elif kind == 1:
            data[place] ^= 1 << int(rng.integers(8))
        elif kind == 2:
            data[place : place + 8] = rng.bytes(8)
        else:
            del data[place : place + int(rng.integers(1, 50))]
        path.write_bytes(data)
        message = ""
        try:
            load_weights(network(), path)
        except WeightsError as error:
            message = str(error)
        assert "\n" not in message


# Terminals.

COMMANDS = [
    ["models"], ["list", "attacks"], ["list", "benchmarks"], ["schema"], ["--help"], ["models", "--format", "json"],
]  # fmt: skip


@pytest.mark.parametrize("arguments", [["models"], ["schema"], ["list", "attacks"], ["--help"]])
def test_a_reader_that_leaves_early_ends_a_command_quietly(arguments):
    run = subprocess.Popen(
        [sys.executable, "-m", "RobustART.cli", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT,
        env=solver_environ(),
    )  # fmt: skip
    run.stdout.close()
    assert run.stderr.read() == b""
    assert run.wait(120) in (0, 141)


def test_what_ascii_lacks_is_escaped(small_config, monkeypatch, capsys):
    """Every command that prints, in one process: stdout is replaced by one of ASCII."""
    photos = small_config.parent / "photos"
    (photos / "class_0").rename(photos / "\u00e9t\u00e9")
    out = small_config.parent / "\u00e9\u00e8"
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii", errors="strict", write_through=True))
    overrides = [
        "--set",
        f"output_dir={out}",
        "--set",
        "evaluation.benchmarks={clean: {}, imagenet_c: {corruptions: [fog]}}",
    ]
    solver = ["--config", str(small_config), *overrides]
    assert main([*solver, "--check"]) == 0
    assert main([*solver, "--quiet"]) == 0
    for arguments in (
        *COMMANDS[:4], ["score", str(out / "results" / "clean.jsonl")], ["report", str(out)], ["compare", str(out), str(out)],
        ["leaderboard", str(out), "-o", str(out / "board.html")],
    ):  # fmt: skip
        assert robustart(arguments) in (0, 2), arguments
    assert b"\\xe9" in raw.getvalue()
    raw.getvalue().decode("ascii")


def test_a_full_disk_under_stdout_is_one_line():
    if not os.path.exists("/dev/full"):
        pytest.skip("there is no /dev/full")
    with open("/dev/full", "w") as full:
        run = subprocess.run(
            [sys.executable, "-m", "RobustART.cli", "list", "attacks"], stdout=full, stderr=subprocess.PIPE, check=False,
            text=True, cwd=ROOT, env=solver_environ(),
        )  # fmt: skip
    assert (run.stderr.count("\n"), run.returncode) == (1, 2)
    assert run.stderr.startswith("error: ")
    assert run.stderr.endswith("No space left on device\n")


def test_fab_alone_names_the_missing_gradient():
    images = torch.rand(2, 3, 32, 32)
    model = wrap_model(NoGrad(), SIZE)
    for attack in (fab, fgsm):
        with pytest.raises(ModelError, match="no gradient to follow"):
            attack(model, images, model(images).argmax(1), eps=0.1)


def test_models_that_cannot_be_copied_or_hashed_are_taken(data, tmp_path):
    report = evaluate(create_model("torchvision:squeezenet1_0", num_classes=3, preprocessing={**SIZE, "input_size": 64,
        "resize": 64}), data, {"clean": {}}, output_dir=tmp_path)  # fmt: skip
    assert report.data["benchmarks"]["clean"]
