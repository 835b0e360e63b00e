"""Functions that are given to decorators: what kind they are, and names for those that are limited."""

from __future__ import annotations

import functools
import inspect
import itertools
import threading
import weakref
from collections.abc import Callable
from typing import Any


def _bodies(function: Any) -> tuple[Any, Any]:
    while isinstance(function, functools.partial):
        function = function.func
    return function, None if inspect.isclass(function) else getattr(type(function), "__call__", None)


def is_awaited(function: Any) -> bool:
    """Whether what it answers is to be awaited: ``async def``, also of an object's ``__call__``."""
    return any(map(inspect.iscoroutinefunction, _bodies(function)))


def is_generator(function: Any) -> bool:
    """Whether calling it makes a generator, and answers nothing."""
    return any(inspect.isgeneratorfunction(body) or inspect.isasyncgenfunction(body) for body in _bodies(function))


def require_answers(is_async: bool, what: str, **functions: Any) -> None:
    """Refuses functions that would answer with what is no answer, and is true, such as a coroutine that nobody awaits."""
    for name, function in functions.items():
        if is_generator(function):
            raise TypeError(f"{name}={function!r} is a generator, and a function that answers is wanted")
        if not is_async and is_awaited(function):
            raise TypeError(f"{name}={function!r} is async, and {what} cannot await it")


def said(answer: Any) -> Any:
    """The answer of a function that is not async, and refuses those that are so without saying it."""
    if inspect.isawaitable(answer):
        if inspect.iscoroutine(answer):
            answer.close()
        raise TypeError(f"{answer!r} is to be awaited: what answers it has to be `async def` itself")
    return answer


class Names:
    """Names of functions and classes: where they are defined, and a number for others of the same name, in the order of their
    declaration, which is the same in all workers. It is by the object, and the number of one that is gone is given to the next: so
    what is decorated anew for each request is limited, too."""

    def __init__(self) -> None:
        self._alive: dict[str, weakref.WeakValueDictionary[int, Any]] = {}
        self._numbers: dict[str, int] = {}
        self._lock = threading.Lock()

    def of(self, function: Any) -> str:
        """The name."""
        # A bound method would be gone at once.
        function = getattr(function, "__func__", function)
        name = f"{function.__module__}.{function.__qualname__}"
        with self._lock:
            alive = self._alive.setdefault(name, weakref.WeakValueDictionary())
            number = next((number for number, other in alive.items() if other is function), None)
            if number is None:
                number = next(number for number in itertools.count(1) if number not in alive)
                alive[number] = function
        return _numbered(name, number)

    def next(self, name: str) -> str:
        """The name, of a declaration that has no function."""
        with self._lock:
            number = self._numbers[name] = self._numbers.get(name, 0) + 1
        return _numbered(name, number)


def _numbered(name: str, number: int) -> str:
    return name if number == 1 else f"{name}~{number}"
