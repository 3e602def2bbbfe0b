"""Data sets as records of files and labels, and the loader that makes their views."""

from RobustART.data.datasets import (
    DATASETS,
    ArrayDataset,
    ImageDataset,
    array_dataset,
    balanced_subset,
    create_dataset,
)
from RobustART.data.digits import sklearn_digits
from RobustART.data.fake import FakeDataset, fake
from RobustART.data.given import GivenDataset, as_dataset
from RobustART.data.loader import View, load_views
from RobustART.data.samples import Sample
from RobustART.data.torchvision_sets import cifar10, cifar100, stl10, svhn

__all__ = [
    "DATASETS",
    "ArrayDataset",
    "FakeDataset",
    "GivenDataset",
    "ImageDataset",
    "Sample",
    "View",
    "array_dataset",
    "as_dataset",
    "balanced_subset",
    "cifar10",
    "cifar100",
    "create_dataset",
    "fake",
    "load_views",
    "sklearn_digits",
    "stl10",
    "svhn",
]
