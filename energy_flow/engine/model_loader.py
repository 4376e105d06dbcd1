"""``ModelLoader``: the part of an engine that loads, writes and forgets models."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from energy_flow.config.flow_config import FlowConfig
from energy_flow.engine.job_runner import JobRunner
from energy_flow.engine.jobs import CallJob, PreparationJob
from energy_flow.engine.loaded_models import LoadedModel, ModelKey, make_processor
from energy_flow.runtime.threads import run_in_temporary_thread
from energy_flow.simulation.checkpoint import describe, save
from energy_flow.simulation.flow_processor import FlowProcessor
from energy_flow.simulation.model_footprint import create_bytes, load_bytes, loaded_bytes


class ModelLoader(JobRunner):
    """Loads, writes and forgets models; any thread may call the methods."""

    @property
    def models_bytes(self) -> int:
        """Predicted memory of the models, and of work that loads or trains others."""
        return self.memory.used_bytes

    def check_model(self, config: FlowConfig) -> None:
        """Refuse a model that can never be loaded beside the models that always stay.

        Args:
            config: config of the model.

        Raises:
            ConfigError: one sample of the model cannot fit in memory.
            CapacityError: the model can never be loaded, for want of memory.
        """
        self.memory.check(config)
        self.memory.check_load(config)

    def load_model(
        self, source: FlowConfig | Path, *, prepare: bool = True, is_permanent: bool = True
    ) -> LoadedModel:
        """Load a model and prepare it for its first run; blocks until that is done.

        If memory is short, models that are not permanent and that no run uses are unloaded first.

        Args:
            source: a checkpoint, or the config of an untrained model.
            prepare: whether to pack the weights and try block heights now, which can take
                seconds; otherwise the first run does.
            is_permanent: whether the engine never unloads it by itself.

        Raises:
            CheckpointError: the file is not a usable checkpoint.
            CapacityError: the model can never be loaded, for want of memory.
            MemoryInUse: runs and their models have the memory.
            EngineUnavailable: the engine is not running.
            OSError: the file cannot be read.
        """
        config = source if isinstance(source, FlowConfig) else describe(source)["config"]
        most_bytes = load_bytes(config, prepare=prepare, device=self.device)
        with self.memory.reserved("loading the model", most_bytes, loaded_bytes(config)):
            make = partial(make_processor, source, str(self.device))
            # On a CPU, another thread does it, so that steps do not wait.
            processor: FlowProcessor = (
                run_in_temporary_thread(make)
                if self.device.type == "cpu"
                else self._run_job(CallJob(make)).result()
            )
            if prepare:
                self._run_job(PreparationJob(processor)).result()
            return self._models.add(processor, is_permanent=is_permanent)

    def add_model(self, processor: FlowProcessor) -> LoadedModel:
        """Make a model of this process available to runs.

        Args:
            processor: model on the engine's device; its weights must not change any more.
        """
        return self._models.add(processor)

    def has_model(self, key: ModelKey) -> bool:
        """Return whether a model is loaded.

        Args:
            key: of the model.
        """
        return self._models.has(key)

    def create_checkpoint(self, config: FlowConfig, path: Path) -> LoadedModel:
        """Draw the weights of an untrained model and write them to a file, without loading them.

        Args:
            config: config of the model.
            path: file to write.

        Raises:
            ConfigError: one sample of the model cannot fit in memory.
            CapacityError: the model can never be loaded, for want of memory.
            MemoryInUse: runs and their models have the memory.
            OSError: the file cannot be written.
        """
        self.check_model(config)

        def create() -> LoadedModel:
            processor = FlowProcessor(config)
            save(processor, path)
            return LoadedModel(processor.digest(), config, processor.trained)

        with self.memory.reserved("drawing the weights of the model", create_bytes(config), 0):
            return run_in_temporary_thread(create)

    def save_model(self, digest: str, config: FlowConfig, path: Path) -> None:
        """Write a loaded model as a checkpoint.

        Args:
            digest: digest of the weights.
            config: config of the model.
            path: file to write.

        Raises:
            ModelNotLoaded: the model is not loaded.
            OSError: the file cannot be written.
        """
        save(self._models.get(digest, config), path)

    def unload_model(self, digest: str, config: FlowConfig) -> None:
        """Forget a model; runs that use it continue.

        Args:
            digest: digest of the weights.
            config: config of the model.
        """
        self._models.remove(digest, config)
