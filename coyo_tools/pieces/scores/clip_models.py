"""The models of open_clip's own registry: looked up by name, their weights and preprocessing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from coyo_tools.pieces.scores import clip
from coyo_tools.pieces.scores.base import Encoder, Weights
from coyo_tools.pieces.scores.families import Choice, slug
from coyo_tools.pieces.scores.weights import JSON, SAFETENSORS, TORCH
from coyo_tools.words.errors import SettingsError, nearest

# Repositories that open_clip calls by names from before they had an owner.
_MOVED = {
    "bert-base-uncased": "google-bert/bert-base-uncased",
    "roberta-base": "FacebookAI/roberta-base",
    "xlm-roberta-base": "FacebookAI/xlm-roberta-base",
    "xlm-roberta-large": "FacebookAI/xlm-roberta-large",
}
_PREPROCESSING = ("mean", "std", "interpolation", "resize_mode")
_OPENAI = {"ViT-B-32": clip.VIT_B_32, "ViT-L-14": clip.VIT_L_14}


@cache
def encoder_of(choice: Choice, name: str) -> Encoder:
    """The encoder of a model and its weights, which are called `name`. Raises SettingsError."""
    said = _looked_up(choice)
    if choice.pretrained == "openai" and choice.model in _OPENAI:
        return _OPENAI[choice.model]  # embedded once, whatever the column is called
    model = clip.ClipModel(
        choice.model,
        quick_gelu=bool(said.get("quick_gelu")),
        preprocessing=tuple((key, said[key]) for key in _PREPROCESSING if key in said),
    )
    return clip.encoder(model, _weights(said, name), _tokenizer(choice.model))


def named(slugged: str) -> Choice | None:
    """The choice whose names are written so in a column's name; None where there is none."""
    try:
        from open_clip import list_pretrained
    except ImportError:
        return None
    pairs = (Choice(model, tag) for model, tag in list_pretrained())
    return next((pair for pair in pairs if slug(pair.model, pair.pretrained) == slugged), None)


def _looked_up(choice: Choice) -> Mapping[str, Any]:
    """What open_clip knows of these weights. Raises SettingsError with the nearest names."""
    import open_clip

    tags = open_clip.list_pretrained_tags_by_model(choice.model)
    if not tags:
        models = list(dict.fromkeys(model for model, _ in open_clip.list_pretrained()))
        raise _unknown(f"open_clip has no model {choice.model!r}", "--model", choice.model, models)
    if not choice.pretrained:
        raise SettingsError(
            f"{choice.model} needs to be told its weights",
            where="--pretrained",
            todo=f"those of open_clip are {', '.join(tags)}",
        )
    said: Mapping[str, Any] = open_clip.get_pretrained_cfg(choice.model, choice.pretrained)
    if not said:
        what = f"open_clip has no weights {choice.pretrained!r} of {choice.model}"
        raise _unknown(what, "--pretrained", choice.pretrained, tags)
    return said


def _unknown(what: str, flag: str, name: str, known: Sequence[str]) -> SettingsError:
    near = nearest(name, list(known))
    listed = f"those are {', '.join(known)}"
    return SettingsError(what, where=flag, todo=f"did you mean {near!r}?" if near else listed)


def _weights(said: Mapping[str, Any], name: str) -> Weights:
    """Where open_clip itself would take them from."""
    repository, _, file = said.get("hf_hub", "").rpartition("/")
    usual = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
    files = (file.rpartition(".")[0] + ".safetensors", file) if file else usual
    return Weights(
        name=name,
        file=files[0] if repository else said["url"].rpartition("/")[2],
        otherwise=files[1:] if repository else (),
        repository=repository,
        url="" if repository else said["url"],
        formats=(SAFETENSORS, TORCH),
        licence="as its publisher says",
        citation=f"Ilharco et al. 2021, OpenCLIP; the card of {repository or said['url']}",
    )


def _tokenizer(architecture: str) -> Weights | None:
    """The tokenizer, and the configuration of the text tower, where they are files of the hub."""
    import open_clip

    text = open_clip.get_model_config(architecture)["text_cfg"]
    repository = text.get("hf_tokenizer_name")
    if not repository:
        return None
    repository = _MOVED.get(repository, repository)
    configured = ("config.json",) if "hf_model_name" in text else ()
    return Weights(
        name=f"tokenizer_{slug(repository)}",
        file="tokenizer.json",
        beside=configured,
        optional=("tokenizer_config.json", "special_tokens_map.json"),
        repository=repository,
        formats=(JSON,),
        licence="as its publisher says",
        citation=f"the card of {repository}",
    )
