"""What is cheap to refuse is refused before torch is imported, which takes seconds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from energy_flow import pretrained
from tests.support.waits import LIMIT_SECONDS

RUN_ALL = """
import contextlib, io, json, sys
from service.cli import main

for arguments in json.load(sys.stdin):
    said = io.StringIO()
    code = 0
    with contextlib.redirect_stderr(said):
        try:
            main(arguments)
        except SystemExit as ended:
            code = ended.code
    loaded = [name for name in ("torch", "sentence_transformers") if name in sys.modules]
    print(json.dumps([code, said.getvalue().strip().splitlines()[-1], loaded]))
"""


def test_cheap_faults_are_found_before_torch_is_imported(tmp_path: Path) -> None:
    rows, pairs = tmp_path / "rows.npy", pretrained.find("spectrometer").sample
    np.save(rows, np.zeros((3, 384), np.float32))
    texts = tmp_path / "texts.csv"
    texts.write_text("id,text,title\n1,one,a\n2,,b\n")
    objects = tmp_path / "texts.jsonl"
    objects.write_text('{"id": 1, "text": "one"}\n')
    whole = tmp_path / "whole.txt"
    whole.write_text("one\ntwo\n")
    good, typo = tmp_path / "good.toml", tmp_path / "typo.toml"
    config = f"[data]\ntrain = '{pairs}'\n[losses.cosine]\n[length]\nsteps = 1\n"
    good.write_text(config)
    typo.write_text(config.replace("steps", "stepz"))
    used = tmp_path / "used"
    used.mkdir()
    (used / "events.jsonl").write_text("")
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(b"no checkpoint at all")
    folder = tmp_path / "folder"
    (tmp_path / "file").write_text("")
    cases: list[tuple[list[str | Path], str]] = [
        (["serve", "--port", "0", "--host", "0.0.0.0", "--data-dir", folder], "no API key"),
        (["serve", "--port", "0", "--data-dir", "/proc/x"], "choose another --data-dir"),
        (["serve", "--port", "0", "--data-dir", tmp_path / "file"], "is a file, not a folder"),
        (["simulate", rows, "--model", "spectrometr"], "there is no checkpoint spectrometr"),
        (["simulate", rows, "--model", damaged], "not a safetensors file"),
        (["simulate", rows, "--set", "noise=0.1"], "--set noise: unknown field"),
        (["simulate", rows, "--model", "dictionary", "--set", "noise_std=-1"], "--set noise_std"),
        (["simulate", rows, "--seed", "7"], "--seed"),
        (["simulate", rows, "--column", "nope"], "rows.npy"),
        (["simulate", rows, "--model", "spectrometer"], "384"),
        (["train", typo, "--out", tmp_path / "new"], "length.stepz"),
        (["train", good, "--out", used], "holds a training already"),
        (["train", good, "--out", tmp_path / "new", "--column", "nope"], "nope"),
        (["ablate", "spectrometr", pairs], "there is no checkpoint spectrometr"),
        (["ablate", "spectrometer", pairs, "--set", "noise=0.1"], "--set noise: unknown field"),
        (["ablate", "spectrometer", pairs, "--column", "nope"], "nope"),
        (["embed", whole, "--encoder", "/nope"], "the encoder /nope does not exist"),
        (["embed", objects, "--column", "id"], "must be a text"),
        (["embed", texts, "--column", "text"], "text in line 3 is empty"),
    ]
    done = subprocess.run(
        [sys.executable, "-c", RUN_ALL],
        input=json.dumps([[str(word) for word in words] for words, _ in cases]),
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
        check=True,
    )
    outcomes = [json.loads(line) for line in done.stdout.splitlines()]
    for (words, expected), (code, said, loaded) in zip(cases, outcomes, strict=True):
        assert code != 0, words
        assert said.startswith("error: "), said
        assert expected in said, (words, said)
        assert loaded == [], words
