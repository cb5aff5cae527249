"""The rival of `coyo score -c image_phash` in bench_phash.py: the loop that one would write.

    python benchmarks/phash_loop.py SHARDS

Reads every tar of the folder, hashes its pictures, and writes SHARDS.parquet beside the folder.
"""

import io
import os
import sys
import tarfile
import warnings
from pathlib import Path

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # it uses one core; numpy is to keep no more

import imagehash
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image


def main(folder: Path) -> None:
    keys, hashes = [], []
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                key, _, extension = member.name.partition(".")
                if extension not in ("txt", "json"):
                    handle = tar.extractfile(member)
                    assert handle is not None
                    keys.append(key)
                    hashes.append(str(imagehash.phash(Image.open(io.BytesIO(handle.read())))))
    table = pa.table({"key": keys, "image_phash": hashes})
    pq.write_table(table, folder.with_suffix(".parquet"), compression="zstd")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(Path(sys.argv[1]))
