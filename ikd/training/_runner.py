"""mmengine's Runner, quietened, with our checkpoints."""

from __future__ import annotations

from typing import Any

from mmengine.runner import Runner

from ikd.training._checkpoint import Content


class TrialRunner(Runner):
    """Runner that resumes from our weights-only checkpoints and does not probe the machine at every start."""

    resume_content: Content | None = None
    _has_loaded: bool

    def _log_env(self, env_cfg: dict[str, Any]) -> None:
        """Skip: it starts compilers to ask for their versions."""

    def wrap_model(self, model_wrapper_cfg: Any, model: Any) -> Any:
        """Leave the model on the device of the recipe; mmengine would move it to any GPU it sees."""
        return model

    def dump_config(self) -> None:
        """Skip: the resolved recipe is the configuration."""

    def load_or_resume(self) -> None:
        """Restore model, optimiser, schedules and counters."""
        content = self.resume_content
        if self._has_loaded or content is None:
            return
        self.model.load_state_dict(content["model"])
        self.optim_wrapper.load_state_dict(content["optimizer"])
        for scheduler, state in zip(self.param_schedulers, content["schedulers"], strict=True):
            scheduler.load_state_dict(state)
        self.train_loop._epoch, self.train_loop._iter = content["epoch"], content["iteration"]
        self._has_loaded = True
