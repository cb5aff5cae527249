"""An ONNX file run by onnxruntime."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def open_session(model: Path | bytes, device: str) -> Any:
    """A session on the device, or on the CPU where onnxruntime was built without CUDA.

    Raises what onnxruntime raises on a broken file; its exceptions have no common base.
    """
    import onnxruntime

    providers = ["CPUExecutionProvider"]
    if (
        device.startswith("cuda")
        and "CUDAExecutionProvider" in onnxruntime.get_available_providers()
    ):
        options = {"device_id": device.partition(":")[2] or "0"}
        providers.insert(0, ("CUDAExecutionProvider", options))  # type: ignore[arg-type]  # a pair is taken too
    return onnxruntime.InferenceSession(
        model if isinstance(model, bytes) else str(model), providers=providers
    )
