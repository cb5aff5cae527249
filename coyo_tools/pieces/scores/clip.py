"""CLIP through open_clip, as an encoder of pictures and captions that scores share."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from coyo_tools.pieces import pillow_bicubic
from coyo_tools.pieces.scores.base import Encoder, Sample, Setup, Weights
from coyo_tools.pieces.scores.hub_models import faults_named, silence
from coyo_tools.pieces.scores.weights import load_tensors
from coyo_tools.pieces.scores.weights_files import CLIP_VIT_B_32, CLIP_VIT_L_14
from coyo_tools.words.errors import EngineError, SettingsError, WeightsError
from coyo_tools.words.failures import Failure

_POSITIONS = "visual.positional_embedding"
_POSITION_IDS = "text.transformer.embeddings.position_ids"  # of older versions of transformers
_MAX_RESIZED_PIXELS = 100_000_000  # a picture of 1 x 10,000 px is resized to 224 x 2,240,000


@dataclass(frozen=True)
class ClipModel:
    """A model of open_clip. architecture: its name there.

    quick_gelu: the activation it was trained with; a weights file does not say so. preprocessing:
    mean, std, interpolation and resize_mode where they are not OpenAI's.
    """

    architecture: str
    quick_gelu: bool = False
    preprocessing: tuple[tuple[str, Any], ...] = ()


class ClipEncoder:
    """One CLIP model with its own preprocessing and tokenizer."""

    def __init__(self, model: ClipModel, setup: Setup) -> None:
        import open_clip
        from open_clip.transform import PreprocessCfg, image_transform_v2

        assert setup.weights is not None
        self._device = setup.device
        self._model: Any = None
        if not setup.prepares_only:
            built = build_model(model, setup.weights, setup.precision, setup.tokenizer)
            self._model = built.to(setup.device)
        self._dtype = open_clip.get_input_dtype(setup.precision)
        size = image_size(model.architecture)
        self.side_px: int = max(size) if isinstance(size, tuple | list) else size
        cfg = PreprocessCfg(size=size, **dict(model.preprocessing))
        self._shortest = cfg.resize_mode == "shortest"
        # As Pillow does it on the CPU, a picture's resizing is two thirds of the time it takes.
        plain = self._shortest and cfg.interpolation == "bicubic" and _is_square(size)
        self._whole = plain and setup.whole_pictures and not setup.resize_on_device
        # The last two, from bytes to floats, are done a batch at once, where the model runs.
        *self._cut, _, self._normalize = image_transform_v2(cfg, is_train=False).transforms
        self._tokenize = tokenizer_of(model.architecture, setup.tokenizer)
        self._resize_on_device = setup.resize_on_device
        if setup.compiled and self._model is not None:
            self._compile()

    def prepare(self, sample: Sample, *, with_text: bool) -> tuple[Any, Any] | Failure:
        """The picture as a uint8 tensor (side, side, 3), the caption as token numbers.

        The picture is whole, (height, width, 3), where it is to be resized on the device.
        """
        import numpy as np
        import torch

        assert sample.image is not None
        image: Any = sample.image
        width, height = image.size
        resized = self.side_px**2 * max(width, height) / min(width, height)
        if self._shortest and resized > _MAX_RESIZED_PIXELS:
            return Failure("too_many_pixels", f"{width} x {height} px is too long to resize")
        if not (self._whole and pillow_bicubic.takes(image)):
            for step in self._cut[-1:] if self._resize_on_device else self._cut:
                image = step(image)
        tokens = None
        if with_text and sample.caption is not None:
            tokens = self._tokenize([sample.caption])[0]
        return torch.from_numpy(np.array(image)), tokens

    def embed_images(self, images: Sequence[Any]) -> Any:
        """Float32 (n, d), not normalised. images: as `prepare` gives them."""
        import torch

        with torch.inference_mode():
            if self._whole:
                batch = pillow_bicubic.resized(images, self.side_px, self._device)
            elif self._resize_on_device:
                batch = torch.stack([self._resized(self._on_device(image)) for image in images])
            else:
                batch = self._on_device(torch.stack(list(images)))
            return self._model.encode_image(self.normalized(batch).to(self._dtype)).float()

    def _resized(self, image: Any) -> Any:
        """uint8 (height, width, 3) as (side, side, 3), by torch's own bicubic filter."""
        image = image.permute(2, 0, 1)
        for step in self._cut[:-1]:
            image = step(image)
        return image.permute(1, 2, 0)

    def _compile(self) -> None:
        """Raise EngineError where torch.compile does not work."""
        import torch

        self._model.visual.compile()
        trial = torch.zeros(2, self.side_px, self.side_px, 3, dtype=torch.uint8)
        try:
            self.embed_images(list(trial))
        except Exception as error:  # of dynamo, inductor or a compiler
            line = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
            raise EngineError(
                f"torch.compile does not work here: {line}", where="--compile", todo="leave it out"
            ) from error

    def normalized(self, batch: Any) -> Any:
        """uint8 (n, side, side, 3) as float32 (n, 3, side, side), bit for bit as open_clip's."""
        import torch

        channels_first = batch.permute(0, 3, 1, 2).contiguous()
        return self._normalize(channels_first.to(torch.float32).div_(255))

    def embed_texts(self, texts: Sequence[Any]) -> Any:
        """Float32 (n, d), not normalised."""
        import torch

        with torch.inference_mode():
            return encode_texts(self._model, torch.stack(list(texts)), self._on_device).float()

    def _on_device(self, batch: Any) -> Any:
        if self._device == "cpu":
            return batch
        return batch.pin_memory().to(self._device, non_blocking=True)


def image_size(architecture: str) -> int | tuple[int, int]:
    """Of the picture that a model of open_clip sees, px; without building the model."""
    import open_clip

    vision = open_clip.get_model_config(architecture)["vision_cfg"]
    return cast("int | tuple[int, int]", open_clip.CLIPVisionCfg(**vision).image_size)


def _is_square(size: Any) -> bool:
    return isinstance(size, int) or len(set(size)) == 1


def encode_texts(model: Any, tokens: Any, on_device: Callable[[Any], Any]) -> Any:
    """`model.encode_text` of the tokens, without what follows the end of the longest caption.

    A token sees only those before it, and the embedding is taken at the end of the text, which is
    the largest token number: what pads captions to 77 changes nothing, and is most of the work.
    tokens: int64 (n, 77) on the CPU. Other text towers than CLIP's get all of them.
    """
    import open_clip
    import torch

    plain = type(model) is open_clip.CLIP and model.text_pool_type == "argmax"
    if not plain or model.attn_mask is None or isinstance(model.text_projection, torch.nn.Module):
        return model.encode_text(on_device(tokens))
    length = int(tokens.argmax(dim=-1).max()) + 1
    ends = on_device(tokens.argmax(dim=-1))
    dtype = model.transformer.get_cast_dtype()
    x = model.token_embedding(on_device(tokens[:, :length].contiguous())).to(dtype)
    x = x + model.positional_embedding[:length].to(dtype)
    x = model.transformer(x, attn_mask=model.attn_mask[:length, :length])
    x = model.ln_final(x)[torch.arange(len(x), device=x.device), ends]
    return x @ model.text_projection


def tokenizer_of(architecture: str, folder: Path | None) -> Callable[[Sequence[str]], Any]:
    """Captions to token numbers, int64 (n, context). folder: of a tokenizer of the hub."""
    import open_clip

    if folder is None:
        return cast("Callable[[Sequence[str]], Any]", open_clip.get_tokenizer(architecture))
    text = open_clip.get_model_config(architecture)["text_cfg"]
    with faults_named(folder), silence():
        made = open_clip.tokenizer.HFTokenizer(
            str(folder),
            context_length=text.get("context_length", open_clip.tokenizer.DEFAULT_CONTEXT_LENGTH),
            tokenizer_mode=text.get("tokenizer_mode"),
            **text.get("tokenizer_kwargs", {}),
        )
    one_at_a_time = threading.Lock()  # it keeps its settings for padding in itself

    def tokenize(texts: Sequence[str]) -> Any:
        with one_at_a_time:
            return made(list(texts))

    return tokenize


def build_model(model: ClipModel, weights: Path, precision: str, tower: Path | None = None) -> Any:
    """The open_clip model with these weights, in evaluation mode on the CPU.

    tower: folder of the text tower's configuration, where it is one of transformers. Raises
    WeightsError.
    """
    import open_clip

    tensors = load_tensors(weights)
    built = _build_empty(model, open_clip.get_cast_dtype(precision), tower)
    tensors = _as_open_clips(built, tensors)
    _check_shapes(model.architecture, built.state_dict(), tensors, weights)
    built.load_state_dict(tensors)
    return built.eval()


def _build_empty(model: ClipModel, dtype: Any, tower: Path | None) -> Any:
    """The model as `open_clip.create_model` makes it, before its weights are loaded."""
    import open_clip

    config = open_clip.get_model_config(model.architecture)
    if model.quick_gelu:
        config["quick_gelu"] = True
    of_timm = "timm_model_name" in config["vision_cfg"]
    of_transformers = "hf_model_name" in config["text_cfg"]
    if of_timm:
        config["vision_cfg"]["timm_model_pretrained"] = False
    if of_transformers:
        config["text_cfg"] |= {"hf_model_name": str(tower), "hf_model_pretrained": False}
    kind = open_clip.CLIP
    if config.pop("custom_text", False) or of_transformers:
        kind = open_clip.CoCa if "multimodal_cfg" in config else open_clip.CustomTextCLIP
    if kind is open_clip.CoCa and dtype is not None:
        raise SettingsError(
            f"{model.architecture} runs in fp32 alone: open_clip's CoCa mixes types in any other",
            where="--precision",
            todo="leave it out",
        )
    built = kind(**config, cast_dtype=dtype)
    if dtype is not None and of_timm:
        built.to(dtype)  # a tower of timm is all of one type, but for its normalisations
        for layer in built.modules():
            if isinstance(layer, open_clip.transformer.LayerNormFp32):
                layer.float()
    elif dtype is not None:
        open_clip.convert_weights_to_lp(built, dtype=dtype)
    return built


def _as_open_clips(model: Any, tensors: dict[str, Any]) -> dict[str, Any]:
    """The tensors by the names that open_clip's models have now."""
    from open_clip.convert import convert_state_dict
    from open_clip.model import convert_to_custom_text_state_dict

    tensors = convert_state_dict(model, tensors)
    if "positional_embedding" in tensors and not hasattr(model, "positional_embedding"):
        tensors = convert_to_custom_text_state_dict(tensors)
    wanted = model.state_dict()
    for name in ("logit_scale", "logit_bias", _POSITION_IDS):  # no part of an embedding
        tensors.pop(name, None)
        if name in wanted:
            tensors[name] = wanted[name]
    return tensors


def _check_shapes(
    architecture: str, wanted: dict[str, Any], found: dict[str, Any], weights: Path
) -> None:
    """Raise WeightsError unless every tensor is there, of its shape, and no other."""
    wrong = [n for n in {**wanted, **found} if _shape(wanted, n) != _shape(found, n)]
    if wrong:
        first = _POSITIONS if _POSITIONS in wrong else wrong[0]
        raise WeightsError(
            f"these are no weights of CLIP {architecture}: {first} is "
            f"{_shape(found, first)}, expected {_shape(wanted, first)}",
            where=str(weights),
            todo="name the right file with --weights COLUMN=PATH",
        )


def _shape(tensors: dict[str, Any], name: str) -> str:
    return " x ".join(map(str, tensors[name].shape)) or "a scalar" if name in tensors else "absent"


def encoder(model: ClipModel, weights: Weights, tokenizer: Weights | None = None) -> Encoder:
    """Declare a model as an encoder."""

    def load(setup: Setup) -> ClipEncoder:
        return ClipEncoder(model, setup)

    return Encoder(weights, load, tokenizer)


VIT_B_32 = encoder(ClipModel("ViT-B-32", quick_gelu=True), CLIP_VIT_B_32)
VIT_L_14 = encoder(ClipModel("ViT-L-14", quick_gelu=True), CLIP_VIT_L_14)
