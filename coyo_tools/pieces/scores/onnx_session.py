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
    settings = onnxruntime.SessionOptions()
    # Its threads would go on spinning after a run: 45 % more CPU time, taken from the decoders.
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(
        model if isinstance(model, bytes) else str(model), settings, providers=providers
    )
