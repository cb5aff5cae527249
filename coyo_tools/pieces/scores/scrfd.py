"""SCRFD, a face detector (Guo et al. 2021, arXiv 2105.04714): its arithmetic before and after.

As InsightFace's own python-package/insightface/model_zoo/scrfd.py does it, in numpy: the picture
fitted into the network's square at its upper left, two anchors at every cell of three grids,
boxes as distances from a cell's corner, then non-maximum suppression.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

    Array = np.ndarray[Any, Any]

SIDE = 640  # px of the network's input, where its file leaves it open
THRESHOLD = 0.5  # least score of a face; InsightFace's
OVERLAP = 0.4  # intersection over union beyond which the weaker of two boxes is dropped
_STRIDES = (8, 16, 32)
_ANCHORS = 2  # a cell


@dataclass(frozen=True)
class Fitted:
    """A picture as the network takes it. pixels: uint8 (side, side, 3) RGB, black where it ends.

    scale: px of the picture to one px of the network's, in x and y. size: of the picture, px.
    """

    pixels: Array
    scale: tuple[float, float]
    size: tuple[int, int]


def fit(image: Image.Image, side: int = SIDE) -> Fitted:
    """The picture scaled (bilinear) so that its longer side fills the square."""
    import cv2
    import numpy as np

    width, height = image.size
    longest = max(width, height)
    small = max(1, width * side // longest), max(1, height * side // longest)
    pixels = np.zeros((side, side, 3), np.uint8)
    colours = np.asarray(image.convert("RGB"))
    pixels[: small[1], : small[0]] = cv2.resize(colours, small, interpolation=cv2.INTER_LINEAR)
    return Fitted(pixels, (width / small[0], height / small[1]), (width, height))


def normalised(pixels: Array) -> Array:
    """uint8 (side, side, 3) as the network's float32 (1, 3, side, side), about -1 to 1."""
    import numpy as np

    values = (pixels.astype(np.float32) - np.float32(127.5)) / np.float32(128)
    return np.ascontiguousarray(values.transpose(2, 0, 1)[None])


class Detector:
    """The network behind a function from (1, 3, side, side) to its six or nine outputs.

    Outputs: scores of the three grids, then boxes, then (unused) key points; each with a batch
    dimension or without. Raises ValueError where they are not of these shapes.
    """

    def __init__(self, run: Callable[[Array], Sequence[Array]], side: int = SIDE) -> None:
        import numpy as np

        self._run, self.side = run, side
        self._corners = [_corners(side, stride) for stride in _STRIDES]
        self._outputs(run(np.zeros((1, 3, side, side), np.float32)))

    def _outputs(self, outputs: Sequence[Array]) -> list[tuple[Array, Array]]:
        """Scores (n,) and distances (n, 4) of each grid."""
        if len(outputs) not in (6, 9):
            raise ValueError(f"it has {len(outputs)} outputs, not 6 or 9")
        pairs = []
        for corners, scores, distances in zip(
            self._corners, outputs[:3], outputs[3:6], strict=True
        ):
            if scores.size != len(corners) or distances.size != 4 * len(corners):
                raise ValueError(
                    f"it gives {scores.size} scores and {distances.size} distances where "
                    f"{len(corners)} boxes belong"
                )
            pairs.append((scores.reshape(-1), distances.reshape(-1, 4)))
        return pairs

    def faces(self, fitted: Fitted) -> Array:
        """float32 (n, 5): x0, y0, x1, y1 in px of the picture, and the score; largest first."""
        import numpy as np

        found = []
        outputs = self._outputs(self._run(normalised(fitted.pixels)))
        for stride, corners, (scores, distances) in zip(
            _STRIDES, self._corners, outputs, strict=True
        ):
            (at,) = np.nonzero(scores >= np.float32(THRESHOLD))
            reach = distances[at] * np.float32(stride)
            boxes = np.concatenate([corners[at] - reach[:, :2], corners[at] + reach[:, 2:]], 1)
            found.append(np.column_stack([boxes, scores[at]]))
        boxes = np.concatenate(found).astype(np.float32)
        boxes[:, :4] *= np.array(fitted.scale * 2, np.float32)
        boxes = suppressed(boxes, OVERLAP)
        limits = np.array(fitted.size * 2, np.float32)
        boxes[:, :4] = np.clip(boxes[:, :4], 0, limits)
        return boxes


def _corners(side: int, stride: int) -> Array:
    """float32 (n, 2): x and y of every anchor of a grid, row by row."""
    import numpy as np

    along = np.arange(side // stride, dtype=np.float32) * stride
    x, y = np.meshgrid(along, along)
    return np.repeat(np.stack([x, y], -1).reshape(-1, 2), _ANCHORS, axis=0)


def suppressed(boxes: Array, overlap: float) -> Array:
    """float32 (n, 5) by falling score, without those that a stronger one overlaps by more.

    Areas count both ends (x1 - x0 + 1), as InsightFace does. Of equal scores the first counts.
    """
    import numpy as np

    boxes = boxes[np.argsort(-boxes[:, 4], kind="stable")]
    sizes = boxes[:, 2:4] - boxes[:, :2] + 1
    areas = sizes[:, 0] * sizes[:, 1]
    left, kept = np.arange(len(boxes)), []
    while len(left):
        first, others = left[0], left[1:]
        kept.append(first)
        upper = np.maximum(boxes[first, :2], boxes[others, :2])
        lower = np.minimum(boxes[first, 2:4], boxes[others, 2:4])
        sides = np.maximum(lower - upper + 1, 0)
        shared = sides[:, 0] * sides[:, 1]
        left = others[shared <= overlap * (areas[first] + areas[others] - shared)]
    return boxes[kept]
