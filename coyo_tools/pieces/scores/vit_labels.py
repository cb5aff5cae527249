"""vit_labels and vit_probs: what a ViT that was trained on COYO sees, ImageNet's labels by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from coyo_tools.pieces.scores import hub_models
from coyo_tools.pieces.scores.base import IMAGE, Sample, Score, ScoreColumn, Setup
from coyo_tools.pieces.scores.families import Choice, Family, column_name
from coyo_tools.pieces.scores.precision import arithmetic

MODEL = "kakaobrain/vit-large-patch16-384"
TOP = 5
_STEMS = "vit_labels", "vit_probs"
_CITATION = (
    "Dosovitskiy et al. 2021, ViT, arXiv 2010.11929; trained on COYO-Labeled-300M by Kakao Brain"
)


class Classifier:
    """A ViT with labels, with its own image processor."""

    def __init__(self, setup: Setup) -> None:
        assert setup.weights is not None
        self._device, self._precision = setup.device, setup.precision
        self._processor = hub_models.load_image_processor(setup.weights)
        self._model: Any = None
        self.labels: list[str] = []
        if not setup.prepares_only:
            model = hub_models.load_model("ViTForImageClassification", setup.weights)
            self._model = model.to(setup.device)
            self.labels = [model.config.id2label[n] for n in range(model.config.num_labels)]

    def prepare(self, sample: Sample) -> Any:
        """The picture as a float32 tensor (3, side, side)."""
        return hub_models.prepared(self._processor, sample.image)

    def probabilities(self, images: Sequence[Any]) -> Any:
        """Float32 tensor (n, labels), each row adding up to 1."""
        import torch

        with torch.inference_mode(), arithmetic(self._device, self._precision):
            batch = torch.stack(list(images)).to(self._device)
            return self._model(pixel_values=batch).logits.float().softmax(dim=-1).cpu()

    def score(self, prepared: Sequence[Any]) -> Sequence[Any]:
        """The names of the most probable labels, and their probabilities, the largest first.

        Of labels alike probable the one with the smaller number comes first.
        """
        found = self.probabilities(prepared)
        order = found.argsort(dim=-1, descending=True, stable=True)[:, :TOP]
        names = [[self.labels[number] for number in row] for row in order.tolist()]
        return names, found.gather(1, order).tolist()


def _declared(names: Sequence[str], model: str) -> Score:
    return Score(
        name=names[0],
        columns=(
            ScoreColumn(names[0], "list<string>", f"the {TOP} most probable labels by name"),
            ScoreColumn(names[1], "list<float32>", "their probabilities, 0 to 1, largest first"),
        ),
        inputs=(IMAGE,),
        model=f"{model} (ViT) through transformers, softmax over all its labels",
        licence=f"as the card of {model} says",
        load=Classifier,
        weights=hub_models.weights(names[0], model, citation=_CITATION, tokenizer=False),
        note="not published by COYO; the labels are those of the model's config.json",
        extra="score",
        packages=("torch", "transformers"),
        distributions=("transformers", "torch", "torchvision"),
    )


SCORE = replace(
    _declared(_STEMS, MODEL),
    model="ViT-L/16 at 384 px, trained on COYO-Labeled-300M and ImageNet, through transformers, "
    "softmax over all its labels",
)


def declare(choice: Choice) -> Score:
    """The score of any ViT of the hub that has labels."""
    return _declared([column_name(stem, choice) for stem in _STEMS], choice.model)


FAMILY = Family(
    columns=_STEMS,
    like=SCORE,
    model="any ViT of the hub that has labels: OWNER/NAME[@REVISION]",
    declare=declare,
    suggestions=(
        Choice("kakaobrain/vit-large-patch16-512"),
        Choice("google/vit-base-patch16-224"),
    ),
)
