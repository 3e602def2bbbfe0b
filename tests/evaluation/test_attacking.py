"""Attacks inside an evaluation: their stages, their costs, and models that attack each other."""

import json

import pytest
import torch
from torch import nn

from RobustART.benchmarks import build_benchmark
from RobustART.data import array_dataset
from RobustART.errors import ConfigError, RecordError, UnknownNameError
from RobustART.evaluation import evaluate
from RobustART.models import create_model
from RobustART.noise.attacks import fgsm
from RobustART.records.journal import Journal
from RobustART.records.lines import read_records
from tests.conftest import SIZE, changed, make_picture

SHORT = {
    "stage_options": {
        "apgd_ce": {"steps": 3},
        "apgd_t": {"steps": 3, "n_targets": 2},
        "fab_t": {"steps": 3, "n_targets": 2},
        "square": {"steps": 30},
    }
}
TWO_ATTACKS = {"attacks": [{"autoattack_linf": SHORT}, "fgsm"], "eps": [0.5 / 255, 3 / 255]}


QUESTIONS = 35
"""More calls than a run makes to ask the model before its first image."""


class Stop(BaseException):
    """The run is killed; no error of the model."""


class Stops(nn.Module):
    """A classifier that raises when it is asked for the n-th time."""

    def __init__(self, inner, calls):
        super().__init__()
        self.inner, self.calls, self.preprocessing = inner, calls, inner.preprocessing

    def forward(self, images):
        self.calls -= 1
        if self.calls == 0:
            raise Stop
        return self.inner(images)


def attacked(folder, model, data, **options):
    return evaluate(
        model, data, {"adversarial": TWO_ATTACKS}, output_dir=folder, batch_size=4, progress=False,
        preprocessing={"mean": [0.0] * 3, "std": [1.0] * 3}, **options,
    )  # fmt: skip


def test_a_run_killed_within_autoattack_goes_on_with_the_next_stage(tmp_path, data, model):
    """Wherever it is killed, the result file is that of the unbroken run, and no stage is done twice."""
    whole = Stops(model, -1)
    report = attacked(tmp_path / "whole", whole, data)
    passes = -1 - whole.calls
    expected = (tmp_path / "whole" / "results" / "adversarial.jsonl").read_bytes()
    stages = set()
    for calls in range(QUESTIONS, passes, 17):
        folder = tmp_path / str(calls)
        broken = Stops(model, calls)
        with pytest.raises(Stop):
            attacked(folder, broken, data)
        path = folder / "results" / "adversarial.jsonl"
        progress = [json.loads(line) for line in path.read_text().splitlines() if '"progress"' in line]
        stages |= {(entry["progress"], entry["stage"]) for entry in progress}
        rest = Stops(model, -1)
        again = attacked(folder, rest, data)
        assert path.read_bytes() == expected
        assert {**again.data, "timing": 0} == {**report.data, "timing": 0}
        blocks = 3
        # One stage, one view and a few questions may be asked again; all the rest is not.
        assert (-1 - rest.calls) + calls < passes + passes / blocks + QUESTIONS
    names = {"autoattack_linf/0.5/255", "autoattack_linf/3/255", "fgsm/0.5/255"}
    assert {cell for cell, _ in stages} >= names
    assert {stage for cell, stage in stages if cell.startswith("auto")} == {"apgd_ce", "apgd_t", "fab_t", "square"}


def test_work_behind_a_killed_run_is_not_done_again(tmp_path, data, model, monkeypatch):
    """Killed right after a stage was committed: the stage is not run a second time."""
    ran = []
    note = Journal.note

    def spy(self, entry):
        note(self, entry)
        ran.append((entry["first"], entry["progress"], entry["stage"]))
        if len(ran) == 2:
            raise Stop

    monkeypatch.setattr(Journal, "note", spy)
    with pytest.raises(Stop):
        attacked(tmp_path, model, data)
    attacked(tmp_path, model, data)
    assert len(ran) == len(set(ran)) > 6


def test_progress_on_other_images_is_refused(tmp_path, data, model):
    folder = tmp_path / "run"
    with pytest.raises(Stop):
        attacked(folder, Stops(model, 60), data)
    path = folder / "results" / "adversarial.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    places = [i for i, line in enumerate(lines) if '"progress"' in line]
    assert places
    for i in places:
        _, *others = json.loads(lines[i])["digests"]
        lines[i] = changed(lines[i], digests=["0" * 16, *others])
    path.write_text("".join(lines))
    with pytest.raises(RecordError, match="has progress of autoattack_linf/.* on images whose content has changed"):
        attacked(folder, Stops(model, -1), data)


class Probabilities(nn.Module):
    """Returns probabilities instead of logits."""

    def __init__(self, inner):
        super().__init__()
        self.inner, self.preprocessing = inner, inner.preprocessing

    def forward(self, images):
        return self.inner(images).softmax(1)


def test_flags_are_data_and_a_warning_of_the_report(tmp_path, data, model):
    report = attacked(tmp_path, Probabilities(model), data)
    header = read_records(tmp_path / "results" / "adversarial.jsonl").header
    assert set(header["signs"]["model"]) == {"probabilities"}
    assert any(
        "not trustworthy: the model: probabilities: all outputs are in" in text for text in report.data["warnings"]
    )
    again = attacked(tmp_path, Probabilities(model), data)
    assert again.data["warnings"] == report.data["warnings"]


def other(own_model, scale=3.0, **preprocessing):
    return {"type": f"{own_model}:build", "kwargs": {"scale": scale}, "preprocessing": {**SIZE, **preprocessing}}


def test_transfer_equals_a_plain_loop(tmp_path, data, model, own_model):
    torch.manual_seed(3)
    second = create_model(f"{own_model}:build", preprocessing=SIZE)
    with torch.no_grad():
        for value in second.parameters():
            value += 0.2 * value.std() * torch.randn(value.shape)
    options = {"models": {"second": second}, "eps": [8 / 255, 16 / 255]}
    report = evaluate(model, data, {"transfer": options}, output_dir=tmp_path, batch_size=5, progress=False)
    images = torch.stack([torch.from_numpy(image) for image in data.images]).permute(0, 3, 1, 2).contiguous() / 255
    labels = torch.tensor(data.labels)
    networks = {"model": model, "second": second}
    with torch.no_grad():
        clean = {name: network(images).argmax(1) == labels for name, network in networks.items()}
    tables = report.data["benchmarks"]["transfer"]["tables"]
    seen = 0
    for eps, text in ((8 / 255, "8/255"), (16 / 255, "16/255")):
        for source, network in networks.items():
            noisy = fgsm(network, images, labels, eps=eps)
            for target, judge in networks.items():
                both = clean[source] & clean[target]
                with torch.no_grad():
                    fooled = both & (judge(noisy).argmax(1) != labels)
                cell = tables[f"transfer_success fgsm/{text}"][source][target]
                assert cell["n"] == both.sum() > 0
                assert cell["value"] == pytest.approx(100 * float(fooled.sum() / both.sum()))
                seen += int(fooled.sum())
    assert seen > 0
    table = read_records(tmp_path / "results" / "transfer.jsonl").passes[0]
    # The images are made once for both targets: one forward and one backward pass each.
    column = table.cell("fgsm/8/255 model>model")
    assert table.backward[:, column].sum() == clean["model"].sum()
    assert table.backward[:, table.cell("fgsm/8/255 model>second")].sum() == 0


def test_transfer_knows_its_models(tmp_path, data, model, own_model):
    """Other weights of another model are other conditions."""
    run = {"output_dir": tmp_path, "batch_size": 5, "progress": False}
    evaluate(model, data, {"transfer": {"models": {"b": other(own_model)}}}, **run)
    header = json.loads((tmp_path / "results" / "transfer.jsonl").read_text().splitlines()[0])
    assert header["conditions"]["models"]["b"]["arguments"] == {"scale": "3.0"}
    changed = create_model(f"{own_model}:build", preprocessing=SIZE)
    with pytest.raises(RecordError, match="models.b"):
        evaluate(model, data, {"transfer": {"models": {"b": changed}}}, **run)


@pytest.mark.parametrize(("change", "error", "message"), [
    ({"models": {}}, ConfigError, "transfer.models must name at least one model"),
    ({"models": {"model": None}}, ConfigError, "not be 'model', got 'model'"),
    ({"models": {"a>b": None}}, ConfigError, "got 'a>b'"),
    ({"models": {"a": {"kwargs": {}}}}, ConfigError, "transfer.models.a.type is missing"),
    ({"models": {"a": {"type": "resnet18", "weightz": "x"}}}, ConfigError, "weightz; did you mean 'weights'"),
    ({"models": {"a": {"type": "resnet81"}}}, UnknownNameError, "resnet81"),
])  # fmt: skip
def test_transfer_names_mistakes(data, change, error, message):
    with pytest.raises(error, match=message):
        build_benchmark("transfer", data, change)


def test_transfer_needs_models_that_fit(tmp_path, data, model, own_model):
    for spec, message in (
        (other(own_model, input_size=24, resize=24), "'b' takes images with input_size 24, .* with 32"),
        ({**other(own_model), "kwargs": {"classes": 4}}, "'b' has 4 outputs, .* 3"),
    ):
        with pytest.raises(ConfigError, match=message):
            evaluate(model, data, {"transfer": {"models": {"b": spec}}}, output_dir=tmp_path, progress=False)


def test_amp_proposes_and_float32_confirms(tmp_path, model):
    """Under bf16 every recorded success is one of the float32 model, and the conditions say how it was found."""
    data = array_dataset([make_picture(i, 32, 32) for i in range(24)], [i % 3 for i in range(24)])
    options = {"attacks": ["pgd_linf", {"autoattack_linf": SHORT}], "eps": [1 / 255]}
    for name, amp in (("float", None), ("half", "bf16")):
        evaluate(model, data, {"adversarial": options}, output_dir=tmp_path / name, amp=amp, progress=False)
    full, half = (read_records(tmp_path / name / "results" / "adversarial.jsonl") for name in ("float", "half"))
    assert full.passes[0].correct[:, 0].tolist() == half.passes[0].correct[:, 0].tolist()
    agree = (full.passes[0].correct == half.passes[0].correct).mean()
    assert agree >= 0.9
    assert half.header["conditions"]["attacks"]["pgd_linf/1/255"]["amp"] == "bf16"
    assert "amp" not in full.header["conditions"]["attacks"]["pgd_linf/1/255"]
    assert half.header["conditions"]["precision"] == "float32"
    assert half.header["conditions"]["attacks"]["pgd_linf/1/255"]["rel_stepsize"] == 3 / 40


def test_the_picture_shows_the_images_of_the_records(tmp_path, data, model, own_model, monkeypatch):
    """Cells that share an attack share its draws, in the picture too."""
    from RobustART.evaluation import picture
    from RobustART.evaluation.blocks import attack_groups

    options = {"models": {"b": other(own_model)}, "attacks": [{"pgd_linf": {"steps": 2}}], "eps": [8 / 255]}
    cells = build_benchmark("transfer", data, options).passes[0].cells
    groups = [[cells[i].name for i in group] for group in attack_groups(cells)]
    assert groups == [[f"pgd_linf/8/255 {source}>{target}" for target in ("model", "b")] for source in ("model", "b")]
    tiles = []
    monkeypatch.setattr(picture, "_layout", lambda drawn: tiles.extend(drawn) or picture.Image.new("RGB", (1, 1)))
    evaluate(model, data, {"transfer": options}, output_dir=tmp_path, progress=False)
    shown = {tile.column: tile for tile in tiles}
    for source in ("model", "b"):
        pair = [shown[f"8/255 {source}>{target}"].image for target in ("model", "b")]
        assert (pair[0] == pair[1]).all()


def test_broken_by_in_a_transfer_cell_is_clean_where_the_target_was_wrong_before(tmp_path, data, model, own_model):
    """And no warning of masked gradients comes of a target that is simply another model."""
    only_square = {"autoattack_linf": {"version": "custom", "attacks": ["apgd_ce", "square"], "checks": False,
                                       "stage_options": {"apgd_ce": {"steps": 1}, "square": {"steps": 20}}}}  # fmt: skip
    second = create_model(f"{own_model}:build", preprocessing=SIZE)
    with torch.no_grad():
        for value in second.parameters():
            value.neg_()
    options = {"models": {"b": second}, "attacks": [only_square], "eps": [8 / 255]}
    report = evaluate(model, data, {"transfer": options}, output_dir=tmp_path, progress=False)
    table = read_records(tmp_path / "results" / "transfer.jsonl").passes[0]
    clean = table.correct[:, table.cell("clean@b")]
    assert not clean.all()
    column = table.cell("autoattack_linf/8/255 model>b")
    for row, right in enumerate(clean):
        assert (table.broken_by[row][column] == "clean") == (not right)
    assert not any("model>b: Square" in text for text in report.data["warnings"])


def test_killed_between_the_last_block_and_the_merge(tmp_path, data, model, monkeypatch):
    attacked(tmp_path / "whole", model, data)
    expected = (tmp_path / "whole" / "results" / "adversarial.jsonl").read_bytes()
    compact, calls = Journal.compact, []

    def dies(self):
        calls.append(1)
        if len(calls) == 2:
            raise Stop
        compact(self)

    monkeypatch.setattr(Journal, "compact", dies)
    with pytest.raises(Stop):
        attacked(tmp_path / "killed", model, data)
    assert b'"progress"' in (tmp_path / "killed" / "results" / "adversarial.jsonl").read_bytes()
    attacked(tmp_path / "killed", model, data)
    assert (tmp_path / "killed" / "results" / "adversarial.jsonl").read_bytes() == expected


@pytest.mark.parametrize(("attacks", "message"), [
    ([{"pgd_linf": {"targeted": True}}], "unknown option 'targeted' of the attack pgd_linf"),
    (["foolbox:LinfPGD"], "attacks cannot contain 'foolbox:LinfPGD': .* AddNoise"),
    ([{"pgd_linf": {"steps": "20"}}], "the attack pgd_linf: steps must be an integer from 0 up, got '20'"),
    ([{"pgd_linf": {"random_start": "no"}}], "the attack pgd_linf: random_start must be true or false, got 'no'"),
    ([{"pgd_linf": {"backend": "foolbox", "steps": 2.5}}], "the attack foolbox.pgd_linf: steps must be an integer from 1 up, got 2.5"),
    ([{"pgd_l1": {"phases": 3}}], "phases must be a list .a number each., got 3"),
    ([{"autoattack_linf": {"stage_options": {"square": {"stps": 3}}}}], "unknown option 'stps' of the stage square"),
    ([{"autoattack_linf": {"stage_options": [1]}}], "stage_options must be a mapping"),
    ([{"autoattack_linf": {"version": "custom", "attacks": []}}], "attacks must be a list of at least one stage"),
    ([{"autoattack_linf": {"version": "custom", "attacks": 3}}], "attacks must be one entry or a list of them .*, got 3"),
    ([{"autoattack_linf": {"version": "custom", "attacks": ["apgd_ce", "apgd-ce"]}}], "names a stage twice"),
    ([{"autoattack_linf": {"backend": "autoattack", "version": "standardd"}}], "did you mean 'standard'"),
    ([{"apgd_ce": {"backend": "foolbox"}}], "'foolbox' does not have apgd_ce"),
])  # fmt: skip
def test_attack_options_are_checked_before_anything_runs(data, attacks, message):
    with pytest.raises(ConfigError, match=message):
        build_benchmark("adversarial", data, {"attacks": attacks, "eps": [1 / 255]})


def test_numbers_may_be_written_as_fractions_and_backends_stand_beside_ours(data):
    options = {
        "attacks": [{"pgd_linf": {"step_size": "2/255"}}, {"pgd_linf": {"backend": "foolbox"}}],
        "eps": ["8/255"],
    }
    cells = build_benchmark("adversarial", data, options).passes[0].cells
    assert [cell.name for cell in cells] == ["clean", "pgd_linf/8/255", "foolbox.pgd_linf/8/255"]
    assert cells[1].attack.keywords["step_size"] == 2 / 255


def test_preprocessing_of_further_models_is_compared_whole(tmp_path, data, model, own_model):
    spec = other(own_model, crop_mode="squash")
    with pytest.raises(ConfigError, match="'b' takes images with crop_mode squash, .* with center"):
        evaluate(model, data, {"transfer": {"models": {"b": spec}}}, output_dir=tmp_path, progress=False)


def test_an_attack_that_finds_nothing_keeps_the_clean_confidence_to_the_last_digit(tmp_path, data, model):
    evaluate(
        model,
        data,
        {"adversarial": {"attacks": ["fgsm"], "eps": [0]}},
        output_dir=tmp_path,
        batch_size=1,
        progress=False,
    )
    table = read_records(tmp_path / "results" / "adversarial.jsonl").passes[0]
    assert (table.confidence[:, 0] == table.confidence[:, 1]).all()
