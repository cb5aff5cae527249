"""num_faces and face_boxes: the faces SCRFD finds, counted and where they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from coyo_tools.pieces.scores import scrfd
from coyo_tools.pieces.scores.archives import read_members
from coyo_tools.pieces.scores.base import IMAGE, Sample, Score, ScoreColumn, Setup
from coyo_tools.pieces.scores.onnx_session import device_of, open_session
from coyo_tools.pieces.scores.weights import TAR, check_file
from coyo_tools.pieces.scores.weights_files import SCRFD
from coyo_tools.words.errors import WeightsError

MEMBER = "models/scrfd.onnx"


class Faces:
    """A detector, a picture at a time: most SCRFD files take no more at once.

    device: where it runs.
    """

    def __init__(self, side: int, detector: scrfd.Detector | None, device: str) -> None:
        self._side, self._detector, self.device = side, detector, device

    def prepare(self, sample: Sample) -> scrfd.Fitted:
        """The picture, fitted into the network's square."""
        assert sample.image is not None
        return scrfd.fit(sample.image, self._side)

    def score(self, prepared: Sequence[scrfd.Fitted]) -> Sequence[Any]:
        """How many faces, and their boxes."""
        assert self._detector is not None
        found = [self._detector.faces(fitted).tolist() for fitted in prepared]
        return [len(boxes) for boxes in found], found


def _load(setup: Setup) -> Faces:
    path = setup.weights
    assert path is not None
    packed = check_file(path, SCRFD.formats) == TAR
    model = read_members(path, [MEMBER])[MEMBER] if packed else path
    try:
        session = open_session(model, setup.device)
        (asked,) = session.get_inputs()

        def run(batch: Any) -> Sequence[Any]:
            return session.run(None, {asked.name: batch})  # type: ignore[no-any-return]

        side = asked.shape[2] if isinstance(asked.shape[2], int) else scrfd.SIDE
        detector = None if setup.prepares_only else scrfd.Detector(run, side)
        return Faces(side, detector, device_of(session, setup.device))
    except Exception as error:  # onnxruntime's own exceptions have no common base
        detail = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise WeightsError(
            f"these are no weights of SCRFD: {detail}",
            where=str(path),
            todo="fetch the file again, or name another with --weights num_faces=PATH",
        ) from error


SCORE = Score(
    name="num_faces",
    columns=(
        ScoreColumn("num_faces", "int32", "faces SCRFD finds"),
        ScoreColumn(
            "face_boxes",
            "list<list<float32>>",
            "of each face x0, y0, x1, y1 in px of the stored picture and the score, largest "
            "score first",
        ),
    ),
    inputs=(IMAGE,),
    model=f"SCRFD_2.5G_KPS in ONNX, fitted into {scrfd.SIDE} x {scrfd.SIDE} px, score >= "
    f"{scrfd.THRESHOLD}, overlap <= {scrfd.OVERLAP}, pre- and postprocessing as InsightFace's; "
    "--weights takes any SCRFD of three strides, such as det_10g.onnx",
    licence="non-commercial research (InsightFace's models)",
    load=_load,
    weights=SCRFD,
    note="parity is not expected: which SCRFD and which threshold COYO used is not known, and "
    "small faces are lost where pictures are stored smaller",
    extra="score",
    packages=("onnxruntime", "cv2"),
    distributions=("onnxruntime", "opencv-python"),
)
