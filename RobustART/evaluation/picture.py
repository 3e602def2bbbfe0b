"""Example images of a run: one image under every noise, with predictions, as ``noise.png`` and in ``pictures/``."""

from __future__ import annotations

import dataclasses
import io
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import nn

from RobustART.benchmarks import Benchmark, Cell, Pass
from RobustART.core.files import open_whole
from RobustART.core.imaging import Array, resize
from RobustART.core.seeding import image_seeds
from RobustART.data.imagenet import imagenet_class_names
from RobustART.data.loader import generator_of
from RobustART.errors import RecordError
from RobustART.evaluation.blocks import attack_groups, view_names
from RobustART.evaluation.scoring import score, to_float
from RobustART.models import Classifier
from RobustART.noise.attacks import AttackWarning
from RobustART.records.lines import CLEAN, PassRecords, Records
from RobustART.report.gallery import read_captions, write_gallery

LAYOUT = "tiles-3"
"""Version of the layout; another version draws the images of old results again."""
SIDE = 120
"""Side in pixels of an example image in ``pictures/``."""
TILE, CAPTION, LABEL, GAP, COLUMNS = 150, 34, 150, 6, 5
MARK, DASH = 10, 12
"""Side of the check mark or cross, and period of a dashed frame, in pixels."""
AMPLIFIED = 8
"""Factor by which small differences of two images are amplified."""
INK, RIGHT, WRONG, PAPER = (30, 30, 30), (0, 110, 50), (180, 30, 30), (255, 255, 255)


@dataclasses.dataclass(frozen=True)
class Tile:
    """One image with its caption."""

    row: str
    """Heading of the row."""
    column: str
    """Cell within the row, written below the image."""
    image: Array
    """The image, uint8 (S, S, 3)."""
    prediction: str
    """Name of the predicted class."""
    confidence: float
    """Probability of the predicted class."""
    right: bool
    """Whether the prediction is correct."""


def draw_noise(
    results: Path,
    model: Classifier,
    classes: int,
    runs: Sequence[tuple[Benchmark, Records]],
    device: torch.device,
    seed: int,
) -> None:
    """Draws one image under each cell of each benchmark, unless the results folder has those of the same records.

    The image is the first that is classified correctly without noise. The noise is that of the evaluation, made again from
    its seed. Predictions and confidences are the recorded ones; for attacked images, those of the image drawn.

    Raises:
        OSError: a file cannot be written.
    """
    path = results / "noise.png"
    key = [LAYOUT, *(records.header["hash"] for _, records in runs)]
    if path.is_file() and _drawn(results) == key:
        return
    tiles: list[Tile] = []
    for benchmark, records in runs:
        models: dict[str | None, Classifier] = {None: model, **benchmark.models}
        for part, table in zip(benchmark.passes, records.passes, strict=True):
            tiles += _tiles(part, table, _example(runs, part, table), models, _class_names(part, classes), device, seed)
    unique: dict[tuple[str, str], Tile] = {}
    for tile in tiles:
        unique.setdefault((tile.row, tile.column), tile)
    shown = list(unique.values())
    with open_whole(path) as file:
        _layout(shown).save(file, "PNG")
    write_gallery(results, [(_caption(tile), _jpeg(tile.image)) for tile in shown], key)


def _drawn(results: Path) -> list[str] | None:
    """Returns the key of the example images of a results folder; None if they are missing."""
    try:
        return list(read_captions(results)["key"])
    except RecordError:
        return None


def _caption(tile: Tile) -> dict[str, Any]:
    plain = {field.name: getattr(tile, field.name) for field in dataclasses.fields(tile) if field.name != "image"}
    return {**plain, "confidence": round(tile.confidence, 10)}


def _jpeg(image: Array) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(resize(image, (SIDE, SIDE), "lanczos")).save(buffer, "JPEG", quality=80, optimize=True)
    return buffer.getvalue()


def shown_cells(part: Pass) -> tuple[Cell, ...]:
    """Returns the cells of a pass to draw; long rows, such as the frames of a video, are thinned out to five."""
    rows: dict[str, list[Cell]] = {}
    for cell in part.cells:
        rows.setdefault(cell.name.partition("/")[0], []).append(cell)
    shown = set()
    for cells in rows.values():
        thin = len(cells) > 2 * COLUMNS and part.reference is None
        places = np.linspace(0, len(cells) - 1, COLUMNS).round().astype(int) if thin else range(len(cells))
        shown |= {cells[i].name for i in places}
    return tuple(cell for cell in part.cells if cell.name in shown)


def _example(runs: Sequence[tuple[Benchmark, Records]], part: Pass, table: PassRecords) -> int:
    """Returns the row of the first image that any benchmark on the same data records as correct when clean."""
    for benchmark, records in runs:
        first = records.passes[0]
        same = benchmark.passes[0].dataset is part.dataset and np.array_equal(first.ids, table.ids)
        if same and CLEAN in first.cells and first.correct[:, first.cell(CLEAN)].any():
            return int(first.correct[:, first.cell(CLEAN)].argmax())
    return 0


def _tiles(
    part: Pass, table: PassRecords, place: int, models: Mapping[str | None, Classifier], names: Sequence[str],
    device: torch.device, seed: int,
) -> list[Tile]:  # fmt: skip
    image_id = int(table.ids[place])
    sample = part.dataset.sample(image_id, part.prepare(models[None].preprocessing).apply)
    reference: Array | None = None
    classes = None if part.classes is None else torch.tensor(part.classes, device=device)
    label = torch.tensor([sample.label], device=device)
    views = dict(zip((cell.name for cell in part.cells), view_names(part.cells), strict=True))
    drawn_as = {part.cells[i].name: part.cells[group[0]].name for group in attack_groups(part.cells) for i in group}
    attacked: dict[str, torch.Tensor] = {}
    tiles = []
    for cell in shown_cells(part):
        view_name = views[cell.name]
        image = cell.view(sample, generator_of(cell.view, seed, image_id, view_name)).copy()
        column = table.cell(cell.name)
        verdict = [float(array[place, column]) for array in (table.prediction, table.confidence, table.label_rank)]
        if cell.attack is not None:
            pixels = to_float(torch.from_numpy(image)[None].to(device))
            name = drawn_as[cell.name]
            if name not in attacked:
                seeds = image_seeds(seed, [image_id], name).to(device)
                with warnings.catch_warnings():
                    # Warnings of attacks are reported for all images, not for this one.
                    warnings.simplefilter("ignore", AttackWarning)
                    attacked[name] = cell.attack(models[cell.victim], pixels, label, seeds=seeds)
            image = (attacked[name][0].permute(1, 2, 0) * 255).round().byte().cpu().numpy()
            logits = _logits(models[cell.judge], attacked[name])
            verdict = [float(value[0]) for value in score(logits, label, classes)]
        prediction, confidence, rank = verdict
        row, _, corner = cell.name.partition("/")
        row = part.name or row
        if cell.name == part.reference:
            reference, row, corner = image, "reference", cell.name
        elif reference is not None and part.reference is not None:
            image, row = difference(image, reference), f"difference x {AMPLIFIED}"
            parts = zip(cell.name.split("/"), part.reference.split("/"), strict=False)
            corner = "/".join(name for name, usual in parts if name != usual)
        tiles.append(Tile(row, corner, image, names[int(prediction)], confidence, rank == 0))
    return tiles


def difference(image: Array, reference: Array) -> Array:
    """Returns the difference of two images, amplified, around mid grey: uint8 (S, S, 3)."""
    change = image.astype(np.int64) - reference
    return (128 + AMPLIFIED * change).clip(0, 255).astype(np.uint8)


def _logits(model: nn.Module, pixels: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        logits: torch.Tensor = model(pixels).float()
    return logits


def _class_names(part: Pass, width: int) -> list[str]:
    if part.dataset.class_names is not None:
        return list(part.dataset.class_names)
    return list(imagenet_class_names()) if width == 1000 else [f"class {i}" for i in range(width)]


def _strips(tiles: Sequence[Tile]) -> list[list[int]]:
    """Returns the indices of the tiles in each strip of at most ``COLUMNS`` tiles."""
    strips: list[list[int]] = []
    for number, tile in enumerate(tiles):
        if strips and tiles[strips[-1][0]].row == tile.row and len(strips[-1]) < COLUMNS:
            strips[-1].append(number)
        else:
            strips.append([number])
    return strips


def _size(strips: Sequence[Sequence[int]]) -> tuple[int, int, int]:
    """Returns the number of strips in a column of the page, and the width and height of a strip."""
    lines = -(-len(strips) // (2 if len(strips) > 6 else 1))
    return lines, LABEL + max(map(len, strips)) * (TILE + GAP) + GAP, TILE + CAPTION + GAP


def _places(tiles: Sequence[Tile]) -> list[tuple[int, int]]:
    """Returns the upper left corner of each tile."""
    strips = _strips(tiles)
    lines, width, height = _size(strips)
    return [
        ((i // lines) * width + LABEL + j * (TILE + GAP), (i % lines) * height + GAP)
        for i, strip in enumerate(strips)
        for j in range(len(strip))
    ]


def _layout(tiles: Sequence[Tile]) -> Image.Image:
    strips = _strips(tiles)
    lines, width, height = _size(strips)
    page = Image.new("RGB", (-(-len(strips) // lines) * width, lines * height + GAP), PAPER)
    draw = ImageDraw.Draw(page)
    for i, strip in enumerate(strips):
        left, top = (i // lines) * width, (i % lines) * height + GAP
        title = tiles[strip[0]].row.replace("_", " ")
        _write(draw, (left + GAP, top + TILE // 2 - 8), title, LABEL - 2 * GAP, 15, INK)
    for tile, (x, y) in zip(tiles, _places(tiles), strict=True):
        _draw_tile(page, draw, x, y, tile)
    return page


def _draw_tile(page: Image.Image, draw: ImageDraw.ImageDraw, x: int, y: int, tile: Tile) -> None:
    page.paste(Image.fromarray(resize(tile.image, (TILE, TILE), "lanczos")), (x, y))
    colour = RIGHT if tile.right else WRONG
    _frame(draw, x, y, colour, dashed=not tile.right)
    _mark(draw, x, y + TILE + 5, colour, tile.right)
    _write(draw, (x + MARK + 4, y + TILE + 2), tile.prediction, TILE - MARK - 4, 13, colour)
    confidence = f"{100 * tile.confidence:.1f} %"
    _write(draw, (x, y + TILE + 17), confidence, TILE, 13, colour)
    if tile.column:
        taken = int(draw.textlength(confidence, font=ImageFont.load_default(13))) + GAP
        _write(draw, (x + TILE, y + TILE + 17), tile.column, TILE - taken, 13, INK, "ra")


def _frame(draw: ImageDraw.ImageDraw, x: int, y: int, colour: tuple[int, ...], *, dashed: bool) -> None:
    """Draws the frame of an image: solid if the prediction is correct, dashed if it is wrong."""
    long = TILE - 1
    for start in range(0, TILE, DASH):
        end = min(start + (DASH // 2 if dashed else DASH), long)
        for line in ((start, 0, end, 0), (start, long, end, long), (0, start, 0, end), (long, start, long, end)):
            draw.line([(x + line[0], y + line[1]), (x + line[2], y + line[3])], fill=colour, width=2)


def _mark(draw: ImageDraw.ImageDraw, x: int, y: int, colour: tuple[int, ...], right: bool) -> None:
    """Draws a check mark or a cross."""
    end = MARK - 1
    check, cross = [[(0, end // 2), (end // 3, end), (end, 0)]], [[(0, 0), (end, end)], [(0, end), (end, 0)]]
    for line in check if right else cross:
        draw.line([(x + across, y + down) for across, down in line], fill=colour, width=2)


def _write(
    draw: ImageDraw.ImageDraw, place: tuple[int, int], text: str, width: int, size: int, colour: tuple[int, ...],
    anchor: str = "la",
) -> None:  # fmt: skip
    """Writes a line, shortened with an ellipsis to ``width`` pixels; ``anchor`` as in Pillow."""
    font = ImageFont.load_default(size)
    if draw.textlength(text, font=font) > width:
        while text and draw.textlength(text + "...", font=font) > width:
            text = text[:-1]
        text += "..."
    draw.text(place, text, font=font, fill=colour, anchor=anchor)
