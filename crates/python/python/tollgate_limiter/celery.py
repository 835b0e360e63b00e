"""Limits of Celery's tasks that hold for all workers, unlike its own ``rate_limit``, which is of each worker.

A task that may not run now is sent again to run when it may, by the wait that the limiter says. That is no failure: ``max_retries``
is not used up by it. Workers of one machine count together if they are forked from one process, or by ``shared=``; those of
several machines by ``store=``.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

from celery import Task, current_task
from celery.exceptions import Reject, Retry

from ._errors import RateLimited
from ._limiter import Limiter

if TYPE_CHECKING:
    from ._types import Key

__all__ = ["limited"]

P = ParamSpec("P")
R = TypeVar("R")


def limited(
    limiter: Limiter, key: Key | Callable[..., Key] = None, *, cost: int | Callable[..., int] = 1
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Limits a task; stands below ``@app.task``, bound or not.

    ``key`` is a key, or a function of the task's arguments (without ``self``); without it all calls of the task count together:
    of functions of one name each by itself, as with ``Limiter.limited``. ``cost`` is a number, or such a function. Called as a function, and with ``task_always_eager``, where there is nobody to send it
    to, a task that may not run raises ``RateLimited``; so does one whose cost never fits.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        own: Key = None

        @functools.wraps(function)
        def task(*args: P.args, **kwargs: P.kwargs) -> R:
            given = args[1:] if args and isinstance(args[0], Task) else args
            name = own if own is not None else key(*given, **kwargs) if callable(key) else key
            decision = limiter.check(name, cost if isinstance(cost, int) else cost(*given, **kwargs))
            if not decision.allowed:
                running = current_task._get_current_object() if current_task else None
                if running is None or running.request.called_directly or running.request.is_eager or decision.never:
                    raise RateLimited(decision)
                _again(running, decision.retry_after)
            return function(*args, **kwargs)

        if key is None:
            own = limiter._own_key(task)
        return cast("Callable[P, R]", task)

    return decorate


def _again(task: Any, countdown: float | None) -> None:
    """As ``Task.retry``, but that no retry is counted."""
    request = task.request
    signature = task.signature_from_request(request, countdown=countdown, retries=request.retries)
    try:
        signature.apply_async()
    except Exception as error:  # the broker is gone: it keeps the task
        raise Reject(error, requeue=True) from error
    raise Retry("limited", when=countdown, sig=signature)
