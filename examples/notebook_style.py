"""The API from a notebook: inspect, filter twice, recompute, compare, meet an error.

Shows: every command is a function; settings are frozen dataclasses; results are objects; nothing
needs an `if __name__ == "__main__"`, also where worker processes are used. Run it cell by cell in
an editor that knows `# %%`, or whole:

    python examples/notebook_style.py [METADATA] [OUT]
"""

# %%
from __future__ import annotations

import sys
from pathlib import Path

import coyo_tools

metadata = Path(sys.argv[1] if len(sys.argv) > 1 else "coyo-demo/metadata")
out = Path(sys.argv[2] if len(sys.argv) > 2 else "coyo-notebook")

# %% What is there? Only the footers are read.
found = coyo_tools.inspect(metadata)
print(found.to_dict())

# %% Keep what matches its caption well. Rules apply in the order written.
strict = coyo_tools.filter(
    metadata, out / "strict", min_clip_l14=0.25, max_watermark=0.3, overwrite=True
)
for step in strict.funnel:
    print(f"{step.rule:40} dropped {step.dropped:6,}  left {step.left:6,}")

# %% The same with a condition in SQL, and less strict.
loose = coyo_tools.filter(
    metadata,
    out / "loose",
    min_clip_l14=0.2,
    where=["watermark_score <= 0.5 AND num_faces <= 3"],
    overwrite=True,
)
print(f"strict keeps {strict.kept:.1%}, loose {loose.kept:.1%}")

# %% Text columns need no pictures: recompute them from the metadata, in two processes.
scored = coyo_tools.score(
    out / "loose",
    out / "text-scores",
    coyo_tools.ScoreSettings(columns=("text_length", "word_count"), workers=2),
    overwrite=True,
)
compared = coyo_tools.compare(out / "text-scores", metadata, out / "comparison", overwrite=True)
print(compared.to_dict())

# %% Errors are sentences.
try:
    coyo_tools.filter(metadata, out / "never", where=["watermark_scor < 0.5"])
except coyo_tools.CoyoError as error:
    print(f"{type(error).__name__}: {error}")
