"""A process of ``contended``: simulates as often as it is asked, and prints the seconds.

python -m benchmarks.contended_child WAITING CORES GROUP, with the ids of cores, separated by
commas, and the folder of a control group or nothing.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from benchmarks.control_group import enter


def main() -> None:
    """Serve until the end of the input; a line has the number of samples."""
    waiting, cores, group = sys.argv[1:]
    # Before torch is imported, which counts the cores.
    os.sched_setaffinity(0, {int(core) for core in cores.split(",")})
    if group:
        enter(Path(group))

    import torch

    from benchmarks.workload import embeddings, processor
    from energy_flow.runtime.malloc import configure_malloc
    from energy_flow.runtime.process import configure_process

    if waiting == "ours":
        configure_process()
    else:
        configure_malloc()
    model = processor("debug", "cpu")
    model.simulate(embeddings(16))
    print(torch.get_num_threads(), flush=True)
    for line in sys.stdin:
        inputs = embeddings(int(line))
        began = time.perf_counter()
        model.simulate(inputs)
        print(time.perf_counter() - began, flush=True)


if __name__ == "__main__":
    main()
