"""mmengine's Runner, quietened, with our checkpoints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mmengine.runner import Runner

from ikd.detectors import quiet
from ikd.errors import CheckpointError
from ikd.training.checkpoint import Content
from ikd.training.optim import STUDENT, trained_names
from ikd.training.start import Start


@dataclass(frozen=True)
class Carries:
    """What a stage takes over from the one before, beside the student.

    Attributes:
        losses: adapters, generators and context blocks of the same name and shape.
        schedule: the optimiser's state and the learning-rate schedule.
    """

    losses: bool = False
    schedule: bool = True


class TrialRunner(Runner):
    """Runner that resumes from our weights-only checkpoints and does not probe the machine at every start."""

    start: Start | None = None
    first_epoch: int = 0
    """Epochs before this stage: a checkpoint of that many is the end of the stage before."""
    carries: Carries = Carries()
    _has_loaded: bool

    def _log_env(self, env_cfg: dict[str, Any]) -> None:
        """Skip: it starts compilers to ask for their versions."""

    def wrap_model(self, model_wrapper_cfg: Any, model: Any) -> Any:
        """Leave the model on the device of the recipe; mmengine would move it to any GPU it sees."""
        return model

    def train(self) -> Any:
        """Train, without what libraries say of one another."""
        with quiet():
            return super().train()

    def dump_config(self) -> None:
        """Skip: the resolved recipe is the configuration."""

    @property
    def within(self) -> bool:
        """Whether the start lies in this stage, not at its beginning."""
        return self.start is not None and self.start.content["epoch"] > self.first_epoch

    def check_start(self) -> None:
        """Refuse a start of another architecture, or within a stage with other loss modules.

        Raises:
            CheckpointError: names the first parameter that does not fit.
        """
        if self.start is None:
            return
        theirs, ours = (
            {name: tuple(value.shape) for name, value in state.items() if self.within or name.startswith(STUDENT)}
            for state in (self.start.content["model"], self.model.state_dict())
        )
        for name in sorted(ours.keys() | theirs.keys()):
            if ours.get(name) != theirs.get(name):
                raise CheckpointError(
                    f"{self.start.path}: {name}: must be of shape {ours.get(name, 'none')}, as in the recipe's model, "
                    f"but got {theirs.get(name, 'none')}"
                )

    def load_or_resume(self) -> None:
        """Restore model, optimiser, schedules and counters; at the start of a stage, what it carries over."""
        if self._has_loaded or self.start is None:
            return
        content, within = self.start.content, self.within
        if within:
            self.model.load_state_dict(content["model"])
            self.optim_wrapper.load_state_dict(content["optimizer"])
        else:
            self._take_over(content)
        if within or self.carries.schedule:
            for scheduler, state in zip(self.param_schedulers, content["schedulers"], strict=True):
                # the peak rates of a stage's groups are its own
                scheduler.load_state_dict(state if within else state | {"base_values": scheduler.base_values})
        self.train_loop._epoch, self.train_loop._iter = content["epoch"], content["iteration"]
        self._has_loaded = True

    def _take_over(self, content: Content) -> None:
        """Start a stage from the end of the one before: the student, and what else is carried over."""
        own = self.model.state_dict()
        earlier = {
            name: value
            for name, value in content["model"].items()
            if name.startswith(STUDENT) or (self.carries.losses and name in own and own[name].shape == value.shape)
        }
        self.model.load_state_dict({**own, **earlier})
        if not self.carries.schedule:
            return
        fresh, saved = self.optim_wrapper.state_dict(), content["optimizer"]
        states = {
            name: saved["state"][place] for place, name in enumerate(content["trained"]) if place in saved["state"]
        }
        ours = trained_names(self.model, self.optim_wrapper)
        state = {place: states[name] for place, name in enumerate(ours) if name in earlier and name in states}
        groups = [_carried(group, saved["param_groups"]) for group in fresh["param_groups"]]
        self.optim_wrapper.load_state_dict({**saved, "state": state, "param_groups": groups})


def _carried(fresh: dict[str, Any], saved: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a group of a new stage where the one before has left its own of that name.

    A group that it had not is as far in its schedule as the others were.
    """
    same = next((group for group in saved if group.get("name") == fresh.get("name")), None)
    if same is not None or len(saved) == 1:
        return {**(same or saved[0]), "params": fresh["params"]}
    other = saved[0]
    return {**fresh, "lr": fresh["initial_lr"] * other["lr"] / other["initial_lr"]}
