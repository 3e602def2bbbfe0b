"""CLIP as a classifier (Radford et al. 2021, https://arxiv.org/abs/2103.00020), through the package open_clip.

Zero-shot: the logits of a class are 100 times the cosine of an image with the mean text of the class. Linear: a linear
layer on the image's embedding, which has to be trained.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from RobustART.core.optional import require
from RobustART.core.preprocessing import Preprocessing
from RobustART.errors import ModelError

log = logging.getLogger(__name__)

HEADS = ("zero_shot", "linear")
TEXTS_AT_ONCE = 256


class ZeroShotClassifier(nn.Module):
    """CLIP's two towers; the classes are prompts.

    The classes' embeddings are computed when the first images come, and again after weights are loaded. The text tower is
    not trained.

    Args:
        clip: open_clip's network with ``visual``, ``encode_text`` and ``logit_scale``.
        tokenize: list of strings -> token ids (T, L).
        classes: K names.
        templates: strings with ``{}`` for the name; a class is the mean direction of its prompts.
    """

    def __init__(self, clip: nn.Module, tokenize: Any, classes: Sequence[str], templates: Sequence[str]) -> None:
        super().__init__()
        self.clip: Any = clip
        texts = [template.replace("{}", name) for name in classes for template in templates]
        self.register_buffer("tokens", tokenize(texts).view(len(classes), len(templates), -1), persistent=False)
        self.tokens: Tensor
        self.embeddings: Tensor | None = None
        for name, parameter in clip.named_parameters():
            parameter.requires_grad_(name.startswith("visual."))
        self.register_load_state_dict_post_hook(_forget)

    def forward(self, images: Tensor) -> Tensor:
        """Returns logits (N, K) of normalised images (N, 3, H, W)."""
        features = functional.normalize(self.clip.visual(images), dim=-1)
        return self.clip.logit_scale.exp() * features @ self.class_embeddings().to(features).T

    def class_embeddings(self) -> Tensor:
        """Returns the classes' directions (K, D), each of length 1."""
        if self.embeddings is None or self.embeddings.device != self.tokens.device:
            classes, templates, _ = self.tokens.shape
            if self.tokens.is_meta:
                return torch.empty(classes, self.clip.visual.output_dim, device="meta")
            if classes * templates > TEXTS_AT_ONCE:
                log.info("CLIP encodes %d prompts, %d for each of %d classes", classes * templates, templates, classes)
            with torch.inference_mode(False), torch.no_grad():
                parts = self.tokens.clone().flatten(0, 1).split(TEXTS_AT_ONCE)
                texts = torch.cat([functional.normalize(self.clip.encode_text(part), dim=-1) for part in parts])
                self.embeddings = functional.normalize(texts.view(classes, templates, -1).mean(1), dim=-1)
        return self.embeddings


def _forget(classifier: ZeroShotClassifier, _: Any) -> None:
    classifier.embeddings = None


class LinearClassifier(nn.Module):
    """CLIP's image tower under a linear layer."""

    def __init__(self, visual: nn.Module, width: int, num_classes: int) -> None:
        super().__init__()
        self.visual = visual
        self.head = nn.Linear(width, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Returns logits (N, K) of normalised images (N, 3, H, W)."""
        return self.head(self.visual(images))


def clip(
    architecture: str = "ViT-L-14", source: str = "openai", head: str = "zero_shot", num_classes: int | None = None,
    class_names: Sequence[str] | None = None, templates: str | Sequence[str] = "simple", quick_gelu: bool = True,
    pretrained: bool = False, use_pretrain_path: bool = False,
) -> nn.Module:  # fmt: skip
    """Returns a CLIP classifier.

    Args:
        architecture: open_clip's name.
        source: of pretrained weights: one of open_clip's tags, or ``hf-hub:OWNER/NAME``.
        head: ``zero_shot`` or ``linear``.
        num_classes: K; with ``zero_shot`` the number of class names.
        class_names: of ``zero_shot``; None takes open_clip's English names of ImageNet-1k's 1,000 classes.
        templates: of ``zero_shot``: ``simple`` (the 7 prompts that OpenAI found sufficient), ``openai`` (all 80), or
            strings with ``{}`` for the name.
        quick_gelu: whether GELU is ``x * sigmoid(1.702 x)``, as in OpenAI's weights and those fine-tuned from them.
        pretrained: download the weights of ``source``.
        use_pretrain_path: the original's; weights come from the configuration either way.

    Raises:
        ConfigError: the package open_clip is not installed.
        ModelError: an argument is invalid, or the weights cannot be fetched.
    """
    if head not in HEADS:
        raise ModelError(f"clip: head must be one of {', '.join(HEADS)}, got {head!r}")
    if head == "linear" and (class_names is not None or templates != "simple"):
        raise ModelError("clip: class_names and templates are of head: zero_shot; a linear head has no prompts")
    library = require("open_clip")
    if architecture not in library.list_models():
        raise ModelError(f"clip: open_clip knows no architecture {architecture!r}; see open_clip.list_models()")
    names, texts = [], []
    if head == "zero_shot":
        names = list(library.IMAGENET_CLASSNAMES if class_names is None else class_names)
        texts = _templates(library, templates)
        if num_classes not in (None, len(names)):
            raise ModelError(
                f"clip: num_classes is {num_classes}, but there are {len(names)} class names; set class_names"
            )
    network = _towers(library, architecture, source, quick_gelu, pretrained)
    built: nn.Module
    if head == "linear":
        built = LinearClassifier(
            network.visual, network.visual.output_dim, 1000 if num_classes is None else num_classes
        )
    else:
        built = ZeroShotClassifier(network, library.get_tokenizer(architecture), names, texts)
    if pretrained and head == "linear":
        built.notes = ("the linear layer on CLIP's pretrained image tower is randomly initialised",)  # type: ignore[assignment]
    size, mean, std = network.visual.image_size, network.visual.image_mean, network.visual.image_std
    side = size[0] if isinstance(size, (tuple, list)) else size
    constants = library.constants
    built.preprocessing = Preprocessing(
        side, side, "bicubic", mean=mean or constants.OPENAI_DATASET_MEAN, std=std or constants.OPENAI_DATASET_STD
    )  # type: ignore[assignment]
    return built


def _templates(library: Any, templates: str | Sequence[str]) -> list[str]:
    known = {"simple": "SIMPLE_IMAGENET_TEMPLATES", "openai": "OPENAI_IMAGENET_TEMPLATES"}
    if isinstance(templates, str):
        if templates not in known:
            raise ModelError(
                f"clip: templates must be simple, openai or a list of strings with {{}}, got {templates!r}"
            )
        return [template("{}") for template in getattr(library, known[templates])]
    if not templates or not all(isinstance(text, str) and text.count("{}") == 1 for text in templates):
        raise ModelError(f"clip: each of the templates must be a string with one {{}}, got {templates!r}")
    return list(templates)


def _towers(library: Any, architecture: str, source: str, quick_gelu: bool, pretrained: bool) -> Any:
    device = torch.get_default_device()
    if not pretrained:
        return library.create_model(architecture, force_quick_gelu=quick_gelu, device=device)
    name, tag = (source, None) if source.startswith("hf-hub:") else (architecture, source)
    log.info("CLIP's weights %r are read or downloaded; without a network that takes half a minute to fail", source)
    hub = logging.getLogger("huggingface_hub")
    level = hub.level
    hub.setLevel(logging.ERROR)  # every attempt logs a warning there
    try:
        return library.create_model(name, pretrained=tag, force_quick_gelu=quick_gelu, device=device)
    except Exception as error:
        raise ModelError(
            f"CLIP's weights {source!r} could not be fetched ({type(error).__name__}: {error}). Without a network, give a "
            "downloaded file as model.weights"
        ) from error
    finally:
        hub.setLevel(level)
