"""Data sets: labels that mean what they say, and errors that name file and line."""

from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image

from RobustART.data import array_dataset, balanced_subset, create_dataset, load_views
from RobustART.data.imagenet import imagenet_wnids
from RobustART.errors import ConfigError, DataError, UnknownNameError
from tests.conftest import make_picture


def keep(image):
    return image


def test_class_folders(photo_folder):
    (photo_folder / "class_0" / "notes.txt").write_text("not a picture")
    (photo_folder / ".cache").mkdir()
    data = create_dataset(root_dir=photo_folder)
    assert len(data) == 12
    assert data.class_names == ("class_0", "class_1", "class_2")
    assert data.files[0] == "class_0/00.png"
    assert data.labels == (0,) * 4 + (1,) * 4 + (2,) * 4
    assert np.array_equal(data.sample(0, keep).image, make_picture(0))


def test_wordnet_folders_have_imagenets_own_labels(tmp_path):
    wnids = imagenet_wnids()
    for label in (999, 0, 243):
        (tmp_path / wnids[label]).mkdir()
        Image.fromarray(make_picture(0)).save(tmp_path / wnids[label] / "x.JPEG")
    data = create_dataset(root_dir=tmp_path)
    assert data.labels == (0, 243, 999)
    assert data.class_names is None


@pytest.mark.parametrize(
    "text",
    [
        "class_0/00.png 0\nclass_1/01.png 1\n",
        '{"filename": "class_0/00.png", "label": 0}\n\n{"filename": "class_1/01.png", "label": 1}',
    ],
)
def test_lists(tmp_path, photo_folder, text):
    (tmp_path / "list.txt").write_text(text)
    data = create_dataset(root_dir=photo_folder, meta_file=tmp_path / "list.txt")
    assert data.labels == (0, 1)
    assert np.array_equal(data.sample(1, keep).image, make_picture(1))


def test_list_without_a_root_is_relative_to_its_own_folder(photo_folder):
    (photo_folder / "list.txt").write_text("class_0/00.png 0")
    data = create_dataset(meta_file=photo_folder / "list.txt")
    assert np.array_equal(data.sample(0, keep).image, make_picture(0))


def test_names_with_spaces(tmp_path):
    (tmp_path / "list.txt").write_text("a b.png 7\n")
    assert create_dataset(meta_file=tmp_path / "list.txt").files == ("a b.png",)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a.png", r"line 2 of .*list\.txt must be 'path label'"),
        ("a.png one", "the label must be an integer from 0, got .one."),
        ("a.png -1", "the label must be an integer from 0, got -1"),
        ('{"filename": "a.png"}', "must be 'path label' or JSON"),
        ('{"filename": "a.png", "label": "3"}', "must be an integer from 0, got '3'"),
        ('{"filename": "a.png", "label": true}', "got True"),
    ],
)
def test_broken_lists(tmp_path, line, message):
    (tmp_path / "list.txt").write_text(f"ok.png 0\n{line}\n")
    with pytest.raises(DataError, match=message):
        create_dataset(meta_file=tmp_path / "list.txt")


def test_nothing_there(tmp_path):
    with pytest.raises(DataError, match="there is no folder"):
        create_dataset(root_dir=tmp_path / "no")
    with pytest.raises(DataError, match="holds no class folders"):
        create_dataset(root_dir=tmp_path)
    (tmp_path / "class").mkdir()
    with pytest.raises(DataError, match="hold no images"):
        create_dataset(root_dir=tmp_path)
    (tmp_path / "list.txt").write_text("\n")
    with pytest.raises(DataError, match="is empty"):
        create_dataset(meta_file=tmp_path / "list.txt")
    with pytest.raises(DataError, match="cannot be read"):
        create_dataset(meta_file=tmp_path / "no.txt")
    with pytest.raises(ConfigError, match="needs root_dir"):
        create_dataset()
    with pytest.raises(UnknownNameError, match="unknown data set 'image_foldr'; did you mean 'image_folder'"):
        create_dataset("image_foldr")
    with pytest.raises(ConfigError, match="the module math has no nothing"):
        create_dataset("math:nothing")


def test_foolbox_photos():
    photos = create_dataset("foolbox_photos")
    assert len(photos) == 20
    assert photos.labels[:3] == (243, 559, 438)
    with pytest.raises(ConfigError, match="takes neither"):
        create_dataset("foolbox_photos", root_dir="x")


def test_pixels_in_memory():
    images = np.stack([make_picture(i, 32, 32) for i in range(3)])
    data = array_dataset(images, [2, 0, 1])
    sample = data.sample(1, keep)
    assert np.array_equal(sample.crop, images[1])
    with pytest.raises(DataError, match="no file to decode"):
        _ = sample.data
    assert sample.digest != data.sample(0, keep).digest
    with pytest.raises(DataError, match=r"image 0 of arrays must be a uint8 array .* got float64"):
        array_dataset(images / 255.0, [2, 0, 1])
    with pytest.raises(DataError, match="3 images but 2 labels"):
        array_dataset(images, [2, 0])


def test_balanced_subset_is_balanced_and_seeded():
    labels = [0] * 50 + [1] * 5 + [2] * 5
    ids = balanced_subset(labels, 12, seed=0)
    assert ids == sorted(set(ids))
    assert Counter(labels[i] for i in ids) == {0: 4, 1: 4, 2: 4}
    assert ids == balanced_subset(labels, 12, seed=0)
    assert ids != balanced_subset(labels, 12, seed=1)
    assert Counter(labels[i] for i in balanced_subset(labels, 20, 0)) == {0: 10, 1: 5, 2: 5}
    assert balanced_subset(labels, 60, 0) == list(range(60))
    for limit in (0, 61, -1, 2.0, True):
        with pytest.raises(ConfigError, match="limit must be an integer from 1 to 60"):
            balanced_subset(labels, limit, 0)


def views_of(groups):
    return [views for views, _ in groups]


def plain(sample, rng):
    return sample.crop


def noisy(sample, rng):
    return (sample.crop ^ rng.integers(0, 2, sample.crop.shape, dtype=np.uint8)).astype(np.uint8)


def crop32(image):
    return np.ascontiguousarray(image[:32, :32])


@pytest.mark.parametrize("workers", [0, 2])
def test_views_do_not_depend_on_workers_or_groups(photo_folder, workers):
    data = create_dataset(root_dir=photo_folder)
    views = {"plain": plain, "noisy": noisy}
    groups = [[0, 1, 2, 3, 4], [5, 6], [7, 8, 9, 10, 11]]
    got = torch.cat(views_of(load_views(data, groups, views, crop32, size=32, seed=3, workers=workers)))
    assert got.shape == (12, 2, 32, 32, 3)
    single = torch.cat(views_of(load_views(data, [[i] for i in range(12)], views, crop32, size=32, seed=3)))
    assert torch.equal(got, single)
    assert not torch.equal(
        got[:, 1], torch.cat(views_of(load_views(data, groups, views, crop32, size=32, seed=4)))[:, 1]
    )


@pytest.mark.parametrize("workers", [0, 1])
def test_broken_picture_is_named(photo_folder, workers):
    data = create_dataset(root_dir=photo_folder)
    (photo_folder / "class_1" / "04.png").write_bytes(b"\x89PNG broken")
    loader = load_views(data, [[0, 1], [4, 5]], {"plain": plain}, crop32, size=32, seed=0, workers=workers)
    next(loader)
    with pytest.raises(DataError, match=r"class_1/04\.png cannot be decoded") as caught:
        next(loader)
    assert "Traceback" not in str(caught.value)


def test_view_of_another_size_is_named(photo_folder):
    data = create_dataset(root_dir=photo_folder)
    with pytest.raises(DataError, match=r"view 'plain' of class_0/00\.png must be uint8 \(32, 32, 3\)"):
        next(load_views(data, [[0]], {"plain": plain}, keep, size=32, seed=0))


def test_the_decoder_is_the_data_sets(tmp_path):
    from RobustART.core.imaging import decode

    path = tmp_path / "a" / "x.jpg"
    path.parent.mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path, quality=80)
    pil, ffmpeg = create_dataset(root_dir=tmp_path), create_dataset(root_dir=tmp_path, decoder="ffmpeg")
    assert np.array_equal(ffmpeg.sample(0, keep).image, decode(path.read_bytes(), decoder="ffmpeg"))
    assert not np.array_equal(ffmpeg.sample(0, keep).image, pil.sample(0, keep).image)
    assert np.array_equal(ffmpeg.sample(0, keep).decoded("pil"), pil.sample(0, keep).image)
    assert ffmpeg.fingerprint([0]) != pil.fingerprint([0])
    with pytest.raises(UnknownNameError, match="unknown decoder 'dali'"):
        create_dataset(root_dir=tmp_path, decoder="dali")
