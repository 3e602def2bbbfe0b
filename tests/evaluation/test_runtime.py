"""Other runtimes than torch: the same predictions, one choice for all processes and resumes, and reasons for torch."""

import copy
import functools
import json
import sys
import types

import pytest
import torch
from torch import nn

from RobustART.core.distributed import World
from RobustART.core.serving import Served
from RobustART.errors import ConfigError, RecordError
from RobustART.evaluation import evaluate, runtime
from RobustART.evaluation.settings import Settings
from RobustART.models import runtimes, wrap_model
from RobustART.noise.attacks import fgsm, pgd_linf, square
from RobustART.noise.attacks.log import AttackLog
from RobustART.report.schema import faults
from tests.conftest import SIZE

LIBRARIES = ("openvino", "onnxruntime")
WANTED = {"clean": {}, "imagenet_c": {"corruptions": ["fog"], "severities": [3]}}
ATTACKED = {**WANTED, "adversarial": {"attacks": ["pgd_linf", {"square": {"steps": 20}}], "eps": [0.1]}}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache of graphs for each test; speed, which depends on the machine, decides nothing."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(runtime, "_check_faster", lambda ours, theirs: None)
    monkeypatch.setattr("RobustART.evaluation.run.draw_noise", lambda *_: None)
    return tmp_path / "cache" / "robustart" / "graphs"


@pytest.fixture
def fast():
    for library in LIBRARIES:
        pytest.importorskip(library, reason=f"{library} is not installed: pip install '.[fast]'")


@pytest.fixture
def model():
    torch.manual_seed(1)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 16, 3, stride=2),
        nn.BatchNorm2d(16, affine=False), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(64, 3),
    )  # fmt: skip
    network[1].weight.data.uniform_(0.5, 2)
    network(torch.randn(64, 3, 32, 32).mul_(2))  # running statistics
    with torch.no_grad():
        network[-1].weight.mul_(8)
    return network.eval()


def run(model, data, folder, benchmarks=WANTED, **settings):
    given = {"batch_size": 4, "preprocessing": SIZE, "progress": False, **settings}
    return evaluate(model, data, benchmarks, output_dir=folder, **given).data


def rows(folder, benchmark):
    lines = (folder / "results" / f"{benchmark}.jsonl").read_text().splitlines()
    return json.loads(lines[0]), [json.loads(line) for line in lines[1:]]


@pytest.mark.parametrize("library", LIBRARIES)
def test_predictions_are_those_of_torch(fast, tmp_path, data, model, library):
    before = copy.deepcopy(model.state_dict())
    run(model, data, tmp_path / "torch")
    report = run(model, data, tmp_path / library, runtime=library)
    for name in WANTED:
        (header, wanted), (ours, found) = (rows(tmp_path / folder, name) for folder in ("torch", library))
        assert [row["prediction"] for row in found] == [row["prediction"] for row in wanted]
        for row, other in zip(found, wanted, strict=True):
            assert row["confidence"] == pytest.approx(other["confidence"], abs=5e-5)
        stated = ours["conditions"].pop("runtime")
        assert stated["name"] == library
        assert stated["images"] == 12
        assert 0 < stated["largest_difference"] < 1e-4
        assert ours["conditions"] == header["conditions"]
        assert ours["hash"] != header["hash"]
    assert report["conditions"]["runtime"] == stated
    assert library in report["conditions"]["versions"]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not model.training
    assert all(value.requires_grad for value in model.parameters())


def test_attacks_use_the_folded_copy_and_confirm(fast, tmp_path, data, model):
    reports = {name: run(model, data, tmp_path / name, ATTACKED, runtime=name) for name in ("torch", "openvino")}
    header, found = rows(tmp_path / "openvino", "adversarial")
    assert header["conditions"]["runtime"]["gradients"] == "folded"
    assert "gradients" not in rows(tmp_path / "openvino", "clean")[0]["conditions"]["runtime"]
    assert reports["openvino"]["conditions"]["runtime"]["gradients"] == "folded"
    assert list(faults(reports["openvino"])) == []
    tables = [report["benchmarks"]["adversarial"]["tables"]["robust_accuracy"] for report in reports.values()]
    assert tables[0] == tables[1]
    assert {"pgd_linf", "square"} <= {name for row in found for name in row["broken_by"]}


@pytest.mark.parametrize(("first", "second"), [("auto", "auto"), ("auto", "openvino"), ("torch", "auto")])
def test_a_resumed_run_uses_what_the_file_states(fast, tmp_path, data, model, first, second):
    run(model, data, tmp_path, ATTACKED, runtime=first)
    paths = [tmp_path / "results" / f"{name}.jsonl" for name in ATTACKED]
    whole = [path.read_bytes() for path in paths]
    paths[0].write_bytes(b"".join(whole[0].splitlines(keepends=True)[:9]))
    paths[2].write_bytes(b"".join(whole[2].splitlines(keepends=True)[:7]))
    paths[1].unlink()
    report = run(model, data, tmp_path, ATTACKED, runtime=second)
    found = [path.read_bytes() for path in paths]
    if first == "torch":  # whose headers do not have the versions of other libraries
        found, whole = ([b"".join(file.splitlines(keepends=True)[1:]) for file in files] for files in (found, whole))
    assert found == whole
    assert ("runtime" in report["conditions"]) == (first == "auto")


def test_other_runtimes_are_refused(fast, tmp_path, data, model, monkeypatch):
    run(model, data, tmp_path, runtime="openvino")
    with pytest.raises(RecordError, match=r'another config.*runtime\.name: "openvino" -> "onnxruntime"'):
        run(model, data, tmp_path, runtime="onnxruntime")
    with pytest.raises(RecordError, match=r'runtime: \{"name": "openvino".*\} -> null'):
        run(model, data, tmp_path)
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(
        ConfigError, match=r"evaluation.runtime: openvino is not installed: pip install 'RobustART\[fast\]'"
    ):
        run(model, data, tmp_path, runtime="openvino")
    with pytest.raises(
        RecordError, match="was computed with the runtime openvino .* openvino is not installed"
    ) as error:
        run(model, data, tmp_path, runtime="auto")
    assert "\n" not in str(error.value)


def test_other_processes_use_the_choice_of_process_0(fast, model, tmp_path, monkeypatch):
    classifier = wrap_model(model, SIZE).eval()
    cells = (types.SimpleNamespace(victim=None, judge=None, attack=None),)
    plan = (types.SimpleNamespace(name="clean", models={}, passes=(types.SimpleNamespace(cells=cells),)), [[0]])
    monkeypatch.setattr(runtime, "first_images", lambda *_: (torch.rand(8, 3, 32, 32), None))
    chosen = runtime.Choice("onnxruntime", "folded", 0.5, 3)
    world = types.SimpleNamespace(is_main=False, device=torch.device("cpu"), share=lambda _: [chosen])
    found = runtime.choose_runtimes([plan], classifier, tmp_path, False, world, Settings(runtime="auto"))
    served = found.served({None: classifier})[None]
    assert isinstance(served, Served)
    assert served.session is not None
    monkeypatch.setattr(runtime, "open_session", refuse)
    with pytest.raises(RecordError, match="process 0 chose the runtime onnxruntime .* cannot be used here: no licence"):
        runtime.choose_runtimes([plan], classifier, tmp_path, False, world, Settings(runtime="auto"))


def refuse(*arguments):
    raise runtimes.Unsuited("no licence")


class Random(nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, images):
        return self.network(images + 1e-3 * torch.randn_like(images))


class Branching(Random):
    def forward(self, images):
        return self.network(images) if images.mean() > 0.5 else self.network(1 - images)


def hooked(model):
    model[0].register_forward_hook(lambda *_: None)
    return model


def training(model):
    model[1].training = True
    model[1].train = lambda mode: model[1]  # as that of a user who wants the statistics of the batch
    return model


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (Random, "the model is random"), (Branching, "it reads numbers from tensors"), (hooked, "'network.0' has hooks"),
        (training, "'network.1' is in training mode"),
    ],
)  # fmt: skip
def test_unsuited_models_are_run_by_torch(fast, tmp_path, data, model, change, reason):
    changed = change(model)
    report = run(changed, data, tmp_path / "auto", runtime="auto")
    (warning,) = [warning for warning in report["warnings"] if "evaluation.runtime" in warning]
    assert reason in warning
    assert "\n" not in warning
    assert "runtime" not in rows(tmp_path / "auto", "clean")[0]["conditions"]
    with pytest.raises(ConfigError, match=f"evaluation.runtime: openvino cannot be used: .*{reason}"):
        run(changed, data, tmp_path / "openvino", runtime="openvino")


def test_unequal_answers_are_refused(tmp_path, data, model, monkeypatch):
    classifier = wrap_model(model, SIZE).eval()
    for change, reason in [
        (lambda logits: logits * 1.01, "0 of 12 predictions and a probability, by"),
        (lambda logits: logits.flip(1), "of 12 predictions"),
        (lambda logits: logits * torch.nan, "other or invalid logits"),
        (lambda logits: logits[:1], "other or invalid logits"),
    ]:
        monkeypatch.setattr(
            runtime, "open_session", lambda *_, change=change: lambda images: change(classifier(images).detach())
        )
        with pytest.raises(ConfigError, match=reason):
            run(classifier, data, tmp_path, runtime="onnxruntime")


def test_settings_that_exclude_a_runtime(tmp_path, data, model):
    with pytest.raises(ConfigError, match=r"it computes in float32, but evaluation\.amp is bf16"):
        run(model, data, tmp_path, runtime="openvino", amp="bf16")
    with pytest.raises(ConfigError, match=r"runtime"):
        run(model, data, tmp_path, runtime="opnvino")


@pytest.mark.parametrize("attack", [fgsm, pgd_linf, functools.partial(square, steps=20)])
def test_successes_are_confirmed_by_the_users_module(model, attack):
    """A session and a copy whose logits say that every image is fooled."""
    own = wrap_model(model, SIZE).eval()
    images = torch.rand(8, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    labels = own(images).argmax(1)

    class Lying(nn.Module):
        def forward(self, points):
            return own(points).roll(1, dims=1)

    lying = Lying()
    served = Served(own, (3, 32, 32), lambda points: lying(points).detach(), lying)
    for eps in (1e-6, 0.1):
        log = AttackLog()
        found = attack(served, images, labels, eps=eps, seeds=torch.arange(8), stop="first", log=log)
        broken = [name not in (None, "clean") for name in log.broken_by]
        assert "clean" not in log.broken_by
        assert broken == (own(found).argmax(1) != labels).tolist()
    assert any(broken)


def test_the_cache_survives_damage(fast, cache, tmp_path, data, model, monkeypatch):
    exported, make = [], runtimes.to_onnx
    monkeypatch.setattr(runtimes, "to_onnx", lambda *arguments: exported.append(1) or make(*arguments))
    run(model, data, tmp_path / "a", runtime="onnxruntime")
    (file,) = cache.iterdir()
    whole = file.read_bytes()
    for content, count in [(whole, 1), (whole[:-9], 2), (whole[:40] + b"x" + whole[41:], 3), (b"", 4)]:
        file.write_bytes(content)
        run(model, data, tmp_path / "a", runtime="onnxruntime", fresh=True)
        assert len(exported) == count
        assert [path.name for path in cache.iterdir()] == [file.name]
    with torch.no_grad():
        model[-1].bias.add_(1)
    run(model, data, tmp_path / "a", runtime="onnxruntime", fresh=True)
    assert len(exported) == 5
    monkeypatch.setattr(runtimes, "CACHE_BYTES", 0)
    with torch.no_grad():
        model[-1].bias.add_(1)
    run(model, data, tmp_path / "a", runtime="onnxruntime", fresh=True)
    assert len(list(cache.iterdir())) == 1


def test_a_cache_that_cannot_be_written_is_no_error(fast, cache, tmp_path, data, model):
    cache.parent.parent.mkdir()
    cache.parent.write_bytes(b"a file where the folder would be")
    run(model, data, tmp_path / "a", runtime="onnxruntime")


def test_a_world_of_one_process_shares_its_value():
    assert World("cpu", environ={}).share([1]) == [1]


class Reads(nn.Module):
    def __init__(self, how):
        super().__init__()
        torch.manual_seed(0)
        self.how, self.head = how, nn.Linear(12, 3)

    def forward(self, images):
        return self.head(self.how(images).flatten(1))


def key_of(how):
    seat = runtime._Seat.__new__(runtime._Seat)
    seat.model = wrap_model(Reads(how), {"input_size": 2, "resize": 2}).eval()
    return seat._key()


def test_a_graph_is_kept_only_where_its_key_identifies_the_model():
    """Else an edited network would get the graph of the one before."""
    assert key_of(torch.tensor([1.0])) == key_of(torch.tensor([1.0])) != key_of(torch.tensor([2.0]))
    assert key_of({"scale": 1.0}) != key_of({"scale": 2.0})
    assert key_of(nn.functional.relu) != key_of(nn.functional.gelu)
    assert key_of(lambda images: images) is None
    assert key_of(functools.partial(torch.clamp, min=0)) is None


@pytest.mark.parametrize(
    "how",
    [lambda x: x / x.max().item(), lambda x: x if x.max() > 0.5 else -x, lambda x: x * float(x.mean())],
    ids=["item", "branch", "float"],
)
def test_a_model_that_reads_numbers_from_its_images_is_not_exported(how):
    """A graph would keep the number of the images of the export."""
    with pytest.raises(runtimes.Unsuited, match="it reads numbers from tensors"):
        runtimes.to_onnx(Reads(how).eval(), 2)
