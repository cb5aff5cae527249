"""An ONNX file run by onnxruntime."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def open_session(model: Path | bytes, device: str) -> Any:
    """A session on the device, or on the CPU where onnxruntime was built without CUDA.

    On the CPU it computes in the thread that asks: the other cores have batches of their own.
    Raises what onnxruntime raises on a broken file; its exceptions have no common base.
    """
    import onnxruntime

    providers = ["CPUExecutionProvider"]
    if (
        device.startswith("cuda")
        and "CUDAExecutionProvider" in onnxruntime.get_available_providers()
    ):
        which = {"device_id": device.partition(":")[2] or "0"}
        providers.insert(0, ("CUDAExecutionProvider", which))  # type: ignore[arg-type]  # a pair is taken too
    settings = onnxruntime.SessionOptions()
    if len(providers) == 1:
        settings.intra_op_num_threads = settings.inter_op_num_threads = 1
    # Threads would go on spinning after a run: 45 % more CPU time, taken from the decoders.
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(
        model if isinstance(model, bytes) else str(model), settings, providers=providers
    )


def device_of(session: Any, device: str) -> str:
    """Where the session runs that was wanted on this device."""
    return "cpu" if session.get_providers()[0] == "CPUExecutionProvider" else device
