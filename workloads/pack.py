"""Runs trained in step in one process, each bit for bit what it is alone.

A step of a small network is a few hundred calls of some microseconds each. Where every run does a phase of its step
before the first one goes on to the next phase, the processor has the code of the phase in its caches from the second
run on, and one backward pass serves all. No two runs share a product, a sum or a stream of random numbers.
"""

import contextlib
import time
from collections.abc import Callable, Generator, Sequence
from typing import Generic, TypeAlias, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")
Work: TypeAlias = Generator[Tensor | T | None, None, object]
"""A run that stops where others may go first: at None, at a loss whose gradients it needs to go on, at a result."""


def streams(cuda: Sequence[torch.device]) -> list[Tensor]:
    """The states of torch's global streams of random numbers, of the CPU and of devices."""
    return [torch.get_rng_state(), *(torch.cuda.get_rng_state(device) for device in cuda)]


def begin_streams(seed: int, device: torch.device) -> None:
    """Begin torch's global streams anew, of the CPU and of a run's GPU.

    `torch.manual_seed` gives the same numbers, and writes down a stack trace for a GPU that nobody has asked for yet.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed_all(seed)


def set_streams(states: Sequence[Tensor], cuda: Sequence[torch.device]) -> None:
    """Go on from there."""
    torch.set_rng_state(states[0])
    for device, state in zip(cuda, states[1:], strict=True):
        torch.cuda.set_rng_state(state, device)


class Member(Generic[T]):
    """A run of a pack with its streams of random numbers and its share of the time, in seconds."""

    def __init__(self, work: Work[T], states: list[Tensor]) -> None:
        self.work, self.states = work, states
        self.ended = False
        self.value: object = None
        """What it returned."""
        self._seconds, self._since = 0.0, 0.0

    def go(self, cuda: Sequence[torch.device], error: BaseException | None = None) -> Tensor | T | None:
        """Continue to where it stops next; None at its end. `error` is raised where it stopped."""
        set_streams(self.states, cuda)
        self._since = time.perf_counter()
        try:
            return next(self.work) if error is None else self.work.throw(error)
        except StopIteration as end:
            self.ended, self.value = True, end.value
            return None
        finally:
            self.charge(time.perf_counter() - self._since)
            self._since = 0.0
            self.states = streams(cuda)

    def charge(self, seconds: float) -> None:
        """Add to its time."""
        self._seconds += seconds

    def seconds(self) -> float:
        """Its time so far, also while it goes on."""
        return self._seconds + (time.perf_counter() - self._since if self._since else 0.0)


class Pack(Generic[T]):
    """Members that go on together.

    `cuda` are the devices whose global streams they may draw from. `after` is told the positions of the members after
    they have done something.
    """

    def __init__(
        self,
        works: Sequence[Work[T]],
        cuda: Sequence[torch.device] = (),
        states: Sequence[list[Tensor]] | None = None,
        after: Callable[[Sequence[int]], None] = lambda positions: None,
    ) -> None:
        self._cuda, self._after = cuda, after
        given = states or [streams(cuda) for _ in works]
        self.members = [Member(work, state) for work, state in zip(works, given, strict=True)]

    @property
    def ended(self) -> bool:
        """Whether all members have."""
        return all(member.ended for member in self.members)

    def advance(self) -> list[tuple[int, T]]:
        """Continue every member to its next result or its end; the results, with the positions of the members.

        Raises what a member raises. What a backward pass raises is raised where the member stopped that asked for it,
        or here where several did.
        """
        results: list[tuple[int, T]] = []
        going = [position for position, member in enumerate(self.members) if not member.ended]
        errors: dict[int, Exception] = {}
        while going:
            losses: dict[int, Tensor] = {}
            stopped = []
            for position in going:
                made = self.members[position].go(self._cuda, errors.pop(position, None))
                self._after([position])
                if isinstance(made, Tensor):
                    losses[position] = made
                elif made is not None:
                    results.append((position, made))
                    continue
                if not self.members[position].ended:
                    stopped.append(position)
            going = stopped
            if losses:
                errors = self._backward(losses)
        return results

    def _backward(self, losses: dict[int, Tensor]) -> dict[int, Exception]:
        began = time.perf_counter()
        try:
            torch.autograd.backward(list(losses.values()))
        except Exception as err:
            if len(losses) > 1:
                raise
            return dict.fromkeys(losses, err)
        finally:
            share = (time.perf_counter() - began) / len(losses)
            for position in losses:
                self.members[position].charge(share)
            self._after(list(losses))
        return {}

    def throw(self, error: BaseException) -> None:
        """Raise something in every member where it stopped, and leave those alone that do not know what to do."""
        for member in self.members:
            if not member.ended:
                with contextlib.suppress(type(error)):
                    member.go(self._cuda, error)

    def close(self) -> None:
        """Let go of what the members hold."""
        for member in self.members:
            member.work.close()
