"""Settings: read from arguments and the environment; wrong values are refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from energy_flow.config.presets import debug
from energy_flow.errors import ConfigError
from service.settings import Settings, default_config


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in list(os.environ):
        if name.startswith("ENERGY_FLOW_"):
            monkeypatch.delenv(name)


def test_defaults() -> None:
    settings = Settings()
    assert (settings.host, settings.port) == ("127.0.0.1", 8000)
    assert settings.data_dir == Path(".energy-flow")
    assert settings.index_url.get_backend_name() == "sqlite"
    assert settings.index_url.database == str(Path(".energy-flow/index.sqlite3").absolute())
    assert settings.max_body_bytes == 64 * 2**20
    assert settings.max_upload_bytes == 4 * 2**30
    # The data directory chooses the default model then.
    assert settings.preset is None
    assert not settings.choose_model
    assert default_config(settings) == debug()


def test_the_environment_and_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENERGY_FLOW_PORT", "9000")
    monkeypatch.setenv("ENERGY_FLOW_KEEP_RUNS_BYTES", "5")
    monkeypatch.setenv("ENERGY_FLOW_SET", "embedding_dim=384 spawn.threshold=0.35")
    settings = Settings(port=9001)
    assert settings.port == 9001
    assert settings.keep_runs_bytes == 5
    assert settings.choose_model
    config = default_config(settings)
    assert config.embedding_dim == 384
    assert config.spawn.threshold == 0.35


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("10GiB", 10 * 2**30),
        ("10 GiB", 10 * 2**30),
        ("1.5gib", 3 * 2**29),
        ("10GB", 10**10),
        ("64 KiB", 2**16),
        ("10737418240", 10737418240),
        ("10_000", 10_000),
    ],
)
def test_sizes_have_units(monkeypatch: pytest.MonkeyPatch, text: str, size: int) -> None:
    monkeypatch.setenv("ENERGY_FLOW_KEEP_RUNS_BYTES", text)
    assert Settings().keep_runs_bytes == size
    assert Settings(max_inflight_bytes=text).max_inflight_bytes == size


@pytest.mark.parametrize("text", ["10x", "GiB", "-1GiB", "", "1e3"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValidationError, match="such as 10737418240 or 10GiB"):
        Settings(keep_runs_bytes=text)


def test_the_address_for_clients_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    before = Settings()
    monkeypatch.setenv("ENERGY_FLOW_URL", "http://flows.example.org")
    assert Settings() == before


def test_a_database_whose_driver_is_missing_is_refused() -> None:
    with pytest.raises(ValidationError, match="needs the package pymssql; install it"):
        Settings(database_url="mssql+pymssql://host/name")


def test_unknown_names_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENERGY_FLOW_PROT", "9000")
    with pytest.raises(ValidationError, match="ENERGY_FLOW_PROT"):
        Settings()
    monkeypatch.delenv("ENERGY_FLOW_PROT")
    with pytest.raises(ValidationError, match="prot"):
        Settings.model_validate({"prot": 9000})


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.1", "example.org"])
def test_requests_from_other_hosts_need_a_key(host: str) -> None:
    assert Settings(host=host).needs_key
    assert not Settings(host=host, allow_open=True).needs_key


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "[::1]", "localhost"])
def test_loopback_needs_no_key(host: str) -> None:
    assert not Settings(host=host).needs_key


def test_names_and_origins_of_browsers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENERGY_FLOW_ALLOWED_HOSTS", "energy-flow *.example.org")
    monkeypatch.setenv("ENERGY_FLOW_CORS_ORIGINS", "https://a.example.org http://[::1]:3000")
    settings = Settings()
    assert settings.allowed_hosts == ("energy-flow", "*.example.org")
    assert settings.cors_origins == ("https://a.example.org", "http://[::1]:3000")
    for name in ("a:8000", "https://a", "a/b", "*a", "a.*", "", "a,b"):
        with pytest.raises(ValidationError, match="without a port"):
            Settings(allowed_hosts=(name,))
    for origin in ("*", "null", "a.example.org", "https://a/", "https://A", "https://a,https://b"):
        with pytest.raises(ValidationError, match="scheme and host"):
            Settings(cors_origins=(origin,))


def test_the_key_is_not_shown() -> None:
    settings = Settings.model_validate({"api_key": "sesame"})
    assert settings.api_key == "sesame"
    assert "sesame" not in repr(settings)
    assert "sesame" not in str(settings)
    with pytest.raises(ValidationError) as refused:
        Settings(api_key="sesame", port=-1)
    assert "sesame" not in str(refused.value)
    with pytest.raises(ValidationError):
        Settings.model_validate({"api_key": "  "})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", -1),
        ("port", 65_536),
        ("memory_limit", 0.0),
        ("memory_limit", 1.5),
        ("memory_limit", float("nan")),
        ("max_samples", 0),
        ("drain_seconds", -1),
    ],
)
def test_values_out_of_range_are_refused(name: str, value: float) -> None:
    with pytest.raises(ValidationError, match=rf"{name}\n.*must be (at least|at most|above)"):
        Settings.model_validate({name: value})


def test_a_bad_default_model_is_refused_with_every_fault() -> None:
    with pytest.raises(ConfigError) as refused:
        default_config(Settings(set=("lattice_width=1", "gravity=2")))
    assert len(refused.value.faults) == 2
    with pytest.raises(ValidationError, match="did you mean 'debug'"):
        Settings(preset="debg")
    with pytest.raises(ConfigError):
        default_config(Settings(model=Path("x"), set=("embedding_dim=4",)))


@pytest.mark.parametrize("url", ["index.db", "nonsense://host/index"])
def test_a_database_url_of_an_unknown_kind_is_refused_without_being_printed(url: str) -> None:
    with pytest.raises(ValidationError, match="must be a SQLAlchemy URL") as refused:
        Settings(database_url=url)
    assert url not in str(refused.value)


def test_the_table_of_settings_needs_the_standard_library_alone() -> None:
    code = (
        "import sys; import service.settings_table; "
        "sys.exit(any(name in sys.modules for name in ('pydantic', 'typer', 'torch', 'numpy')))"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)
