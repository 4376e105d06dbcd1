"""Make the sample that is part of the pages from ``examples/data``. It needs numpy.

Embeddings are written with the fewest digits that give the same float16 back.
"""

import json
import re
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "examples" / "data"
ROWS = (0, 6, 9, 14, 19, 20, 25, 37)


def main() -> None:
    """Write the rows of the sample with their texts and licence notice to ``sample.json``."""
    raw = (DATA / "wordnet_256.safetensors").read_bytes()
    start = 8 + int.from_bytes(raw[:8], "little")
    begin, end = json.loads(raw[8:start])["inputs"]["data_offsets"]
    embeddings = np.frombuffer(raw[start + begin : start + end], dtype=np.float16)
    embeddings = embeddings.reshape(256, -1)
    texts = (DATA / "wordnet_256.jsonl").read_text(encoding="utf-8").splitlines()
    notice = re.findall(
        r"^> ?(.*)$", (DATA / "README.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    rows = []
    for row in ROWS:
        text = json.loads(texts[row])
        rows.append(
            {
                "definition": text["definition"],
                "lemmas": text["lemmas"],
                "embedding": [float(str(value)) for value in embeddings[row]],
            }
        )
    sample = {
        "source": "all-MiniLM-L6-v2 embeddings (Apache-2.0) of definitions from WordNet 3.0",
        "notice": [line for line in notice if line],
        "dimension": embeddings.shape[1],
        "rows": rows,
    }
    target = Path(__file__).parents[1] / "src" / "try" / "sample.json"
    target.write_text(json.dumps(sample, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
