"""What other packages register: losses (entry points `ikd.losses`) and detector families (`ikd.detectors`)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal, NoReturn

from ikd.errors import BadInput, first_line

Group = Literal["ikd.losses", "ikd.detectors"]


@dataclass(frozen=True)
class Plugin:
    """One entry point of another package.

    Attributes:
        name: what it registers, as it is called in recipes.
        group: of the entry point.
        package: that registers it.
        value: what the entry point refers to.
    """

    name: str
    group: Group
    package: str
    value: Any

    def loaded(self, reference: str) -> Any:
        """Return what `module:name` refers to.

        Raises:
            BadInput: it cannot be imported.
        """
        try:
            return EntryPoint(self.name, reference, self.group).load()
        except Exception as error:  # somebody else's module may fail in any way
            self.refuse(f"must be importable ({reference}): {type(error).__name__}: {first_line(error)}")

    def refuse(self, rule: str, value: object = None) -> NoReturn:
        """Refuse what the package registers, by its name.

        Raises:
            BadInput: always.
        """
        got = "" if value is None else f", but got {value!r}"
        raise BadInput(f"package {self.package}: entry point {self.group}, {self.name}: {rule}{got}; mend or remove it")


def plugins(group: Group) -> Iterator[Plugin]:
    """Load and yield what is registered in a group, in the order of the names.

    Raises:
        BadInput: an entry point cannot be imported, or has the name of another; names its package.
    """
    owners: dict[str, str] = {}
    for entry in sorted(entry_points(group=group), key=lambda one: (one.name, one.value)):
        package = entry.dist.name if entry.dist is not None else entry.value.partition(":")[0].partition(".")[0]
        plugin = Plugin(entry.name, group, package, None)
        if plugin.name in owners:
            plugin.refuse(f"must have a name of its own; package {owners[plugin.name]} has it too")
        owners[plugin.name] = plugin.package
        yield replace(plugin, value=plugin.loaded(entry.value))
