"""Functions that are given to decorators: what kind they are, and names for those that are limited."""

from __future__ import annotations

import functools
import inspect
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
    declaration, which is the same in all workers. By the object, and not by how often it is asked for: what is decorated
    anew for each request is limited, too."""

    def __init__(self) -> None:
        self._names: weakref.WeakKeyDictionary[Any, str] = weakref.WeakKeyDictionary()
        self._numbers: dict[str, int] = {}
        self._lock = threading.Lock()

    def of(self, function: Any) -> str:
        """The name."""
        # One of a bound method would be gone at once.
        function = getattr(function, "__func__", function)
        with self._lock:
            name = self._names.get(function)
            if name is None:
                name = self._numbered(f"{function.__module__}.{function.__qualname__}")
                self._names[function] = name
            return name

    def next(self, name: str) -> str:
        """The name, of a declaration that has no function."""
        with self._lock:
            return self._numbered(name)

    def _numbered(self, name: str) -> str:
        number = self._numbers[name] = self._numbers.get(name, 0) + 1
        return name if number == 1 else f"{name}~{number}"
