"""Facts: the typed, read-only questions that steps ask of hosts."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Generic, TypeVar, get_args, get_origin

from pydantic import TypeAdapter

from drrun.model.rule import FactRef
from drrun.values import Command, Json, Reply, argv

T = TypeVar("T")


class Fact(ABC, Generic[T]):
    """A typed, read-only question to a host. Subclass it as a frozen, slotted dataclass.

    `about` names the components that the answer depends on: `service:etcd` is that of one host,
    `@cluster` that of all. A change that touches one of them makes the answer not known. So does
    any change where nobody knows what is asked: OPAQUE.
    """

    __slots__ = ()
    name: ClassVar[str]
    timeout: ClassVar[float] = 30.0
    when_fenced: ClassVar[Any] = None
    """What a host counts as that the operator has fenced (powered off, cut off); None: nothing."""
    answers: ClassVar[TypeAdapter[Any]]

    def __init_subclass__(cls, **kwargs: object) -> None:
        """Take the answer's type from `Fact[T]`."""
        super().__init_subclass__(**kwargs)
        for base in getattr(cls, "__orig_bases__", ()):
            if get_origin(base) is not None and issubclass(get_origin(base), Fact):
                cls.answers = TypeAdapter(get_args(base)[0], _parent_depth=3)

    @abstractmethod
    def about(self) -> tuple[str, ...]:
        """The components that the answer depends on."""

    def marks(self) -> tuple[str, ...]:
        """Those that a change which sets this fact makes other: not what it shares with other facts."""
        return self.about()

    @abstractmethod
    def ask(self) -> Command:
        """The read-only command. It must open no file for writing and leave no process."""

    @abstractmethod
    def parse(self, reply: Reply) -> T:
        """The answer. Raises ValueError with the reason when the reply makes no sense."""

    def pinned(self, answer: T) -> Json:
        """What of the answer says which thing this is: a cluster, its members, a file's digest.

        A sealed plan is refused when it differs, word for word. None, as here: the answer may move.
        """
        del answer
        return None

    @property
    def ref(self) -> FactRef:
        """The fact by name and arguments, as plans and journals write it."""
        args = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}  # type: ignore[arg-type]
        return FactRef(self.name, {k: v for k, v in args.items() if v not in (None, (), "")})

    @property
    def key(self) -> str:
        """`service.state(service=etcd)`."""
        return self.ref.key


class Look(Fact[T]):
    """A fact about a file of the controller, answered in this process. Still journaled."""

    __slots__ = ()

    @abstractmethod
    def look(self) -> T:
        """The answer. Raises OSError or ValueError."""

    def ask(self) -> Command:
        """Nothing is sent anywhere."""
        return argv("true")

    def parse(self, reply: Reply) -> T:
        """Not used: `look` answers."""
        raise AssertionError(reply)
